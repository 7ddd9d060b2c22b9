//! `idempotent_merge`: an upsert in which the latest row wins, in whatever order rows
//! arrive.
//!
//! # The protocol
//! The source is read into working rows, sorted by the key, and of the rows under one key the
//! latest is kept (see [`latest`]). Then the call goes round until every key has its outcome:
//!
//! 1. **Look.** Each key is looked up in the arbiter under a fresh snapshot (READ
//!    COMMITTED) or the transaction's. What is stored and equal is `unchanged`, what is
//!    stored and later is `stale`: neither is written, locked or logged.
//! 2. **Insert** what was not found, in key order: `INSERT … ON CONFLICT (key) DO
//!    NOTHING`, as `write` does. If not all of it went in, all that is left is looked at
//!    again (1).
//! 3. **Update** what is stored and earlier, in key order, under the snapshot of the look.
//!    The row is addressed by place and by the transaction that wrote it, so what is
//!    replaced is the very version that was judged.
//! 4. What was not the same version any more is looked at again (1).
//!
//! # Why no interleaving goes wrong
//! - *A row is changed between look and update.* Its version is another then, the update
//!   passes over it (or, REPEATABLE READ and up, raises 40001), and the next round judges
//!   what is stored now. Nothing that is later is ever overwritten by something earlier.
//! - *Another merge inserts the key between look and insert.* ON CONFLICT waits for it,
//!   and passes over the row; the next round judges it.
//! - *Merges with overlapping keys do not deadlock.* Each inserts all that it inserts, in
//!   key order, before it updates anything, in key order. An insert may wait for another's
//!   insert of a later or the same key, or for its update; an update waits only for
//!   another's update of the same key, since it has judged a committed row, which no insert
//!   holds. So a merge that waits in the second phase waits for one in the second phase, and
//!   both go by the key. A row that was changed since the look is still met in the
//!   order of keys, since the update sees what the look saw, and the server locks its
//!   latest version before it finds that it is another: the next round need not wait for
//!   it. (If another session deletes rows, a round may insert after updates: then 40P01 is
//!   possible, and a retry the answer. So are two merges in one transaction.)
//! - *Any order of arrival gives the same table.* «Later» is a total order on whole rows:
//!   by `latest_by`, then by the compared columns. What is stored in the end is the
//!   greatest row that ever came, and the maximum of a set does not depend on order.
#[forbid(unsafe_code)]
mod latest;
#[forbid(unsafe_code)]
mod never_updated;
#[forbid(unsafe_code)]
mod round;
#[forbid(unsafe_code)]
mod write;

use crate::batch::{BatchFunction, BatchToken};
use crate::error::with_error_capture;
use crate::options::{KeyOptions, MatchRule};
use crate::payload::generated::GeneratedColumns;
use crate::payload::shape::{KeyPlace, check_key_named};
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::{RowType, SqlResult};
use crate::pg::value::sql_value::SqlValue;
use crate::target::{Target, check_merge_privileges};
use crate::write::{InputSorter, WriteContext};
use latest::LatestOrder;
use never_updated::NeverUpdated;
use pgrx::prelude::*;
use round::{MergeCounts, merge_rows};

/// `idempotent_merge(target, source, key, latest_by, compare, ignore, insert_only)`: inserts
/// or updates the rows of a table or view, by key. A stored row that is later is kept, one
/// that is equal is not rewritten.
///
/// Gives `received, inserted, updated, unchanged, stale, superseded bigint`; the last five
/// add up to the first.
///
/// # Errors
/// 42P10 without a usable key, 42703 for columns that are none, 22023, 23502, 428C9,
/// 42501, 42809; 21000 for rows under one key that differ where `latest_by` is not given;
/// 27000 if a trigger suppresses a row; 40001; and what INSERT and UPDATE raise, unchanged.
#[pg_extern(sql = false)]
fn idempotent_merge(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let ([received, inserted, updated, unchanged, stale, superseded], replayed) =
            merge(&call.arguments());
        SqlResult::row(
            RowType::Merged,
            &[
                SqlValue::bigint(received),
                SqlValue::bigint(inserted),
                SqlValue::bigint(updated),
                SqlValue::bigint(unchanged),
                SqlValue::bigint(stale),
                SqlValue::bigint(superseded),
                SqlValue::boolean(replayed),
            ],
        )
    })
}

/// The counts of a merge, as the record of a batch names them.
const COUNTS: [&str; 6] = [
    "received",
    "inserted",
    "updated",
    "unchanged",
    "stale",
    "superseded",
];

/// Those, and whether they are of an earlier call with the same token.
fn merge(arguments: &Arguments) -> ([i64; 6], bool) {
    let (target, relation) = Target::open(arguments.oid(0, "target"));
    target.refuse_rules();
    let mut source = Source::open(&target, arguments.oid(1, "source"));
    // What a guard leaves out because it changes after insert is what a merge brings.
    let key_options = KeyOptions::read(arguments, [2, 4, 5]);
    let mut match_rule = MatchRule::of_all_columns(&key_options, &target);
    let latest_by = arguments.columns(3, "latest_by");
    let insert_only = arguments.columns(6, "insert_only");

    let mut shapes = [source.shape()];
    let arbiter = match_rule.arbiter_for_source(&target, &source);
    let never_updated = NeverUpdated::new(&target, &relation, arbiter, insert_only.as_deref());
    never_updated.refuse_in(&target, match_rule.comparison.named(), "compare");
    match_rule.comparison.exclude(&never_updated.columns);
    match_rule.comparison.apply(&target, arbiter, &mut shapes);
    check_key_named(&target, arbiter, &shapes, |_| KeyPlace::Source);
    let latest = LatestOrder::new(&target, arbiter, &shapes[0], latest_by.as_deref());
    never_updated.refuse_in(&target, latest.by(), "latest_by");
    let named = || shapes[0].named.iter().copied();
    let updated: Vec<usize> = named()
        .filter(|c| !arbiter.has_column(*c) && !never_updated.columns.contains(c))
        .collect();
    check_merge_privileges(
        &target,
        named(),
        arbiter.deciding_columns().iter().copied(),
        &updated,
    );

    let batch = BatchToken::read(arguments, 7, 8).map(|token| {
        let options = key_options
            .of_batch()
            .with_names(c"latest_by", latest_by.as_deref())
            .with_names(c"insert_only", insert_only.as_deref());
        token.batch(&target, BatchFunction::Merge, &options)
    });
    if let Some(counts) = batch
        .as_ref()
        .and_then(|batch| batch.counts_or_lock(COUNTS))
    {
        return (counts, true);
    }
    source.complete_keys(&relation, arbiter);
    let context = WriteContext::new(&target, &relation, arbiter, &shapes, true, match_rule.guard);
    let mut input = InputSorter::new(&context, false);
    let generated = GeneratedColumns::of(&target, &relation, &shapes);
    let mut counts = MergeCounts {
        received: source.read(arbiter, generated, input.sort()),
        ..MergeCounts::default()
    };
    merge_rows(&context, &latest, &updated, input.into_rows(), &mut counts);
    let counts = [
        counts.received,
        counts.inserted,
        counts.updated,
        counts.unchanged,
        counts.stale,
        counts.superseded,
    ];
    if let Some(batch) = batch {
        batch.record(COUNTS, counts);
    }
    (counts, false)
}
