//! The keys of a foreign table.
//!
//! It has no unique index. Its key is what the caller names, or that of a unique index of the local
//! table with which it is compared: then this index also says whether NULL equals NULL. Values are in
//! the default order of their types, under the collations of the foreign table's columns.
//!
//! Nothing makes such a key unique: the other server may have rows with the same one.
use super::arbiter::looks_like_expression;
use super::{Column, OpenRelation, Target, UniqueIndex};
use crate::error::{Report, SqlState};
use crate::pg::catalog::types;
use crate::pg::memory::Memory;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::rc::Rc;

impl UniqueIndex {
    /// An error about this key, as one about this index, if it is one of the target.
    pub fn name_in(&self, report: Report) -> Report {
        match self.oid {
            pg_sys::InvalidOid => report,
            _ => report.constraint(self.name.clone()),
        }
    }
}

impl Target {
    /// Opens a foreign table that is to be compared with a source, and locks it as [`Target::open`]
    /// does, which opens any other relation. Its keys are those of the source's unique indexes, and `key`, if that is named.
    ///
    /// Only for who reads all its rows, or writes them by statements: look-ups in an index, and the
    /// INSERT of the other functions, need one. It is gathered for each call, so that [`Target::open`]
    /// never finds it.
    ///
    /// # Errors
    /// As [`Target::open`]; 42703 for a name that is no column; 42P10 for what cannot be
    /// a key.
    pub fn open_foreign(
        oid: pg_sys::Oid,
        source: pg_sys::Oid,
        key: Option<&[String]>,
    ) -> (Rc<Self>, OpenRelation) {
        let relation = OpenRelation::open(oid);
        if relation.kind() != pg_sys::RELKIND_FOREIGN_TABLE {
            return Self::of(relation);
        }
        let mut target = Self::gather(&relation);
        // Triggers of a foreign table are none of a guard's: it has no index by which one could verify.
        target.guards = Vec::new();
        target.indexes = target.keys_of_source(&OpenRelation::open(source));
        if let Some(key) = key {
            target.declare_key(key);
        }
        (Rc::new(target), relation)
    }

    /// Opens a table as [`Target::open`] does, or a foreign table whose key is named, for rows that are found
    /// and written by SQL alone. Nothing here makes the key unique. Only then is `key` asked for it.
    ///
    /// # Errors
    /// As [`Target::open`]; 42P10 for a foreign table without a named key, or with one that cannot be; 42703 for a name
    /// that is no column.
    pub fn open_to_insert(
        oid: pg_sys::Oid,
        key: impl FnOnce() -> Option<Vec<String>>,
    ) -> (Rc<Self>, OpenRelation) {
        let relation = OpenRelation::open(oid);
        if relation.kind() != pg_sys::RELKIND_FOREIGN_TABLE {
            return Self::of(relation);
        }
        let mut target = Self::gather(&relation);
        target.guards = Vec::new();
        match key() {
            Some(key) => target.declare_key(&key),
            None => target
                .no_key("no key is known of", "")
                .detail("A foreign table has no unique index.")
                .hint("Name the columns of the key with the argument key.")
                .raise(),
        }
        (Rc::new(target), relation)
    }

    /// Opens a table as [`Target::open`] does, or a foreign table, whose key is not asked for.
    ///
    /// # Errors
    /// As [`Target::open`].
    pub fn open_wherever(oid: pg_sys::Oid) -> (Rc<Self>, OpenRelation) {
        let relation = OpenRelation::open(oid);
        match relation.kind() {
            pg_sys::RELKIND_FOREIGN_TABLE => (Rc::new(Self::gather(&relation)), relation),
            _ => Self::of(relation),
        }
    }

    /// The unique indexes of a source, as far as they are on columns that the target has, too.
    fn keys_of_source(&self, source: &OpenRelation) -> Vec<UniqueIndex> {
        if source.index_oids().is_empty() {
            return Vec::new();
        }
        let memory = Memory::in_current(c"pg_idempotent source");
        let columns = Column::of_relation(source, &memory);
        let indexes = UniqueIndex::of_relation(source, &columns, &mut Vec::new(), &memory);
        let own = |c: usize| self.column_by_bytes(columns[c].c_name.to_bytes());
        let declared = |index: &UniqueIndex| {
            let key: Vec<usize> = index.columns().map(own).collect::<Option<_>>()?;
            let kind = (index.primary, index.nulls_equal);
            UniqueIndex::declared(&index.name, kind, &key, &self.columns)
        };
        let usable = indexes
            .iter()
            .filter(|index| index.unusable_reason.is_none() && !index.is_computed());
        usable.filter_map(declared).collect()
    }

    /// Takes these columns as a key, unless an index of the source has them.
    fn declare_key(&mut self, key: &[String]) {
        let columns: Vec<usize> = key.iter().map(|name| self.key_column(name)).collect();
        if self.indexes.iter().any(|own| own.same_columns(&columns)) {
            return;
        }
        let kind = (false, false);
        let Some(declared) = UniqueIndex::declared("", kind, &columns, &self.columns) else {
            let mut columns = columns.iter().map(|c| &self.columns[*c]);
            let column = columns.find(|column| !types::has_order(column.typid));
            self.unordered(column.expect("a type has no order")).raise()
        };
        self.indexes.push(declared);
    }

    /// The position of a column that a key names.
    fn key_column(&self, name: &str) -> usize {
        match self.column_by_bytes(text::to_server(name).to_bytes()) {
            Some(column) => column,
            None if looks_like_expression(name) => self
                .no_key("the key of", "can only be made of columns")
                .detail(format!("\"{}\" is no column.", text::abbreviated(name)))
                .hint("Name the columns that identify a row.")
                .raise(),
            None => self.no_such_column_in(name, "key").raise(),
        }
    }

    fn unordered(&self, column: &Column) -> Report {
        let typid = types::name(column.typid);
        let begin = format!("column \"{}\" cannot be in the key of", column.name);
        self.no_key(&begin, "")
            .detail(format!("Its type {typid} has no order."))
            .hint("Name other columns.")
            .column(column.name.clone())
    }

    /// 42P10: neither the caller nor the source says what the key is.
    pub(super) fn no_declared_key(&self) -> Report {
        self.no_key("no key is known of", "")
            .detail("A foreign table has no unique index, and the source has none that fits.")
            .hint("Name the columns that identify a row with the argument key.")
    }

    fn no_key(&self, begin: &str, end: &str) -> Report {
        let message = format!("{begin} foreign table \"{}\" {end}", self.name);
        Report::new(SqlState::InvalidColumnReference, message.trim_end())
            .table(&self.schema, &self.name)
    }
}
