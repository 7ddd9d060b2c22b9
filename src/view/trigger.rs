//! One row that is inserted through a view.
use super::create::null_is_a_value;
use crate::error::{OrRaise, Report, RowOrigin, SqlState};
use crate::guard::{ConflictAction, GuardOptions, view_cannot_observe};
use crate::options::{KeyOptions, MatchRule, check_rights};
use crate::outcome::{OnConflict, Outcome};
use crate::own_function::own_function;
use crate::payload::generated::{GeneratedColumns, exclude_from_comparison};
use crate::payload::key_defaults::KeyDefaults;
use crate::payload::row::{Mark, RowLayout, null_in_key};
use crate::payload::shape::{KeyPlace, Shape, check_key_named, key_violation};
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::call::trigger::FiredTrigger;
use crate::pg::catalog::name::relation_name;
use crate::pg::relation::SimpleView;
use crate::pg::rows::{RowBuilder, Slot};
use crate::pg::value::sql_value::SqlValue;
use crate::stats::{Form, FormScope};
use crate::target::{Target, TriggerInfo, UniqueIndex};
use crate::write::{InputSorter, OutcomeCollector, ResultDetail, WriteContext};

/// The row that an INSERT hands to the trigger of a view.
struct NewRow<'v> {
    /// By column of the view: its position in the target, if the target has it still.
    shows: Vec<Option<usize>>,
    /// By column of the view.
    values: Vec<SqlValue<'v>>,
}

/// See [`super::idempotent_view_trigger`].
pub fn insert(call: SqlCall<'_>) -> SqlResult {
    let _form = FormScope::of(Form::View);
    let trigger = fired_for_insert(call);
    let view = SimpleView::fired(&trigger).unwrap_or_else(|| not_simple(&trigger).raise());
    let (target, relation) = Target::open(view.table);
    target.refuse_rules();
    let row = NewRow::of(&trigger, &target, &view);
    let options = GuardOptions::of_view_trigger(&TriggerInfo::fired(&trigger).arguments).or_raise();
    let on_conflict = on_conflict(&options);
    let key_options = KeyOptions::new(options.key, options.compare, options.ignore);
    let match_rule = MatchRule::try_new(&key_options, &target)
        .map_err(outdated)
        .or_raise();
    let mut shapes = [row.shape(&target)];
    let arbiter = match_rule
        .find_arbiter(&target, |column| shapes[0].named.contains(&column))
        .map_err(outdated)
        .or_raise();
    match_rule.comparison.apply(&target, arbiter, &mut shapes);
    check_key_named(&target, arbiter, &shapes, |_| KeyPlace::payload());
    exclude_from_comparison(&target, &match_rule.comparison, &mut shapes);
    check_rights(&target, arbiter, shapes[0].named.iter().copied());

    let mut collector = OutcomeCollector::new(ResultDetail::StoredRow, 1, on_conflict);
    let (origin, guard) = (RowOrigin::Payload, match_rule.guard);
    let context =
        WriteContext::new(&target, &relation, arbiter, &shapes, origin, guard).reaching_shards();
    let defaults = KeyDefaults::of(&target, &relation, arbiter, &shapes);
    let mut builder = RowBuilder::new(target.row_desc());
    let working = row.working_row(&target, &shapes[0], &defaults, &mut builder);
    check_key_values(&target, arbiter, working);
    if let Some(mut generated) = GeneratedColumns::of(&target, &relation, &shapes)
        && let Some(column) = generated.mismatch_in(working, 0)
    {
        generated.differs(column, origin.numbered(1)).raise()
    }
    let has_no_key = RowLayout::of(&target).mark(working) == Mark::Outside;
    let mut input = InputSorter::new(&context, true);
    input.put(working);
    context.run(&mut input.into_rows(), 1, &mut collector);
    collector.finish(&context);
    if collector.rows()[0].outcome == Outcome::Conflict {
        // It is recorded, and no row went in.
        return trigger.skipped();
    }
    let readable = collector.readable(&context);
    match collector.stored_row() {
        // It has no key to be read again by.
        None if has_no_key => trigger.unchanged(),
        Some(stored) => trigger.with_row(&row.with_stored(stored, |column| readable.shows(column))),
        // It is gone again: an AFTER trigger of the table deleted it.
        None => trigger.skipped(),
    }
}

/// The trigger, which fired for a row.
///
/// # Errors
/// 39P01
fn fired_for_insert(call: SqlCall<'_>) -> FiredTrigger<'_> {
    let refuse = |detail: &str| -> ! {
        Report::new(
            SqlState::TriggerProtocolViolated,
            "idempotent_view_trigger can only be called as an INSTEAD OF INSERT trigger",
        )
        .detail(detail)
        .hint(format!(
            "Create the trigger with {}.",
            own_function("idempotent_view")
        ))
        .raise()
    };
    match FiredTrigger::of(call) {
        None => refuse("It was not called as a trigger."),
        Some(trigger) if trigger.is_instead_of_insert() => trigger,
        Some(_) => refuse("It was called for another event."),
    }
}

/// What becomes of a conflict. A trigger by hand may ask for what only a guard does.
///
/// # Errors
/// 22023
fn on_conflict(options: &GuardOptions) -> OnConflict {
    let refuse = |name: &str| -> ! {
        Report::new(
            SqlState::InvalidParameterValue,
            format!("a view has no option \"{name}\""),
        )
        .hint(format!(
            "Guard the table with {}.",
            own_function("idempotent_guard")
        ))
        .raise()
    };
    if options.remember.is_some() {
        refuse("remember")
    }
    if options.null_key.is_some() {
        refuse("null_key")
    }
    match options.on_conflict() {
        ConflictAction::Error => OnConflict::Error,
        ConflictAction::Quarantine => OnConflict::Quarantine,
        ConflictAction::Observe => view_cannot_observe().raise(),
    }
}

/// 55000
fn not_simple(trigger: &FiredTrigger<'_>) -> Report {
    let name = relation_name(trigger.table()).unwrap_or_default();
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("view \"{name}\" does not show plain columns of one table"),
    )
    .detail("A row that is inserted through such a view cannot be stored as it is.")
    .hint(format!(
        "Drop the view, and create it again with {}.",
        own_function("idempotent_view")
    ))
}

/// What is wrong with the options, with a way out if they name a column that the table no longer has.
fn outdated(report: Box<Report>) -> Box<Report> {
    match report.sqlstate() {
        SqlState::UndefinedColumn => Box::new(report.hint(format!(
            "If the column was renamed, rename it in the view, too, with ALTER VIEW … RENAME COLUMN. Then \
             call {} again, with columns that the table has.",
            own_function("idempotent_view")
        ))),
        _ => report,
    }
}

impl<'v> NewRow<'v> {
    fn of(trigger: &FiredTrigger<'v>, target: &Target, view: &SimpleView) -> Self {
        let row = trigger.row().expect("the trigger fired for a row");
        let position = |number| target.columns.iter().position(|c| c.attnum == number);
        Self {
            shows: view
                .columns
                .iter()
                .map(|number| position(*number))
                .collect(),
            values: row.values(),
        }
    }

    /// The columns of the target that the view shows, each with its value.
    fn shown(&self) -> impl Iterator<Item = (usize, SqlValue<'v>)> + '_ {
        let shown = self.shows.iter().zip(&self.values);
        shown.filter_map(|(column, value)| Some(((*column)?, *value)))
    }

    /// What the row names, see the head of [`super`].
    fn shape(&self, target: &Target) -> Shape {
        let named = self
            .shown()
            .filter(|(c, value)| !value.is_null() || null_is_a_value(&target.columns[*c]));
        let mut named: Vec<usize> = named.map(|(c, _)| c).collect();
        named.sort_unstable();
        named.dedup();
        Shape {
            named,
            compared: Vec::new(),
            first: 1,
        }
    }

    fn working_row<'b>(
        &self,
        target: &Target,
        shape: &Shape,
        defaults: &KeyDefaults,
        builder: &'b mut RowBuilder,
    ) -> &'b Slot
    where
        'v: 'b,
    {
        let mut row = builder.start();
        for (c, value) in self.shown().filter(|(c, _)| shape.named.contains(c)) {
            row.set(c, value);
        }
        defaults.complete(&shape.named, &mut row);
        let mark = defaults.mark(&mut row);
        RowLayout::of(target).set(&mut row, 1, 0, mark);
        row.finish()
    }

    /// The row that the statement returns: the stored one, and in columns that the caller may not
    /// read what was sent.
    fn with_stored<'s>(
        &self,
        stored: &'s Slot,
        readable: impl Fn(usize) -> bool,
    ) -> Vec<SqlValue<'s>>
    where
        'v: 's,
    {
        stored.deform();
        let columns = self.shows.iter().zip(&self.values);
        columns
            .map(|(column, sent)| match column {
                Some(c) if readable(*c) => stored.value(*c),
                _ => *sent,
            })
            .collect()
    }
}

fn check_key_values(target: &Target, arbiter: &UniqueIndex, row: &Slot) {
    if let Some(column) = null_in_key(target, arbiter, row) {
        key_violation(target, arbiter, column, KeyPlace::payload(), "null in").raise()
    }
}
