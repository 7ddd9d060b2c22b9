//! Conflicts that were set aside, and how they end; and payloads that the server refused.
//!
//! The records lie in `idempotent.conflict_records` and `idempotent.rejection_records`, to which no
//! user has rights; users read the views `idempotent.conflicts` and `idempotent.rejections`. Every role that may write to a target
//! may cause a record, so the extension writes them itself, as the table's
//! owner ([`crate::user_context`]), and never through anything that can be called from SQL.
mod record_writer;
mod records;
mod rejections;
mod resolve;
mod row_by_values;

pub use records::ConflictRecorder;
pub use rejections::RejectionRecorder;

use crate::error::with_error_capture;
use crate::pg::call::entry::SqlCall;
use pgrx::prelude::*;

/// `idempotent_resolve(id bigint, resolution text) → boolean`: ends a conflict
/// of `idempotent.conflicts`.
///
/// `'keep_stored'` leaves the table as it is; `'apply_payload'` updates the
/// columns that differ. Gives true if this call ended it, false if it was ended
/// in the same way before.
///
/// # Errors
/// 22023 for another resolution, 42704 for an id that does not exist or that
/// the caller may not see, 42501 without UPDATE on the columns, 55000 if it was
/// ended in the other way, or if the stored row has changed since.
#[pg_extern(sql = false)]
fn idempotent_resolve(call: SqlCall<'_>) -> bool {
    let arguments = call.arguments();
    with_error_capture(|| {
        resolve::resolve(arguments.bigint(0, "id"), &arguments.text(1, "resolution"))
    })
}
