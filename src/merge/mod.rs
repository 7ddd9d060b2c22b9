//! `idempotent_merge`: an upsert in which the latest row wins, in whatever order rows
//! arrive.
//!
//! # The protocol
//! The source is read into working rows, sorted by the key, and of the rows under one key the
//! latest is kept (see [`latest`]). Then the call goes round until every key has its outcome:
//!
//! 1. **Look.** Each key is looked up in the arbiter under a fresh snapshot (READ
//!    COMMITTED) or the transaction's. What is stored and equal is `unchanged`, what is
//!    stored and later is `stale`: neither is written, locked or logged. Nor is anything for a
//!    row that deletes, and finds nothing: it is `unchanged`.
//! 2. **Insert** what was not found, in key order: `INSERT … ON CONFLICT (key) DO
//!    NOTHING`, as `write` does. If not all of it went in, all that is left is looked at
//!    again (1).
//! 3. **Update or delete** what is stored and earlier, in key order, under the snapshot of the
//!    look: by an UPDATE, a DELETE, or, where there is some of both, a MERGE. The row is
//!    addressed by place and by the transaction that wrote it, so what is replaced is the very
//!    version that was judged.
//! 4. What was not the same version any more is looked at again (1).
//!
//! # Why no interleaving goes wrong
//! - *A row is changed between look and update (or delete).* Its version is another then, the
//!   update passes over it (or, REPEATABLE READ and up, raises 40001), and the next round judges
//!   what is stored now. Nothing that is later is ever overwritten or deleted by something
//!   earlier.
//! - *A row is deleted between look and update, also by another merge.* The update passes over
//!   it, and the next round inserts: as if the call had come after the delete.
//! - *A key is inserted between look and delete.* A row that deletes, and found nothing, is done
//!   with: as if the insert had come after it. It does not wait for an insert that is under way,
//!   as a DELETE would not. REPEATABLE READ and up, a row that was committed since the snapshot is
//!   40001.
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
//!   it. Updates and deletes are one statement for the same reason: two would go through the
//!   keys twice. (If another session deletes rows, be it by a merge, a round may insert after
//!   updates: then 40P01 is possible, and a retry the answer. So are two merges in one
//!   transaction.)
//! - *Any order of arrival gives the same table.* «Later» is a total order on whole rows:
//!   by `latest_by`, then by whether they delete, then by the compared columns. What is stored
//!   in the end is the greatest row that ever came, and the maximum of a set does not depend on
//!   order. Where that is a row that deletes, nothing is left that a row could be compared with,
//!   and one that comes later goes in, however early it is.
//!
//! # Rows of a distributed or foreign table
//! The rounds are the same, and so are the judgements. A look and an insert go by SQL as elsewhere (see
//! [`write`](crate::write)). A stored row has no place and no version that could be trusted, so the update or delete
//! finds it by its key and by all values that were judged. What differs:
//! - *A row is changed between look and update.* Its values are others then, and the statement passes over it. If
//!   the values are the same again, what was judged still holds: the update replaces what it would have
//!   replaced. A statement that waits for another session checks the values again when that has committed.
//! - *What was written* the statements return, row by row. So nothing depends on transaction and command ids, which
//!   are those of another server. Where a trigger may have changed an update, or the key is computed, the rows
//!   are looked up once more.
//! - *Columns that a payload leaves out* keep what is stored when the update meets it.
//! - *Merges with overlapping keys may deadlock.* Citus writes to several shards at a time, in no order of keys, and
//!   updates and deletes are two statements. Citus lets two sessions take turns that update several shards
//!   from one node: the first of these statements concerns all shards of up to 256 rows, so few merges
//!   deadlock. One fails with 40P01 then, and a retry is the answer.
//! - *A row of a foreign table.* The statement finds its place on the other server by the values, and locks it; then it
//!   writes it by its place. postgres_fdw does all that under one snapshot: a row that was changed since is 40001.
//! - *A row that deletes, and finds nothing, under REPEATABLE READ.* Whether somebody has inserted the key since the
//!   snapshot cannot be looked up there. The row is done with: as if the insert had come after it.
#[forbid(unsafe_code)]
mod changes;
#[forbid(unsafe_code)]
mod kept_key;
#[forbid(unsafe_code)]
mod latest;
#[forbid(unsafe_code)]
mod never_updated;
#[forbid(unsafe_code)]
mod passes;
#[forbid(unsafe_code)]
mod round;
#[forbid(unsafe_code)]
mod write;

use crate::batch::{BatchFunction, BatchOptions, BatchToken};
use crate::error::{RowOrigin, with_error_capture};
use crate::options::{KeyOptions, MatchRule};
use crate::payload::generated::GeneratedColumns;
use crate::payload::json::JsonPayloads;
use crate::payload::latest_by::{Decider, STORED_AS};
use crate::payload::merge_fields::MergeFields;
use crate::payload::shape::{KeyPlace, Shape, check_key_named, named_by_all};
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::{RowType, SqlResult};
use crate::pg::memory::Scratch;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::stats::{Form, FormScope};
use crate::target::{
    OpenRelation, Target, UniqueIndex, check_any_privilege, check_merge_privileges,
};
use crate::write::{InputSorter, WriteContext};
use kept_key::check_key_kept;
use latest::LatestOrder;
use never_updated::NeverUpdated;
use passes::Passes;
use pgrx::prelude::*;
use round::{MergeCounts, merge_rows};
use std::rc::Rc;

/// `idempotent_merge(target, source, key, latest_by, compare, ignore, insert_only, delete_when,
/// token, digest)`: inserts or updates the rows of a table or view, by key, and deletes where the
/// source says so. A stored row that is later is kept, one that is equal is not rewritten.
///
/// Gives `received, inserted, updated, deleted, unchanged, stale, superseded bigint, replayed
/// boolean`; the last six numbers add up to the first.
///
/// # Errors
/// 42P10 without a usable key, or where an update could move a row out of it; 42703 for columns that are none, 42701, 42804, 22023, 23502, 428C9,
/// 42501, 42809; 21000 for rows under one key that differ where `latest_by` is not given;
/// 27000 if a trigger suppresses a row; 40001; and what INSERT, UPDATE and DELETE raise,
/// unchanged.
#[pg_extern(sql = false)]
fn idempotent_merge(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::Merge);
        let (counts, replayed) = merge(&call.arguments());
        let [a, b, c, d, e, f, g] = counts.map(SqlValue::bigint);
        let replayed = SqlValue::boolean(replayed);
        SqlResult::row(RowType::BatchMerged, &[a, b, c, d, e, f, g, replayed])
    })
}

/// `idempotent_merge_many(target, payloads, key, latest_by, compare, ignore, insert_only,
/// delete_when)`: the same for a JSON array of objects. A field that a payload leaves out leaves
/// the stored value alone.
///
/// # Errors
/// As [`idempotent_merge`]; 23502 for a payload without what `latest_by` names.
#[pg_extern(sql = false)]
fn idempotent_merge_many(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::MergeMany);
        let counts = merge_many(&call.arguments()).in_order();
        SqlResult::row(RowType::Merged, &counts.map(SqlValue::bigint))
    })
}

/// The counts of a merge, as the record of a batch names them.
const COUNTS: [&str; 7] = [
    "received",
    "inserted",
    "updated",
    "deleted",
    "unchanged",
    "stale",
    "superseded",
];

/// The arguments from the third on.
struct MergeOptions {
    key: KeyOptions,
    match_rule: MatchRule,
    latest_by: Option<Vec<String>>,
    insert_only: Option<Vec<String>>,
    delete_when: Option<String>,
}

impl MergeOptions {
    fn read(arguments: &Arguments, target: &Target) -> Self {
        let key = KeyOptions::read(arguments, [2, 4, 5]);
        Self {
            // What a guard leaves out because it changes after insert is what a merge brings.
            match_rule: MatchRule::of_all_columns(&key, target),
            key,
            latest_by: arguments.columns(3, "latest_by"),
            insert_only: arguments.columns(6, "insert_only"),
            delete_when: arguments.optional_text(7),
        }
    }

    /// Resolves the compared columns of the shapes. Gives the columns that an update sets.
    ///
    /// # Errors
    /// 22023 for columns that an option must not name, 0A000 for a rule on DELETE, and 42501.
    fn plan(
        &mut self,
        target: &Target,
        relation: &OpenRelation,
        arbiter: &UniqueIndex,
        shapes: &mut [Shape],
        deciders: &[Decider],
    ) -> Vec<usize> {
        let insert_only = self.insert_only.as_deref();
        let never_updated = NeverUpdated::new(target, relation, arbiter, insert_only);
        let comparison = &mut self.match_rule.comparison;
        never_updated.refuse_in(target, comparison.named(), "compare");
        comparison.exclude(&never_updated.columns);
        comparison.apply(target, arbiter, shapes);
        let kept: Vec<usize> = deciders.iter().filter_map(Decider::column).collect();
        never_updated.refuse_in(target, &kept, "latest_by");
        if let Some(name) = self.delete_when.as_deref() {
            target.refuse_delete_rules(relation);
            refuse_key_column(target, arbiter, name);
        }
        let named = named_by_any(target, shapes);
        let may_change = |c: &usize| !arbiter.has_column(*c) && !never_updated.columns.contains(c);
        let updated: Vec<usize> = named.iter().copied().filter(may_change).collect();
        let deletes = self.delete_when.is_some();
        let deciding = arbiter.deciding_columns().iter().copied();
        check_merge_privileges(target, named, deciding, &updated, deletes);
        updated
    }

    /// Checks what can be checked where no payload says which columns are merged.
    ///
    /// # Errors
    /// As [`MergeOptions::plan`]; 42P10 without a usable key, 42703 for names that are no columns.
    fn check_without_payloads(
        &mut self,
        target: &Target,
        relation: &OpenRelation,
        deciders: &[Decider],
    ) {
        // A caller without any right must not lock the table.
        check_any_privilege(target.oid);
        if let Some(arbiter) = self.match_rule.certain_arbiter(target) {
            self.plan(target, relation, arbiter, &mut [], deciders);
            return;
        }
        // Several indexes may be the key.
        for name in self.insert_only.iter().flatten() {
            target.column_by_name(name);
        }
        let deletes = self.delete_when.is_some();
        if deletes {
            target.refuse_delete_rules(relation);
        }
        check_merge_privileges(target, [], [], &[], deletes);
    }

    /// What a record of a batch keeps of them.
    fn of_batch(&self) -> BatchOptions {
        let delete_when = self.delete_when.as_ref().map(std::slice::from_ref);
        self.key
            .of_batch()
            .with_names(c"latest_by", self.latest_by.as_deref())
            .with_names(c"insert_only", self.insert_only.as_deref())
            .with_names(c"delete_when", delete_when)
    }
}

/// The table that is merged into; a foreign one by the key that is named.
fn open_target(arguments: &Arguments) -> (Rc<Target>, OpenRelation) {
    let target = arguments.oid(0, "target");
    Target::open_to_insert(target, || arguments.columns(2, "key"))
}

/// The counts, and whether they are of an earlier call with the same token.
fn merge(arguments: &Arguments) -> ([i64; 7], bool) {
    let (target, relation) = open_target(arguments);
    target.refuse_rules();
    let oid = arguments.oid(1, "source");
    let mut options = MergeOptions::read(arguments, &target);
    let (delete_when, latest_by) = (&options.delete_when, &options.latest_by);
    let (delete_when, latest_by) = (delete_when.as_deref(), latest_by.as_deref());
    let mut source = Source::open_to_merge(&target, oid, delete_when, latest_by);

    let mut shapes = [source.shape()];
    let arbiter = options.match_rule.arbiter_for_source(&target, &source);
    let deciders = source.latest_by();
    let updated = options.plan(&target, &relation, arbiter, &mut shapes, deciders);
    check_key_named(&target, arbiter, &shapes, |_| KeyPlace::Source);
    check_key_kept(&target, &relation, arbiter, &updated, &shapes);
    let unstored = source.unstored();
    let origin = RowOrigin::Source;
    let latest = LatestOrder::new(&target, arbiter, &shapes, deciders, unstored, origin);
    let deciding = arbiter.deciding_columns().iter().copied();
    source.read_of_deletes(deciding.chain(latest.by()));

    let batch = BatchToken::read(arguments, 8, 9)
        .map(|token| token.batch(&target, BatchFunction::Merge, &options.of_batch()));
    if let Some(counts) = batch
        .as_ref()
        .and_then(|batch| batch.counts_or_lock(COUNTS))
    {
        return (counts, true);
    }
    source.complete_keys(&relation, arbiter);
    let guard = options.match_rule.guard;
    let context = WriteContext::new(&target, &relation, arbiter, &shapes, origin, guard)
        .reaching_shards()
        .judging(latest.by());
    let mut input = InputSorter::of_rows(&target, arbiter, source.row_desc());
    let generated = GeneratedColumns::of(&target, &relation, &shapes);
    let mut counts = MergeCounts {
        received: source.read(arbiter, generated, input.sort()),
        ..MergeCounts::default()
    };
    merge_rows(&context, &latest, &updated, input.into_rows(), &mut counts);
    counts.record(&context);
    let counts = counts.in_order();
    if let Some(batch) = batch {
        batch.record(COUNTS, counts);
    }
    (counts, false)
}

fn merge_many(arguments: &Arguments) -> MergeCounts {
    let (target, relation) = open_target(arguments);
    target.refuse_rules();
    let document = arguments.jsonb(1, "payloads");
    let mut options = MergeOptions::read(arguments, &target);
    // Any field may be one that is not stored: each payload has to have it.
    let is_field = |name: &str| !name.to_ascii_lowercase().contains(STORED_AS);
    let deciders = options.latest_by.as_deref().unwrap_or_default();
    let deciders = Decider::all(&target, deciders, is_field);
    let fields = MergeFields::new(&target, deciders, options.delete_when.as_deref());
    let mut payloads = JsonPayloads::to_merge(&target, document, fields);
    let mut counts = MergeCounts {
        received: payloads.len() as i64,
        ..MergeCounts::default()
    };
    if payloads.is_empty() {
        let (_, fields) = payloads.shapes_and_fields();
        options.check_without_payloads(&target, &relation, fields.deciders());
        return counts;
    }
    let origin = payloads.origin;
    let by_all = named_by_all(&target, &payloads.shapes);
    let arbiter = options.match_rule.arbiter(&target, |column| by_all[column]);
    let (shapes, fields) = payloads.shapes_and_fields();
    let updated = options.plan(&target, &relation, arbiter, shapes, fields.deciders());
    check_key_named(&target, arbiter, shapes, |shape| {
        KeyPlace::Row(origin.numbered(shape.first))
    });
    check_key_kept(&target, &relation, arbiter, &updated, shapes);
    let (deciders, unstored) = (fields.deciders(), &fields.unstored);
    let mut latest = LatestOrder::new(&target, arbiter, shapes, deciders, unstored, origin);
    let deciding = arbiter.deciding_columns().iter().copied();
    let read: Vec<usize> = deciding.chain(latest.by()).collect();
    fields.read_of_deletes(&read);

    payloads.complete_keys(&relation, arbiter);
    let mut input = InputSorter::of_rows(&target, arbiter, payloads.row_desc());
    let generated = GeneratedColumns::of(&target, &relation, &payloads.shapes);
    if let Some(generated) = &generated {
        generated.refuse_by_defaults();
    }
    let scratch = Scratch::in_current(c"pg_idempotent payload");
    payloads.read(Some(arbiter), generated, &scratch, &mut |row| {
        input.put(row)
    });
    let rows = input.into_rows();
    let passes = if payloads.shapes.len() == 1 {
        vec![rows]
    } else {
        let (shapes, _) = payloads.shapes_and_fields();
        Passes::new(&target, arbiter, &mut latest, shapes).of(rows, &mut counts)
    };
    let (shapes, guard) = (&payloads.shapes, options.match_rule.guard);
    let context = WriteContext::new(&target, &relation, arbiter, shapes, origin, guard)
        .reaching_shards()
        .judging(latest.by());
    for rows in passes {
        merge_rows(&context, &latest, &updated, rows, &mut counts);
    }
    counts.record(&context);
    counts
}

/// The columns that some shape names, by position.
fn named_by_any(target: &Target, shapes: &[Shape]) -> Vec<usize> {
    let mut named = vec![false; target.columns.len()];
    for shape in shapes {
        pgrx::check_for_interrupts!();
        shape.named.iter().for_each(|c| named[*c] = true);
    }
    (0..named.len()).filter(|c| named[*c]).collect()
}

/// What says that a row deletes is no part of its key: it would never find the row.
///
/// # Errors
/// 22023
fn refuse_key_column(target: &Target, arbiter: &UniqueIndex, name: &str) {
    let column = target.column_by_bytes(text::to_server(name).to_bytes());
    if let Some(column) = column.filter(|c| arbiter.deciding_columns().contains(c)) {
        target
            .cannot_be_in(column, "is part of the key", "delete_when")
            .raise()
    }
}
