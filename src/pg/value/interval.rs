//! Intervals of the server.
use crate::pg::ffi;
use pgrx::pg_sys;

/// An interval, in the memory of the call.
#[derive(Clone, Copy)]
pub struct Interval(pg_sys::Datum);

impl Interval {
    /// That in a datum.
    ///
    /// # Safety
    /// The datum is an interval, and lives as long as this and its copies.
    pub unsafe fn new(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }

    /// The datum.
    pub fn datum(self) -> pg_sys::Datum {
        self.0
    }

    /// The time that is later by it.
    ///
    /// # Errors
    /// 22008 if that is no time any more.
    pub fn after(self, time: pg_sys::TimestampTz) -> pg_sys::TimestampTz {
        let (add, none) = (ffi::functions::timestamptz_pl_interval, pg_sys::InvalidOid);
        let time = pg_sys::Datum::from(time);
        // SAFETY: core's own sum of the two types, which `new` and the signature promise.
        let sum = unsafe { pg_sys::DirectFunctionCall2Coll(Some(add), none, time, self.0) };
        sum.value() as i64
    }
}
