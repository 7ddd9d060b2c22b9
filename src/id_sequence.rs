//! Numbers of the rows of state: of conflicts, of loads, of runs, of attempts.
//!
//! Sequences are neither in dumps nor replicated, so that no right on them is needed; and a
//! sequence that was restored or replicated could be behind all the same. Where rows have come
//! from elsewhere, the numbers go on behind theirs:
//! - *A sequence that nothing was drawn from yet* begins behind the greatest number in the table.
//!   So it is after a restore, and on a subscriber that takes over.
//! - *A number that a row has already* is met by the INSERT, which then does nothing and waits
//!   for the transaction that is inserting that row, as for any unique index. The sequence is put behind the
//!   greatest number, and the next one is drawn. That may put it back by what other sessions
//!   have drawn meanwhile; then a number is met again, and another one drawn, until one is
//!   new. A row that the transaction cannot see is 40001.
//!
//! # Attempts
//! A number that was an attempt's must not be another's at the same key, though the row may be
//! gone. So the sequence goes with the clock: it counts on from call to call, and if a number is
//! more than a minute behind, the next one is the microsecond that it is. No server draws a
//! million numbers a second, so no number is ahead of the clock. A server that takes over, and has
//! not drawn in the minute before, is ahead of all that was drawn elsewhere until then, as far as
//! the clocks agree. Where a row is ahead all the same, the next attempt at its key is greater than that.
//!
//! Several sessions may find the sequence behind. One of them puts it ahead, under a lock; the
//! others then see that it is.
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::hash_lock::HashLock;
use crate::pg::transaction::locks::{self, LockSubject};
use crate::state::StateTable;
use crate::user_context::UserContext;
use pgrx::pg_sys;

/// The numbers of a table. All names are qualified.
pub struct IdSequence {
    /// The table,
    pub table: &'static str,
    /// its column with the number,
    pub column: &'static str,
    /// and the sequence that they come from.
    pub sequence: &'static str,
}

/// The numbers from here on are not drawn.
const UPPER_HALF: i64 = 1 << 62;

impl IdSequence {
    /// Inserts, as the owner, until the numbers that were drawn are new; `insert` says whether
    /// they were.
    pub fn insert_with_new_id(&self, connection: &Connection, insert: impl Fn() -> bool) {
        let drawn = format!(
            "SELECT FROM {} AS drawn WHERE drawn.is_called",
            self.sequence
        );
        if connection.execute(&drawn, &[]) == 0 {
            self.catch_up(connection);
        }
        while !insert() {
            pgrx::check_for_interrupts!();
            self.catch_up(connection);
        }
    }

    /// Puts the sequence behind the greatest number in the table. The owner of the database may
    /// have restored any: after those of the upper half there might be no other. They are not
    /// followed, and no sequence comes there by counting.
    fn catch_up(&self, connection: &Connection) {
        let Self {
            table,
            column,
            sequence,
        } = self;
        connection.execute(
            &format!(
                "SELECT pg_catalog.setval('{sequence}', latest.number)
                   FROM (SELECT pg_catalog.max(record.{column}) AS number FROM {table} AS record
                          WHERE record.{column} OPERATOR(pg_catalog.<) {UPPER_HALF}) AS latest
                  CROSS JOIN {sequence} AS drawn
                  WHERE latest.number OPERATOR(pg_catalog.>=) drawn.last_value"
            ),
            &[],
        );
    }
}

const SECOND: i64 = 1_000_000;

/// Attempts go with the clock if they are no smaller than this, in 2001. Smaller ones are of a
/// sequence that its owner has restarted.
const LEAST: i64 = 1_000_000_000 * SECOND;

/// From 1970, when numbers begin, to 2000, when the server's timestamps do.
const THIRTY_YEARS: i64 = 946_684_800 * SECOND;

/// Whether the number of an attempt that was drawn now is more than a minute behind.
pub fn is_behind_the_clock(attempt: i64, now: pg_sys::TimestampTz) -> bool {
    attempt >= LEAST && attempt + 60 * SECOND < now.saturating_add(THIRTY_YEARS)
}

/// Puts the sequence of attempts to the clock, if it is behind. What others draw between the
/// look and that is not ahead of the clock by then.
pub fn advance_attempts_to_clock() {
    let _lock = HashLock::acquire(locks::tag(LockSubject::Attempts, 0));
    // Dropped before the lock: the work is done as the owner, and its settings are put back.
    let _owner = UserContext::owner_of(StateTable::Requests);
    Connection::open().execute(
        "SELECT pg_catalog.setval('idempotent.request_attempts', clock.time)
           FROM (SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())
                         OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 AS time) AS clock
          CROSS JOIN idempotent.request_attempts AS drawn
          WHERE drawn.last_value OPERATOR(pg_catalog.+) 1000000 OPERATOR(pg_catalog.<) clock.time",
        &[],
    );
}
