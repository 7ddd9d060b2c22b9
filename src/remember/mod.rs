//! The original payload of a key, kept in a column of the stored row.
//!
//! A guard with `remember` verifies later payloads against the original payload
//! instead of against the stored row, which may have been updated since. A jsonb
//! column keeps the compared columns ([`document`]), a bytea column their SHA-256
//! ([`fingerprint`]).
//!
//! A payload may bring its own value for the column, as a restored or replicated
//! row does: then that is the original payload, and is what is compared.
//! A stored row whose column is NULL (it is older than the guard) is compared
//! itself.
mod document;
mod fingerprint;

pub use fingerprint::RowFingerprint;

use crate::compare::differing;
use crate::digest::encoding::part_without_canonical_form;
use crate::error::{Report, SqlState};
use crate::pg::catalog::types;
use crate::pg::hash::sha256::sha256;
use crate::pg::rows::Slot;
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::value::comparison::Equality;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{Column, StoredRow, Target};
use pgrx::pg_sys;

/// The `remember` option of a guard, resolved for a target.
pub struct Remember {
    /// The position of the column.
    pub column: usize,
    form: RememberFormat,
    /// The positions of the columns that are kept.
    kept: Vec<usize>,
    /// Those of them whose default is stable, by name: a payload that left one out has told
    /// nothing of it.
    compared_if_supplied: Vec<usize>,
    /// Whether the session's settings could change how values are written down.
    depends_on_settings: bool,
}

enum RememberFormat {
    Document,
    Fingerprint(fingerprint::RowFingerprint),
}

/// How a payload compares with the original payload.
pub struct OriginalComparison {
    /// The columns that differ, by position.
    pub columns: Vec<usize>,
    /// Whether it is the same; else it is a conflict, even if no column that
    /// could be named differs.
    pub same: bool,
    /// The original payload, as a row, where a document tells it.
    first: Option<Slot>,
    /// What arrived now, where it brought a document of its own.
    payload: Option<Slot>,
}

impl OriginalComparison {
    /// That the columns differ, if there are any.
    pub fn of_columns(columns: Vec<usize>) -> Self {
        Self {
            same: columns.is_empty(),
            columns,
            first: None,
            payload: None,
        }
    }

    /// The original payload, as a row with all columns in the target's order.
    pub fn first(&self) -> Option<&Slot> {
        self.first.as_ref()
    }

    /// Whether the payload brought an original payload of its own.
    pub fn brought(&self) -> bool {
        self.payload.is_some()
    }

    /// The payload's value of a column, `given` unless it brought a document.
    pub fn payload<'s>(&'s self, column: usize, given: SqlValue<'s>) -> SqlValue<'s> {
        self.payload
            .as_ref()
            .map_or(given, |payload| payload.value(column))
    }
}

impl Remember {
    /// For a column of the target, which keeps the columns `kept`; those in
    /// `compared_if_supplied` are compared only with payloads that have them.
    ///
    /// # Errors
    /// 42703 if there is no such column, 42804 if it is neither jsonb nor bytea,
    /// 428C9 if it is generated.
    pub fn new(
        target: &Target,
        column: &str,
        kept: &[usize],
        compared_if_supplied: &[usize],
    ) -> Result<Self, Box<Report>> {
        let mut compared_if_supplied = compared_if_supplied.to_vec();
        compared_if_supplied
            .sort_by(|a, b| target.columns[*a].c_name.cmp(&target.columns[*b].c_name));
        let position = target.column_in(column, "remember")?;
        let column = &target.columns[position];
        let refuse = |state, why: &str| cannot_remember(target, column, state, why);
        if column.generated != 0 {
            let report = refuse(SqlState::GeneratedAlways, "is generated and ");
            return Err(Box::new(report));
        }
        if column.has_default {
            let report = refuse(SqlState::InvalidParameterValue, "has a default and ")
                .detail(
                    "A payload with a value in the column counts as one that has arrived before.",
                )
                .hint("Drop the default.");
            return Err(Box::new(report));
        }
        let form = match column.typid {
            pg_sys::JSONBOID => RememberFormat::Document,
            pg_sys::BYTEAOID => {
                check_digestible(target, column, kept)?;
                RememberFormat::Fingerprint(fingerprint::RowFingerprint::new(target, kept))
            }
            _ => {
                let report = refuse(SqlState::DatatypeMismatch, "")
                    .detail("Its type is neither jsonb nor bytea.")
                    .hint("A jsonb keeps the compared columns, a bytea their SHA-256.");
                return Err(Box::new(report));
            }
        };
        let depends_on_settings = match &form {
            RememberFormat::Document => kept.iter().any(|c| !is_plain(target.columns[*c].typid)),
            // It fixes them where need be.
            RememberFormat::Fingerprint(_) => false,
        };
        Ok(Self {
            column: position,
            form,
            kept: kept.to_vec(),
            compared_if_supplied,
            depends_on_settings,
        })
    }

    /// What the column is to hold for a row, in the current context. `is_omitted` is asked of
    /// the columns that count only if a payload has them: a document keeps what the row got
    /// for them all the same, a digest keeps that they were left out.
    pub fn original_payload<'t>(
        &'t self,
        target: &'t Target,
        row: impl Fn(usize) -> SqlValue<'t>,
        is_omitted: impl Fn(usize) -> bool,
    ) -> SqlValue<'t> {
        let _fixed = self.depends_on_settings.then(LocalSettings::fixed_output);
        match &self.form {
            RememberFormat::Document => document::write(target, &self.kept, row),
            RememberFormat::Fingerprint(digest) => {
                let left_out = self.compared_if_supplied.iter().copied();
                let left_out: Vec<usize> = left_out.filter(|c| is_omitted(*c)).collect();
                let hash = hash_of(digest, target, row, &left_out);
                SqlValue::made_bytea(&digest.of_hash(&hash))
            }
        }
    }

    /// Whether a digest is that of a payload that arrives now. Where a column counts only if
    /// a payload has it, two payloads agree if one of them left it out, or both have the same
    /// value. Which of this the first one did, only its digest tells: all are tried.
    fn is_digest_of<'v>(
        &self,
        digest: &RowFingerprint,
        target: &Target,
        first: SqlValue<'_>,
        stored: &StoredRow<'v>,
        payload: &impl Fn(usize) -> SqlValue<'v>,
        presence: &impl Fn(usize) -> Presence<'v>,
    ) -> bool {
        let can_be_omitted = |c: &usize| match presence(*c) {
            Presence::Present => differing(&target.columns, &[*c], stored, payload).is_empty(),
            _ => true,
        };
        let either: Vec<usize> = self
            .compared_if_supplied
            .iter()
            .copied()
            .filter(can_be_omitted)
            .take(MAX_EITHER)
            .collect();
        (0..1_u32 << either.len()).any(|tried| {
            let given = |i: usize| tried & 1 << i != 0;
            let left_out: Vec<usize> = (0..either.len())
                .filter(|i| !given(*i))
                .map(|i| either[i])
                .collect();
            let row = |c| match presence(c) {
                Presence::Present => payload(c),
                Presence::Default(value) => value,
                Presence::Omitted | Presence::Unknown => stored.value(c),
            };
            let arrived = digest.of_hash(&hash_of(digest, target, row, &left_out));
            digest.same(target, self.column, first, SqlValue::bytea(&arrived))
        })
    }

    /// Compares a payload with the original payload under its key. `presence` says
    /// whether the payload has a column; `compared` are those that the caller
    /// compares, and `may_show` says of a column whether what is remembered of it may
    /// be shown to them.
    ///
    /// Memory is that of the current context.
    ///
    /// # Errors
    /// As [`document::read`].
    pub fn compare<'v>(
        &self,
        target: &Target,
        compared: &[usize],
        stored: &StoredRow<'v>,
        payload: impl Fn(usize) -> SqlValue<'v>,
        presence: impl Fn(usize) -> Presence<'v>,
        may_show: &dyn Fn(usize) -> bool,
    ) -> OriginalComparison {
        let first = stored.value(self.column);
        if first.is_null() {
            return OriginalComparison::of_columns(differing(
                &target.columns,
                compared,
                stored,
                &payload,
            ));
        }
        let brought = match presence(self.column) {
            Presence::Present => Some(payload(self.column)).filter(|value| !value.is_null()),
            _ => None,
        };
        match &self.form {
            RememberFormat::Document => {
                let rows = (stored, &payload as &dyn Fn(usize) -> SqlValue<'v>);
                self.compare_documents(target, compared, rows, (first, brought), may_show)
            }
            RememberFormat::Fingerprint(digest) => {
                let differing = || differing(&target.columns, compared, stored, &payload);
                if !self
                    .kept
                    .iter()
                    .all(|c| compared.contains(c) || has_known_value(presence(*c)))
                {
                    // The caller compares less than was kept.
                    return OriginalComparison::of_columns(differing());
                }
                let same = match brought {
                    Some(brought) => digest.same(target, self.column, first, brought),
                    None => self.is_digest_of(digest, target, first, stored, &payload, &presence),
                };
                if same {
                    return OriginalComparison::of_columns(Vec::new());
                }
                OriginalComparison {
                    same: false,
                    ..OriginalComparison::of_columns(differing())
                }
            }
        }
    }

    fn compare_documents<'v>(
        &self,
        target: &Target,
        compared: &[usize],
        (stored, payload): (&StoredRow<'v>, &dyn Fn(usize) -> SqlValue<'v>),
        (first, brought): (SqlValue<'v>, Option<SqlValue<'v>>),
        may_show: &dyn Fn(usize) -> bool,
    ) -> OriginalComparison {
        let _fixed = self.depends_on_settings.then(LocalSettings::fixed_output);
        let read = |it, otherwise: &dyn Fn(usize) -> SqlValue<'v>| {
            document::read(target, self.column, &self.kept, it, otherwise, may_show)
        };
        let first = read(first, &|c| stored.value(c));
        let brought = brought.map(|it| read(it, payload));
        let numbers = target.attnums_in_order();
        let columns = {
            let first = StoredRow::returned(&first, &numbers);
            differing(&target.columns, compared, &first, |c| match &brought {
                Some(row) => row.value(c),
                None => payload(c),
            })
        };
        OriginalComparison {
            same: columns.is_empty(),
            columns,
            first: Some(first),
            payload: brought,
        }
    }

    fn is_unreadable(&self, remembered: SqlValue<'_>) -> bool {
        matches!(&self.form, RememberFormat::Fingerprint(digest) if !digest.is_current(remembered))
    }

    /// Whether an UPDATE changes what is remembered.
    pub fn is_changed(&self, old: &StoredRow<'_>, new: &StoredRow<'_>) -> bool {
        let (old, new) = (old.value(self.column), new.value(self.column));
        // A row that is older than the guard may be given one. Nor does a digest of another version
        // tell anything.
        if old.is_null() || self.is_unreadable(old) {
            return false;
        }
        new.is_null() || !old.has_same_content(new)
    }
}

/// That a column cannot remember; `why` is what it is or has, with «and» behind it.
/// Refuses a bytea column where a kept one has values whose equality no digest follows.
///
/// # Errors
/// 0A000
fn check_digestible(target: &Target, column: &Column, kept: &[usize]) -> Result<(), Box<Report>> {
    for kept in kept.iter().map(|c| &target.columns[*c]) {
        // Without an equality values are compared as they are shown, and digested so.
        if !matches!(kept.values.equality, Equality::Function(_)) {
            continue;
        }
        if let Some(part) = part_without_canonical_form(kept.typid) {
            let report = cannot_remember(target, column, SqlState::FeatureNotSupported, "")
                .detail(format!(
                    "It is a bytea, and column \"{}\" has values of type {}, which has no hash: equal values \
                     may have different digests.",
                    kept.name,
                    types::name(part)
                ))
                .hint("Remember in a jsonb column, or leave the column out of the comparison.");
            return Err(Box::new(report));
        }
    }
    Ok(())
}

fn cannot_remember(target: &Target, column: &Column, state: SqlState, why: &str) -> Report {
    let name = &column.name;
    Report::new(
        state,
        format!("column \"{name}\" {why}cannot remember the original payload"),
    )
    .table(&target.schema, &target.name)
    .column(name.clone())
}

/// Whether a payload has a column, and if not, what it would be.
#[derive(Clone, Copy)]
pub enum Presence<'v> {
    /// It has it.
    Present,
    /// It has not; an INSERT gives it this value.
    Default(SqlValue<'v>),
    /// It has not, and then the column does not count.
    Omitted,
    /// It has not, and only the stored row knows.
    Unknown,
}

fn has_known_value(presence: Presence<'_>) -> bool {
    matches!(presence, Presence::Default(_) | Presence::Omitted)
}

/// Of so many columns that count only if a payload has them, all combinations are tried.
const MAX_EITHER: usize = 6;

/// The hash of a row that left some columns out (in the order of their names).
fn hash_of<'v>(
    digest: &RowFingerprint,
    target: &Target,
    row: impl Fn(usize) -> SqlValue<'v>,
    left_out: &[usize],
) -> [u8; 32] {
    if left_out.is_empty() {
        return digest.hash(target, row);
    }
    let rest = digest.hash_where(target, |c| !left_out.contains(&c), row);
    let mut bytes = rest.to_vec();
    for c in left_out {
        bytes.extend_from_slice(target.columns[*c].c_name.to_bytes_with_nul());
    }
    sha256(&bytes)
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
