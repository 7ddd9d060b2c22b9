//! What a guard has to know and to open before its first row.
use super::super::config::GuardConfig;
use super::super::key_lock::KeyHashSeeds;
use super::super::omitted::StatementDefaults;
use super::super::options::ConflictAction;
use super::super::own_insert::own_insert_arbiter;
use super::super::partitions::{has_later_update_trigger, resolve_definition};
use super::super::statement::StatementState;
use super::super::trigger_check;
use super::key::ComputedKey;
use super::{Guard, GuardMode};
use crate::error::OrRaise;
use crate::pg::call::trigger::FiredTrigger;
use crate::pg::transaction::snapshot::uses_transaction_snapshot;
use crate::target::{OpenRelation, Role, Scan, TriggerInfo, row_security_is_active_for};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::rc::Rc;

impl Guard {
    /// Opens what the guard of a table needs in the running statement, in the current memory,
    /// which is the statement's. `trigger` is what has `fired`; rows go in with the rights of
    /// `role`.
    ///
    /// # Errors
    /// As [`GuardConfig::of`]; 55000 for a partition that has a guard of its own.
    pub fn open(
        fired: &FiredTrigger<'_>,
        statement: Rc<StatementState>,
        trigger: TriggerInfo,
        role: Role,
    ) -> Self {
        let oid = fired.table();
        let table = OpenRelation::open(oid);
        let has_later_update_trigger = has_later_update_trigger(&table, &trigger.name);
        let (target, original) = resolve_definition(&table, trigger.clone());
        trigger_check::check_single_guard(&target).or_raise();
        let config = GuardConfig::of(&target, &original).or_raise();
        let arbiter = config.arbiter(&target);
        let index = if target.oid == oid {
            arbiter.oid
        } else {
            let index = table.index_of_ancestors(arbiter.oid);
            index.unwrap_or(pg_sys::InvalidOid)
        };
        let numbers = target.attnums_in(oid);
        let key_columns = last_number(&numbers, arbiter.columns());
        let compared = last_number(&numbers, config.compared.iter().copied());
        let index = OpenRelation::open(index);
        let computed_key = ComputedKey::of(&target, arbiter, &table, &index);
        let mode = GuardMode::of(fired, &table, arbiter.oid, &index).under(config.on_conflict);
        let mut scan = Scan::by_equality_dirty(&table, &index, arbiter);
        scan.skip_deforming();
        let by_policy = row_security_is_active_for(&target, role);
        let simple = mode == GuardMode::Judge
            && !by_policy
            && config.remember.is_none()
            && !uses_transaction_snapshot();
        Self {
            statement,
            computed_key,
            key_columns,
            columns: key_columns.max(compared),
            target,
            trigger,
            seeds: match mode {
                // The secret might not be to be had.
                GuardMode::Observe | GuardMode::Ignore => KeyHashSeeds::without_secret(),
                _ => config.key_hasher.seeds(),
            },
            defaults: StatementDefaults::new(&config.compared_if_supplied),
            config,
            numbers,
            mode,
            simple,
            role,
            by_policy,
            has_later_update_trigger,
            scan,
            index,
            table,
        }
    }
}

impl GuardMode {
    /// What is to be done with the rows of the running statement that come to a table whose
    /// guard is decided by `arbiter`, of which `index` is the part that is this table's.
    fn of(
        fired: &FiredTrigger<'_>,
        table: &OpenRelation,
        arbiter: pg_sys::Oid,
        index: &OpenRelation,
    ) -> Self {
        let Some(ours) = own_insert_arbiter() else {
            let statement = fired.statement();
            let is_merge = statement
                .is_some_and(|running| running.only_merges_into(|t| is_self_or_ancestor(t, table)));
            return if is_merge {
                Self::PassThrough
            } else {
                Self::Judge
            };
        };
        let decided_by_ours =
            ours == arbiter || ours == index.oid() || index.partition_ancestors().contains(&ours);
        if decided_by_ours {
            Self::SkipStored
        } else {
            Self::PassThrough
        }
    }

    /// That of a guard which does this about conflicts.
    fn under(self, on_conflict: ConflictAction) -> Self {
        match (on_conflict, self) {
            (ConflictAction::Observe, Self::Judge) => Self::Observe,
            (ConflictAction::Observe, _) => Self::Ignore,
            (_, mode) => mode,
        }
    }
}

/// The highest of these columns' numbers.
fn last_number(numbers: &[pg_sys::AttrNumber], columns: impl Iterator<Item = usize>) -> c_int {
    columns.map(|c| c_int::from(numbers[c])).max().unwrap_or(0)
}

/// Whether a table is this one, or a partitioned table that it is in.
fn is_self_or_ancestor(table: pg_sys::Oid, of: &OpenRelation) -> bool {
    table == of.oid() || of.partition_ancestors().contains(&table)
}
