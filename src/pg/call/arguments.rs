//! The arguments of an SQL call.
use super::declaration::Declaration;
use super::entry::SqlCall;
use crate::error::{OrRaise, Report, SqlState};
use crate::pg::value::by_reference::Interval;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::jsonb::Container;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::OnceLock;

/// What is called before an argument is read.
static BEFORE_READING: OnceLock<fn()> = OnceLock::new();

/// Has `check` called whenever an argument is about to be read by its place in the declaration.
///
/// # Panics
/// If another check is registered already.
pub fn check_before_reading(check: fn()) {
    assert!(BEFORE_READING.set(check).is_ok(), "there is one check");
}

/// What is required was seen not to be NULL.
const NOT_NULL: &str = "a value that is not NULL";

/// The arguments of the running function, by position from 0. The names are
/// those of the SQL signature, for error texts.
///
/// What is read as a pointer is read as the type that the function is declared with in
/// `pg_proc`: a declaration that says another is a bug, which ends the call as XX000.
pub struct Arguments<'c> {
    call: SqlCall<'c>,
    /// What the function is declared with, once it was asked for.
    declared: OnceCell<Declaration>,
}

impl<'fcx> SqlCall<'fcx> {
    /// Its arguments.
    pub fn arguments(&self) -> Arguments<'fcx> {
        Arguments {
            call: *self,
            declared: OnceCell::new(),
        }
    }
}

impl<'c> Arguments<'c> {
    /// Runs the check that was registered. In a build with debug assertions, also fails if the
    /// function's signature has no argument here, or one of another name or type. No types are
    /// any type.
    fn expect(&self, i: usize, name: Option<&str>, types: &[&str]) {
        if let Some(check) = BEFORE_READING.get() {
            check();
        }
        #[cfg(debug_assertions)]
        super::signature::check(self.call.function(), i, name, types);
        #[cfg(not(debug_assertions))]
        let _ = (i, name, types);
    }

    /// The argument's datum, or None if it is NULL.
    ///
    /// # Panics
    /// If the call has no such argument.
    pub fn datum(&self, i: usize) -> Option<pg_sys::Datum> {
        self.expect(i, None, &[]);
        self.call.argument(i)
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

    /// An argument that is declared with this type.
    fn value_of(&self, i: usize, typid: pg_sys::Oid) -> SqlValue<'c> {
        self.expect(i, None, &[]);
        let declared = || Declaration::of(self.call.function());
        let value = self
            .call
            .declared_argument(i, self.declared.get_or_init(declared));
        assert_eq!(
            value.typid(),
            typid,
            "argument {i} is declared with another type than it is read as"
        );
        value
    }

    /// Likewise; NULL is error 22004.
    fn required_of(&self, i: usize, typid: pg_sys::Oid, name: &str) -> SqlValue<'c> {
        self.required(i, name);
        self.value_of(i, typid)
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
        let document = self.call.in_memory(|| value.to_container());
        document.expect(NOT_NULL)
    }

    /// A text, or None if it is NULL.
    pub fn optional_text(&self, i: usize) -> Option<String> {
        self.expect(i, None, &["text"]);
        self.value_of(i, pg_sys::TEXTOID).to_text()
    }

    /// A text.
    pub fn text(&self, i: usize, name: &str) -> String {
        self.expect(i, Some(name), &["text"]);
        let value = self.required_of(i, pg_sys::TEXTOID, name);
        value.to_text().expect(NOT_NULL)
    }

    /// A text as it came.
    ///
    /// # Errors
    /// 22004 for a NULL.
    pub fn text_value(&self, i: usize, name: &str) -> SqlValue<'c> {
        self.required_of(i, pg_sys::TEXTOID, name)
    }

    /// A text as it came, whole, and its bytes in the server's encoding.
    pub fn whole_text(&self, i: usize, name: &str) -> (SqlValue<'c>, &'c [u8]) {
        let value = self.required_of(i, pg_sys::TEXTOID, name);
        let whole = self.call.in_memory(|| value.to_whole_text());
        whole.expect(NOT_NULL)
    }

    /// A jsonb, as it came.
    ///
    /// # Errors
    /// 22004 for a NULL.
    pub fn jsonb_datum(&self, i: usize, name: &str) -> JsonbDatum {
        let value = self.required_of(i, pg_sys::JSONBOID, name);
        self.call.document(value).expect(NOT_NULL)
    }

    /// An interval that is positive, and can be added to the time.
    ///
    /// # Errors
    /// 22004 for a NULL, 22023 for one that is not positive, or too long.
    pub fn interval(&self, i: usize, name: &str) -> Interval {
        self.expect(i, Some(name), &["interval"]);
        let value = self.required_of(i, pg_sys::INTERVALOID, name);
        let interval = value.to_interval().expect(NOT_NULL);
        if !interval.compare_with_zero().is_gt() {
            not_positive(name).raise()
        }
        if interval.is_longer_than_years(MAX_YEARS) {
            Report::new(
                SqlState::InvalidParameterValue,
                format!("argument \"{name}\" must not be longer than {MAX_YEARS} years"),
            )
            .raise()
        }
        interval
    }

    /// An interval, or None if it is NULL.
    ///
    /// # Errors
    /// 22023 for one that is negative.
    pub fn optional_interval(&self, i: usize, name: &str) -> Option<Interval> {
        self.expect(i, Some(name), &["interval"]);
        let interval = self.value_of(i, pg_sys::INTERVALOID).to_interval()?;
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
        let elements = self.value_of(i, pg_sys::TEXTARRAYOID).to_texts()?;
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
        let elements = self.value_of(i, pg_sys::TEXTARRAYOID).to_texts()?;
        let names = column_names(elements, name);
        Some(names.or_raise())
    }
}

/// How much longer the server's calendar is, about: until 294276.
const MAX_YEARS: i32 = 290_000;

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
pub fn column_names(elements: Vec<Option<String>>, name: &str) -> Result<Vec<String>, Box<Report>> {
    let mut names: Vec<String> = Vec::new();
    let mut met = HashSet::new();
    for element in &elements {
        pgrx::check_for_interrupts!();
        let Some(element) = element else {
            return Err(Box::new(contains_null(name)));
        };
        if !met.insert(element) {
            let element = text::abbreviated(element);
            let message = format!("column \"{element}\" appears more than once in \"{name}\"");
            return Err(Box::new(Report::new(SqlState::DuplicateColumn, message)));
        }
        names.push(element.clone());
    }
    if names.is_empty() {
        let message = format!("argument \"{name}\" must name at least one column");
        let report = Report::new(SqlState::InvalidParameterValue, message)
            .hint("Pass NULL, or leave the argument out, for the default.");
        return Err(Box::new(report));
    }
    Ok(names)
}
