//! `idempotent_reconcile`: in which rows a table deviates from what it should hold.
//!
//! Both sides are read to their ends by plain SELECTs with the caller's rights, the target
//! only in the columns that the source has: so policies and column privileges hold, and
//! what they hide is not there. Both are read under the snapshot of the calling statement,
//! sorted in the key's order, and walked side by side. Nothing is written or locked.
#[forbid(unsafe_code)]
mod merge_join;

use crate::error::with_error_capture;
use crate::options::{KeyOptions, MatchRule};
use crate::payload::fill::RowsWithKey;
use crate::payload::row::RowLayout;
use crate::payload::shape::{KeyPlace, check_key_named};
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::{ResultSet, SqlResult};
use crate::pg::rows::{SortColumn, TupleSort, TypeOrder};
use crate::target::{Target, UniqueIndex};
use merge_join::SortedMerge;
use pgrx::prelude::*;

/// `idempotent_reconcile(target, source, key, compare, ignore)`: gives a row for each
/// deviation, in the order of the key.
///
/// Gives `status text` (`missing`: in the source only, `unexpected`: in the target only,
/// `different`), `key, stored, expected, differences jsonb`.
///
/// # Errors
/// 42P10 without a usable key, 42703 for columns that are none, 22004, 22023, 23502 for a
/// key column that the source does not have, 42804 for a type that does not fit, 42809,
/// 42501; and what core raises while it selects and coerces.
#[pg_extern(sql = false)]
fn idempotent_reconcile(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let mut set = call.result_set();
        reconcile(&call.arguments(), &mut set);
        SqlResult::null()
    })
}

fn reconcile(arguments: &Arguments, set: &mut ResultSet<'_>) {
    let (target, relation) = Target::open(arguments.oid(0, "target"));
    let mut source = Source::open(&target, arguments.oid(1, "source")).under_active_snapshot();
    let mut matching = MatchRule::new(&KeyOptions::read(arguments, [2, 3, 4]), &target);
    let surrogates = source.surrogates(&relation);
    matching.comparison.exclude(&surrogates);
    let mut shapes = [source.shape()];
    let arbiter = matching.arbiter_for_source(&target, &source);
    matching.comparison.apply(&target, arbiter, &mut shapes);
    check_key_named(&target, arbiter, &shapes, |_| KeyPlace::Source);
    source.complete_keys(&relation, arbiter);

    let mut stored = source
        .stored(&relation, String::new(), Vec::new())
        .under_active_snapshot();
    if !target.partitioned {
        // The key is unique in the table, not in those that inherit from it.
        stored = stored.only();
    }
    stored.complete_keys(&relation, arbiter);
    let stored = sorted(&target, arbiter, &stored);
    let expected = sorted(&target, arbiter, &source);
    SortedMerge::new(&target, arbiter, &shapes[0], set).run(stored, expected);
}

/// The rows of one side in the arbiter's order; those under one key as they came.
fn sorted(target: &Target, arbiter: &UniqueIndex, source: &Source<'_>) -> TupleSort {
    let mut order = arbiter.sort_columns();
    order.push(SortColumn {
        column: RowLayout::of(target).ordinal_column(),
        order: TypeOrder::of_bigint(),
    });
    // Every row that may have a key, also one with a NULL in it.
    let mut rows = TupleSort::new(target.row_desc(), &order);
    source.stream(&mut RowsWithKey {
        target,
        sort: &mut rows,
    });
    rows.sort();
    rows
}
