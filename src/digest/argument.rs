//! The arguments of the support functions: the state of the aggregate, and the row that a call is
//! given, as one argument or column by column.
//!
//! What was looked up for it is kept as long as the calling expression, behind its `fn_extra`.
use super::encoding::{Canonical, ValueEncoding};
use super::row_encoder::RowEncoders;
use super::sink::Sink;
use super::tag;
use super::writer::Writer;
use crate::pg::call::entry::SqlCall;
use crate::pg::catalog::types;
use crate::pg::ffi;
use pg_idempotent_lthash::{Hash, LtHash};
use pgrx::{pg_guard, pg_sys};
use std::ffi::c_void;
use std::ptr;

/// What stays behind `fn_extra`.
pub(super) struct CallState<C> {
    pub(super) rows: RowEncoders,
    pub(super) writer: Writer,
    /// What the function itself keeps of its columns.
    pub(super) columns: C,
    callback: pg_sys::MemoryContextCallback,
}

/// How the columns are written that arguments give; none where the row is one argument.
#[derive(Default)]
pub(super) struct Columns {
    /// Of each argument; the last one is that of the members where they come as an array.
    pub(super) forms: Vec<ValueEncoding>,
    /// Whether the last argument is an array after VARIADIC, whose members are the columns.
    pub(super) in_array: bool,
}

/// The state that an argument is; None if it is NULL.
pub fn sum(call: SqlCall<'_>, i: usize) -> Option<&mut LtHash> {
    // SAFETY: the argument is declared as `internal`, which only the executor can hand over: it is
    // what a support function has returned for this aggregate. Each support function reads the second
    // state, if there is one, before it takes the first in hand.
    unsafe { call.state(i) }
}

/// The hash of a row, given to the running function as argument `i`; None if that is NULL. All
/// calls of an expression name the same argument.
///
/// # Errors
/// What core raises for values that it cannot read or show.
///
/// # Panics
/// If the argument is not declared as a record.
pub fn hash_of_row(call: SqlCall<'_>, i: usize) -> Option<Hash> {
    let row = call.arguments().datum(i)?;
    let look_up = |_| {
        assert_eq!(call.argument_type(i), Some(pg_sys::RECORDOID));
        Columns::default()
    };
    // SAFETY: ours, and used by one call at a time: an output function that runs this
    // very expression again would have to be called by it. The closure owns nothing and does not
    // panic; the row is one, as the declaration says, which was looked at for the first row.
    unsafe {
        let CallState { rows, writer, .. } = &mut *CallState::of_call(call, look_up);
        Some(rows.hash(writer, |rows, writer| {
            let row = ffi::unguarded::pg_detoast_datum(row.cast_mut_ptr());
            let (encoder, row) = rows.encoder_of(row.cast())?;
            rows.write(encoder, row, writer)
        }))
    }
}

/// The hash of the row whose columns are the arguments of the running function from `first` on:
/// that of the same values in one row. None if VARIADIC gives the last ones as an array that is
/// NULL. All calls of an expression name the same argument.
///
/// # Errors
/// What core raises for values that it cannot read or show.
pub fn hash_of_columns(call: SqlCall<'_>, first: usize) -> Option<Hash> {
    let look_up = |memory| {
        // SAFETY: the memory of the expression, which outlives what is kept with it.
        unsafe { Columns::of_call(call, first, memory) }
    };
    // SAFETY: as in `hash_of_row`. The values are of the types that were looked up for the first
    // call, which are those of the expression.
    unsafe {
        let state = &mut *CallState::of_call(call, look_up);
        let CallState {
            rows,
            writer,
            columns,
            ..
        } = state;
        let members = match columns.in_array {
            true => Some(call.values_and_members()?),
            false => None,
        };
        let values = &members.as_deref().unwrap_or(call.values())[first..];
        let (last, others) = columns.forms.split_last()?;
        Some(rows.hash(writer, |rows, writer| {
            for (i, value) in values.iter().enumerate() {
                if value.isnull {
                    writer.tag(tag::NULL);
                } else {
                    let form = others.get(i).unwrap_or(last);
                    form.write(value.value, rows, writer)?;
                }
            }
            Ok(())
        }))
    }
}

impl Columns {
    /// Those of a call, from argument `first` on.
    ///
    /// # Safety
    /// The memory outlives this.
    pub(super) unsafe fn of_call(
        call: SqlCall<'_>,
        first: usize,
        memory: pg_sys::MemoryContext,
    ) -> Self {
        let in_array = call.has_variadic_array();
        let count = call.values().len();
        let form = |i| {
            let typid = call.value_type(i);
            let member = || types::element(types::base(typid)).expect("the parser wants an array");
            let typid = match in_array && i + 1 == count {
                true => member(),
                false => typid,
            };
            // SAFETY: the caller's promise.
            unsafe { ValueEncoding::of_type(typid, Canonical::Portable, memory) }
        };
        Self {
            forms: (first..count).map(form).collect(),
            in_array,
        }
    }
}

impl<C> CallState<C> {
    /// That of the running expression. `look_up` is asked for its columns once, in its memory. All
    /// calls of an expression keep the same of them.
    pub(super) fn of_call(
        call: SqlCall<'_>,
        look_up: impl FnOnce(pg_sys::MemoryContext) -> C,
    ) -> *mut Self {
        // SAFETY: the running call's. `fn_extra` is the function's own; what is put there lives as long as
        // `fn_mcxt`, whose callback takes the box away.
        unsafe {
            let info = (*call.raw()).flinfo;
            if (*info).fn_extra.is_null() {
                let memory = (*info).fn_mcxt;
                let this = Box::into_raw(Box::new(Self {
                    rows: RowEncoders::new(memory, Canonical::Portable),
                    writer: Writer::new(),
                    columns: look_up(memory),
                    callback: pg_sys::MemoryContextCallback {
                        func: Some(on_context_reset::<C>),
                        arg: ptr::null_mut(),
                        next: ptr::null_mut(),
                    },
                }));
                (*this).callback.arg = this.cast();
                let callback = &raw mut (*this).callback;
                pg_sys::MemoryContextRegisterResetCallback(memory, callback);
                (*info).fn_extra = this.cast();
            }
            (*info).fn_extra.cast()
        }
    }
}

/// The expression's memory goes.
#[pg_guard]
unsafe extern "C-unwind" fn on_context_reset<C>(arg: *mut c_void) {
    // SAFETY: made by `of_call`, whose callback is called once.
    drop(unsafe { Box::from_raw(arg.cast::<CallState<C>>()) });
}
