//! The keys of a foreign table.
//!
//! A foreign table has no unique index. Its key has the columns that the caller names, or those of a
//! unique index of the local table with which it is compared; this index then also says whether NULL
//! equals NULL. Values are in the default order of their types, under the collations of the foreign
//! table's columns.
//!
//! Nothing here makes such a key unique: several rows on the other server may have the same key.
use super::arbiter::looks_like_expression;
use super::{Column, OpenRelation, Target, UniqueIndex};
use crate::error::{Report, SqlState};
use crate::pg::catalog::types;
use crate::pg::memory::Memory;
use crate::pg::transaction::{locks, relation_lock};
use crate::pg::value::text;
use pgrx::pg_sys;
use std::rc::Rc;

impl UniqueIndex {
    /// Names this index as the constraint of an error about the key, if it is an index of the target.
    pub fn name_in(&self, report: Report) -> Report {
        match self.oid {
            pg_sys::InvalidOid => report,
            _ => report.constraint(self.name.clone()),
        }
    }
}

impl Target {
    /// Opens a table as [`Target::open`] does, or a foreign table that is to be compared with a source.
    /// The keys of a foreign table are those of the source's unique indexes, and `key`, if that is named.
    ///
    /// Only for callers that read all its rows, or write them by statements: look-ups in an index, and
    /// the INSERT of the other functions, need an index. A foreign table is gathered anew for each
    /// call, so that [`Target::open`] never finds it.
    ///
    /// # Errors
    /// As [`Target::open`]; 42703 for a name that is no column; 42P10 for what cannot be
    /// a key.
    pub fn open_foreign(
        oid: pg_sys::Oid,
        source: pg_sys::Oid,
        key: Option<&[String]>,
    ) -> (Rc<Self>, OpenRelation) {
        Self::declaring(OpenRelation::open(oid), |target| {
            target.indexes = target.keys_of_source(&OpenRelation::open(source));
            if let Some(key) = key {
                target.declare_key(key);
            }
        })
    }

    /// What is known of a table, which is open, or of a foreign table, whose keys `declare` says.
    fn declaring(
        relation: OpenRelation,
        declare: impl FnOnce(&mut Self),
    ) -> (Rc<Self>, OpenRelation) {
        if relation.kind() != pg_sys::RELKIND_FOREIGN_TABLE {
            return Self::of(relation);
        }
        let mut target = Self::gather(&relation);
        // A trigger of a foreign table is no guard: there is no index by which it could verify.
        target.guards = Vec::new();
        declare(&mut target);
        (Rc::new(target), relation)
    }

    /// Opens a table as [`Target::open`] does, or a foreign table whose key is named, for rows that are found
    /// and written by SQL alone. Nothing here makes the key unique. `key` is called only for a foreign table.
    ///
    /// # Errors
    /// As [`Target::open`]; 42P10 for a foreign table whose key is not named, or for what cannot be a key; 42703
    /// for a name that is no column.
    pub fn open_to_insert(
        oid: pg_sys::Oid,
        key: impl FnOnce() -> Option<Vec<String>>,
    ) -> (Rc<Self>, OpenRelation) {
        Self::declaring(OpenRelation::open(oid), |target| match key() {
            Some(key) => target.declare_key(&key),
            None => target
                .no_key("no key is known of", "")
                .detail("A foreign table has no unique index.")
                .hint("Name the columns of the key with the argument key.")
                .raise(),
        })
    }

    /// Opens a table as [`Target::open_to_write`] does, or a foreign table without a key.
    ///
    /// # Errors
    /// As [`Target::open`].
    pub fn open_wherever_to_write(oid: pg_sys::Oid) -> (Rc<Self>, OpenRelation) {
        relation_lock::lock_relation(oid, locks::working_lock_mode() as u32);
        Self::declaring(OpenRelation::open_locked(oid), |_| {})
    }

    /// Opens a table as [`Target::open`] does, or a foreign table without a key.
    ///
    /// # Errors
    /// As [`Target::open`].
    pub fn open_wherever(oid: pg_sys::Oid) -> (Rc<Self>, OpenRelation) {
        Self::declaring(OpenRelation::open(oid), |_| {})
    }

    /// The unique indexes of a source that are on columns which the target has, too.
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

    /// Takes these columns as a key, unless an index of the source is on them.
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
