//! Which payload, or row of a source, a statement of ours was writing when the server raised an error, for its
//! CONTEXT, as COPY names its line.
//!
//! # How it is known
//! The statement reads its rows from a tuplestore, one by one, and writes each before it asks for
//! the next. So the row at hand is the one in the slot of the scan, which a [`WatchedStore`] finds.
//! What comes before the first row (a BEFORE STATEMENT trigger) meets an empty slot; after the last
//! one the scan has emptied it; and AFTER triggers, foreign keys and constraints that are deferred
//! come when the run has ended, and the slot is forgotten. None of these is said to be about a
//! payload.
//!
//! Where rows go in without a statement, who puts them in says which one is at hand.
//!
//! An error that is not about what is written, such as a cancellation or a full disk, may
//! be raised between two rows. It names none either.
use super::context_stack::{ErrorAtHand, ErrorWatcher, Watched};
use super::executor::WatchedStore;
use super::fields::ErrorFields;
use super::line::Line;
use super::row_origin::RowOrigin;
use pgrx::pg_sys;
use std::cell::Cell;
use std::fmt::Write;

/// While it lives, an error that the server raises while it writes a row of the store gets
/// a CONTEXT line such as `payload 700`, or `row 700 of the source`. All other fields stay as they are.
pub struct RowPosition<'n> {
    _watched: Watched<NotedRow<'n>>,
}

/// The row at hand, and where it is noted when an error is raised.
struct NotedRow<'n> {
    origin: RowOrigin,
    row: RowAtHand<'n>,
    noted: Option<&'n Cell<Option<i64>>>,
}

/// What knows the row at hand.
enum RowAtHand<'n> {
    Scan(WatchedStore),
    Number(&'n Cell<Option<i64>>),
}

impl RowAtHand<'_> {
    fn number(&self) -> Option<i64> {
        match self {
            Self::Scan(store) => store.number_at_hand(),
            Self::Number(number) => number.get(),
        }
    }
}

impl<'n> RowPosition<'n> {
    /// Puts the position on the error context stack until it is dropped. `ordinal` is the
    /// position (from 0) of a bigint in the store's rows; that of the row that the last error was
    /// about, or None, is put into `noted`.
    pub fn watch(
        origin: RowOrigin,
        store: *const pg_sys::Tuplestorestate,
        ordinal: usize,
        noted: Option<&'n Cell<Option<i64>>>,
    ) -> Self {
        let row = RowAtHand::Scan(WatchedStore::new(store, ordinal));
        Self {
            _watched: Watched::by(NotedRow { origin, row, noted }),
        }
    }

    /// Likewise, where `number` has the ordinal of the row at hand, if one is.
    pub fn watch_number(
        origin: RowOrigin,
        number: &'n Cell<Option<i64>>,
        noted: &'n Cell<Option<i64>>,
    ) -> Self {
        let (row, noted) = (RowAtHand::Number(number), Some(noted));
        Self {
            _watched: Watched::by(NotedRow { origin, row, noted }),
        }
    }
}

impl ErrorWatcher for NotedRow<'_> {
    fn fields(&self, error: &ErrorAtHand<'_>) -> ErrorFields<'_> {
        let at_hand = self.row.number();
        if let Some(noted) = self.noted {
            noted.set(at_hand);
        }
        match at_hand {
            Some(ordinal) if ordinal > 0 && is_about_row(error.sqlstate()) => {
                let mut line = Line::new();
                // A line takes what fits.
                let _ = write!(line, "{}", self.origin.numbered(ordinal));
                ErrorFields::line(line)
            }
            _ => ErrorFields::default(),
        }
    }
}

/// Whether an error with this SQLSTATE is raised for what is done with the row at hand, not
/// between two rows: none of the classes 53 (resources), 57 (intervention), 58 (system) and
/// XX (internal).
fn is_about_row(sqlstate: i32) -> bool {
    /// Two characters of six bits.
    const CLASS: i32 = 0xfff;
    let class = |name: &[u8; 2]| {
        let bits = |c: u8| i32::from(c.wrapping_sub(b'0') & 0x3f);
        bits(name[0]) | bits(name[1]) << 6
    };
    ![b"53", b"57", b"58", b"XX"]
        .into_iter()
        .any(|name| class(name) == sqlstate & CLASS)
}
