//! With whose rights a row goes in.
//!
//! What is inserted through a view, or by a rule, goes in with the rights of the owner of the
//! view or of the rule's table; a view with `security_invoker` takes those of its user. The
//! server notes it in the range table of the running statement, where a trigger is not led:
//! what a trigger is told does not say which executor state it is called by. But the executor
//! calls a trigger by function data of its own, which are an array of the target that it works
//! on; so among the targets of the executor state the array tells which one it is, also where
//! one statement inserts into a table twice, with other rights each time.
//!
//! Where no executor state is found (see [`executor`](crate::pg::statement::executor)), the caller's
//! rights judge, which can refuse what would be a duplicate, and show nothing more.
use crate::pg::call::trigger::FiredTrigger;
use crate::target::Role;
use pgrx::pg_sys;

/// The role with whose rights the rows go in for which a trigger is called.
pub fn insert_role(trigger: &FiredTrigger<'_>) -> Role {
    Role::or_caller(trigger.checked_user().unwrap_or(pg_sys::InvalidOid))
}
