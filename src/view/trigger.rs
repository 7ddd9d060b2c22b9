//! One row that is inserted through a view.
use super::create::null_is_a_value;
use crate::error::{Report, SqlState};
use crate::guard::GuardOptions;
use crate::options::{KeyOptions, MatchRule, check_rights};
use crate::outcome::Outcome;
use crate::payload::generated::{GeneratedColumns, exclude_from_comparison};
use crate::payload::key_defaults::KeyDefaults;
use crate::payload::row::{Mark, RowLayout};
use crate::payload::shape::{Shape, check_key_named, key_violation};
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::catalog::view::SimpleView;
use crate::pg::rows::Slot;
use crate::pg::{ffi, slot_columns};
use crate::target::{Target, TriggerInfo, UniqueIndex};
use crate::write::{InputSorter, OutcomeCollector, ResultDetail, WriteContext};
use pgrx::pg_sys;

/// A value or NULL.
type NullableDatum = Option<pg_sys::Datum>;

/// The row that an INSERT hands to the trigger of a view.
struct NewRow {
    /// The view's columns in the table, and its table.
    view: SimpleView,
    /// By position in the target: the column of the view that shows it.
    shown_by: Vec<Option<usize>>,
    /// By column of the view.
    values: Vec<NullableDatum>,
}

/// See [`super::idempotent_view_trigger`].
pub fn insert(call: &SqlCall<'_>) -> SqlResult {
    let data = called_for_insert(call);
    // SAFETY: the view is open while its trigger runs.
    let Some(view) = (unsafe { SimpleView::of(data.tg_relation) }) else {
        not_simple(data).raise()
    };
    let (target, relation) = Target::open(view.table);
    target.refuse_rules();
    let row = NewRow::of(data, &target, view);
    // SAFETY: the trigger at work.
    let trigger = unsafe { TriggerInfo::of(&*data.tg_trigger) };
    let options = GuardOptions::of_trigger(&trigger.arguments);
    let on_conflict = options.on_conflict();
    let key_options = KeyOptions::new(options.key, options.compare, options.ignore);
    let match_rule = MatchRule::new(&key_options, &target);
    let mut shapes = [row.shape(&target)];
    let arbiter = match_rule.arbiter(&target, |column| shapes[0].named.contains(&column));
    match_rule.comparison.apply(&target, arbiter, &mut shapes);
    check_key_named(&target, arbiter, &shapes, false);
    exclude_from_comparison(&target, &match_rule.comparison, &mut shapes);
    check_rights(&target, arbiter, shapes[0].named.iter().copied());

    let mut collector = OutcomeCollector::new(ResultDetail::Values, 1, on_conflict);
    let context = WriteContext::new(
        &target,
        &relation,
        arbiter,
        &shapes,
        false,
        match_rule.guard,
    );
    let mut input = InputSorter::new(&context, true);
    let defaults = KeyDefaults::of(&target, &relation, arbiter, &shapes);
    let working = row.working_row(&target, &shapes[0], &defaults);
    check_key_values(&target, arbiter, &working);
    if let Some(mut generated) = GeneratedColumns::of(&target, &relation, &shapes) {
        // SAFETY: a row of the one shape; the guard holds nothing.
        if let Some(column) = unsafe { ffi::guard(|| generated.mismatch(&working, 0)) } {
            generated.differs(column, None).raise()
        }
    }
    input.put(&working);
    context.run(&mut input.into_rows(), 1, &mut collector);
    collector.finish(&context);
    if collector.rows()[0].outcome == Outcome::Conflict {
        // It is recorded, and no row went in.
        return SqlResult::no_tuple();
    }
    row.stored(data, &target, &context, &mut collector)
}

/// The data of the trigger.
///
/// # Errors
/// 39P01
fn called_for_insert<'c>(call: &SqlCall<'c>) -> &'c pg_sys::TriggerData {
    let refuse = |detail: &str| -> ! {
        Report::new(
            SqlState::TriggerProtocolViolated,
            "idempotent_view_trigger can only be called as an INSTEAD OF INSERT trigger",
        )
        .detail(detail)
        .hint("Create the trigger with idempotent_view.")
        .raise()
    };
    // SAFETY: the call is live; a node says what it is.
    let data = unsafe {
        let context = (*call.raw()).context;
        if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
            refuse("It was not called as a trigger.")
        }
        &*context.cast::<pg_sys::TriggerData>()
    };
    let event = data.tg_event
        & (pg_sys::TRIGGER_EVENT_OPMASK
            | pg_sys::TRIGGER_EVENT_ROW
            | pg_sys::TRIGGER_EVENT_TIMINGMASK);
    let wanted =
        pg_sys::TRIGGER_EVENT_INSERT | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_INSTEAD;
    if event != wanted {
        refuse("It was called for another event.")
    }
    data
}

/// 55000
fn not_simple(data: &pg_sys::TriggerData) -> Report {
    // SAFETY: the view is open while its trigger runs; its name ends with a NUL.
    let name = unsafe { crate::pg::value::text::from_name(&(*(*data.tg_relation).rd_rel).relname) };
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("view \"{name}\" does not show plain columns of one table"),
    )
    .detail("A row that is inserted through the view cannot be told from the view's own values.")
    .hint("Drop the view and make it again with idempotent_view.")
}

impl NewRow {
    fn of(data: &pg_sys::TriggerData, target: &Target, view: SimpleView) -> Self {
        // SAFETY: the executor's slot holds the new row until the trigger returns.
        let values = unsafe { slot_columns::all_of(data.tg_trigslot) };
        let shown_by = target
            .columns
            .iter()
            .map(|column| view.columns.iter().position(|n| *n == column.attnum))
            .collect();
        Self {
            view,
            shown_by,
            values,
        }
    }

    /// The value for a column of the target; None for NULL, and where the view does not show it.
    fn value(&self, column: usize) -> NullableDatum {
        self.shown_by[column].and_then(|i| self.values[i])
    }

    /// What the row names, see the head of [`super`].
    fn shape(&self, target: &Target) -> Shape {
        let named = |c: &usize| {
            self.shown_by[*c].is_some()
                && (self.value(*c).is_some() || null_is_a_value(&target.columns[*c]))
        };
        Shape {
            named: (0..target.columns.len()).filter(named).collect(),
            compared: Vec::new(),
            first: 1,
        }
    }

    fn working_row(&self, target: &Target, shape: &Shape, defaults: &KeyDefaults) -> Slot {
        // SAFETY: the target's descriptor, which lives as long as the target, which is borrowed.
        let mut row = unsafe { Slot::for_values(target.row_desc()) };
        row.clear();
        for c in &shape.named {
            // SAFETY: a column of the view has the type of the table's that it shows; the value
            // lives as long as the trigger's row.
            unsafe { row.set(*c, self.value(*c)) };
        }
        defaults.complete(&shape.named, &mut row);
        RowLayout::of(target).set(&mut row, 1, 0, Mark::Pending);
        row.store();
        row
    }

    /// The row that the statement returns: the stored one, and in columns that the caller may not
    /// read what was sent.
    fn stored(
        &self,
        data: &pg_sys::TriggerData,
        target: &Target,
        context: &WriteContext<'_>,
        collector: &mut OutcomeCollector,
    ) -> SqlResult {
        let readable = collector.readable(context);
        let Some(stored) = collector.stored_values() else {
            // It is gone again: an AFTER trigger of the table deleted it.
            return SqlResult::no_tuple();
        };
        let of = |i: usize| {
            let number = self.view.columns[i];
            let column = target.columns.iter().position(|c| c.attnum == number);
            match column {
                Some(c) if readable.shows(c) => stored[c],
                _ => self.values[i],
            }
        };
        let values: Vec<NullableDatum> = (0..self.view.columns.len()).map(of).collect();
        // SAFETY: a value of each column's type, for the view's own descriptor; a trigger hands a
        // tuple over.
        unsafe { SqlResult::tuple((*data.tg_relation).rd_att, &values) }
    }
}

fn check_key_values(target: &Target, arbiter: &UniqueIndex, row: &Slot) {
    if arbiter.nulls_equal {
        return;
    }
    if let Some(column) = arbiter.columns().find(|c| row.get(*c).is_none()) {
        key_violation(target, arbiter, column, None, "null in").raise()
    }
}
