//! `idempotent_insert`, `_many`, `_each` and `_from`: payloads are inserted, or verified against
//! the rows stored under their keys. How, and why no interleaving goes wrong, is at the head of
//! [`write`](crate::write).
use crate::batch::{BatchFunction, BatchToken};
use crate::error::{RowError, RowOrigin, with_error_capture};
use crate::options::{
    InsertOptions, KeyOptions, MatchRule, check_rights, insert_options_of_batch, plan_source,
};
use crate::payload::generated::{GeneratedColumns, exclude_from_comparison};
use crate::payload::json::JsonPayloads;
use crate::payload::refused::RefusedRow;
use crate::payload::shape::{KeyPlace, Shape, check_key_named, named_by_all};
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::{RowType, SqlResult};
use crate::pg::rows::Slot;
use crate::pg::value::document::copy_of_object;
use crate::pg::value::sql_value::SqlValue;
use crate::stats::{Form, FormScope};
use crate::target::{OpenRelation, Target, UniqueIndex, check_any_privilege};
use crate::write::{InputSorter, OutcomeCollector, ResultDetail, WriteContext};
use pgrx::prelude::*;
use std::rc::Rc;

/// `idempotent_insert(target, payload, key, compare, ignore, on_conflict)`:
/// inserts one JSON object, or verifies it against the row stored under its
/// key.
///
/// Gives `outcome text, stored jsonb, differences jsonb`.
///
/// # Errors
/// 23I01 on a conflict (unless `on_conflict` is another), 42P10 without a
/// usable key, 23502 for a missing or NULL key column, 42703, 22023, 22004,
/// 42501, 42809; and whatever the INSERT itself raises, unchanged.
#[pg_extern(sql = false)]
fn idempotent_insert(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::Insert);
        let collector = insert_json(&call.arguments(), ResultDetail::Rows, false);
        let row = &collector.rows()[0];
        let [stored, differences] = row.documents();
        SqlResult::row(
            RowType::Outcome,
            &[SqlValue::text(row.outcome.name()), stored, differences],
        )
    })
}

/// `idempotent_insert_many(target, payloads, …)`: the same for a JSON array of
/// objects, as one statement.
///
/// Gives `received, inserted, duplicates, conflicts bigint`.
///
/// # Errors
/// As [`idempotent_insert`]; with `on_conflict => 'error'` one report for all
/// conflicts of the call.
#[pg_extern(sql = false)]
fn idempotent_insert_many(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::InsertMany);
        counts(&insert_json(&call.arguments(), ResultDetail::Counts, true))
    })
}

/// `idempotent_insert_each(target, payloads, …)`: the same, with a row for each
/// payload in input order: `ordinal bigint, outcome text, stored jsonb,
/// differences jsonb`.
///
/// # Errors
/// As [`idempotent_insert_many`].
#[pg_extern(sql = false)]
fn idempotent_insert_each(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::InsertEach);
        let mut set = call.result_set();
        let collector = insert_json(&call.arguments(), ResultDetail::Rows, true);
        for (i, row) in collector.rows().iter().enumerate() {
            pgrx::check_for_interrupts!();
            let [stored, differences] = row.documents();
            set.row(&[
                SqlValue::bigint(i as i64 + 1),
                SqlValue::text(row.outcome.name()),
                stored,
                differences,
                SqlValue::optional_jsonb(row.error),
            ]);
        }
        SqlResult::null()
    })
}

/// `idempotent_insert_from(target, source, …)`: the same for the rows of a
/// table or view, whose columns are matched by name.
///
/// Gives `received, inserted, duplicates, conflicts bigint`. Memory is bounded
/// by `work_mem`, whatever the number of rows.
///
/// # Errors
/// As [`idempotent_insert_many`]; 42703 for a column of the source that is none
/// of the target.
#[pg_extern(sql = false)]
fn idempotent_insert_from(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::InsertFrom);
        let ([received, inserted, duplicates, conflicts, rejected], replayed) =
            insert_from(&call.arguments());
        SqlResult::row(
            RowType::BatchCounts,
            &[
                SqlValue::bigint(received),
                SqlValue::bigint(inserted),
                SqlValue::bigint(duplicates),
                SqlValue::bigint(conflicts),
                SqlValue::bigint(rejected),
                SqlValue::boolean(replayed),
            ],
        )
    })
}

/// The counts of a batch, as its record names them.
const COUNTS: [&str; 5] = [
    "received",
    "inserted",
    "duplicates",
    "conflicts",
    "rejected",
];

fn counts(collector: &OutcomeCollector) -> SqlResult {
    SqlResult::row(RowType::Counts, &counts_of(collector).map(SqlValue::bigint))
}

/// Those of [`COUNTS`].
fn counts_of(collector: &OutcomeCollector) -> [i64; 5] {
    [
        collector.received,
        collector.inserted,
        collector.duplicates,
        collector.conflicts,
        collector.rejections.count,
    ]
}

/// Which index decides for payloads of these shapes, and what of them is compared; the caller is to
/// have the rights for both. `check` looks whether they name its key.
fn match_shapes<'t>(
    target: &'t Target,
    match_rule: &MatchRule,
    shapes: &mut [Shape],
    check: impl FnOnce(&'t UniqueIndex, &[Shape]),
) -> &'t UniqueIndex {
    let named_by_all = named_by_all(target, shapes);
    let arbiter = match_rule.arbiter(target, |column| named_by_all[column]);
    match_rule.comparison.apply(target, arbiter, shapes);
    check(arbiter, shapes);
    exclude_from_comparison(target, &match_rule.comparison, shapes);
    let named = shapes.iter().flat_map(|shape| shape.named.iter().copied());
    check_rights(target, arbiter, named);
    arbiter
}

/// The table that is inserted into; a foreign one by the key that is named.
fn open_target(arguments: &Arguments) -> (Rc<Target>, OpenRelation) {
    let target = arguments.oid(0, "target");
    Target::open_to_insert(target, || arguments.columns(2, "key"))
}

fn insert_json(
    arguments: &Arguments,
    result_detail: ResultDetail,
    batch: bool,
) -> OutcomeCollector {
    let (target, relation) = open_target(arguments);
    target.refuse_rules();
    let name = if batch { "payloads" } else { "payload" };
    let document = arguments.jsonb(1, name);
    let options = InsertOptions::read(arguments, &target, batch);
    let mut payloads = if batch {
        JsonPayloads::many(&target, document)
    } else {
        JsonPayloads::one(&target, document)
    };
    if payloads.is_empty() {
        // No column is named, so any right will do. A caller without one must not lock the table.
        check_any_privilege(target.oid);
        options.match_rule.check(&target);
        return OutcomeCollector::new(result_detail, 0, options.on_conflict);
    }
    let origin = payloads.origin;
    let arbiter = match_shapes(
        &target,
        &options.match_rule,
        &mut payloads.shapes,
        |arbiter, shapes| {
            if !options.on_error.rejects() {
                check_key_named(&target, arbiter, shapes, |shape| {
                    KeyPlace::Row(origin.numbered(shape.first))
                });
            }
        },
    );
    if options.on_error.rejects() {
        payloads.set_incomplete_aside(arbiter);
    }
    payloads.complete_keys(&relation, arbiter);

    let mut collector = OutcomeCollector::new(result_detail, payloads.len(), options.on_conflict)
        .on_error(options.on_error);
    let context = WriteContext::new(
        &target,
        &relation,
        arbiter,
        &payloads.shapes,
        origin,
        options.match_rule.guard,
    )
    .reaching_shards()
    .with_identity(options.match_rule.identity);
    let mut input = InputSorter::new(&context, payloads.len() == 1);
    let generated = GeneratedColumns::of(&target, &relation, &payloads.shapes);
    read_payloads(&payloads, generated, &context, &mut input, &mut collector);
    let count = payloads.len() as u64;
    context.run(&mut input.into_rows(), count, &mut collector);
    collector.finish(&context);
    collector
}

/// Coerces the payloads to rows of the input; those that the server refuses are the collector's, if
/// it wants them.
fn read_payloads(
    payloads: &JsonPayloads<'_>,
    generated: Option<GeneratedColumns<'_>>,
    context: &WriteContext<'_>,
    input: &mut InputSorter,
    collector: &mut OutcomeCollector,
) {
    let mut put = |row: &Slot| input.put(row);
    if collector.rejections.are_wanted() {
        let reject = &mut |ordinal, error: &RowError, document| {
            collector.rejected(ordinal, error, || copy_of_object(document));
        };
        payloads.read_rejecting(
            context.arbiter,
            generated,
            &context.scratch,
            &mut put,
            reject,
        );
    } else {
        payloads.read(Some(context.arbiter), generated, &context.scratch, &mut put);
    }
}

/// The counts, and whether they are those of an earlier call with the same token.
fn insert_from(arguments: &Arguments) -> ([i64; 5], bool) {
    let (target, relation) = open_target(arguments);
    target.refuse_rules();
    let mut source = Source::open(&target, arguments.oid(1, "source"));
    let InsertOptions {
        mut match_rule,
        on_conflict,
        on_error,
    } = InsertOptions::read(arguments, &target, true);
    let surrogates = source.surrogates(&relation);
    match_rule.comparison.exclude(&surrogates);
    let (arbiter, shapes) = plan_source(&target, &source, &match_rule);
    let batch = BatchToken::read(arguments, 8, 9).map(|token| {
        let options = KeyOptions::read(arguments, [2, 3, 4]).of_batch();
        let options = insert_options_of_batch(options, on_conflict, on_error, match_rule.identity);
        token.batch(&target, BatchFunction::InsertFrom, &options)
    });
    if let Some(counts) = batch
        .as_ref()
        .and_then(|batch| batch.counts_or_lock(COUNTS))
    {
        return (counts, true);
    }
    source.complete_keys(&relation, arbiter);

    let mut collector =
        OutcomeCollector::new(ResultDetail::Counts, 0, on_conflict).on_error(on_error);
    let (origin, guard) = (RowOrigin::Source, match_rule.guard);
    let context = WriteContext::new(&target, &relation, arbiter, &shapes, origin, guard)
        .reaching_shards()
        .with_identity(match_rule.identity);
    let mut input = InputSorter::new(&context, false);
    let generated = GeneratedColumns::of(&target, &relation, &shapes);
    collector.received = if on_error.rejects() {
        let reject = &mut |row: &RefusedRow<'_>, error: &RowError| {
            collector.rejected(row.ordinal, error, || row.to_json());
        };
        source.read_rejecting(arbiter, generated, input.sort(), &|_| {}, reject)
    } else {
        source.read(arbiter, generated, input.sort())
    };
    context.run(
        &mut input.into_rows(),
        collector.received as u64,
        &mut collector,
    );
    collector.finish(&context);
    let counts = counts_of(&collector);
    if let Some(batch) = batch {
        batch.record(COUNTS, counts);
    }
    (counts, false)
}
