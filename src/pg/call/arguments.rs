//! The arguments of an SQL call.
use crate::error::{Report, SqlState};
use crate::pg::value::jsonb::Container;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::collections::HashSet;
use std::ffi::c_int;
use std::ptr;

/// The arguments of the running function, by position from 0. The names are
/// those of the SQL signature, for error texts.
pub struct Arguments(pg_sys::FunctionCallInfo);

impl Arguments {
    /// # Safety
    /// `fcinfo` is that of the running call.
    pub unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self(fcinfo)
    }

    /// In a build with debug assertions, fails if the function's signature has no argument
    /// here, or one of another name or type. No types are any type.
    fn expect(&self, i: usize, name: Option<&str>, types: &[&str]) {
        // SAFETY: the call is the running one, which `new` was promised.
        #[cfg(debug_assertions)]
        unsafe {
            super::signature::check(self.0, i, name, types);
        }
        #[cfg(not(debug_assertions))]
        let _ = (i, name, types);
    }

    /// The argument's datum, or None if it is NULL.
    pub fn datum(&self, i: usize) -> Option<pg_sys::Datum> {
        self.expect(i, None, &[]);
        // SAFETY: a live call, and `i` is within its SQL signature.
        unsafe { pgrx::fcinfo::pg_getarg_datum(self.0, i) }
    }

    /// The argument's datum; NULL is error 22004.
    pub fn required(&self, i: usize, name: &str) -> pg_sys::Datum {
        self.expect(i, Some(name), &[]);
        self.datum(i).unwrap_or_else(|| {
            Report::new(
                SqlState::NullValueNotAllowed,
                format!("argument \"{name}\" must not be null"),
            )
            .raise()
        })
    }

    /// A regclass or oid.
    pub fn oid(&self, i: usize, name: &str) -> pg_sys::Oid {
        self.expect(i, Some(name), &["regclass", "oid"]);
        pg_sys::Oid::from(self.required(i, name).value() as u32)
    }

    /// A bigint.
    pub fn bigint(&self, i: usize, name: &str) -> i64 {
        self.expect(i, Some(name), &["bigint"]);
        self.required(i, name).value() as i64
    }

    /// An int; one that is not positive is error 22023.
    pub fn positive_int(&self, i: usize, name: &str) -> i32 {
        self.expect(i, Some(name), &["integer"]);
        let value = self.required(i, name).value() as i32;
        if value < 1 {
            not_positive(name).raise()
        }
        value
    }

    /// A jsonb document.
    pub fn jsonb<'c>(&self, i: usize, name: &str) -> Container<'c> {
        self.expect(i, Some(name), &["jsonb"]);
        // SAFETY: the SQL signature says jsonb.
        unsafe { Container::of_datum(self.required(i, name)) }
    }

    /// A text, or None if it is NULL.
    pub fn optional_text(&self, i: usize) -> Option<String> {
        self.expect(i, None, &["text"]);
        // SAFETY: the SQL signature says text.
        self.datum(i)
            .map(|datum| unsafe { text::from_datum(datum) })
    }

    /// A text.
    pub fn text(&self, i: usize, name: &str) -> String {
        self.expect(i, Some(name), &["text"]);
        // SAFETY: the SQL signature says text.
        unsafe { text::from_datum(self.required(i, name)) }
    }

    /// A text as it came, whole, and its bytes in the server's encoding.
    pub fn whole_text(&self, i: usize, name: &str) -> (pg_sys::Datum, &[u8]) {
        let value = self.required(i, name);
        // SAFETY: the SQL signature says text; the call's memory outlives the call.
        unsafe {
            let whole = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
            let whole = pg_sys::Datum::from(whole);
            (whole, text::bytes_of(whole))
        }
    }

    /// An interval; one that is not positive is error 22023.
    pub fn positive_interval(&self, i: usize, name: &str) -> pg_sys::Datum {
        self.expect(i, Some(name), &["interval"]);
        let value = self.required(i, name);
        let zero = pg_sys::Interval::default();
        // SAFETY: core's comparison of two intervals.
        let order = unsafe {
            pg_sys::DirectFunctionCall2Coll(
                Some(crate::pg::ffi::functions::interval_cmp),
                pg_sys::InvalidOid,
                value,
                pg_sys::Datum::from(&raw const zero),
            )
        };
        if order.value() as i32 <= 0 {
            not_positive(name).raise()
        }
        value
    }

    /// A list of column names, or None if the argument is NULL. A list that is
    /// empty (22023), holds a NULL (22004) or a name twice (42701) is an error.
    pub fn columns(&self, i: usize, name: &str) -> Option<Vec<String>> {
        self.expect(i, Some(name), &["text[]"]);
        // SAFETY: the SQL signature says text[].
        let elements = unsafe { texts_of_datum(self.datum(i)?) };
        Some(column_names(elements, name))
    }
}

fn not_positive(name: &str) -> Report {
    Report::new(
        SqlState::InvalidParameterValue,
        format!("argument \"{name}\" must be positive"),
    )
}

/// Checks a list of column names, see [`Arguments::columns`].
pub fn column_names(elements: Vec<Option<String>>, name: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut met = HashSet::new();
    for element in &elements {
        pgrx::check_for_interrupts!();
        let Some(element) = element else {
            Report::new(
                SqlState::NullValueNotAllowed,
                format!("argument \"{name}\" must not contain nulls"),
            )
            .raise()
        };
        if !met.insert(element) {
            let element = text::abbreviated(element);
            Report::new(
                SqlState::DuplicateColumn,
                format!("column \"{element}\" appears more than once in \"{name}\""),
            )
            .raise()
        }
        names.push(element.clone());
    }
    if names.is_empty() {
        Report::new(
            SqlState::InvalidParameterValue,
            format!("argument \"{name}\" must name at least one column"),
        )
        .hint("Pass NULL, or leave the argument out, for the default.")
        .raise()
    }
    names
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
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
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
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
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
