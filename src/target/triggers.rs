//! The triggers of a table that fire when rows go in, and which are guards.
use super::OpenRelation;
use super::dependencies::depend_on_function;
use crate::pg::catalog::function::FunctionSource;
use crate::pg::relation::TriggerInfo;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The symbol of the trigger function, by which guards are known whatever schema
/// the extension is in.
const GUARD_SYMBOL: &CStr = c"idempotent_guard_trigger_wrapper";

/// What fires when rows go in.
pub struct InsertTriggers {
    /// Guards, in the order in which they fire.
    pub guards: Vec<TriggerInfo>,
    /// Whether there are BEFORE INSERT row triggers that are no guards.
    pub before_rows: bool,
    /// Whether there are AFTER INSERT row triggers.
    pub after_rows: bool,
}

impl InsertTriggers {
    /// Those of an open table.
    pub fn of_relation(relation: &OpenRelation) -> Self {
        let after_rows = relation.trigger_events().after_insert_row;
        let (guards, others): (Vec<TriggerInfo>, Vec<TriggerInfo>) = relation
            .triggers()
            .into_iter()
            .inspect(|trigger| depend_on_function(trigger.function))
            .partition(|trigger| is_guard_function(trigger.function));
        let before = (pg_sys::TRIGGER_TYPE_ROW
            | pg_sys::TRIGGER_TYPE_BEFORE
            | pg_sys::TRIGGER_TYPE_INSERT) as i16;
        Self {
            guards,
            before_rows: others.iter().any(|other| other.kind & before == before),
            after_rows,
        }
    }
}

/// Whether a trigger of an open table may change what an UPDATE writes.
pub fn may_change_updates(relation: &OpenRelation) -> bool {
    let before = (pg_sys::TRIGGER_TYPE_ROW
        | pg_sys::TRIGGER_TYPE_BEFORE
        | pg_sys::TRIGGER_TYPE_UPDATE) as i16;
    relation.trigger_events().before_update_row
        && relation
            .triggers()
            .iter()
            .any(|other| other.kind & before == before && !is_guard_function(other.function))
}

/// Whether this is our trigger function.
pub fn is_guard_function(function: pg_sys::Oid) -> bool {
    FunctionSource::find(function)
        .is_some_and(|body| body.is_c() && body.source.as_c_str() == GUARD_SYMBOL)
}
