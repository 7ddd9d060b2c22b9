//! What a statement returns, as a JSON array of objects.
use super::spi::{Connection, Parameter, SpiPlan};
use crate::pg::function::RowToJsonb;
use crate::pg::memory::Scratch;
use crate::pg::rows::{ReceivedRows, Slot};
use crate::pg::value::jsonb::ArrayBuilder;
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
        let code = self.receive(plan, parameters, false, &mut received);
        if code < 0 {
            return Err(NoArray::NotRun(code));
        }
        let mut array = ArrayBuilder::default();
        let Some(mut rows) = (*received).into_rows() else {
            return Ok(array);
        };
        let mut row = Slot::for_stored(rows.desc());
        let to_jsonb = RowToJsonb::new();
        let each = Scratch::in_current(c"pg_idempotent row");
        while rows.next(&mut row) {
            pgrx::check_for_interrupts!();
            if !each.scope(|| to_jsonb.document(&row).add_to(&mut array)) {
                return Err(NoArray::TooLarge);
            }
            each.reset();
        }
        Ok(array)
    }
}
