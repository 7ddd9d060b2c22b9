//! `idempotent_digest(record)`: a checksum of a set of rows that depends on no order.
//!
//! Each row becomes canonical bytes ([`encoding`], [`writer`]), these a SHA-256, this a long
//! vector, and the vectors are added ([`lthash`]). So one multiset of rows has one digest, in
//! whatever order and by however many processes it is read; and since a row can be taken out of a
//! sum again, moving window frames cost no more than the rows that come and go.
//!
//! The aggregate is declared under `sql/`; these are its support functions, whose state
//! is of type `internal`, so that nobody but the executor can call them.
mod decimal;
mod document;
pub mod encoding;
mod lthash;
mod number;
pub mod row_encoder;
pub mod sort_key;
pub mod writer;

use crate::error::{Report, SqlState, with_error_capture};
use crate::pg::call::arguments::Arguments;
use crate::pg::call::result::SqlResult;
use crate::pg::hash::sha256::to_bytea;
use crate::pg::value::text;
use lthash::LtHash;
use pgrx::prelude::*;

/// Adds a row to the state. NULL, which is no row, changes nothing.
#[pg_extern(sql = false)]
fn idempotent_digest_add(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: the running call's, an aggregate's, with a record for argument.
        unsafe {
            let arguments = Arguments::new(fcinfo);
            let state = state_of(fcinfo, &arguments);
            if let Some(row) = arguments.datum(1) {
                (*state).add(&row_encoder::hash(fcinfo, row));
            }
            SqlResult::datum(pg_sys::Datum::from(state))
        }
    })
}

/// Takes a row out of the state that leaves a moving window frame.
#[pg_extern(sql = false)]
fn idempotent_digest_remove(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: as `idempotent_digest_add`.
        unsafe {
            let arguments = Arguments::new(fcinfo);
            let state = state_of(fcinfo, &arguments);
            if let Some(row) = arguments.datum(1) {
                (*state).remove(&row_encoder::hash(fcinfo, row));
            }
            SqlResult::datum(pg_sys::Datum::from(state))
        }
    })
}

/// Adds the second state to the first.
#[pg_extern(sql = false)]
fn idempotent_digest_combine(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: the running call's, an aggregate's, with two states for arguments.
        unsafe {
            let arguments = Arguments::new(fcinfo);
            let state = state_of(fcinfo, &arguments);
            if let Some(other) = arguments.datum(1) {
                (*state).merge(&*other.cast_mut_ptr::<LtHash>());
            }
            SqlResult::datum(pg_sys::Datum::from(state))
        }
    })
}

/// The state as a bytea, for another process.
#[pg_extern(sql = false)]
fn idempotent_digest_serialize(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: the running call's, with a state for argument; the function is strict.
        let bytes = unsafe {
            let state = Arguments::new(fcinfo).required(0, "state");
            (*state.cast_mut_ptr::<LtHash>()).to_bytes()
        };
        SqlResult::datum(to_bytea(&bytes))
    })
}

/// The state of another process.
#[pg_extern(sql = false)]
fn idempotent_digest_deserialize(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: the running call's, with a bytea for argument; the function is strict.
        let sum = unsafe {
            let bytes = Arguments::new(fcinfo).required(0, "bytes");
            let bytes = pg_sys::pg_detoast_datum_packed(bytes.cast_mut_ptr());
            LtHash::of_bytes(document::content_of(pg_sys::Datum::from(bytes)))
        };
        let sum = sum.unwrap_or_else(|| {
            Report::new(SqlState::InvalidParameterValue, "invalid state of a digest").raise()
        });
        // SAFETY: the current context is the one that states are wanted in.
        SqlResult::datum(pg_sys::Datum::from(unsafe {
            keep(&sum, pg_sys::CurrentMemoryContext)
        }))
    })
}

/// The digest. It may be asked for more than once, and rows may be added afterwards.
#[pg_extern(sql = false)]
fn idempotent_digest_text(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: the running call's, with a state for argument, or NULL if there was no
        // row.
        let digest = unsafe {
            let state = Arguments::new(fcinfo).datum(0);
            state.map_or_else(
                || LtHash::NONE.to_text(),
                |state| (*state.cast_mut_ptr::<LtHash>()).to_text(),
            )
        };
        SqlResult::datum(text::to_text(&digest))
    })
}

/// The state that is the first argument, or a new one, in the aggregate's memory.
///
/// # Safety
/// `fcinfo` is that of the running call, and the arguments are its own.
unsafe fn state_of(fcinfo: pg_sys::FunctionCallInfo, arguments: &Arguments) -> *mut LtHash {
    if let Some(state) = arguments.datum(0) {
        return state.cast_mut_ptr();
    }
    let mut memory = std::ptr::null_mut();
    // SAFETY: the running call's; core gives the aggregate's memory if it is one's.
    unsafe {
        if pg_sys::AggCheckCallContext(fcinfo, &raw mut memory) == 0 {
            Report::new(
                SqlState::FeatureNotSupported,
                "support function of an aggregate called outside an aggregate",
            )
            .raise()
        }
        keep(&LtHash::NONE, memory)
    }
}

/// # Safety
/// A valid context.
unsafe fn keep(sum: &LtHash, memory: pg_sys::MemoryContext) -> *mut LtHash {
    // SAFETY: as much memory as is written.
    unsafe {
        let kept = pg_sys::MemoryContextAlloc(memory, size_of::<LtHash>()).cast::<LtHash>();
        kept.write(sum.clone());
        kept
    }
}
