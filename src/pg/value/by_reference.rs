//! Values of a fixed length that are passed by reference.
use crate::pg::ffi;
use crate::text::to_server;
use pgrx::pg_sys::{self, Datum};
use std::cmp::Ordering;
use std::ffi::CStr;

/// A name, in the current context.
pub fn to_name(name: &str) -> Datum {
    to_name_datum(&to_server(name))
}

/// A text in the server's encoding as a name, likewise. What is too long is cut.
pub fn to_name_datum(name: &CStr) -> Datum {
    let input = ffi::functions::namein;
    // SAFETY: core's input function for names, which copies.
    unsafe {
        pg_sys::DirectFunctionCall1Coll(Some(input), pg_sys::InvalidOid, name.as_ptr().into())
    }
}

/// An interval.
#[derive(Clone, Copy)]
pub struct Interval(pg_sys::Interval);

impl Interval {
    /// A copy of that in a datum.
    ///
    /// # Safety
    /// The datum is an interval that is not null.
    pub unsafe fn new(datum: Datum) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { *datum.cast_mut_ptr::<pg_sys::Interval>() })
    }

    /// A datum, in the current context.
    pub fn datum(self) -> Datum {
        // SAFETY: core allocates as many bytes as are written, aligned for any value.
        unsafe {
            let copy = pg_sys::palloc(size_of::<pg_sys::Interval>()).cast::<pg_sys::Interval>();
            copy.write(self.0);
            copy.into()
        }
    }

    /// Its order beside no time at all, as intervals have it.
    pub fn compare_with_zero(self) -> Ordering {
        let zero = pg_sys::Interval::default();
        let (cmp, none) = (ffi::functions::interval_cmp, pg_sys::InvalidOid);
        let [a, b] = [&self.0, &zero].map(|interval| Datum::from(std::ptr::from_ref(interval)));
        // SAFETY: core's comparison of two intervals, which live here.
        let order = unsafe { pg_sys::DirectFunctionCall2Coll(Some(cmp), none, a, b) };
        (order.value() as i32).cmp(&0)
    }

    /// The time that is later by it.
    ///
    /// # Errors
    /// 22008 if that is no time any more.
    pub fn after(self, time: pg_sys::TimestampTz) -> pg_sys::TimestampTz {
        let (add, none) = (ffi::functions::timestamptz_pl_interval, pg_sys::InvalidOid);
        let interval = Datum::from(std::ptr::from_ref(&self.0));
        // SAFETY: core's own sum of the two types; the interval lives here.
        let sum =
            unsafe { pg_sys::DirectFunctionCall2Coll(Some(add), none, time.into(), interval) };
        sum.value() as i64
    }
}
