//! What a guard with `on_conflict => 'observe'` has seen in a statement, and how it is told.
//!
//! It is told in the server's log, when the statement has ended, whichever way: a duplicate that
//! goes on as without a guard mostly ends in 23505, and then a count in a table would be rolled
//! back with all that the statement did. While a transaction is being aborted nothing can be looked
//! up, and no text converted; so names and details are made ready when a row is judged.
use super::config::GuardConfig;
use super::options::GuardOptions;
use super::partitions::resolve_definition;
use crate::error::{Report, log};
use crate::target::{OpenRelation, Target, TriggerInfo};
use crate::text;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CString;

/// Of how many conflicts a statement's line of the log says what differs.
const DETAILS: usize = 5;

/// What the guard would have made of a row that is not new.
pub enum Observation {
    /// It is stored already.
    Duplicate,
    /// It differs from the stored row; for the first ones, in what.
    Conflict(Option<String>),
    /// A transaction in progress writes the row under its key.
    InProgress,
    /// There is a NULL in its key.
    NullKey,
    /// The row that is stored under its key cannot be compared, or policies may hide it.
    NotVerified,
}

/// What was seen in one statement, by table.
#[derive(Default)]
pub struct Observations(RefCell<Vec<ObservedTable>>);

struct ObservedTable {
    oid: pg_sys::Oid,
    /// In the server's encoding, as are the details.
    name: CString,
    duplicates: u64,
    conflicts: u64,
    in_progress: u64,
    null_keys: u64,
    not_verified: u64,
    details: Vec<u8>,
}

impl Observations {
    /// Whether the log will say what differs in one more conflict.
    pub fn wants_detail(&self, target: &Target) -> bool {
        let seen = self.0.borrow();
        let table = seen.iter().find(|table| table.oid == target.oid);
        table.is_none_or(|table| table.conflicts < DETAILS as u64)
    }

    /// Counts a row.
    pub fn add(&self, target: &Target, observation: &Observation) {
        let mut seen = self.0.borrow_mut();
        let place = seen.iter().position(|table| table.oid == target.oid);
        let place = place.unwrap_or_else(|| {
            seen.push(ObservedTable::new(target));
            seen.len() - 1
        });
        seen[place].add(observation);
    }
}

impl ObservedTable {
    fn new(target: &Target) -> Self {
        Self {
            oid: target.oid,
            name: text::to_server(&target.name),
            duplicates: 0,
            conflicts: 0,
            in_progress: 0,
            null_keys: 0,
            not_verified: 0,
            details: Vec::new(),
        }
    }

    fn add(&mut self, observation: &Observation) {
        match observation {
            Observation::Duplicate => self.duplicates += 1,
            Observation::InProgress => self.in_progress += 1,
            Observation::NullKey => self.null_keys += 1,
            Observation::NotVerified => self.not_verified += 1,
            Observation::Conflict(detail) => {
                self.conflicts += 1;
                if let Some(detail) = detail {
                    if !self.details.is_empty() {
                        self.details.push(b'\n');
                    }
                    let detail = text::to_server(detail);
                    self.details.extend_from_slice(detail.to_bytes());
                }
            }
        }
    }

    /// What the guard would have done, in words.
    fn deeds(&self) -> String {
        let deeds = [
            (self.duplicates, "skipped", "duplicate", "duplicates", ""),
            (self.conflicts, "refused", "conflict", "conflicts", ""),
            (
                self.null_keys,
                "refused",
                "row",
                "rows",
                " with a null in the key",
            ),
            (
                self.in_progress,
                "waited for",
                "row",
                "rows",
                " in progress",
            ),
            (
                self.not_verified,
                "verified",
                "row",
                "rows",
                " that it does not compare while it observes",
            ),
        ];
        let deeds: Vec<String> = deeds
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, deed, one, many, which)| {
                let what = if *count == 1 { one } else { many };
                format!("{deed} {count} {what}{which}")
            })
            .collect();
        match deeds.as_slice() {
            [others @ .., last] if !others.is_empty() => {
                format!("{} and {last}", others.join(", "))
            }
            deeds => deeds.concat(),
        }
    }
}

impl Drop for ObservedTable {
    /// The statement has ended, or an abort is under way.
    fn drop(&mut self) {
        let mut message = b"guard of table \"".to_vec();
        message.extend_from_slice(self.name.to_bytes());
        message.extend_from_slice(b"\" would have ");
        message.extend_from_slice(self.deeds().as_bytes());
        let message = CString::new(message).unwrap_or_default();
        let detail = CString::new(std::mem::take(&mut self.details)).unwrap_or_default();
        log(&message, (!detail.is_empty()).then_some(detail.as_c_str()));
    }
}

/// Why a guard cannot observe.
pub struct Problem {
    table: String,
    report: Box<Report>,
}

impl Problem {
    /// Tells it in the server's log.
    pub fn log(&self) {
        let (table, report) = (&self.table, self.report.to_text());
        let message = format!("guard of table \"{table}\" cannot observe: {report}");
        log(&text::to_server(&message), None);
    }
}

/// Why the guard that fires on a table cannot observe; None if it can, or is to verify.
pub fn problem(table: pg_sys::Oid, trigger: &TriggerInfo) -> Option<Problem> {
    if !GuardOptions::observes(&trigger.arguments) {
        return None;
    }
    let table = OpenRelation::open(table);
    let (target, original) = resolve_definition(&table, trigger.clone());
    let report = GuardConfig::of(&target, &original).err()?;
    Some(Problem {
        table: target.name.clone(),
        report,
    })
}
