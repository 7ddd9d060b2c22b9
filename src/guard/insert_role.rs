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
use crate::pg::list::{member, members};
use crate::target::Role;
use pgrx::pg_sys;

/// The role with whose rights the rows go in for which a trigger is called.
///
/// # Safety
/// The executor state is the one that runs, and that called a BEFORE ROW trigger by this
/// function data.
pub unsafe fn insert_role(
    state: Option<&pg_sys::EState>,
    function: *const pg_sys::FmgrInfo,
) -> Role {
    // SAFETY: the caller's promise.
    let role = state.and_then(|state| unsafe {
        Some(check_as_user(state, result_rel_info_of(state, function)?))
    });
    Role::or_caller(role.unwrap_or(pg_sys::InvalidOid))
}

/// The target on whose triggers the executor calls by this data.
///
/// # Safety
/// The executor state is a running one.
unsafe fn result_rel_info_of(
    state: &pg_sys::EState,
    function: *const pg_sys::FmgrInfo,
) -> Option<&pg_sys::ResultRelInfo> {
    // SAFETY: lists of targets, each with function data for all of its triggers.
    unsafe {
        members::<pg_sys::ResultRelInfo>(state.es_opened_result_relations)
            .chain(members(state.es_tuple_routing_result_relations))
            .map(|target| &*target)
            .find(|target| {
                let functions = target.ri_TrigFunctions.cast_const();
                !functions.is_null()
                    && target.ri_TrigDesc.as_ref().is_some_and(|triggers| {
                        let count = triggers.numtriggers as usize;
                        (functions..functions.add(count)).contains(&function)
                    })
            })
    }
}

/// The user that the server checks the rights of for a target, or `InvalidOid` for the current
/// one. For a partition it is that of the table that the statement names.
///
/// # Safety
/// The target is one of this running executor state.
unsafe fn check_as_user(state: &pg_sys::EState, target: &pg_sys::ResultRelInfo) -> pg_sys::Oid {
    // SAFETY: the caller's promise; indexes into lists count from 1.
    unsafe {
        let named = target.ri_RootResultRelInfo.as_ref().unwrap_or(target);
        let range_table = state.es_range_table;
        let Some(entry) = member::<pg_sys::RangeTblEntry>(range_table, named.ri_RangeTableIndex)
        else {
            return pg_sys::InvalidOid;
        };
        #[cfg(feature = "pg15")]
        return (*entry).checkAsUser;
        #[cfg(not(feature = "pg15"))]
        return member::<pg_sys::RTEPermissionInfo>(state.es_rteperminfos, (*entry).perminfoindex)
            .map_or(pg_sys::InvalidOid, |permissions| (*permissions).checkAsUser);
    }
}
