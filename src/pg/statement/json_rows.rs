//! What a statement returns, as a JSON array of objects.
use super::spi::{Connection, Parameter, SpiPlan};
use crate::pg::function::to_jsonb_of;
use crate::pg::memory::Memory;
use crate::pg::rows::{ReceivedRows, Slot};
use crate::pg::value::jsonb::ArrayBuilder;
use pgrx::pg_sys;
use std::ffi::c_int;

/// Why there is no array.
pub enum NoArray {
    /// The code that SPI has for what it does not run.
    NotRun(c_int),
    /// It would be more than a jsonb holds.
    TooLarge,
}

impl Connection {
    /// Runs a kept plan of any kind, and gives its rows. They take the room of their array, and
    /// that of one row more.
    ///
    /// # Errors
    /// What the statement raises.
    pub fn json_rows(
        &self,
        plan: &SpiPlan,
        parameters: &[Parameter<'_>],
    ) -> Result<ArrayBuilder, NoArray> {
        let mut received = ReceivedRows::new();
        let code = self.receive(plan, parameters, &mut received);
        if code < 0 {
            return Err(NoArray::NotRun(code));
        }
        let mut array = ArrayBuilder::default();
        let Some(mut rows) = (*received).into_rows() else {
            return Ok(array);
        };
        let mut row = Slot::for_stored(rows.desc());
        let scratch = Memory::in_current(c"pg_idempotent response");
        let each = Memory::in_current(c"pg_idempotent row");
        // SAFETY: the function lives in `scratch`.
        let to_jsonb =
            unsafe { to_jsonb_of(scratch.context(), pg_sys::RECORDOID, -1, pg_sys::InvalidOid) };
        while rows.next(&mut row) {
            pgrx::check_for_interrupts!();
            // SAFETY: the slot holds a row of a registered type; the function gives an
            // object, which is fresh.
            let fits = each.scope(|| unsafe {
                let row = pg_sys::ExecFetchSlotHeapTupleDatum(row.raw());
                array.document(pg_sys::FunctionCall1Coll(to_jsonb, pg_sys::InvalidOid, row))
            });
            if !fits {
                return Err(NoArray::TooLarge);
            }
            each.reset();
        }
        Ok(array)
    }
}
