//! The outcomes of one call, and what is made of them in the end.
use super::context::WriteContext;
use super::rejections::{Rejections, error_document};
use crate::compare::{Arriving, Differences};
use crate::error::{Report, RowError, RowOrigin};
use crate::outcome::{OnConflict, OnError, Outcome, conflict_report};
use crate::pg::rows::{RowBuilder, Slot};
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::JsonForm;
use crate::quarantine::ConflictRecorder;
use crate::stats::Rows;
use crate::target::{StoredRow, Target, VisibleColumns};
use std::rc::Rc;

/// How many conflicts the DETAIL of a batch shows.
const SHOWN_CONFLICTS: usize = 5;

/// What the caller asks to be told of the outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultDetail {
    /// How many of each outcome.
    Counts,
    /// The outcome of each payload, with rows.
    Rows,
    /// The outcome of the one payload, and its stored row.
    StoredRow,
}

/// The result for one payload.
#[derive(Clone, Copy)]
pub struct PayloadResult {
    pub outcome: Outcome,
    /// The row now in the table, as far as the caller may read it.
    pub stored: Option<JsonbDatum>,
    /// For a conflict.
    pub differences: Option<JsonbDatum>,
    /// For a row that the server refused.
    pub error: Option<JsonbDatum>,
}

impl PayloadResult {
    /// The stored row and the differences, as values of a result.
    pub fn documents(&self) -> [SqlValue<'_>; 2] {
        [self.stored, self.differences].map(SqlValue::optional_jsonb)
    }
}

/// One conflict that the DETAIL may show.
struct ShownConflict {
    ordinal: i64,
    sentence: String,
}

/// Collects the outcomes as they are found, in any order.
pub struct OutcomeCollector {
    result_detail: ResultDetail,
    on_conflict: OnConflict,
    /// How many payloads came.
    pub received: i64,
    /// How many went in.
    pub inserted: i64,
    /// How many were stored already.
    pub duplicates: i64,
    /// How many differ from what is stored.
    pub conflicts: i64,
    results: Vec<Option<PayloadResult>>,
    /// The stored row of the one payload, if it is wanted.
    stored_row: Option<Slot>,
    /// The conflicts with the lowest ordinals, in their order.
    shown: Vec<ShownConflict>,
    /// The one column that differs in all conflicts so far.
    only_column: Option<usize>,
    readable: Option<Rc<VisibleColumns>>,
    records: Option<ConflictRecorder>,
    /// What the server refused.
    pub rejections: Rejections,
}

impl OutcomeCollector {
    /// Empty, for a known number of payloads (0 where it is not known yet, and
    /// only counts are wanted).
    pub fn new(result_detail: ResultDetail, payloads: usize, on_conflict: OnConflict) -> Self {
        let rows = match result_detail {
            ResultDetail::Counts => 0,
            ResultDetail::Rows | ResultDetail::StoredRow => payloads,
        };
        Self {
            result_detail,
            on_conflict,
            received: payloads as i64,
            inserted: 0,
            duplicates: 0,
            conflicts: 0,
            results: vec![None; rows],
            stored_row: None,
            shown: Vec::new(),
            only_column: None,
            readable: None,
            records: None,
            rejections: Rejections::new(OnError::Error),
        }
    }

    /// With this option for rows that the server refuses.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.rejections = Rejections::new(on_error);
        self
    }

    /// Whether every inserted row is to be read once more.
    pub fn wants_rows(&self) -> bool {
        self.result_detail != ResultDetail::Counts
    }

    /// The row now in the table, by column of the target, whoever may read it; None if there is
    /// none, or it was not asked for.
    pub fn stored_row(&self) -> Option<&Slot> {
        self.stored_row.as_ref()
    }

    /// The result of every payload, by ordinal.
    pub fn rows(&self) -> Vec<PayloadResult> {
        self.results
            .iter()
            .map(|row| row.expect("every payload has its outcome"))
            .collect()
    }

    /// What the caller may see of stored rows.
    pub fn readable(&mut self, context: &WriteContext<'_>) -> Rc<VisibleColumns> {
        let readable = || Rc::new(VisibleColumns::by_caller(context.target));
        Rc::clone(self.readable.get_or_insert_with(readable))
    }

    /// So many rows were inserted.
    pub fn add_inserted(&mut self, rows: u64) {
        self.inserted += rows as i64;
    }

    /// This payload went in; the row is None if it is not there any more.
    pub fn inserted(
        &mut self,
        context: &WriteContext<'_>,
        ordinal: i64,
        stored: Option<&StoredRow<'_>>,
    ) {
        self.inserted += 1;
        self.store_result(context, ordinal, Outcome::Inserted, stored, None);
    }

    /// This payload was stored already.
    pub fn duplicate(&mut self, context: &WriteContext<'_>, ordinal: i64, stored: &StoredRow<'_>) {
        self.duplicates += 1;
        self.store_result(context, ordinal, Outcome::Duplicate, Some(stored), None);
    }

    /// This payload differs from the stored row, or from the original payload under
    /// its key, as the differences tell. `named` are the columns that it names, `by` is the
    /// ordinal of the payload of this call that stored the row, if one did.
    pub fn conflict<'v, P: Fn(usize) -> SqlValue<'v>>(
        &mut self,
        context: &WriteContext<'_>,
        ordinal: i64,
        stored: &StoredRow<'_>,
        differences: &Differences<'_, P>,
        named: &[usize],
        by: Option<i64>,
    ) {
        self.conflicts += 1;
        match self.on_conflict {
            OnConflict::Error => self.show(context.origin, ordinal, differences, by),
            OnConflict::Report => {}
            OnConflict::Quarantine => self
                .records
                .get_or_insert_with(|| context.in_call_memory(ConflictRecorder::new))
                .add(context.target, context.arbiter, stored, differences, named),
        }
        if self.wants_rows() && self.on_conflict != OnConflict::Error {
            let json = context.in_call_memory(|| differences.to_jsonb(Arriving::Payload));
            self.store_result(
                context,
                ordinal,
                Outcome::Conflict,
                Some(stored),
                Some(json),
            );
        }
    }

    /// The server refused this payload. The current memory is that of the call.
    pub fn rejected(
        &mut self,
        ordinal: i64,
        error: &RowError,
        payload: impl FnOnce() -> JsonbDatum,
    ) {
        self.rejections.add(error, payload);
        if self.wants_rows() {
            self.results[ordinal as usize - 1] = Some(PayloadResult {
                outcome: Outcome::Rejected,
                stored: None,
                differences: None,
                error: Some(error_document(error)),
            });
        }
    }

    fn store_result(
        &mut self,
        context: &WriteContext<'_>,
        ordinal: i64,
        outcome: Outcome,
        stored: Option<&StoredRow<'_>>,
        differences: Option<JsonbDatum>,
    ) {
        if !self.wants_rows() {
            return;
        }
        if self.result_detail == ResultDetail::StoredRow {
            self.stored_row = stored.map(|stored| copy(context.target, stored));
            self.results[ordinal as usize - 1] = Some(PayloadResult {
                outcome,
                stored: None,
                differences,
                error: None,
            });
            return;
        }
        let readable = self.readable(context);
        let stored = stored.filter(|_| !readable.shows_nothing()).map(|stored| {
            context.in_call_memory(|| row_to_jsonb(context.target, stored, &readable))
        });
        self.results[ordinal as usize - 1] = Some(PayloadResult {
            outcome,
            stored,
            differences,
            error: None,
        });
    }

    fn show<'v, P: Fn(usize) -> SqlValue<'v>>(
        &mut self,
        origin: RowOrigin,
        ordinal: i64,
        differences: &Differences<'_, P>,
        by: Option<i64>,
    ) {
        let only = match differences.columns {
            [column] => Some(*column),
            _ => None,
        };
        self.only_column = match self.conflicts {
            1 => only,
            _ => self.only_column.filter(|column| Some(*column) == only),
        };
        let at = self.shown.partition_point(|shown| shown.ordinal < ordinal);
        if at < SHOWN_CONFLICTS {
            let sentence = differences.to_sentence(by.map(|by| origin.numbered(by)));
            self.shown.insert(at, ShownConflict { ordinal, sentence });
            self.shown.truncate(SHOWN_CONFLICTS);
        }
    }

    /// All outcomes are in: conflicts are raised or recorded.
    pub fn finish(&mut self, context: &WriteContext<'_>) {
        context.counts.add(Rows::Inserted, self.inserted);
        context.counts.add(Rows::Duplicates, self.duplicates);
        context.counts.add(Rows::Conflicts, self.conflicts);
        context.counts.settle_waits();
        if let Some(records) = self.records.take() {
            records.write(context.target);
        }
        self.rejections.write(context.target);
        if self.on_conflict == OnConflict::Error && self.conflicts > 0 {
            self.report(context).raise()
        }
    }

    fn report(&self, context: &WriteContext<'_>) -> Report {
        let mut detail = self
            .shown
            .iter()
            .map(|shown| {
                if context.origin.is_batch() {
                    let row = context.origin.numbered(shown.ordinal).capitalized();
                    format!("{row}: {}", shown.sentence)
                } else {
                    shown.sentence.clone()
                }
            })
            .collect::<Vec<_>>()
            .join("\n");
        let more = self.conflicts - self.shown.len() as i64;
        if more > 0 {
            detail.push_str(&format!("\nAnd {more} more."));
        }
        conflict_report(
            context.target,
            context.arbiter,
            self.conflicts,
            detail,
            self.only_column,
        )
    }
}

/// The stored row as jsonb, without what may not be read, and without virtual
/// columns, which are not stored.
fn row_to_jsonb(target: &Target, stored: &StoredRow<'_>, readable: &VisibleColumns) -> JsonbDatum {
    let columns = target.in_json_order.iter().copied();
    let shown = columns.filter(|c| readable.shows(*c) && !target.columns[*c].virtual_generated());
    target.object(shown, JsonForm::Shown, |c| stored.value(c))
}

/// A copy of a stored row, by column of the target. Virtual columns are not stored.
fn copy(target: &Target, stored: &StoredRow<'_>) -> Slot {
    let mut builder = RowBuilder::new(target.columns_desc());
    let mut row = builder.start();
    for (c, column) in target.columns.iter().enumerate() {
        if !column.virtual_generated() {
            row.set(c, stored.value(c));
        }
    }
    row.finish().to_stored()
}
