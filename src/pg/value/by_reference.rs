//! Values that are passed by reference: of variable length (bytea, arrays of texts, and what else
//! is laid out as one) and of a fixed one (names, intervals).
use crate::pg::ffi;
use crate::pg::value::text::{self, to_server};
use pgrx::pg_sys::{self, Datum};
use std::cmp::Ordering;
use std::ffi::{CStr, c_char, c_int};
use std::{ptr, slice};

/// The content of a bytea, or of another varlena, in memory of Rust's.
///
/// # Safety
/// The datum is a non-null varlena.
pub unsafe fn bytes_of_datum(datum: pg_sys::Datum) -> Vec<u8> {
    // SAFETY: the caller's promise. What was fetched for the copy is freed, once.
    unsafe {
        let value = datum.cast_mut_ptr::<pg_sys::varlena>();
        let whole = pg_sys::pg_detoast_datum_packed(value);
        let bytes = content_of(pg_sys::Datum::from(whole)).to_vec();
        if !std::ptr::eq(whole, value) {
            pg_sys::pfree(whole.cast());
        }
        bytes
    }
}

/// A bytea, in the current context.
pub fn to_bytea(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: as many bytes as are copied; a bytea is laid out as a text.
    unsafe {
        let bytea = pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32);
        pg_sys::Datum::from(bytea)
    }
}

/// The content of a varlena that is not toasted.
///
/// # Safety
/// The datum is a varlena, neither compressed nor outside of its row, that outlives `'d`.
#[inline]
pub unsafe fn content_of<'d>(datum: pg_sys::Datum) -> &'d [u8] {
    // SAFETY: the caller's promise: behind its header it has as many bytes as that says.
    unsafe {
        let value = datum.cast_mut_ptr::<pg_sys::varlena>();
        slice::from_raw_parts(
            pgrx::varlena::vardata_any(value).cast::<u8>(),
            pgrx::varlena::varsize_any_exhdr(value),
        )
    }
}

/// The content of a varlena; None if it is compressed, or outside of its row.
///
/// # Safety
/// The datum is a varlena that outlives `'d`.
#[inline]
pub unsafe fn inline_content_of<'d>(datum: pg_sys::Datum) -> Option<&'d [u8]> {
    // SAFETY: the caller's promise; one byte of the header tells the kind, and what is neither
    // compressed nor outside is as `content_of` wants it.
    unsafe {
        let value = datum.cast_mut_ptr::<pg_sys::varlena>();
        let external = pgrx::varlena::varatt_is_1b_e(value);
        let is_inline = !external
            && (pgrx::varlena::varatt_is_1b(value) || pgrx::varlena::varatt_is_4b_u(value));
        is_inline.then(|| content_of(datum))
    }
}

/// The content of a varlena, detoasted in the current memory if need be.
///
/// # Safety
/// The datum is a varlena that outlives `'d`, as does the current memory. Runs inside
/// `ffi::guard`.
#[inline]
pub unsafe fn packed_content_of<'d>(datum: pg_sys::Datum) -> &'d [u8] {
    // SAFETY: the caller's promise.
    unsafe {
        let value = ffi::unguarded::pg_detoast_datum_packed(datum.cast_mut_ptr());
        content_of(pg_sys::Datum::from(value))
    }
}

/// Whether two varlenas have the same content, however they are stored.
///
/// # Safety
/// Both are non-null varlenas.
pub unsafe fn same_image(a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    // SAFETY: the caller's promise; the guard holds nothing but two words.
    unsafe { ffi::guard(|| ffi::unguarded::datum_image_eq(a, b, false, -1)) }
}

/// A text[] of the server.
pub fn text_array(texts: &[String]) -> pg_sys::Datum {
    // SAFETY: texts of the server, in an array that core copies.
    unsafe {
        let mut elements: Vec<pg_sys::Datum> = texts
            .iter()
            .map(|text| text::to_server(text))
            .map(|text| pg_sys::Datum::from(pg_sys::cstring_to_text(text.as_ptr())))
            .collect();
        pg_sys::Datum::from(pg_sys::construct_array(
            elements.as_mut_ptr(),
            elements.len() as c_int,
            pg_sys::TEXTOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as c_char,
        ))
    }
}

/// The members of an array of texts.
///
/// # Safety
/// `datum` is a non-null text[].
pub unsafe fn texts_of_datum(datum: pg_sys::Datum) -> Vec<Option<String>> {
    // SAFETY: the caller's promise; core allocates both arrays with `count`
    // members.
    unsafe {
        let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let (mut elements, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0 as c_int);
        pg_sys::deconstruct_array(
            array,
            pg_sys::TEXTOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as c_char,
            &raw mut elements,
            &raw mut nulls,
            &raw mut count,
        );
        (0..count as usize)
            .map(|i| {
                pgrx::check_for_interrupts!();
                (!*nulls.add(i)).then(|| text::from_datum(*elements.add(i)))
            })
            .collect()
    }
}

/// A C string, in the current context.
pub fn to_cstring(text: &CStr) -> Datum {
    // SAFETY: core copies a C string.
    unsafe { pg_sys::pstrdup(text.as_ptr()).into() }
}

/// A text in the server's encoding as a message to the client, in the client's encoding: a bytea, in
/// the current context.
pub fn to_message(text: &CStr) -> Datum {
    let mut buffer = pg_sys::StringInfoData::default();
    // SAFETY: core's way to make a message of a text with its length.
    unsafe {
        pg_sys::pq_begintypsend(&raw mut buffer);
        pg_sys::pq_sendtext(&raw mut buffer, text.as_ptr(), text.count_bytes() as c_int);
        pg_sys::pq_endtypsend(&raw mut buffer).into()
    }
}

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
        self.compare(pg_sys::Interval::default())
    }

    /// Whether it is longer than so many years, but not infinite (from 17 on).
    pub fn is_longer_than_years(self, years: i32) -> bool {
        let infinite =
            self.0.month == i32::MAX && self.0.day == i32::MAX && self.0.time == i64::MAX;
        let limit = pg_sys::Interval {
            month: years.saturating_mul(12),
            ..Default::default()
        };
        !infinite && self.compare(limit).is_gt()
    }

    fn compare(self, other: pg_sys::Interval) -> Ordering {
        let (cmp, none) = (ffi::functions::interval_cmp, pg_sys::InvalidOid);
        let [a, b] = [&self.0, &other].map(|interval| Datum::from(std::ptr::from_ref(interval)));
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
