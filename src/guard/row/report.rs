//! What a guard tells of a row that it does not let in.
use super::super::options::{ConflictAction, call_passing_null_keys};
use super::Guard;
use crate::compare::Differences;
use crate::outcome::conflict_report;
use crate::payload::shape::{KeyPlace, key_violation};
use crate::pg::value::sql_value::SqlValue;
use crate::quarantine::ConflictRecorder;
use crate::stats::Rows;
use crate::target::{StoredRow, VisibleColumns, note_values_shown};

impl Guard {
    /// 23502, and how such rows are let in.
    pub(super) fn refuse_null_key(&self, column: usize) -> ! {
        let target = &self.target;
        let arbiter = self.config.arbiter(target);
        let table = target.qualified();
        let report = key_violation(target, arbiter, column, KeyPlace::payload(), "null in");
        if arbiter.has_column(column) && !target.columns[column].may_be_null() {
            report
                .hint("The table requires a value for the column, so the INSERT has to give one.")
                .raise()
        }
        let mut hint = format!(
            "If there are rows with a null in the key, let them pass without verification: {}",
            call_passing_null_keys(&table, &self.plan.trigger.arguments),
        );
        if arbiter.has_column(column) {
            hint.push_str(&format!(
                " If there are none: ALTER TABLE {table} ALTER COLUMN {} SET NOT NULL;",
                target.column_list([column]),
            ));
        }
        report.hint(hint).raise()
    }

    /// What the caller may see of the stored row, and of the payload.
    pub(super) fn visible(&self) -> (VisibleColumns, VisibleColumns) {
        (
            VisibleColumns::by_caller_and(&self.target, self.role),
            VisibleColumns::insertable_by_caller(&self.target),
        )
    }

    /// The payload differs from the stored row, or from the original payload if that is
    /// given.
    pub(super) fn conflict<'v>(
        &self,
        stored: &StoredRow<'_>,
        first: Option<&StoredRow<'_>>,
        payload: impl Fn(usize) -> SqlValue<'v>,
        columns: &[usize],
        (readable, sent): (VisibleColumns, VisibleColumns),
    ) {
        self.counts.count(Rows::Conflicts);
        let (target, config) = (&*self.target, &*self.config);
        let arbiter = config.arbiter(target);
        let differences = Differences {
            target,
            arbiter,
            stored: first.unwrap_or(stored),
            payload,
            columns,
            against_original: first.is_some(),
            readable: &readable,
            sent: &sent,
        };
        // On a shard, the record would be one that the table's own server does not have.
        let quarantines = config.on_conflict == ConflictAction::Quarantine;
        if quarantines && target.sharded_table().is_none() {
            let remembers = config.remember.as_ref().map(|remember| remember.column);
            let named: Vec<usize> = (0..target.columns.len())
                .filter(|c| target.columns[*c].generated == 0 && remembers != Some(*c))
                .collect();
            let mut records = ConflictRecorder::new();
            records.add(target, arbiter, stored, &differences, &named);
            records.write(target);
            return;
        }
        let only = match columns {
            [column] => Some(*column),
            _ => None,
        };
        note_values_shown(target, differences.shown_columns());
        conflict_report(target, arbiter, 1, differences.to_sentence(None), only).raise()
    }
}
