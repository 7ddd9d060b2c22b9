//! What the current user may do, by the catalogs alone: no policy is evaluated, no hook asked.
use crate::pg::backend::current_user;
use crate::pg::ffi::plain;
use pgrx::pg_sys;

/// Whether the current user has the privileges of a role.
pub fn has_privileges_of(role: pg_sys::Oid) -> bool {
    plain::has_privs_of_role(current_user(), role)
}

/// Whether the current user may SELECT and UPDATE a whole relation, which exists, and all of its
/// rows: no policy is in force for them. One that has gone meanwhile is core's error.
///
/// # Errors
/// 42P01
pub fn may_select_and_update(relation: pg_sys::Oid) -> bool {
    let may = |right: u32| {
        let right = right as pg_sys::AclMode;
        let result = plain::pg_class_aclcheck(relation, current_user(), right);
        result == pg_sys::AclResult::ACLCHECK_OK
    };
    may(pg_sys::ACL_SELECT) && may(pg_sys::ACL_UPDATE) && !has_policies_in_force(relation)
}

/// Whether policies restrict what the current user sees and changes of a relation.
fn has_policies_in_force(relation: pg_sys::Oid) -> bool {
    let state = plain::check_enable_rls(relation, pg_sys::InvalidOid, true);
    state == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
}
