//! Intervals of the server.
use crate::pg::ffi;
use pgrx::pg_sys;

/// An interval.
#[derive(Clone, Copy)]
pub struct Interval(pg_sys::Interval);

impl Interval {
    /// That in a datum.
    ///
    /// # Safety
    /// The datum is an interval.
    pub unsafe fn new(datum: pg_sys::Datum) -> Self {
        // SAFETY: the caller's promise; an interval has one size, and is copied.
        Self(unsafe { *datum.cast_mut_ptr() })
    }

    /// Its datum, in the current context.
    pub fn to_datum(self) -> pg_sys::Datum {
        // SAFETY: as much memory as is written, aligned as the server aligns all memory.
        unsafe {
            let copy = pg_sys::palloc(size_of::<pg_sys::Interval>()).cast::<pg_sys::Interval>();
            *copy = self.0;
            pg_sys::Datum::from(copy)
        }
    }

    /// The time that is later by it.
    ///
    /// # Errors
    /// 22008 if that is no time any more.
    pub fn after(self, time: pg_sys::TimestampTz) -> pg_sys::TimestampTz {
        let (add, none) = (ffi::functions::timestamptz_pl_interval, pg_sys::InvalidOid);
        let time = pg_sys::Datum::from(time);
        let interval = pg_sys::Datum::from(&raw const self.0);
        // SAFETY: core's own sum of the two types, one of which is in this function.
        let sum = unsafe { pg_sys::DirectFunctionCall2Coll(Some(add), none, time, interval) };
        sum.value() as i64
    }
}
