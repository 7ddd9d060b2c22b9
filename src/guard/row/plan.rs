//! What a guard has to know of its table before its first row, kept from one statement to the next: for a
//! statement of one row, to find it out again would cost more than to look the row up.
use super::super::config::GuardConfig;
use super::super::partitions::{has_later_update_trigger, resolve_definition};
use super::super::trigger_check;
use crate::error::OrRaise;
use crate::pg::call::trigger::FiredTrigger;
use crate::pg::transaction::relation_lock::lock_relation;
use crate::target::{OpenRelation, PerTable, Target, TriggerInfo, changes};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::rc::Rc;

thread_local! {
    static PLANS: ManuallyDrop<PerTable<Rc<GuardPlan>>> = PerTable::new();
}

/// A guard of one table (or partition), as long as no table changes.
pub struct GuardPlan {
    /// The state of the catalogs in which it was made.
    at: u64,
    /// The guarded table: for a partition, the root that the guard came from.
    pub target: Rc<Target>,
    /// The trigger on the table at hand.
    pub trigger: TriggerInfo,
    pub config: Rc<GuardConfig>,
    /// The part of the arbiter that is of the table at hand; `InvalidOid` if there is none.
    pub index: pg_sys::Oid,
    /// Where the target's columns are in the table at hand.
    pub numbers: Vec<pg_sys::AttrNumber>,
    /// How many columns of a row its key reaches into,
    pub key_columns: c_int,
    /// and what is compared.
    pub columns: c_int,
    /// Whether a BEFORE UPDATE trigger fires after the guard, and may do what it
    /// likes with the row.
    pub has_later_update_trigger: bool,
}

impl GuardPlan {
    /// That of an earlier statement, if nothing has changed since. The guarded table is locked.
    pub fn kept(fired: &FiredTrigger<'_>) -> Option<Rc<Self>> {
        let table = fired.table();
        let plan = PLANS.with(|plans| plans.get(table))?;
        if plan.target.oid != table {
            // Whoever inserts into a partition need not have locked the table that it is of.
            lock_relation(plan.target.oid, pg_sys::AccessShareLock);
        }
        let same = plan.trigger.oid == fired.definition().tgoid && plan.at == changes();
        same.then_some(plan)
    }

    /// Makes one for the trigger that has fired, and keeps it.
    ///
    /// # Errors
    /// As [`GuardConfig::of`]; 39P01 for a second guard; 55000 for a partition that has a guard of
    /// its own.
    pub fn make(table: &OpenRelation, trigger: TriggerInfo) -> Rc<Self> {
        let at = changes();
        let (target, original) = resolve_definition(table, trigger.clone());
        trigger_check::check_single_guard(&target).or_raise();
        let config = GuardConfig::of(&target, &original).or_raise();
        let triggers = table.triggers();
        let arbiter = config.arbiter(&target);
        let index = if target.oid == table.oid() {
            arbiter.oid
        } else {
            let index = table.index_of_ancestors(arbiter.oid);
            index.unwrap_or(pg_sys::InvalidOid)
        };
        let numbers = target.attnums_in(table.oid());
        let key_columns = last_number(&numbers, arbiter.columns());
        let compared = last_number(&numbers, config.compared.iter().copied());
        // A function of the running statement may have replaced the trigger that the executor fires.
        let is_current = triggers.contains(&trigger);
        let plan = Rc::new(Self {
            at,
            has_later_update_trigger: has_later_update_trigger(&triggers, &trigger.name),
            target,
            trigger,
            config,
            index,
            numbers,
            key_columns,
            columns: key_columns.max(compared),
        });
        // A catalog is refused by a setting, which may change.
        if is_current && !table.is_catalog() && changes() == at {
            PLANS.with(|plans| plans.insert(table.oid(), Rc::clone(&plan)));
        }
        plan
    }
}

/// The highest of these columns' numbers.
fn last_number(numbers: &[pg_sys::AttrNumber], columns: impl Iterator<Item = usize>) -> c_int {
    columns.map(|c| c_int::from(numbers[c])).max().unwrap_or(0)
}
