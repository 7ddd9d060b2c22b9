//! Functions of the server that are looked up by their oid, and called as an expression would
//! call them.
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::rows::Slot;
use crate::pg::value::document::JsonbDatum;
use pgrx::pg_sys;
use std::mem::offset_of;
use std::ptr;

/// Looks a function up, in memory of the caller's choice.
///
/// # Safety
/// `function` exists, and `memory` outlives the result's use.
pub unsafe fn lookup_function(
    memory: pg_sys::MemoryContext,
    function: pg_sys::Oid,
) -> *mut pg_sys::FmgrInfo {
    // SAFETY: the caller's promise.
    unsafe {
        let info = pg_sys::MemoryContextAllocZero(memory, size_of::<pg_sys::FmgrInfo>())
            .cast::<pg_sys::FmgrInfo>();
        pg_sys::fmgr_info_cxt(function, info, memory);
        info
    }
}

/// Looks a function up, in memory that has an owner.
///
/// # Errors
/// XX000 if there is no such function.
pub fn function_in(memory: &Memory, function: pg_sys::Oid) -> *mut pg_sys::FmgrInfo {
    // SAFETY: core raises an error for a function that does not exist. The memory is valid while
    // its owner is borrowed; who uses the pointer answers for the rest.
    unsafe { lookup_function(memory.context(), function) }
}

/// `to_jsonb(anyelement)` for values of a type, which it learns from the call's
/// expression; a constant of the type serves.
///
/// # Safety
/// `memory` outlives the result's use.
pub unsafe fn to_jsonb_of(
    memory: pg_sys::MemoryContext,
    typid: pg_sys::Oid,
    typmod: i32,
    collation: pg_sys::Oid,
) -> *mut pg_sys::FmgrInfo {
    let oid = pg_sys::Oid::from(pg_sys::F_TO_JSONB);
    // SAFETY: the caller's promise.
    unsafe {
        let function = lookup_function(memory, oid);
        let caller = pg_sys::MemoryContextSwitchTo(memory);
        let argument = pg_sys::makeNullConst(typid, typmod, collation);
        (*function).fn_expr = pg_sys::makeFuncExpr(
            oid,
            pg_sys::JSONBOID,
            pg_sys::lappend(ptr::null_mut(), argument.cast()),
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        )
        .cast();
        pg_sys::MemoryContextSwitchTo(caller);
        function
    }
}

/// `to_jsonb` for rows of any registered type.
pub struct RowToJsonb {
    function: *mut pg_sys::FmgrInfo,
    /// What the function lives in.
    _memory: Memory,
}

impl RowToJsonb {
    /// Lives no longer than the current memory.
    pub fn new() -> Self {
        let memory = Memory::in_current(c"pg_idempotent to_jsonb");
        let (typid, collation) = (pg_sys::RECORDOID, pg_sys::InvalidOid);
        // SAFETY: the memory goes with what is returned.
        let function = unsafe { to_jsonb_of(memory.context(), typid, -1, collation) };
        Self {
            function,
            _memory: memory,
        }
    }

    /// An object, in the current context.
    ///
    /// # Errors
    /// XX000, in core's words, for a row whose type is not registered.
    ///
    /// # Panics
    /// If the slot holds no row.
    pub fn document(&self, row: &Slot) -> JsonbDatum {
        row.check_row();
        // SAFETY: the slot holds a row, which core makes a value of its type; the function gives a
        // jsonb.
        unsafe {
            let row = pg_sys::ExecFetchSlotHeapTupleDatum(row.raw());
            let none = pg_sys::InvalidOid;
            JsonbDatum::new(pg_sys::FunctionCall1Coll(self.function, none, row))
        }
    }
}

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
