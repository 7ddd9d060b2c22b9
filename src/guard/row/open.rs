//! What a guard has to know and to open before its first row.
use super::super::key_lock::KeyHashSeeds;
use super::super::omitted::StatementDefaults;
use super::super::options::ConflictAction;
use super::super::own_insert::own_insert_arbiter;
use super::super::statement::StatementState;
use super::look::ComputedKey;
use super::{Guard, GuardMode, GuardPlan};
use crate::pg::call::trigger::FiredTrigger;
use crate::pg::relation::partition::index_is_under;
use crate::pg::transaction::snapshot::uses_transaction_snapshot;
use crate::stats::{Form, Recorder};
use crate::target::{OpenRelation, Role, Scan, row_security_is_active_for};
use pgrx::pg_sys;
use std::rc::Rc;

impl Guard {
    /// Opens what the guard of a table needs in the running statement, in the current memory,
    /// which is the statement's. `plan` is that of the trigger that has `fired`; rows go in with the
    /// rights of `role`.
    pub fn open(
        fired: &FiredTrigger<'_>,
        statement: Rc<StatementState>,
        plan: Rc<GuardPlan>,
        role: Role,
    ) -> Self {
        let table = OpenRelation::of_fired(fired);
        let index = OpenRelation::open(plan.index);
        let (target, config) = (Rc::clone(&plan.target), Rc::clone(&plan.config));
        let arbiter = config.arbiter(&target);
        let computed_key = ComputedKey::of(&target, arbiter, &table, &index);
        let mode = GuardMode::of(fired, &table, arbiter.oid, &index).under(config.on_conflict);
        let mut scan = Scan::by_equality_dirty(&table, &index, arbiter);
        scan.skip_deforming();
        let by_policy = row_security_is_active_for(&target, role);
        let simple = mode == GuardMode::Judge
            && !by_policy
            && config.remember.is_none()
            && !uses_transaction_snapshot();
        let counts = match mode {
            GuardMode::Judge => Recorder::open(target.oid, Form::Guard),
            GuardMode::Observe => Recorder::open(target.oid, Form::Observe),
            // Who writes the rows counts them.
            _ => Recorder::nobody(),
        };
        Self {
            statement,
            counts,
            computed_key,
            target,
            seeds: match mode {
                // The secret might not be to be had.
                GuardMode::Observe | GuardMode::Ignore => KeyHashSeeds::without_secret(),
                _ => config.key_hasher.seeds(),
            },
            defaults: StatementDefaults::new(&config.compared_if_supplied),
            config,
            plan,
            mode,
            simple,
            role,
            by_policy,
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
            ours == arbiter || ours == index.oid() || index_is_under(index.oid(), ours);
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

/// Whether a table is this one, or a partitioned table that it is in.
fn is_self_or_ancestor(table: pg_sys::Oid, of: &OpenRelation) -> bool {
    table == of.oid() || of.partition_ancestors().contains(&table)
}
