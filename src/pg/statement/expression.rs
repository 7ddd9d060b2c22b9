//! Expressions of the server, prepared by it and evaluated row by row.
use pgrx::pg_sys;

/// The expression's value, in the context's per-row memory.
///
/// # Safety
/// Both belong to one executor state. Runs inside `ffi::guard`.
pub unsafe fn evaluate(
    state: &mut pg_sys::ExprState,
    context: &mut pg_sys::ExprContext,
    null: &mut bool,
) -> pg_sys::Datum {
    // SAFETY: what core's inline ExecEvalExprSwitchContext does; a prepared
    // expression has its function.
    unsafe {
        let caller = pg_sys::MemoryContextSwitchTo(context.ecxt_per_tuple_memory);
        let function = state.evalfunc.unwrap_unchecked();
        let value = function(state, context, null);
        pg_sys::MemoryContextSwitchTo(caller);
        value
    }
}
