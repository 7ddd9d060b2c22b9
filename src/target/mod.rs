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
//!   `pg_partitioned_table`, see [`IndexDefinition`](crate::pg::relation::index::IndexDefinition) and
//!   [`partition_key_columns`].
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
//!
//! The expressions and the condition of a key's index are evaluated by the extension itself, to
//! find out under which key a row is: as the caller, as in a plain INSERT; but for one who has the
//! owner's rights anyway, with these alone ([`IndexValues`](crate::pg::statement::evaluator::IndexValues)).
//! The functions do so, the guard, the view, load, merge, reconcile and the resolution of a conflict,
//! for the rows that they are given; never who looks (the view `idempotent.guards`, the lint,
//! `idempotent_guard`), to whom the key is its text.
#[forbid(unsafe_code)]
mod access;
#[forbid(unsafe_code)]
mod arbiter;
#[forbid(unsafe_code)]
mod as_read;
#[forbid(unsafe_code)]
mod cache;
#[forbid(unsafe_code)]
mod closest;
#[forbid(unsafe_code)]
mod column;
#[forbid(unsafe_code)]
mod declared;
#[forbid(unsafe_code)]
mod default;
#[forbid(unsafe_code)]
mod default_kind;
#[forbid(unsafe_code)]
mod dependencies;
#[forbid(unsafe_code)]
mod effects;
#[forbid(unsafe_code)]
mod key;
#[forbid(unsafe_code)]
mod key_column;
#[forbid(unsafe_code)]
mod key_lookup;
#[forbid(unsafe_code)]
mod merge_scan;
#[forbid(unsafe_code)]
mod names;
#[forbid(unsafe_code)]
mod object;
#[forbid(unsafe_code)]
mod partition;
#[forbid(unsafe_code)]
mod placement;
#[forbid(unsafe_code)]
mod policies;
#[forbid(unsafe_code)]
mod privileges;
#[forbid(unsafe_code)]
mod remedy;
mod remote_name;
#[forbid(unsafe_code)]
mod rows;
mod scan;
mod stored_row;
#[forbid(unsafe_code)]
mod triggers;

pub use access::insert_access;
pub use arbiter::most_plain;
pub use as_read::{Parameters, is_equal};
pub use cache::{
    PerTable, PerTarget, TargetId, changes, function_changes, register_invalidation_callbacks,
    watch, watched_changes,
};
pub use column::Column;
pub use default::ColumnDefault;
pub use default_kind::DefaultKind;
pub use key::{KeyElement, UniqueIndex, equal, is_null};
pub use key_column::KeyColumn;
pub use key_lookup::KeyLookup;
pub use partition::{
    PartitionKeyColumns, PartitionRouter, ancestor_partition_columns, partition_key_columns,
};
pub use placement::Placement;
pub use policies::{hidden_by_policy, kept_by_policy, policies_show};
pub use privileges::{
    Role, VisibleColumns, check_any_privilege, check_insert_privileges, check_merge_privileges,
    check_overwrite_privileges, check_ownership, check_repair_privileges, check_resolve_privileges,
    has_any_privilege, may_read, may_select, may_truncate, note_values_shown,
    row_security_is_active, row_security_is_active_for,
};
pub use remote_name::name_on_other_server;
pub use scan::{Scan, Writer};
pub use stored_row::{StoredRow, first_difference, same_tuple};
pub use triggers::{is_guard_function, may_change_updates};

// Where the rooms above look for them.
pub use crate::pg::relation::{OpenRelation, TriggerInfo, attribute_name, no_relation};

use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::rows::RowDesc;
use crate::pg::transaction::{locks, relation_lock};
use pgrx::pg_sys;
use std::collections::HashMap;
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
    /// Where its rows are.
    placement: Placement,
    /// Whether it is a foreign table, see [`Target::open_foreign`].
    pub foreign: bool,
    /// Whether a rule rewrites INSERT or UPDATE, with which ON CONFLICT cannot be
    /// used.
    pub has_write_rules: bool,
    /// Whether code of others may touch its rows while a row goes in: BEFORE and
    /// AFTER row triggers other than guards (a partitioned table's partitions may
    /// have some of their own). Then only the INSERT itself can tell what went
    /// in.
    pub triggers_touch_rows: bool,
    /// Whether BEFORE INSERT row triggers other than guards may change a row, its key among it, or
    /// suppress it.
    pub before_insert_triggers: bool,
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
    /// The positions of its columns in the order in which jsonb keeps their names: an object that is
    /// made in that order needs no sorting.
    pub in_json_order: Vec<usize>,
    /// Its unique indexes, usable as arbiter or not.
    pub indexes: Vec<UniqueIndex>,
    /// The expressions in the keys of these, as if they were columns: their positions are behind
    /// those of the columns, see [`Target::column`].
    pub key_expressions: Vec<Column>,
    by_name: HashMap<Vec<u8>, usize>,
    row_desc: RowDesc,
    columns_desc: RowDesc,
    /// The guards on it, those cloned from a partitioned table included.
    pub guards: Vec<TriggerInfo>,
    /// What columns and indexes point into.
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
        relation_lock::lock_relation(oid, locks::working_lock_mode() as u32);
        Self::of(OpenRelation::open_locked(oid))
    }

    /// Takes the lock of the writing on the table and on every partition, for a caller who
    /// reads it in statements that open the indexes of all of them. It comes before any of
    /// these indexes is opened, see [`Target::open_to_write`].
    pub fn lock_to_write(&self) {
        let mode = locks::working_lock_mode();
        relation_lock::lock_relation(self.oid, mode as u32);
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
        // A setting can change whether this is one.
        effects::refuse_catalog(&relation);
        if let Some(target) = TARGETS.with(|targets| targets.get(oid)) {
            return (target, relation);
        }
        let before = changes();
        effects::refuse_unusable_kind(&relation);
        let target = Rc::new(Self::gather(&relation));
        // What was gathered while something changed is used, but not kept.
        if changes() == before {
            TARGETS.with(|targets| targets.insert(oid, Rc::clone(&target)));
        }
        (target, relation)
    }

    fn gather(relation: &OpenRelation) -> Self {
        let (schema, name, kind) = (relation.schema(), relation.name(), relation.kind());
        let triggers::InsertTriggers {
            guards,
            before_rows,
            after_rows,
        } = triggers::InsertTriggers::of_relation(relation);
        let memory = Memory::in_cache(c"pg_idempotent target");
        let columns = Column::of_relation(relation, &memory);
        let mut key_expressions = Vec::new();
        let indexes = UniqueIndex::of_relation(relation, &columns, &mut key_expressions, &memory);
        let by_name = columns
            .iter()
            .enumerate()
            .map(|(i, c)| (c.c_name.to_bytes().to_vec(), i))
            .collect();
        Self {
            id: TargetId::next(relation.oid()),
            oid: relation.oid(),
            schema_oid: relation.schema_oid(),
            schema,
            name,
            partitioned: kind == pg_sys::RELKIND_PARTITIONED_TABLE,
            placement: Placement::of(relation.oid()),
            foreign: kind == pg_sys::RELKIND_FOREIGN_TABLE,
            triggers_touch_rows: kind == pg_sys::RELKIND_PARTITIONED_TABLE
                || before_rows
                || after_rows,
            before_insert_triggers: before_rows,
            after_insert_triggers: after_rows,
            has_write_rules: effects::has_write_rules(relation),
            skip_has_no_effect: !before_rows && effects::skip_has_no_effect(relation),
            can_chunk: !relation.has_insert_statement_triggers() && !after_rows,
            row_desc: rows::row_desc(&columns, &key_expressions, &rows::ROW_EXTRAS),
            columns_desc: rows::row_desc(&columns, &[], &[]),
            in_json_order: rows::json_order(&columns),
            columns,
            key_expressions,
            indexes,
            by_name,
            guards,
            _memory: memory,
        }
    }
}
