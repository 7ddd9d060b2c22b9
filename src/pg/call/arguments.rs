//! The arguments of an SQL call.
use super::declaration::Declaration;
use crate::error::{Report, SqlState};
use crate::pg::memory::scope_of;
use crate::pg::value::by_reference::Interval;
use crate::pg::value::by_reference::texts_of_datum;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::jsonb::Container;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::marker::PhantomData;

/// The arguments of the running function, by position from 0. The names are
/// those of the SQL signature, for error texts.
///
/// What is read as a pointer is read as the type that the function is declared with in
/// `pg_proc`: a declaration that says another is a bug, which ends the call as XX000.
pub struct Arguments<'c> {
    call: pg_sys::FunctionCallInfo,
    /// What is detoasted goes here, wherever the current context is by then.
    memory: pg_sys::MemoryContext,
    /// The types that the function is declared with, once they were asked for.
    declared: OnceCell<Declaration>,
    lifetime: PhantomData<&'c pg_sys::FunctionCallInfoBaseData>,
}

impl<'c> Arguments<'c> {
    /// # Safety
    /// `fcinfo` is that of the running call, made by the server for an SQL function; the
    /// call, its arguments and the context outlive `'c`.
    pub(super) unsafe fn new(
        fcinfo: pg_sys::FunctionCallInfo,
        memory: pg_sys::MemoryContext,
    ) -> Self {
        Self {
            call: fcinfo,
            memory,
            declared: OnceCell::new(),
            lifetime: PhantomData,
        }
    }

    /// In a build with debug assertions, fails if the function's signature has no argument
    /// here, or one of another name or type. No types are any type.
    fn expect(&self, i: usize, name: Option<&str>, types: &[&str]) {
        // SAFETY: the call is the running one, which `new` was promised, of a function that the
        // server has looked up.
        #[cfg(debug_assertions)]
        super::signature::check(unsafe { (*(*self.call).flinfo).fn_oid }, i, name, types);
        #[cfg(not(debug_assertions))]
        let _ = (i, name, types);
    }

    /// The argument's datum, or None if it is NULL.
    ///
    /// # Panics
    /// If the call has no such argument.
    pub fn datum(&self, i: usize) -> Option<pg_sys::Datum> {
        self.expect(i, None, &[]);
        // SAFETY: a live call by the promise to `new`; the number is compared with that of
        // its arguments.
        unsafe { pgrx::fcinfo::pg_getarg_datum(self.call, i) }
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

    /// The datum of an argument that is declared with this type, and so points to a value
    /// of it; None if it is NULL.
    fn datum_of(&self, i: usize, typid: pg_sys::Oid) -> Option<pg_sys::Datum> {
        let declared = self.declared.get_or_init(|| {
            // SAFETY: a live call by the promise to `new`, of a function that the server
            // has looked up.
            Declaration::of(unsafe { (*(*self.call).flinfo).fn_oid })
        });
        assert_eq!(
            declared.arguments.get(i),
            Some(&typid),
            "argument {i} is declared with another type than it is read as"
        );
        self.datum(i)
    }

    /// Likewise; NULL is error 22004.
    fn required_of(&self, i: usize, typid: pg_sys::Oid, name: &str) -> pg_sys::Datum {
        let value = self.required(i, name);
        self.datum_of(i, typid).unwrap_or(value)
    }

    /// Runs `work` with the memory of the call as the current context.
    fn in_memory<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: the context outlives this by the promise to `new`.
        unsafe { scope_of(self.memory, work) }
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

    /// A bigint that is not negative, or None if it is NULL.
    ///
    /// # Errors
    /// 22023 for one that is negative.
    pub fn optional_count(&self, i: usize, name: &str) -> Option<u64> {
        self.expect(i, Some(name), &["bigint"]);
        let value = self.datum(i)?.value() as i64;
        let count = u64::try_from(value);
        Some(count.unwrap_or_else(|_| not_negative(name).raise()))
    }

    /// A boolean.
    ///
    /// # Errors
    /// 22004 for a NULL.
    pub fn boolean(&self, i: usize, name: &str) -> bool {
        self.expect(i, Some(name), &["boolean"]);
        self.required(i, name).value() & 0xFF != 0
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

    /// A jsonb document, which lives as long as the call's memory.
    pub fn jsonb(&self, i: usize, name: &str) -> Container<'c> {
        self.expect(i, Some(name), &["jsonb"]);
        let value = self.required_of(i, pg_sys::JSONBOID, name);
        // SAFETY: a value of type jsonb, as the function's declaration says; it and what is
        // fetched for it, in the memory of the call, outlive `'c`.
        self.in_memory(|| unsafe { Container::of_datum(value) })
    }

    /// A text, or None if it is NULL.
    pub fn optional_text(&self, i: usize) -> Option<String> {
        self.expect(i, None, &["text"]);
        self.datum_of(i, pg_sys::TEXTOID)
            // SAFETY: a text, as the function's declaration says, and not NULL.
            .map(|datum| unsafe { text::from_datum(datum) })
    }

    /// A text.
    pub fn text(&self, i: usize, name: &str) -> String {
        self.expect(i, Some(name), &["text"]);
        // SAFETY: a text, as the function's declaration says, and not NULL.
        unsafe { text::from_datum(self.required_of(i, pg_sys::TEXTOID, name)) }
    }

    /// A text as it came.
    ///
    /// # Errors
    /// 22004 for a NULL.
    pub fn text_value(&self, i: usize, name: &str) -> SqlValue<'c> {
        let value = self.required_of(i, pg_sys::TEXTOID, name);
        // SAFETY: a text, as the function's declaration says; arguments outlive `'c`.
        unsafe { SqlValue::of_datum(pg_sys::TEXTOID, Some(value)) }
    }

    /// A text as it came, whole, and its bytes in the server's encoding.
    pub fn whole_text(&self, i: usize, name: &str) -> (SqlValue<'c>, &'c [u8]) {
        let value = self.required_of(i, pg_sys::TEXTOID, name);
        // SAFETY: a text, as the function's declaration says; what is whole outlives `'c`.
        unsafe {
            let (whole, bytes) = self.whole_varlena(value);
            (SqlValue::of_datum(pg_sys::TEXTOID, Some(whole)), bytes)
        }
    }

    /// # Safety
    /// An argument of the call that is laid out as a text.
    unsafe fn whole_varlena(&self, value: pg_sys::Datum) -> (pg_sys::Datum, &'c [u8]) {
        // SAFETY: the caller's promise; the argument, and what is fetched for it in the
        // memory of the call, outlive `'c`.
        self.in_memory(|| unsafe {
            let whole = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
            let whole = pg_sys::Datum::from(whole);
            (whole, text::bytes_of(whole))
        })
    }

    /// A jsonb, as it came.
    ///
    /// # Errors
    /// 22004 for a NULL.
    pub fn jsonb_datum(&self, i: usize, name: &str) -> JsonbDatum {
        // SAFETY: a jsonb, as the function's declaration says; arguments live as long as the call.
        unsafe { JsonbDatum::new(self.required_of(i, pg_sys::JSONBOID, name)) }
    }

    /// An interval that is positive.
    ///
    /// # Errors
    /// 22004 for a NULL, 22023 for one that is not positive.
    pub fn interval(&self, i: usize, name: &str) -> Interval {
        self.expect(i, Some(name), &["interval"]);
        // SAFETY: an interval, as the function's declaration says, and not NULL.
        let interval = unsafe { Interval::new(self.required_of(i, pg_sys::INTERVALOID, name)) };
        if !interval.compare_with_zero().is_gt() {
            not_positive(name).raise()
        }
        interval
    }

    /// An interval, or None if it is NULL.
    ///
    /// # Errors
    /// 22023 for one that is negative.
    pub fn optional_interval(&self, i: usize, name: &str) -> Option<Interval> {
        self.expect(i, Some(name), &["interval"]);
        // SAFETY: an interval, as the function's declaration says, and not NULL.
        let interval = unsafe { Interval::new(self.datum_of(i, pg_sys::INTERVALOID)?) };
        if interval.compare_with_zero().is_lt() {
            not_negative(name).raise()
        }
        Some(interval)
    }

    /// A text[], or None if it is NULL.
    ///
    /// # Errors
    /// 22004 for one that holds a NULL.
    pub fn optional_texts(&self, i: usize, name: &str) -> Option<Vec<String>> {
        self.expect(i, Some(name), &["text[]"]);
        // SAFETY: a text[], as the function's declaration says, and not NULL.
        let elements = unsafe { texts_of_datum(self.datum_of(i, pg_sys::TEXTARRAYOID)?) };
        let texts = elements.into_iter().map(|element| {
            pgrx::check_for_interrupts!();
            element.unwrap_or_else(|| contains_null(name).raise())
        });
        Some(texts.collect())
    }

    /// A list of column names, or None if the argument is NULL. A list that is
    /// empty (22023), holds a NULL (22004) or a name twice (42701) is an error.
    pub fn columns(&self, i: usize, name: &str) -> Option<Vec<String>> {
        self.expect(i, Some(name), &["text[]"]);
        // SAFETY: a text[], as the function's declaration says, and not NULL.
        let elements = unsafe { texts_of_datum(self.datum_of(i, pg_sys::TEXTARRAYOID)?) };
        Some(column_names(elements, name))
    }
}

fn not_positive(name: &str) -> Report {
    Report::new(
        SqlState::InvalidParameterValue,
        format!("argument \"{name}\" must be positive"),
    )
}

fn not_negative(name: &str) -> Report {
    Report::new(
        SqlState::InvalidParameterValue,
        format!("argument \"{name}\" must not be negative"),
    )
}

fn contains_null(name: &str) -> Report {
    Report::new(
        SqlState::NullValueNotAllowed,
        format!("argument \"{name}\" must not contain nulls"),
    )
}

/// Checks a list of column names, see [`Arguments::columns`].
pub fn column_names(elements: Vec<Option<String>>, name: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut met = HashSet::new();
    for element in &elements {
        pgrx::check_for_interrupts!();
        let Some(element) = element else {
            contains_null(name).raise()
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
