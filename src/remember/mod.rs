//! What first arrived under a key, kept in a column of the stored row.
//!
//! A guard with `remember` verifies later payloads against what first arrived
//! instead of against the stored row, which may have been updated since. A jsonb
//! column keeps the compared columns ([`document`]), a bytea column their SHA-256
//! ([`digest`]).
//!
//! A payload may bring its own value for the column, as a restored or replicated
//! row does: then that is what first arrived with it, and is what is compared.
//! A stored row whose column is NULL (it is older than the guard) is compared
//! itself.
mod digest;
mod document;

pub use digest::Digest;

use crate::compare::differing;
use crate::error::{Report, SqlState};
use crate::pg::ffi;
use crate::pg::local_settings::LocalSettings;
use crate::pg::rows::Slot;
use crate::target::{StoredRow, Target};
use pgrx::pg_sys;

/// The `remember` option of a guard, settled for a target.
pub struct Remember {
    /// The position of the column.
    pub column: usize,
    form: Form,
    /// The positions of the columns that are kept.
    kept: Vec<usize>,
    /// Whether the session's settings could change how values are written down.
    depends_on_settings: bool,
}

enum Form {
    Document,
    Digest(digest::Digest),
}

/// How a payload compares with what first arrived.
pub struct Verdict {
    /// The columns that differ, by position.
    pub columns: Vec<usize>,
    /// Whether it is the same; else it is a conflict, even if no column that
    /// could be named differs.
    pub same: bool,
    /// What first arrived, as a row, where a document tells it.
    first: Option<Slot>,
    /// What arrived now, where it brought a document of its own.
    payload: Option<Slot>,
}

impl Verdict {
    fn of_columns(columns: Vec<usize>) -> Self {
        Self {
            same: columns.is_empty(),
            columns,
            first: None,
            payload: None,
        }
    }

    /// What first arrived, as a row with all columns in the target's order.
    pub fn first(&self) -> Option<&Slot> {
        self.first.as_ref()
    }

    /// Whether the payload brought what first arrived with it.
    pub fn brought(&self) -> bool {
        self.payload.is_some()
    }

    /// The payload's value of a column, `given` unless it brought a document.
    pub fn payload(&self, column: usize, given: Option<pg_sys::Datum>) -> Option<pg_sys::Datum> {
        self.payload
            .as_ref()
            .map_or(given, |payload| payload.get(column))
    }
}

impl Remember {
    /// For a column of the target, which keeps the columns `kept`.
    ///
    /// # Errors
    /// 42703 if there is no such column, 42804 if it is neither jsonb nor bytea,
    /// 428C9 if it is generated.
    pub fn new(target: &Target, column: &str, kept: &[usize]) -> Self {
        let position = target.column_by_name(column);
        let column = &target.columns[position];
        if column.generated != 0 {
            Report::new(
                SqlState::GeneratedAlways,
                format!(
                    "column \"{}\" is generated and cannot remember",
                    column.name
                ),
            )
            .table(&target.schema, &target.name)
            .column(column.name.clone())
            .raise()
        }
        if column.has_default {
            Report::new(
                SqlState::InvalidParameterValue,
                format!(
                    "column \"{}\" has a default and cannot remember",
                    column.name
                ),
            )
            .detail("A payload that brings a value for the column is taken to have arrived before.")
            .hint("Drop the default.")
            .table(&target.schema, &target.name)
            .column(column.name.clone())
            .raise()
        }
        let form = match column.typid {
            pg_sys::JSONBOID => Form::Document,
            pg_sys::BYTEAOID => Form::Digest(digest::Digest::new(target, kept)),
            _ => Report::new(
                SqlState::DatatypeMismatch,
                format!(
                    "column \"{}\" cannot remember what first arrived",
                    column.name
                ),
            )
            .detail("It is neither a jsonb nor a bytea.")
            .hint("A jsonb keeps the compared columns, a bytea their SHA-256.")
            .table(&target.schema, &target.name)
            .column(column.name.clone())
            .raise(),
        };
        let depends_on_settings = match &form {
            Form::Document => kept.iter().any(|c| !is_plain(target.columns[*c].typid)),
            Form::Digest(digest) => digest.depends_on_settings(),
        };
        Self {
            column: position,
            form,
            kept: kept.to_vec(),
            depends_on_settings,
        }
    }

    /// What the column is to hold for a row, in the current context.
    pub fn first_arrival(
        &self,
        target: &Target,
        row: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> pg_sys::Datum {
        let _fixed = self.depends_on_settings.then(LocalSettings::fixed_output);
        match &self.form {
            Form::Document => document::write(target, &self.kept, row),
            Form::Digest(digest) => digest.of(target, row),
        }
    }

    /// Compares a payload with what first arrived under its key. `absent` says
    /// whether the payload has a column; `compared` are those that the caller
    /// compares, and `may_show` says of a column whether what is remembered of it may
    /// be shown to them.
    ///
    /// Memory is that of the current context.
    ///
    /// # Errors
    /// As [`document::read`].
    pub fn compare(
        &self,
        target: &Target,
        compared: &[usize],
        stored: &StoredRow<'_>,
        payload: impl Fn(usize) -> Option<pg_sys::Datum>,
        absent: impl Fn(usize) -> Absent,
        may_show: &dyn Fn(usize) -> bool,
    ) -> Verdict {
        let Some(first) = stored.get(self.column) else {
            return Verdict::of_columns(differing(&target.columns, compared, stored, &payload));
        };
        let brought = match absent(self.column) {
            Absent::No => payload(self.column),
            _ => None,
        };
        match &self.form {
            Form::Document => {
                let rows = (stored, &payload as &dyn Fn(usize) -> Option<pg_sys::Datum>);
                self.compare_documents(target, compared, rows, (first, brought), may_show)
            }
            Form::Digest(_) => {
                let differing = || differing(&target.columns, compared, stored, &payload);
                if !self
                    .kept
                    .iter()
                    .all(|c| compared.contains(c) || is_default(absent(*c)))
                {
                    // The caller compares less than was kept.
                    return Verdict::of_columns(differing());
                }
                let arrived = brought.unwrap_or_else(|| {
                    self.first_arrival(target, |c| match absent(c) {
                        Absent::No => payload(c),
                        Absent::Default(value) => value,
                        Absent::Unknown => stored.get(c),
                    })
                });
                if digest::same(first, arrived) {
                    return Verdict::of_columns(Vec::new());
                }
                Verdict {
                    same: false,
                    ..Verdict::of_columns(differing())
                }
            }
        }
    }

    fn compare_documents(
        &self,
        target: &Target,
        compared: &[usize],
        (stored, payload): (&StoredRow<'_>, &dyn Fn(usize) -> Option<pg_sys::Datum>),
        (first, brought): (pg_sys::Datum, Option<pg_sys::Datum>),
        may_show: &dyn Fn(usize) -> bool,
    ) -> Verdict {
        let _fixed = self.depends_on_settings.then(LocalSettings::fixed_output);
        let read = |it, otherwise: &dyn Fn(usize) -> Option<pg_sys::Datum>| {
            document::read(target, self.column, &self.kept, it, otherwise, may_show)
        };
        let first = read(first, &|c| stored.get(c));
        let brought = brought.map(|it| read(it, payload));
        let numbers = target.numbers_in_order();
        let columns = {
            let first = StoredRow::returned(&first, &numbers);
            differing(&target.columns, compared, &first, |c| match &brought {
                Some(row) => row.get(c),
                None => payload(c),
            })
        };
        Verdict {
            same: columns.is_empty(),
            columns,
            first: Some(first),
            payload: brought,
        }
    }

    /// Whether an UPDATE changes what is remembered.
    pub fn is_changed(&self, old: &StoredRow<'_>, new: &StoredRow<'_>) -> bool {
        match (old.get(self.column), new.get(self.column)) {
            // A row that is older than the guard may be given one.
            (None, _) => false,
            (Some(_), None) => true,
            // SAFETY: both are varlenas; the guard holds nothing.
            (Some(old), Some(new)) => unsafe {
                !ffi::guard(|| ffi::unguarded::datum_image_eq(old, new, false, -1))
            },
        }
    }
}

/// Whether a payload has a column, and if not, what it would be.
#[derive(Clone, Copy)]
pub enum Absent {
    /// It has it.
    No,
    /// It has not; an INSERT gives it this value.
    Default(Option<pg_sys::Datum>),
    /// It has not, and only the stored row knows.
    Unknown,
}

fn is_default(absent: Absent) -> bool {
    matches!(absent, Absent::Default(_))
}

/// Types whose JSON is the same value under all settings.
fn is_plain(typid: pg_sys::Oid) -> bool {
    matches!(
        typid,
        pg_sys::BOOLOID
            | pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::NUMERICOID
            | pg_sys::TEXTOID
            | pg_sys::VARCHAROID
            | pg_sys::BPCHAROID
            | pg_sys::UUIDOID
            | pg_sys::JSONOID
            | pg_sys::JSONBOID
            | pg_sys::DATEOID
            | pg_sys::TIMESTAMPOID
            | pg_sys::TIMESTAMPTZOID
    )
}
