//! Interrupts: a cancelled statement, a timeout, the end of the session.

/// Looks for an interrupt. A loop over input calls it in every round.
///
/// # Errors
/// That of the interrupt: 57014, 57P01 and the like.
#[inline]
pub fn check() {
    pgrx::check_for_interrupts!();
}
