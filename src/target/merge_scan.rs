//! A merge of sorted keys with the index, in place of a probe for every key.
//!
//! Keys are looked up in the arbiter's own order. Where most rows of a stretch of the index are
//! asked for (a retried load, say), the next key is the next entry, and reading on costs a fraction
//! of a descent from the root: a merge join of payloads and index. Where keys lie far apart it
//! costs more, since each start reads the rest of a page. So a merge scan starts after some probes,
//! ends when it falls behind, and each that ended soon makes the next wait longer.
//!
//! Both ways read the same index under the same snapshot, so they find the same
//! rows.
use super::scan::Scan;
use super::{OpenRelation, UniqueIndex};
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::cmp::Ordering;

/// A merge scan starts after this many probes, or a multiple of it.
const FIRST_WAIT: u32 = 16;
/// And at the latest after this many.
const LONGEST_WAIT: u32 = 1024;
/// So many entries are passed by on the way to a key.
const MAX_STEPS: u32 = 4;
/// A merge scan that served so many keys was worth its start.
const WORTH_IT: u32 = 16;

/// A merge scan of one index, on and off.
pub struct MergeScan {
    possible: bool,
    scan: Option<Scan>,
    at: ScanPosition,
    /// Probes until the next start.
    wait: u32,
    next_wait: u32,
    /// Keys that the running scan has served.
    served: u32,
}

/// Where the scan stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ScanPosition {
    /// It is not running.
    Idle,
    /// At the row in the scan's slot.
    Row,
    /// Behind the last row: all later keys are missing.
    End,
}

impl MergeScan {
    /// Not running yet. An index in another order than the keys come in cannot be merged with them;
    /// and of stored rows the values of expressions are not at hand.
    pub fn new(arbiter: &UniqueIndex) -> Self {
        Self {
            possible: arbiter.ascending && !arbiter.nulls_equal && !arbiter.is_on_expressions(),
            scan: None,
            at: ScanPosition::Idle,
            wait: FIRST_WAIT,
            next_wait: FIRST_WAIT,
            served: 0,
        }
    }

    /// Whether there is a row under the key; None if the scan cannot tell, and a probe must.
    pub fn find<'v>(
        &mut self,
        table: &OpenRelation,
        index: &OpenRelation,
        arbiter: &UniqueIndex,
        numbers: &[pg_sys::AttrNumber],
        key: &impl Fn(usize) -> SqlValue<'v>,
    ) -> Option<bool> {
        if self.at == ScanPosition::Idle {
            if !self.possible || self.wait > 0 {
                self.wait = self.wait.saturating_sub(1);
                return None;
            }
            let scan = self
                .scan
                .get_or_insert_with(|| Scan::from_key(table, index, arbiter));
            self.at = if scan.start_at(key) {
                ScanPosition::Row
            } else {
                ScanPosition::End
            };
            self.served = 0;
        }
        let scan = self.scan.as_mut()?;
        for _ in 0..=MAX_STEPS {
            if self.at == ScanPosition::End {
                return Some(false);
            }
            match compare(scan, arbiter, numbers, key) {
                Ordering::Less => {
                    self.at = if scan.next() {
                        ScanPosition::Row
                    } else {
                        ScanPosition::End
                    };
                }
                order => {
                    self.served += 1;
                    return Some(order == Ordering::Equal);
                }
            }
        }
        self.next_wait = if self.served >= WORTH_IT {
            FIRST_WAIT
        } else {
            (self.next_wait * 2).min(LONGEST_WAIT)
        };
        self.wait = self.next_wait;
        self.at = ScanPosition::Idle;
        None
    }

    /// The scan whose slot holds the row that was found.
    pub fn scan(&self) -> Option<&Scan> {
        self.scan.as_ref()
    }
}

/// The order of the row at hand and the key, whose columns have no NULL: NULLs come last in the
/// index, and the scan leaves them out.
fn compare<'v>(
    scan: &Scan,
    arbiter: &UniqueIndex,
    numbers: &[pg_sys::AttrNumber],
    key: &impl Fn(usize) -> SqlValue<'v>,
) -> Ordering {
    let row = scan.row(numbers).expect("the scan is at a row");
    for part in &arbiter.keys {
        let (stored, wanted) = (row.value(part.column), key(part.column));
        if stored.is_null() || wanted.is_null() {
            return Ordering::Greater;
        }
        match part.compare(stored, wanted) {
            Ordering::Equal => {}
            other => return other,
        }
    }
    Ordering::Equal
}
