//! The function of a cast, called as an expression would call it.
use crate::pg::ffi;
use pgrx::pg_sys;
use std::mem::{offset_of, size_of};

/// What the cast makes of a value, as the current user, who needs EXECUTE on its function, as
/// for the cast in a query: it may be SECURITY DEFINER. It may give NULL.
///
/// # Errors
/// 42501 in core's own words.
///
/// # Safety
/// `function` is set up for a function of one argument, and the value is of its type. Runs
/// inside `ffi::guard`.
pub unsafe fn cast_unguarded(
    function: *mut pg_sys::FmgrInfo,
    value: pg_sys::Datum,
) -> Option<pg_sys::Datum> {
    let size =
        offset_of!(pg_sys::FunctionCallInfoBaseData, args) + size_of::<pg_sys::NullableDatum>();
    // SAFETY: what core's macros for a call do: zeroed, with room for one argument. A
    // function that was looked up has an address.
    unsafe {
        check_execute_privilege((*function).fn_oid);
        let call: pg_sys::FunctionCallInfo = ffi::unguarded::palloc0(size).cast();
        (*call).flinfo = function;
        (*call).nargs = 1;
        (*(*call).args.as_mut_ptr()).value = value;
        let made = (*function).fn_addr.unwrap_unchecked()(call);
        (!(*call).isnull).then_some(made)
    }
}

/// # Safety
/// An existing function. Runs inside `ffi::guard`.
unsafe fn check_execute_privilege(function: pg_sys::Oid) {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_EXECUTE);
    // SAFETY: look-ups; raises what core raises.
    unsafe {
        let user = ffi::unguarded::GetUserId();
        #[cfg(feature = "pg15")]
        let result = ffi::unguarded::pg_proc_aclcheck(function, user, mode);
        #[cfg(not(feature = "pg15"))]
        let result = {
            let class = pg_sys::ProcedureRelationId;
            ffi::unguarded::object_aclcheck(class, function, user, mode)
        };
        if result != pg_sys::AclResult::ACLCHECK_OK {
            let name = ffi::unguarded::get_func_name(function);
            let kind = pg_sys::ObjectType::OBJECT_FUNCTION;
            ffi::unguarded::aclcheck_error(result, kind, name);
        }
    }
}
