//! Of the room `pg`.
pub mod hash;
pub mod value;

/// In place of the server's interrupts: there are none here.
pub mod interrupt {
    /// Does nothing.
    pub fn check() {}
}
