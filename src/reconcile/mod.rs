//! `idempotent_reconcile`: in which rows a table deviates from what it should hold; and
//! `idempotent_repair`, which makes it hold that.
//!
//! First both sides are compared as they are stored, by [`same_rows`], and then by [`suspects`], so that only rows that
//! may deviate are read. These
//! are read by plain SELECTs with the caller's rights, the target only in the columns that the source
//! has: so policies and column privileges hold, and what they hide is not there. Everything is read
//! under the snapshot of the calling statement (a foreign server has one of its own for the
//! transaction); the rows are sorted in the key's order, and walked side by side. Nothing is written
//! or locked, but by [`repair`](mod@repair).
#[forbid(unsafe_code)]
mod deviation;
#[forbid(unsafe_code)]
mod kept_key;
#[forbid(unsafe_code)]
mod merge_join;
#[forbid(unsafe_code)]
mod ranges;
#[forbid(unsafe_code)]
mod remote_row_write;
#[forbid(unsafe_code)]
mod repair;
#[forbid(unsafe_code)]
mod same_bytes;
#[forbid(unsafe_code)]
mod same_rows;
#[forbid(unsafe_code)]
mod stored_row_write;
#[forbid(unsafe_code)]
mod suspects;

use crate::error::{Report, RowOrigin, SqlState, with_error_capture};
use crate::options::{KeyOptions, MatchRule};
use crate::payload::fill::RowsWithKey;
use crate::payload::row::RowLayout;
use crate::payload::shape::{KeyPlace, Shape, check_key_named};
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::{ResultSet, SqlResult};
use crate::pg::catalog::relation;
use crate::pg::rows::{SortColumn, TupleSort, TypeOrder};
use crate::stats::{Form, FormScope};
use crate::target::{
    ColumnDefault, OpenRelation, Target, UniqueIndex, check_merge_privileges,
    check_repair_privileges,
};
use crate::write::WriteContext;
use deviation::{Deviation, Teller};
use kept_key::KeptKey;
use merge_join::SortedMerge;
use pgrx::prelude::*;
use remote_row_write::RemoteStatements;
use repair::{Deviations, LocalWriter, Repair, Writer};
use std::rc::Rc;
use suspects::{Reading, Sides};

/// `idempotent_reconcile(target, source, key, compare, ignore, limit)`: gives a row for each
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

/// `idempotent_repair(target, source, key, compare, ignore, limit, dry_run)`: inserts what is missing,
/// updates what is different, deletes what is unexpected; or, with `dry_run`, only tells it.
///
/// Gives what `idempotent_reconcile` gives, and `outcome text` (`inserted`, `updated`, `deleted`,
/// `skipped`; NULL with `dry_run`).
///
/// # Errors
/// As `idempotent_reconcile`; 22023 for a column in `compare` that the server fills; 0A000 for a
/// target with rules; 27000 for an update that gives a row another key; 428C9 for an identity column
/// that takes no values; 40001; and what INSERT, UPDATE and DELETE raise, unchanged.
#[pg_extern(sql = false)]
fn idempotent_repair(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let _form = FormScope::of(Form::Repair);
        let mut set = call.result_set();
        repair(&call.arguments(), &mut set);
        SqlResult::null()
    })
}

fn reconcile(arguments: &Arguments, set: &mut ResultSet<'_>) {
    let (target, relation) = open_target(arguments, arguments.oid(0, "target"), false);
    let source = Source::open(&target, arguments.oid(1, "source")).under_active_snapshot();
    let mut matching = MatchRule::new(&KeyOptions::read(arguments, [2, 3, 4]), &target);
    let wanted = arguments.optional_count(5, "limit");
    matching.comparison.exclude(&source.surrogates(&relation));
    let (arbiter, shapes) = shapes(&target, &source, &matching);
    let comparison = Comparison::of(&target, &relation, arbiter, &shapes[0], source, &[]);
    let mut teller = Teller::new(&target, arbiter, &shapes[0]);
    comparison.run(wanted, &mut |deviation| {
        teller.tell(deviation, |values| set.row(&values));
    });
}

fn repair(arguments: &Arguments, set: &mut ResultSet<'_>) {
    let oid = arguments.oid(0, "target");
    let dry_run = arguments.boolean(6, "dry_run");
    let (target, relation) = open_target(arguments, oid, !dry_run);
    target.refuse_rules();
    refuse_delete_rules(&target, &relation);
    let source = Source::open(&target, arguments.oid(1, "source")).under_active_snapshot();
    // What a guard leaves out because it changes after insert is what a repair brings.
    let mut matching = MatchRule::of_all_columns(&KeyOptions::read(arguments, [2, 3, 4]), &target);
    let wanted = arguments.optional_count(5, "limit");
    let made = server_generated(&target, &relation);
    if let Some(column) = matching
        .comparison
        .named()
        .iter()
        .find(|c| made.contains(c))
    {
        target
            .cannot_be_in(*column, "is server-generated", "compare")
            .detail("A repair writes it when a row goes in, and never changes it.")
            .raise()
    }
    matching.comparison.exclude(&made);
    let (arbiter, shapes) = shapes(&target, &source, &matching);
    let shape = &shapes[0];
    let deciding = arbiter.deciding_columns().iter().copied();
    let writer = match (dry_run, target.foreign || target.is_in_shards()) {
        (true, _) => Writer::Nothing,
        (false, true) => {
            if arbiter.is_computed() {
                target.refuse_rows_elsewhere(
                    "repair rows by a key with an expression or a condition in",
                    "Name a key of plain columns.",
                );
            }
            check_repair_privileges(&target, &shape.named, deciding, &shape.compared);
            Writer::Remote(RemoteStatements::new(&target, arbiter, &shape.named))
        }
        (false, false) => {
            let named = shape.named.iter().copied();
            check_merge_privileges(&target, named, deciding, &shape.compared, true);
            let (origin, guard) = (RowOrigin::Source, matching.guard);
            let context = WriteContext::new(&target, &relation, arbiter, &shapes, origin, guard);
            Writer::Local(LocalWriter::new(context))
        }
    };
    let mut deviations = Deviations::new(&target);
    let key = KeptKey::of(&target, &relation, arbiter, shape);
    let comparison = Comparison::of(&target, &relation, arbiter, shape, source, key.needed());
    comparison.run(wanted, &mut |deviation| deviations.put(deviation));
    let mut repair = Repair {
        target: &target,
        arbiter,
        shape,
        key,
        writer,
        teller: Teller::new(&target, arbiter, shape),
        set,
    };
    repair.run(deviations);
}

/// Opens the target, which may be a foreign table.
fn open_target(
    arguments: &Arguments,
    oid: pg_sys::Oid,
    writes: bool,
) -> (Rc<Target>, OpenRelation) {
    if relation::kind(oid) == pg_sys::RELKIND_FOREIGN_TABLE {
        let key = arguments.columns(2, "key");
        Target::open_foreign(oid, arguments.oid(1, "source"), key.as_deref())
    } else if writes {
        Target::open_to_write(oid)
    } else {
        Target::open(oid)
    }
}

/// The columns that the server fills in a new row, with another value each time or from others.
fn server_generated(target: &Target, relation: &OpenRelation) -> Vec<usize> {
    let made = |c: &usize| {
        let column = &target.columns[*c];
        column.generated != 0
            || ColumnDefault::of(relation, column).is_some_and(|default| default.is_volatile)
    };
    (0..target.columns.len()).filter(made).collect()
}

/// Refuses a table on which a rule says what DELETE does.
///
/// # Errors
/// 0A000
fn refuse_delete_rules(target: &Target, relation: &OpenRelation) {
    if relation.has_delete_rule() {
        Report::new(
            SqlState::FeatureNotSupported,
            format!("cannot repair rows of table \"{}\"", target.name),
        )
        .detail("The table has a rule on DELETE.")
        .hint("Replace the rule with a trigger.")
        .table(&target.schema, &target.name)
        .raise()
    }
}

/// What identifies the rows of a source, and what of them is compared.
fn shapes<'t>(
    target: &'t Target,
    source: &Source<'_>,
    matching: &MatchRule,
) -> (&'t UniqueIndex, [Shape; 1]) {
    let mut shapes = [source.shape()];
    let arbiter = matching.arbiter_for_source(target, source);
    matching.comparison.apply(target, arbiter, &mut shapes);
    check_key_named(target, arbiter, &shapes, |_| KeyPlace::Source);
    (arbiter, shapes)
}

/// Two sides, ready to be compared.
struct Comparison<'t> {
    target: &'t Target,
    arbiter: &'t UniqueIndex,
    shape: &'t Shape,
    stored: Source<'t>,
    source: Source<'t>,
}

impl<'t> Comparison<'t> {
    /// Of the target, the columns of the source are read, and these.
    fn of(
        target: &'t Target,
        relation: &OpenRelation,
        arbiter: &'t UniqueIndex,
        shape: &'t Shape,
        mut source: Source<'t>,
        also: &[usize],
    ) -> Self {
        source.complete_keys(relation, arbiter);
        let mut stored = source
            .stored(relation, String::new(), Vec::new())
            .with_columns(also)
            .under_active_snapshot();
        if !target.partitioned {
            // The key is unique in the table, not in those that inherit from it.
            stored = stored.only();
        }
        stored.complete_keys(relation, arbiter);
        Self {
            target,
            arbiter,
            shape,
            stored,
            source,
        }
    }

    /// Hands the deviations over, in the order of the key; no more than are wanted, if that is said.
    fn run(mut self, wanted: Option<u64>, take: &mut dyn FnMut(&Deviation<'_>)) {
        let mut left = wanted.unwrap_or(u64::MAX);
        for [stored, expected] in self.conditions(wanted.is_some()) {
            self.stored.set_condition(stored);
            self.source.set_condition(expected);
            let stored = self.sorted(&self.stored);
            let expected = self.sorted(&self.source);
            let walk = SortedMerge::new(self.target, self.arbiter, self.shape, left, take);
            left = walk.run(stored, expected);
            if left == 0 {
                break;
            }
        }
    }

    /// Which rows of the target and of the source are read, part by part in the order of the key.
    fn conditions(&self, few_are_wanted: bool) -> Vec<[String; 2]> {
        let sides = Sides {
            target: self.target,
            arbiter: self.arbiter,
            compared: &self.shape.compared,
            stored: &self.stored,
            source: &self.source,
        };
        match sides.compare(few_are_wanted) {
            Reading::All => vec![Default::default()],
            // What reading them checks is still checked.
            Reading::None => vec![["WHERE false"; 2].map(str::to_owned)],
            Reading::Suspects(rows) => rows.conditions(&sides, few_are_wanted),
        }
    }

    /// The rows of one side in the arbiter's order; those under one key as they came.
    fn sorted(&self, source: &Source<'_>) -> TupleSort {
        let target = self.target;
        let mut order = self.arbiter.sort_columns();
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
}
