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
//! The executor state is found in its memory, which is that of the rows' parent (see
//! [`super::statement`]): it is the first thing that the server makes there
//! (`CreateExecutorState`), and it says itself that this memory is its own. Where nothing is
//! found, the caller's rights judge, which can refuse what would be a duplicate, and show
//! nothing more. A hook into the start of statements would be too late: the extension's
//! library is loaded by the first call of a guard, when the statement has started.
use crate::pg::query_as::members;
use crate::target::Role;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::mem::{align_of, offset_of, size_of};

/// The executor state is within so many bytes behind the head of its memory, whose first
/// block has 8192.
const FAR_ENOUGH: usize = 1024;

/// The role with whose rights the rows go in for which a trigger is called.
///
/// # Safety
/// Called in a BEFORE ROW trigger, whose function data `function` is.
pub unsafe fn role_of_entry(function: *const pg_sys::FmgrInfo) -> Role {
    // SAFETY: the caller's promise: then the current memory is that of a row, below the
    // executor state's (`ExecBRInsertTriggers`).
    let role = unsafe {
        executor_state((*pg_sys::CurrentMemoryContext).parent)
            .and_then(|state| Some(check_as_user(state, target_of(state, function)?)))
    };
    Role::or_caller(role.unwrap_or(pg_sys::InvalidOid))
}

/// The executor state whose memory this is.
///
/// # Safety
/// The memory is valid.
unsafe fn executor_state<'s>(memory: pg_sys::MemoryContext) -> Option<&'s pg_sys::EState> {
    // SAFETY: a memory with this name and kind is one that `CreateExecutorState` makes: its
    // head lies at the start of a block of 8192 bytes, so what is read is in that block. What
    // is found is one only if it has its tag and refers to this very memory.
    unsafe {
        if memory.is_null()
            || (*memory).type_ != pg_sys::NodeTag::T_AllocSetContext
            || CStr::from_ptr((*memory).name) != c"ExecutorState"
        {
            return None;
        }
        let start = memory.cast::<u8>();
        (size_of::<pg_sys::MemoryContextData>()..FAR_ENOUGH)
            .step_by(align_of::<pg_sys::EState>())
            .map(|offset| start.add(offset))
            .find(|state| {
                let own = state.add(offset_of!(pg_sys::EState, es_query_cxt));
                state
                    .cast::<pg_sys::NodeTag>()
                    .cast::<u32>()
                    .read_unaligned()
                    == pg_sys::NodeTag::T_EState as u32
                    && own.cast::<pg_sys::MemoryContext>().read_unaligned() == memory
            })
            .map(|state| &*state.cast::<pg_sys::EState>())
    }
}

/// The target on whose triggers the executor calls by this data.
///
/// # Safety
/// The executor state is a running one.
unsafe fn target_of(
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
        let at = |index: pg_sys::Index| (index as usize).wrapping_sub(1);
        let mut entries = members::<pg_sys::RangeTblEntry>(state.es_range_table);
        let Some(entry) = entries.nth(at(named.ri_RangeTableIndex)) else {
            return pg_sys::InvalidOid;
        };
        #[cfg(feature = "pg15")]
        return (*entry).checkAsUser;
        #[cfg(not(feature = "pg15"))]
        return members::<pg_sys::RTEPermissionInfo>(state.es_rteperminfos)
            .nth(at((*entry).perminfoindex))
            .map_or(pg_sys::InvalidOid, |permissions| (*permissions).checkAsUser);
    }
}
