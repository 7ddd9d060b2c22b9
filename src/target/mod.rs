//! What is known of a target: its columns, unique indexes and rights.
//!
//! The knowledge is gathered once per backend and table, and dropped when the
//! server says that the table changed (a relcache invalidation).
//!
//! # Whose code runs
//! A table's definition is full of expressions of its owner's: conditions and
//! expressions of indexes and partition keys, defaults, CHECKs, generated columns,
//! policies, rules. A function that they call runs with the rights of the current
//! user, who may be a superuser that only wants to know what the table is like. So
//! to gather evaluates none of them, nor lets the server do so:
//! - The relation cache folds constants, which calls IMMUTABLE functions, in
//!   `RelationGetIndexPredicate`, `RelationGetIndexExpressions` (and with these
//!   `BuildIndexInfo`) and `RelationGetPartitionKey` (and with this in
//!   `RelationGetPartitionDesc` and `RelationGetPartitionQual`). What is to be known of
//!   indexes and partition keys is in the rows of `pg_index` and
//!   `pg_partitioned_table`, see [`index`] and [`partition_key_columns`].
//! - Defaults are looked at as they are written (`build_column_default`,
//!   `contain_mutable_functions`, `contain_volatile_functions`, `deparse_expression`): none
//!   of these simplifies an expression, or inlines a function. So are trees that
//!   `stringToNode` makes.
//! - The type cache plans a domain's CHECK only for `TYPECACHE_DOMAIN_CONSTR_INFO`,
//!   for which nothing here asks; input functions of types are looked up, not called.
//! - CHECKs, generated columns, policies, rules and WHEN conditions are asked for by
//!   their presence in the relation cache, which keeps them as text or as trees.
//!
//! They are evaluated where a statement of the caller's is run, or worked for, on the
//! table: as the caller, who may do what the statement does, and whom the server
//! would have evaluate them in the same way in a plain INSERT, SELECT or UPDATE. Each
//! such place says so.
mod access;
mod arbiter;
mod cache;
mod closest;
mod column;
mod default;
mod default_kind;
mod index;
mod key;
mod key_lookup;
mod merge_scan;
mod partition;
mod privileges;
mod remedy;
mod scan;
mod triggers;

pub use cache::{
    PerTarget, TargetId, changes, function_changes, register_invalidation_callbacks, watch,
    watched_changes,
};
pub use column::{Column, Equality};
pub use default::{ColumnDefault, evaluate_default};
pub use default_kind::DefaultKind;
pub use key::{KeyColumn, UniqueIndex, equal};
pub use key_lookup::{KeyLookup, StoredRow};
pub use partition::{
    PartitionKeyColumns, PartitionRouter, ancestor_partition_columns, leaf_index,
    partition_key_columns,
};
pub use privileges::{
    Role, VisibleColumns, check_any_privilege, check_insert_privileges, check_merge_privileges,
    check_overwrite_privileges, check_ownership, check_resolve_privileges, has_any_privilege,
    hidden_by_policy, kept_by_policy, may_read, may_select, may_truncate, note_values_shown,
    policies_show, row_security_is_active, row_security_is_active_for,
};
pub use scan::Scan;
pub use triggers::{FunctionSource, TriggerInfo, Triggers, is_guard_function};

use crate::error::{Report, SqlState};
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::transaction::locks;
use crate::pg::value::text;
use cache::PerTable;
use pgrx::pg_sys;
use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// Everything about one target that does not depend on the call.
pub struct Target {
    /// Which gathering of the table this is, for what is kept of it (see [`PerTarget`]).
    pub id: TargetId,
    /// The table's oid.
    pub oid: pg_sys::Oid,
    /// The oid of its schema.
    pub schema_oid: pg_sys::Oid,
    /// The name of its schema.
    pub schema: String,
    pub name: String,
    /// Whether it is a partitioned table.
    pub partitioned: bool,
    /// Whether a rule rewrites INSERT or UPDATE, with which ON CONFLICT cannot be
    /// used.
    pub has_write_rules: bool,
    /// Whether code of others may touch its rows while a row goes in: BEFORE and
    /// AFTER row triggers other than guards (a partitioned table's partitions may
    /// have some of their own). Then only the INSERT itself can tell what went
    /// in.
    pub triggers_touch_rows: bool,
    /// Whether AFTER INSERT row triggers may change its rows once more.
    pub after_insert_triggers: bool,
    /// Whether handing a row to INSERT … ON CONFLICT DO NOTHING that turns out
    /// to be stored already has no effect whatsoever: nothing (a trigger, a
    /// CHECK, a policy) could happen or fail before the row is skipped.
    /// Defaults and NOT NULL are looked at column by column.
    pub skip_has_no_effect: bool,
    /// Whether rows may be inserted by several statements: no trigger counts them, and
    /// no constraint is checked at a statement's end.
    pub can_chunk: bool,
    /// Its columns in order, without dropped ones.
    pub columns: Vec<Column>,
    /// Its unique indexes, usable as arbiter or not.
    pub indexes: Vec<UniqueIndex>,
    by_name: HashMap<Vec<u8>, usize>,
    row_desc: pg_sys::TupleDesc,
    /// The guards on it, those cloned from a partitioned table included.
    pub guards: Vec<TriggerInfo>,
    /// What columns, indexes and the descriptor point into.
    _memory: Memory,
}

impl Target {
    /// Opens the table, locks it against changes of its definition until the
    /// transaction ends, and gives what is known of it.
    ///
    /// The lock is ACCESS SHARE, as a SELECT takes: a pure retry needs no more.
    /// The INSERT takes its own.
    ///
    /// # Errors
    /// 42P01 if there is no such table, 42809 if it is none that rows can be
    /// verified in, 0A000 for another session's temporary table.
    pub fn open(oid: pg_sys::Oid) -> (Rc<Self>, OpenRelation) {
        Self::of(OpenRelation::open(oid))
    }

    /// Opens the table as [`Target::open`] does, for a caller who reads it in statements and then
    /// writes it: the lock is at once that of the writing. The server keeps the locks that reading
    /// takes on indexes, and a REINDEX that waits for those has the table locked against writing: a
    /// deadlock.
    ///
    /// # Errors
    /// As [`Target::open`].
    pub fn open_to_write(oid: pg_sys::Oid) -> (Rc<Self>, OpenRelation) {
        // SAFETY: what is locked need not exist any more.
        unsafe { pg_sys::LockRelationOid(oid, locks::working_lock_mode()) };
        Self::open(oid)
    }

    /// Takes the lock of the writing on the table and on every partition, for a caller who
    /// reads it in statements that open the indexes of all of them. It comes before any of
    /// these indexes is opened, see [`Target::open_to_write`].
    pub fn lock_to_write(&self) {
        let mode = locks::working_lock_mode();
        // SAFETY: an existing table.
        unsafe { pg_sys::LockRelationOid(self.oid, mode) };
        if self.partitioned {
            ffi::lock_partitions(self.oid, mode);
        }
    }

    /// Opens the table for a caller who only looks: the lock is released with the relation. None if
    /// there is no such table.
    ///
    /// # Errors
    /// 42809, 0A000
    pub fn open_briefly(oid: pg_sys::Oid) -> Option<(Rc<Self>, OpenRelation)> {
        OpenRelation::try_open_briefly(oid).map(Self::of)
    }

    /// The target from the cache or gathered. The relation is locked, so that invalidations that
    /// concern it have arrived.
    fn of(relation: OpenRelation) -> (Rc<Self>, OpenRelation) {
        thread_local! {
            static TARGETS: ManuallyDrop<PerTable<Rc<Target>>> = PerTable::new();
        }
        let oid = relation.oid();
        if let Some(target) = TARGETS.with(|targets| targets.get(oid)) {
            return (target, relation);
        }
        let before = changes();
        let target = Rc::new(Self::gather(&relation));
        // What was gathered while something changed is used, but not kept.
        if changes() == before {
            TARGETS.with(|targets| targets.insert(oid, Rc::clone(&target)));
        }
        (target, relation)
    }

    fn gather(relation: &OpenRelation) -> Self {
        let rel = relation.raw();
        // SAFETY: an open relation; its parts are valid while it is.
        let (schema_oid, schema, name, kind) = unsafe {
            let form = &*(*rel).rd_rel;
            let schema = pg_sys::get_namespace_name(form.relnamespace);
            (
                form.relnamespace,
                text::from_server(schema),
                text::from_name(&form.relname),
                form.relkind as u8,
            )
        };
        refuse_unusable_kind(relation, kind, &schema, &name);
        let triggers::InsertTriggers {
            guards,
            before_rows,
            after_rows,
        } = triggers::InsertTriggers::of_relation(relation);
        let memory = Memory::in_cache(c"pg_idempotent target");
        let columns = Column::of_relation(relation, &memory);
        let indexes = UniqueIndex::of_relation(relation, &columns, &memory);
        let by_name = columns
            .iter()
            .enumerate()
            .map(|(i, c)| (c.c_name.to_bytes().to_vec(), i))
            .collect();
        let row_desc = memory.scope(|| row_desc(&columns, &ROW_EXTRAS));
        Self {
            id: TargetId::next(relation.oid()),
            oid: relation.oid(),
            schema_oid,
            schema,
            name,
            partitioned: kind == pg_sys::RELKIND_PARTITIONED_TABLE,
            triggers_touch_rows: kind == pg_sys::RELKIND_PARTITIONED_TABLE
                || before_rows
                || after_rows,
            after_insert_triggers: after_rows,
            has_write_rules: has_write_rules(relation),
            skip_has_no_effect: !before_rows && skip_has_no_effect(relation),
            can_chunk: !has_statement_triggers(relation) && !after_rows,
            columns,
            indexes,
            by_name,
            row_desc,
            guards,
            _memory: memory,
        }
    }

    /// The position in [`Target::columns`] of the column with this name, given
    /// in the server's encoding.
    pub fn column_by_bytes(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The position of the column with this name; a name that is no column is error 42703.
    pub fn column_by_name(&self, name: &str) -> usize {
        self.column_by_bytes(text::to_server(name).to_bytes())
            .unwrap_or_else(|| self.no_such_column(name).raise())
    }

    /// 42703, with a hint when a column's name is close.
    pub fn no_such_column(&self, name: &str) -> Report {
        let report = Report::new(
            SqlState::UndefinedColumn,
            format!(
                "column \"{}\" of relation \"{}\" does not exist",
                text::abbreviated(name),
                self.name
            ),
        )
        .table(&self.schema, &self.name);
        match closest_name(name, self.columns.iter().map(|c| c.name.as_str())) {
            Some(close) => report.hint(format!(
                "Perhaps you meant to reference the column \"{}.{close}\".",
                self.name
            )),
            None => report,
        }
    }

    /// 22023 for a column that an option must not name, and why.
    pub fn cannot_be_in(&self, column: usize, what: &str, option: &str) -> Report {
        let name = &self.columns[column].name;
        Report::new(
            SqlState::InvalidParameterValue,
            format!("column \"{name}\" {what} and cannot be in \"{option}\""),
        )
        .table(&self.schema, &self.name)
        .column(name.clone())
    }

    /// Refuses a table whose rules rewrite what would be run.
    ///
    /// # Errors
    /// 0A000
    pub fn refuse_rules(&self) {
        if self.has_write_rules {
            Report::new(
                SqlState::FeatureNotSupported,
                format!("cannot insert or verify rows in table \"{}\"", self.name),
            )
            .detail("The table has a rule on INSERT or UPDATE.")
            .hint("Replace the rule with a trigger.")
            .table(&self.schema, &self.name)
            .raise()
        }
    }

    /// 55000: the name that a statement used is that of another table now.
    pub fn renamed_meanwhile(&self) -> Report {
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!(
                "table \"{}\" or its schema was renamed while the call ran",
                self.name
            ),
        )
        .hint("Call it again.")
        .table(&self.schema, &self.name)
    }

    /// The quoted, schema-qualified name.
    pub fn qualified(&self) -> String {
        format!(
            "{}.{}",
            text::quote_identifier(&self.schema),
            text::quote_identifier(&self.name)
        )
    }

    /// That of the partitioned table that it is a partition of, for what is done to columns
    /// of all partitions at once; else its own.
    pub fn qualified_root(&self) -> String {
        // SAFETY: an existing table; null for one that is gone.
        unsafe {
            let root = ffi::partition_root(self.oid);
            let (schema, name) = (pg_sys::get_rel_namespace(root), pg_sys::get_rel_name(root));
            let schema = pg_sys::get_namespace_name(schema);
            if root == self.oid || name.is_null() || schema.is_null() {
                return self.qualified();
            }
            format!(
                "{}.{}",
                text::quote_identifier(&text::from_server(schema)),
                text::quote_identifier(&text::from_server(name))
            )
        }
    }

    /// The names of columns, by position, quoted and separated by commas.
    pub fn column_list(&self, columns: impl IntoIterator<Item = usize>) -> String {
        let names = columns
            .into_iter()
            .map(|c| text::quote_identifier(&self.columns[c].name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Where its columns are in this table, itself or a partition: attribute
    /// numbers by position.
    pub fn attnums_in(&self, table: pg_sys::Oid) -> Vec<pg_sys::AttrNumber> {
        let number = |column: &Column| {
            if table == self.oid {
                column.attnum
            } else {
                // SAFETY: an existing table; partitions have all columns of
                // their parent, by name.
                unsafe { pg_sys::get_attnum(table, column.c_name.as_ptr()) }
            }
        };
        self.columns.iter().map(number).collect()
    }

    /// Where its columns are in a row that has them all in their order.
    pub fn attnums_in_order(&self) -> Vec<pg_sys::AttrNumber> {
        (1..=self.columns.len() as pg_sys::AttrNumber).collect()
    }

    /// The descriptor of a working row: every column of [`Target::columns`] in
    /// order, then `ordinal bigint`, `shape int` and `mark bigint` (see
    /// `payload::row`).
    pub fn row_desc(&self) -> pg_sys::TupleDesc {
        self.row_desc
    }

    /// The descriptor of a row of all columns with others of these types behind them,
    /// named as those of a working row, in the current memory.
    pub fn row_desc_with(&self, others: &[pg_sys::Oid]) -> pg_sys::TupleDesc {
        row_desc(&self.columns, others)
    }
}

fn has_write_rules(relation: &OpenRelation) -> bool {
    // SAFETY: an open relation; its rules live with it.
    unsafe {
        (*relation.raw()).rd_rules.as_ref().is_some_and(|rules| {
            (0..rules.numLocks as usize).any(|i| {
                let event = (**rules.rules.add(i)).event;
                event == pg_sys::CmdType::CMD_INSERT || event == pg_sys::CmdType::CMD_UPDATE
            })
        })
    }
}

/// Whether triggers fire once for an INSERT statement.
fn has_statement_triggers(relation: &OpenRelation) -> bool {
    // SAFETY: an open relation; its triggers live with it.
    unsafe { (*relation.raw()).trigdesc.as_ref() }.is_some_and(|triggers| {
        triggers.trig_insert_before_statement
            || triggers.trig_insert_after_statement
            || triggers.trig_insert_new_table
    })
}

fn skip_has_no_effect(relation: &OpenRelation) -> bool {
    // SAFETY: an open relation; its descriptor's constraints live with it.
    unsafe {
        let rel = &*relation.raw();
        let form = &*rel.rd_rel;
        if form.relkind as u8 != pg_sys::RELKIND_RELATION || form.relrowsecurity {
            return false;
        }
        if has_statement_triggers(relation) {
            return false;
        }
        let Some(constraints) = (*rel.rd_att).constr.as_ref() else {
            return true;
        };
        constraints.num_check == 0 && !constraints.has_generated_stored
    }
}

/// What a working row has behind the target's own columns: ordinal, shape, mark.
const ROW_EXTRAS: [pg_sys::Oid; 3] = [pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::INT8OID];

/// Columns are named by position, `a0`, `a1`, …, so that SQL over working rows
/// needs no quoting and meets no name of the user's.
fn row_desc(columns: &[Column], extras: &[pg_sys::Oid]) -> pg_sys::TupleDesc {
    let count = columns.len();
    // SAFETY: attribute numbers run from 1 to the number the template was made
    // for; the descriptor is not reference-counted.
    unsafe {
        let desc = pg_sys::CreateTemplateTupleDesc((count + extras.len()) as c_int);
        let entry = |i: usize, typid: pg_sys::Oid, typmod: i32| {
            let name = CString::new(format!("a{i}")).expect("no NUL");
            let number = (i + 1) as pg_sys::AttrNumber;
            pg_sys::TupleDescInitEntry(desc, number, name.as_ptr(), typid, typmod, 0);
        };
        for (i, column) in columns.iter().enumerate() {
            entry(i, column.typid, column.typmod);
            pg_sys::TupleDescInitEntryCollation(
                desc,
                (i + 1) as pg_sys::AttrNumber,
                column.collation,
            );
        }
        for (i, typid) in extras.iter().enumerate() {
            entry(count + i, *typid, -1);
        }
        desc
    }
}

fn refuse_unusable_kind(relation: &OpenRelation, kind: u8, schema: &str, name: &str) {
    let what = match kind {
        pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => {
            if relation.is_other_temp() {
                Report::new(
                    SqlState::FeatureNotSupported,
                    "cannot access temporary tables of other sessions",
                )
                .raise()
            }
            return;
        }
        pg_sys::RELKIND_VIEW => "a view",
        pg_sys::RELKIND_MATVIEW => "a materialized view",
        pg_sys::RELKIND_FOREIGN_TABLE => "a foreign table",
        pg_sys::RELKIND_SEQUENCE => "a sequence",
        pg_sys::RELKIND_INDEX | pg_sys::RELKIND_PARTITIONED_INDEX => "an index",
        pg_sys::RELKIND_COMPOSITE_TYPE => "a composite type",
        _ => "a relation of another kind",
    };
    Report::new(
        SqlState::WrongObjectType,
        format!("cannot insert or verify rows in \"{name}\""),
    )
    .detail(format!(
        "\"{name}\" is {what}; only a table has the unique index that decides."
    ))
    .table(schema, name)
    .raise()
}

/// The name that is closest to `name`, if one is close.
fn closest_name<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // As core's, which compares characters of the server's encoding.
    let comparable = |name: &str| text::server_is_utf8() || name.is_ascii();
    if name.len() > pg_sys::NAMEDATALEN as usize * 2 || !comparable(name) {
        return None;
    }
    closest::closest(name, candidates.filter(|candidate| comparable(candidate)))
}

/// 42P01: there is no relation with this oid (any more).
pub fn no_relation(oid: pg_sys::Oid) -> Report {
    Report::new(
        SqlState::UndefinedTable,
        format!("relation with OID {} does not exist", oid.to_u32()),
    )
}

/// A relation that is open.
pub struct OpenRelation {
    relation: pg_sys::Relation,
    /// What is unlocked when it is closed; `NoLock` keeps the lock until the
    /// transaction ends.
    unlock: pg_sys::LOCKMODE,
}

const KEEP: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;
const SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

impl OpenRelation {
    /// Opens and locks it; the lock stays until the transaction ends.
    ///
    /// # Errors
    /// 42P01 if there is none with this oid (any more).
    pub fn open(oid: pg_sys::Oid) -> Self {
        Self::try_open(oid).unwrap_or_else(|| no_relation(oid).raise())
    }

    /// Opens and locks the relation with this oid; None if there is none.
    pub fn try_open(oid: pg_sys::Oid) -> Option<Self> {
        Self::locked(oid, KEEP)
    }

    /// Opens the relation with a lock that is released when it is closed, as functions of the
    /// server that look at a table's definition do it.
    pub fn try_open_briefly(oid: pg_sys::Oid) -> Option<Self> {
        Self::locked(oid, SHARE)
    }

    /// An index of a table that is locked, for a look. The lock on the index goes when it is
    /// closed; the table's own keeps it. Kept longer, it would be in the way of a REINDEX that
    /// an INSERT behind the look waits for on the table: a deadlock, where an INSERT alone
    /// has none.
    ///
    /// # Errors
    /// 42P01 if there is none with this oid (any more).
    pub fn open_index(oid: pg_sys::Oid) -> Self {
        Self::try_open_briefly(oid).unwrap_or_else(|| no_relation(oid).raise())
    }

    fn locked(oid: pg_sys::Oid, unlock: pg_sys::LOCKMODE) -> Option<Self> {
        // SAFETY: locks before it looks; null if there is no such relation.
        let relation = unsafe { pg_sys::try_relation_open(oid, SHARE) };
        (!relation.is_null()).then(|| Self { relation, unlock })
    }

    /// The same relation, open once more; the lock is the first one's.
    pub fn reopen(&self) -> Self {
        // SAFETY: open, and locked.
        unsafe { pg_sys::RelationIncrementReferenceCount(self.relation) };
        Self {
            relation: self.relation,
            unlock: KEEP,
        }
    }

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::Relation {
        self.relation
    }

    /// The relation's oid.
    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: open.
        unsafe { (*self.relation).rd_id }
    }

    /// The relation's row descriptor.
    pub fn desc(&self) -> pg_sys::TupleDesc {
        // SAFETY: open.
        unsafe { (*self.relation).rd_att }
    }

    /// Whether it is a partition.
    pub fn is_partition(&self) -> bool {
        // SAFETY: open.
        unsafe { (*(*self.relation).rd_rel).relispartition }
    }

    fn is_other_temp(&self) -> bool {
        // SAFETY: open.
        unsafe {
            (*(*self.relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
                && !(*self.relation).rd_islocaltemp
        }
    }
}

impl Drop for OpenRelation {
    fn drop(&mut self) {
        if !crate::pg::unwinding() {
            // SAFETY: opened by us. After an error the abort closes and unlocks it.
            unsafe { pg_sys::relation_close(self.relation, self.unlock) };
        }
    }
}
