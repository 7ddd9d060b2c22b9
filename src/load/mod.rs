//! `idempotent_load`: the rows of a table or view in batches, each of which is committed.
//!
//! # The protocol
//! 1. Arguments, rights and columns are checked. Nothing has been written so far.
//! 2. The load's row goes into `idempotent.load_records`, and is committed.
//! 3. The source is read once, under one snapshot, sorted by the arbiter, and kept in a
//!    tuplestore that outlives commits. Now the number of rows is known.
//! 4. Batch by batch, cut where the key changes, the rows go through the rounds of the set
//!    path. The load's row is brought up to date in the transaction of each batch: it never
//!    says more or less than what is committed.
//!
//! Between two batches nothing of the target is held, and anybody may change it: VACUUM and
//! ANALYZE do not matter, nor do new indexes, triggers or constraints, which are met by the
//! next batch. Columns and arbiter have to be what they were when the source was
//! read.
//!
//! # Why it may die at any moment
//! What is committed are whole batches, in key order, and a row that is in is a duplicate for
//! the next call, which ends where this one would have. Nothing that the next call reads
//! depends on how far this one came: `idempotent.loads` is for people.
//!
//! The record of a token goes in with the last batch. Until then the session has the lock on the
//! token, over all commits.
//!
//! The batch of a foreign table commits on the other server first, and here afterwards. If it does not
//! come to the latter, its rows are in and counted nowhere: the next call finds duplicates, as after a death
//! of the session.
mod progress;
mod record;

use crate::batch::{Batch, BatchFunction, BatchToken};
use crate::error::{Caught, Report, RowError, RowOrigin, SqlState, message_of, with_error_capture};
use crate::options::{
    KeyOptions, MatchRule, check_rights, insert_options_of_batch, plan_source, read_overriding,
};
use crate::outcome::{OnConflict, OnError};
use crate::own_function::own_function;
use crate::payload::generated::{GeneratedColumns, exclude_from_comparison};
use crate::payload::refused::RefusedRow;
use crate::payload::shape::{IdentityValues, Shape};
use crate::payload::source::Source;
use crate::pg::backend;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::catalog;
use crate::pg::memory::Memory;
use crate::pg::rows::TupleStore;
use crate::pg::transaction::locks::{LockSubject, SessionLock};
use crate::pg::transaction::transactions::NonAtomicProcedure;
use crate::stats::{Form, FormScope};
use crate::target::{Column, OpenRelation, Target, UniqueIndex};
use crate::write::{
    InputSorter, OutcomeCollector, Rejections, ResultDetail, SortedRows, WriteContext,
};
use pgrx::prelude::*;
use progress::Progress;
use record::{LoadCounts, LoadRecord};
use std::panic::resume_unwind;
use std::rc::Rc;

/// `CALL idempotent_load(target, source, key, compare, ignore, on_conflict, batch_size,
/// overriding, on_error, token, digest)`:
/// inserts or verifies the rows of a table or view as `idempotent_insert_from` does, and
/// commits after every `batch_size` rows.
///
/// # Errors
/// As `idempotent_insert_from`, for the batch in which they arise: those before it stay.
/// 25001 where the call cannot commit, 22004 and 22023 for a batch of none, 55000 if the
/// target was changed while it was loaded.
#[pg_extern(sql = false)]
fn idempotent_load(call: SqlCall<'_>) {
    let (arguments, may_commit) = (call.arguments(), call.may_commit());
    with_error_capture(|| {
        if !may_commit {
            refuse_transaction()
        }
        let call = LoadCall::new(&arguments);
        let procedure = NonAtomicProcedure::open();
        load(&procedure, &call);
    });
}

/// What the caller asks for.
struct LoadCall {
    target: pg_sys::Oid,
    source: pg_sys::Oid,
    key_options: KeyOptions,
    on_conflict: OnConflict,
    batch_size: u64,
    identity: IdentityValues,
    on_error: OnError,
    token: Option<BatchToken>,
}

impl LoadCall {
    fn new(arguments: &Arguments) -> Self {
        let target = arguments.oid(0, "target");
        let source = arguments.oid(1, "source");
        let key_options = KeyOptions::read(arguments, [2, 3, 4]);
        let on_conflict = OnConflict::parse(&arguments.text(5, "on_conflict"));
        let batch_size = arguments.positive_int(6, "batch_size");
        Self {
            target,
            source,
            key_options,
            on_conflict,
            batch_size: batch_size as u64,
            identity: read_overriding(arguments, 7),
            on_error: OnError::parse(&arguments.text(8, "on_error")),
            token: BatchToken::read(arguments, 9, 10),
        }
    }

    /// The load as a batch, if it has a token.
    fn batch(&self, target: &Target) -> Option<Batch> {
        let options = insert_options_of_batch(
            self.key_options.of_batch(),
            self.on_conflict,
            self.on_error,
            self.identity,
        );
        let token = self.token.as_ref();
        token.map(|token| token.batch(target, BatchFunction::Load, &options))
    }
}

/// 25001
fn refuse_transaction() -> ! {
    Report::new(
        SqlState::ActiveSqlTransaction,
        "idempotent_load cannot run inside a transaction block or a function",
    )
    .detail("It commits after every batch.")
    .hint(format!(
        "Call it on its own, or use {}, which is part of your transaction.",
        own_function("idempotent_insert_from")
    ))
    .raise()
}

fn load(procedure: &NonAtomicProcedure, call: &LoadCall) {
    let _form = FormScope::of(Form::Load);
    let mut store = None;
    let load = procedure.step(|| {
        let load = begin(call)?;
        // The commit may empty a temporary table.
        let early = catalog::is_temporary(call.source).then(|| read(call, &load, &mut store));
        Ok((load, early))
    });
    let (load, early) = match load {
        Ok(Ok(load)) => load,
        Ok(Err(Replayed { progress, counts })) => return progress.replayed(&counts),
        Err(error) => {
            // No abort would remove its files.
            drop(store);
            resume_unwind(error)
        }
    };
    let read = match early {
        Some(known) => Ok(known),
        None => procedure.step(|| read(call, &load, &mut store)),
    };
    let load_rows = |known| {
        let rows = SortedRows::from_store(store.expect("the source is read"));
        run(procedure, call, &load, &known, rows)
    };
    match read.and_then(load_rows) {
        Ok(counts) => load.progress.loaded(&counts),
        Err(error) => {
            let fail = || procedure.step(|| load.record.fail(&message_of(&error)));
            // A transaction that has lost the connection to another server cannot commit; the next one
            // can. If this fails as well, the error of the load is the one to tell.
            if fail().is_err() {
                let _ = fail();
            }
            drop(load);
            resume_unwind(error)
        }
    }
}

/// A load that has its row.
struct StartedLoad {
    /// The role that loads.
    role: pg_sys::Oid,
    record: LoadRecord,
    progress: Progress,
    /// By which others see that it runs.
    _running: SessionLock,
    /// Under its token, and the lock on that.
    batch: Option<(Batch, SessionLock)>,
}

/// A load that an earlier one with its token has done.
struct Replayed {
    progress: Progress,
    counts: LoadCounts,
}

/// Checks the call, and makes the load's row.
fn begin(call: &LoadCall) -> Result<StartedLoad, Replayed> {
    let (target, _relation) = Target::open_to_insert(call.target, || call.key_options.key());
    target.refuse_rules();
    let source = Source::open(&target, call.source);
    let match_rule =
        MatchRule::new(&call.key_options, &target).with_identity(call.identity, &target);
    plan_source(&target, &source, &match_rule);
    let progress = Progress::start(&target);
    let begin = || {
        LoadRecord::begin(
            &target.qualified(),
            &source.qualified(),
            call.on_conflict,
            call.on_error,
            call.batch_size,
            call.token.as_ref().map(BatchToken::text),
        )
    };
    let batch = match call.batch(&target) {
        None => None,
        Some(batch) => match batch.counts_or_session_lock(LoadCounts::NAMES) {
            Err(lock) => Some((batch, lock)),
            Ok(counts) => {
                let counts = LoadCounts::of_batch(counts);
                begin().replayed(&counts);
                return Err(Replayed { progress, counts });
            }
        },
    };
    let record = begin();
    Ok(StartedLoad {
        role: backend::current_user(),
        _running: SessionLock::acquire(LockSubject::Load, record.number()),
        progress,
        record,
        batch,
    })
}

/// What is known once the source is read.
struct SourceInfo {
    /// The target as it was then.
    target: Rc<Target>,
    /// The columns of the key, by name,
    key: Vec<String>,
    /// and what makes them one.
    signature: IndexSignature,
    /// The columns that the rows name.
    named: Vec<usize>,
    /// Those of them that both the source and the target make by themselves.
    surrogates: Vec<usize>,
    /// How many rows there are,
    total: i64,
    /// and how many of those the server has refused when they were read.
    rejected: i64,
}

/// Reads the source into a store, in the arbiter's order.
fn read(call: &LoadCall, load: &StartedLoad, store: &mut Option<TupleStore>) -> SourceInfo {
    let (target, relation) = open(call.target, &call.key_options, load);
    // The source may change once this is committed.
    let mut source = Source::open(&target, call.source).detached();
    let mut match_rule =
        MatchRule::new(&call.key_options, &target).with_identity(call.identity, &target);
    let surrogates = source.surrogates(&relation);
    match_rule.comparison.exclude(&surrogates);
    let (arbiter, shapes) = plan_source(&target, &source, &match_rule);
    source.complete_keys(&relation, arbiter);
    let origin = RowOrigin::Source;
    let context =
        WriteContext::new(&target, &relation, arbiter, &shapes, origin, None).reaching_shards();
    let mut input = InputSorter::new(&context, false);
    let generated = GeneratedColumns::of(&target, &relation, &shapes);
    let tell = |rows| load.progress.reading(rows);
    let mut rejections = Rejections::new(call.on_error);
    let total = if call.on_error.rejects() {
        let reject = &mut |row: &RefusedRow<'_>, error: &RowError| {
            rejections.add(error, || row.to_json());
        };
        source.read_rejecting(arbiter, generated, input.sort(), &tell, reject)
    } else {
        source.read_with_progress(arbiter, generated, input.sort(), &tell)
    };
    input.into_store(store.insert(TupleStore::across_commits(target.row_desc())));
    rejections.write(&target);
    load.record.read(total, rejections.count);
    let (key, signature) = (target.key_names(arbiter), IndexSignature::of(arbiter));
    let [shape] = shapes;
    SourceInfo {
        target,
        key,
        signature,
        named: shape.named,
        surrogates,
        total,
        rejected: rejections.count,
    }
}

/// Sends the rows, batch by batch.
fn run(
    procedure: &NonAtomicProcedure,
    call: &LoadCall,
    load: &StartedLoad,
    known: &SourceInfo,
    mut rows: SortedRows,
) -> Result<LoadCounts, Caught> {
    let mut memory = Memory::in_current(c"pg_idempotent batch");
    let key_options = call.key_options.with_key(&known.key);
    let mut counts = LoadCounts::rejected(known.rejected);
    load.progress.start_loading();
    loop {
        let (done, more) = procedure.step(|| {
            rows.start_batch(call.batch_size);
            let collector = memory.scope(|| batch(call, &key_options, load, known, &mut rows));
            let (read, more) = rows.end_batch();
            let done = counts.and(read, &collector);
            load.record.advance(&done, !more);
            if let (Some((batch, _)), false) = (&load.batch, more) {
                batch.record(LoadCounts::NAMES, done.of_names());
            }
            (done, more)
        })?;
        memory.reset();
        counts = done;
        if !more {
            return Ok(counts);
        }
        load.progress.loading(&counts, known.total);
    }
}

/// The outcomes of one batch.
fn batch(
    call: &LoadCall,
    key_options: &KeyOptions,
    load: &StartedLoad,
    known: &SourceInfo,
    rows: &mut SortedRows,
) -> OutcomeCollector {
    let (target, relation) = open(call.target, key_options, load);
    let arbiter = check_unchanged(&target, known);
    let mut match_rule = MatchRule::new(key_options, &target).with_identity(call.identity, &target);
    match_rule.comparison.exclude(&known.surrogates);
    let mut shapes = [Shape {
        named: known.named.clone(),
        compared: Vec::new(),
        first: 1,
    }];
    match_rule.comparison.apply(&target, arbiter, &mut shapes);
    exclude_from_comparison(&target, &match_rule.comparison, &mut shapes);
    check_rights(&target, arbiter, known.named.iter().copied());
    let mut collector =
        OutcomeCollector::new(ResultDetail::Counts, 0, call.on_conflict).on_error(call.on_error);
    let (origin, guard) = (RowOrigin::Source, match_rule.guard);
    let context = WriteContext::new(&target, &relation, arbiter, &shapes, origin, guard)
        .reaching_shards()
        .with_identity(match_rule.identity);
    context.run(rows, call.batch_size, &mut collector);
    collector.finish(&context);
    collector
}

/// Opens the target, which may have gone since the last commit; a foreign one by the key that is named.
///
/// # Errors
/// 55000, also if a commit has made the caller another role again, with whose rights the
/// source must not be read.
fn open(
    target: pg_sys::Oid,
    key_options: &KeyOptions,
    load: &StartedLoad,
) -> (Rc<Target>, OpenRelation) {
    if backend::current_user() != load.role {
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            "idempotent_load cannot continue as a role other than its caller",
        )
        .detail("The role was set by SET LOCAL ROLE, which a commit undoes.")
        .hint("Use SET ROLE.")
        .raise()
    }
    if OpenRelation::try_open(target).is_none() {
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!(
                "table \"{}\" was dropped while it was loaded",
                load.progress.target()
            ),
        )
        .raise()
    }
    let (target, relation) = Target::open_to_insert(target, || key_options.key());
    target.refuse_rules();
    (target, relation)
}

/// What makes an index the same as another one, for rows that are sorted by it.
#[derive(PartialEq, Eq)]
struct IndexSignature {
    nulls_equal: bool,
    /// Of a partial one.
    condition: Option<String>,
    keys: Vec<(usize, pg_sys::Oid, pg_sys::Oid)>,
}

impl IndexSignature {
    fn of(arbiter: &UniqueIndex) -> Self {
        let keys = arbiter.keys.iter();
        Self {
            nulls_equal: arbiter.nulls_equal,
            condition: arbiter.condition_sql().map(str::to_owned),
            keys: keys
                .map(|key| (key.column, &key.operators))
                .map(|(column, by)| (column, by.operator_class, by.collation))
                .collect(),
        }
    }
}

/// The arbiter of a target that is as it was when the source was read: its columns, and a
/// unique index like the one that decided then.
///
/// # Errors
/// 55000
fn check_unchanged<'t>(target: &'t Target, known: &SourceInfo) -> &'t UniqueIndex {
    let column = |column: &Column| {
        (
            column.typid,
            column.typmod,
            column.collation,
            column.generated,
        )
    };
    let (now, then) = (&target.columns, &known.target.columns);
    let same_columns = now.len() == then.len()
        && now
            .iter()
            .zip(then)
            .all(|(now, then)| now.name == then.name && column(now) == column(then));
    let arbiter = same_columns
        .then(|| target.find_arbiter_for_key(&known.key).ok())
        .flatten()
        .filter(|arbiter| IndexSignature::of(arbiter) == known.signature);
    arbiter.unwrap_or_else(|| {
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("table \"{}\" was changed while it was loaded", target.name),
        )
        .detail(if same_columns {
            "The unique index that decides has changed."
        } else {
            "Its columns have changed."
        })
        .hint(format!("Call {} again.", own_function("idempotent_load")))
        .table(&target.schema, &target.name)
        .raise()
    })
}
