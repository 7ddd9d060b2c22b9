//! What writes and verifies: the set path, which `idempotent_insert` and its kin, `idempotent_load`
//! and `idempotent_merge` go.
//!
//! # The protocol
//! A call turns its payloads into working rows, sorts them by the arbiter's
//! order, and then goes round until every payload has its outcome:
//!
//! 1. **Look.** Each key is looked up in the arbiter under a fresh snapshot
//!    (READ COMMITTED) or the transaction's (REPEATABLE READ, SERIALIZABLE). A
//!    stored row that is found is compared in place: duplicate or conflict.
//!    Nothing has been written so far; a pure retry ends here.
//! 2. **Insert.** What was not found goes in in key order, as by one
//!    `INSERT … SELECT … ON CONFLICT (key) DO NOTHING`: without a statement where
//!    nothing but the table has a say (see [`direct`]), else by that statement.
//! 3. If all of it went in, those payloads are `inserted`. If not, someone was
//!    faster. Which went in, INSERT has returned where anything but itself
//!    could have touched the rows (triggers); elsewhere the rows tell, by
//!    transaction and command. Those are `inserted`; the others are looked up
//!    again (1) and verified against the winner's row, and one that is in
//!    nobody's way any more is sent again (2).
//!
//! Where a row that ON CONFLICT skips has no effect whatsoever, and most keys
//! are new, rows are sent without a look and verified after (3): see [`new_key_estimator`].
//!
//! A payload whose key an earlier payload of the same call has is verified in
//! the next round, against the row that the earlier one left.
//!
//! Where the arbiter is partial, a row outside of its condition has no key: it is not looked up,
//! is handed to INSERT in the first round, where nothing can make ON CONFLICT skip it, and is
//! `inserted`. The values of expressions in the key are in the working rows, like columns.
//!
//! # Why no interleaving goes wrong
//! - *Another transaction inserts the key after our look, and commits before
//!   our INSERT.* ON CONFLICT finds the row and skips ours. The next look, under
//!   a fresh snapshot, sees it. Under REPEATABLE READ and up the INSERT itself
//!   raises 40001, since the snapshot cannot see the row; we never get to judge
//!   a row that is not there for us.
//! - *It is still in progress at our INSERT.* ON CONFLICT waits for its end. If
//!   it commits: as above. If it rolls back (all of it or to a savepoint), ours
//!   goes in. If it is prepared, ours waits for COMMIT PREPARED or ROLLBACK
//!   PREPARED. `lock_timeout` and cancellation end the wait, as any.
//! - *The row that made ON CONFLICT skip ours is deleted before the next look.*
//!   The look finds nothing, and the row is sent again.
//! - *An UPDATE moves the row that was found, or that made ON CONFLICT skip ours, out of the
//!   arbiter's condition.* As if it were deleted: the arbiter does not lead to its new version.
//! - *The row that the look found is deleted or updated afterwards.* The outcome
//!   holds for the snapshot, as the result of any SELECT does: the call counts
//!   as having come first.
//! - *Two calls with overlapping keys.* Both insert in the arbiter's order, so
//!   neither can hold what the other waits for while waiting for what the other
//!   holds. Rows of several shapes are sent as runs of one shape in that same
//!   order, never shape by shape. (Deletions by others can break that: a row
//!   that is sent again in a later round may sort before one that went in.
//!   40P01 is then possible, and a retry the answer.)
//! - *An index that is made like the arbiter is being built, or taken away*, by REINDEX CONCURRENTLY and its
//!   kin. It is not valid, so that the server's ON CONFLICT does not know it, but it refuses a second row.
//!   Rows that go in directly take it for an arbiter, too. A statement runs in a subtransaction beside
//!   it: 23505 undoes that, and the statement is sent again (see [`send`]). Whoever builds or drops an index
//!   so waits, between its steps, for all who write to the table; so the index is among those
//!   that were found when the table was locked. Of a partition's indexes nothing is known here:
//!   where such a table has a guard, its key lock keeps two sessions apart in all indexes at once.
//! - *SERIALIZABLE.* The look leaves its predicate locks for found and missing
//!   keys alike, so a decision that rests on them is checked at commit.
//!
//! 23505 from the arbiter cannot arise, because the arbiter is named in ON
//! CONFLICT; from any other unique index it is the error it should be. What is said of ON CONFLICT
//! here also holds for rows that go in directly: they do by the server's own protocol of it, see
//! [`insertion`](crate::pg::statement::insertion).
mod context;
mod direct;
mod distributed;
mod input;
mod judge;
mod lookup;
mod new_key_estimator;
mod outcome_collector;
mod portion;
mod reject;
mod rejections;
mod replace;
mod returned_keys;
mod round;
mod send;
mod single;
mod statement;
mod terms;

pub use context::{MAX_ROUNDS, WriteContext};
pub use distributed::transmission;
pub use input::{InputSorter, SortedRows};
pub use lookup::Lookup;
pub use outcome_collector::{OutcomeCollector, ResultDetail};
pub use portion::Portion;
pub use rejections::Rejections;
pub use replace::Replacements;
pub use send::insert;
pub use statement::insert_values;
pub use terms::{Keys, Returning, inserted_columns};
