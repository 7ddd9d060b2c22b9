//! Every slice that a source holds is replaced.
//!
//! # The protocol
//! 1. The whole table is locked as a slice, see [`lock`](super::lock). Which slices the source holds
//!    is not known before it is read; and if it were read first, a call that then waits for another
//!    one would put older rows in the place of newer ones.
//! 2. The source is read once, into a sort by the columns of the slices.
//! 3. Slice by slice, in their order, its rows are compared with what is stored, and put in its
//!    place if they differ, as `idempotent_overwrite` does it.
//!
//! Since it has one lock, which all overwrites of the table take, the call meets no other one
//! half-way, and the number of slices does not matter to the table of locks.
use super::commits::wait_for_commits;
use super::replace::{OverwriteCounts, StoredSlice, open_target};
use super::rows::{Hashing, SliceRows, sort};
use super::slice::{Slice, may_have_range};
use super::write;
use crate::error::{OrRaise, Report, SqlState};
use crate::own_function::own_function;
use crate::payload::generated::GeneratedColumns;
use crate::payload::row::RowLayout;
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::result::ResultSet;
use crate::pg::catalog::operator::btree_operator;
use crate::pg::memory::Memory;
use crate::pg::rows::{Slot, SortColumn, TupleSort, TypeOrder};
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{Column, OpenRelation, Target, check_overwrite_privileges};
use pgrx::pg_sys;

/// Replaces each slice, and adds its row to the set.
pub fn overwrite_each(arguments: &Arguments, set: &mut ResultSet<'_>) {
    let (target, relation) = open_target(arguments);
    // Rows that a view of the target itself gave may go before they are put back.
    let source = Source::open(&target, arguments.oid(1, "source")).detached();
    let by = columns(arguments, &target, &source);
    let shapes = [source.shape()];
    check_overwrite_privileges(&target, shapes[0].named.iter().copied());
    let mut generated = GeneratedColumns::of(&target, &relation, &shapes);

    let whole = Slice::of_row(&target, &[], Slot::for_stored(target.row_desc()));
    whole.lock();
    wait_for_commits(&whole);
    write::lock_tables(&whole, &relation);
    let mut surrogates = source.surrogates(&relation);
    surrogates.retain(|c| !by.contains(c));
    let hashing = Hashing::of(&source, generated.as_ref(), &surrogates);
    let mut arriving = ArrivingSlices {
        rows: TupleSort::new(target.row_desc(), &order(&target, &by)),
        first: None,
        by,
        target: &target,
        hashing: &hashing,
    };
    {
        let _snapshot = FreshSnapshot::push();
        sort(&source, &mut generated, &mut arriving.rows);
    }
    arriving.rows.sort();
    arriving.read_first();

    let mut memory = Memory::in_current(c"pg_idempotent slice");
    let mut more = true;
    while more {
        more = memory.scope(|| {
            let Some((slice, mut rows)) = arriving.next() else {
                return false;
            };
            let named = slice.to_object();
            let done = replace(&slice, &relation, &source, &hashing, &mut rows);
            set.row(&[
                SqlValue::jsonb(named),
                SqlValue::bigint(done.deleted),
                SqlValue::bigint(done.inserted),
                SqlValue::boolean(done.unchanged),
            ]);
            true
        });
        memory.reset();
    }
}

/// Puts rows in the place of what is stored of a slice, if that differs.
fn replace(
    slice: &Slice<'_>,
    relation: &OpenRelation,
    source: &Source<'_>,
    hashing: &Hashing,
    rows: &mut SliceRows<'_>,
) -> OverwriteCounts {
    let snapshot = FreshSnapshot::push();
    let stored = StoredSlice::read(slice, relation, source, hashing);
    if stored.hash == rows.hash() {
        return stored.leave();
    }
    stored.replace(source, &mut rows.kept, snapshot)
}

/// The slices of a source, one after the other.
struct ArrivingSlices<'t> {
    /// In the order of the slices.
    rows: TupleSort,
    /// The first row of the next slice.
    first: Option<Slot>,
    /// The columns of the slices.
    by: Vec<usize>,
    target: &'t Target,
    hashing: &'t Hashing,
}

impl<'t> ArrivingSlices<'t> {
    fn read_first(&mut self) {
        let mut row = Slot::for_stored(self.target.row_desc());
        self.first = self.rows.next(&mut row).then_some(row);
    }

    /// The next one, with its rows.
    fn next(&mut self) -> Option<(Slice<'t>, SliceRows<'t>)> {
        let mut row = self.first.take()?;
        let values = row.to_stored();
        values.deform();
        let slice = Slice::of_row(self.target, &self.by, values);
        let mut rows = SliceRows::new(self.target, self.hashing);
        loop {
            pgrx::check_for_interrupts!();
            rows.put(&row);
            if !self.rows.next(&mut row) {
                break;
            }
            if !slice.has_values_of(&row) {
                self.first = Some(row);
                break;
            }
        }
        Some((slice, rows))
    }
}

/// The columns of the argument `by`, by position, in the table's order.
///
/// # Errors
/// 22004, 22023 and 42701 for a list that is none; 42703 for a name that is no column of target
/// and source; 22023 for a column whose type has no order.
fn columns(arguments: &Arguments, target: &Target, source: &Source<'_>) -> Vec<usize> {
    arguments.required(2, "by");
    if arguments
        .optional_texts(2, "by")
        .is_some_and(|names| names.is_empty())
    {
        Report::new(
            SqlState::InvalidParameterValue,
            "argument \"by\" must name at least one column",
        )
        .hint(format!(
            "To replace the whole table, use {} with the slice {{}}.",
            own_function("idempotent_overwrite")
        ))
        .raise()
    }
    let names = arguments.columns(2, "by").unwrap_or_default();
    let position = |name: &String| {
        let c = target.column_in(name, "by").or_raise();
        let refuse = |state: SqlState, what: String| -> ! {
            Report::new(state, what)
                .table(&target.schema, &target.name)
                .column(name.clone())
                .raise()
        };
        if !source.columns().contains(&c) {
            let what = format!("column \"{name}\" of \"by\" is not in the source");
            refuse(SqlState::UndefinedColumn, what)
        }
        if !may_have_range(&target.columns[c]) {
            let what = format!("column \"{name}\" cannot be in \"by\": its type has no order");
            refuse(SqlState::InvalidParameterValue, what)
        }
        c
    };
    let mut columns: Vec<usize> = names.iter().map(position).collect();
    columns.sort_unstable();
    columns
}

/// The order of slices by these columns, NULL last; rows of a slice as they came.
fn order(target: &Target, by: &[usize]) -> Vec<SortColumn> {
    let of = |column: &Column| {
        let less_than = btree_operator(column.base_type(), pg_sys::BTLessStrategyNumber);
        let less_than = less_than.expect("a column of \"by\" is of a type that has an order");
        TypeOrder::new(column.typid, less_than, column.collation)
    };
    let columns = by.iter().map(|c| SortColumn {
        column: *c,
        order: of(&target.columns[*c]),
    });
    let ordinal = SortColumn {
        column: RowLayout::of(target).ordinal_column(),
        order: TypeOrder::of_bigint(),
    };
    columns.chain([ordinal]).collect()
}
