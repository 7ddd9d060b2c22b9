//! Rows that an UPDATE changes, and moves from partition to partition.
use super::{Guard, TriggerResult};
use crate::error::{Report, SqlState};
use crate::pg::backend;
use crate::pg::call::trigger::TriggerRow;
use crate::target::{KeyColumn, OpenRelation, PartitionRouter, StoredRow};

impl Guard {
    /// Whether the row is one that an UPDATE moves here from another partition:
    /// it is no payload, and is not judged.
    pub(super) fn is_moved_here(&self) -> bool {
        self.statement.is_moving_to(self.table.oid())
    }

    /// Judges an UPDATE: what is remembered cannot be changed.
    ///
    /// # Errors
    /// 428C9
    pub(super) fn judge_update<'g>(
        &'g self,
        old: TriggerRow<'g>,
        new: TriggerRow<'g>,
    ) -> TriggerResult<'g> {
        let [old, new] = [old, new].map(|row| StoredRow::fired(row, &self.plan.numbers));
        let moving_from =
            (self.target.partitioned && self.may_leave(&old, &new)).then(|| self.table.oid());
        self.statement.note_update(moving_from);
        let Some(remember) = &self.config.remember else {
            return TriggerResult::Unchanged;
        };
        if remember.is_changed(&old, &new) {
            let (was, is) = (old.get(remember.column), new.get(remember.column));
            if was.is_some() && is.is_none() && backend::is_replica() {
                // The publisher remembers nothing, we do.
                let number = self.plan.numbers[remember.column];
                return TriggerResult::Modified(number, old.value(remember.column));
            }
            let name = &self.target.columns[remember.column].name;
            Report::new(
                SqlState::GeneratedAlways,
                format!("column \"{name}\" cannot be updated"),
            )
            .detail(
                "It remembers the original payload, and the guard verifies retries against \
                 that.",
            )
            .table(&self.target.schema, &self.target.name)
            .column(name.clone())
            .raise()
        }
        TriggerResult::Unchanged
    }

    /// Whether an updated row may belong to another partition than this one. The
    /// key contains the whole partition key.
    fn may_leave(&self, old: &StoredRow<'_>, new: &StoredRow<'_>) -> bool {
        if self.plan.has_later_update_trigger {
            return true;
        }
        let arbiter = self.arbiter();
        // An expression is no part of the partition key.
        let same = |key: &KeyColumn| {
            key.expression.is_some() || key.agrees(old.value(key.column), new.value(key.column))
        };
        if arbiter.keys.iter().all(same) {
            return false;
        }
        let root = OpenRelation::open(self.target.oid);
        let leaf = PartitionRouter::new(&self.target, &root, arbiter).leaf(|c| new.value(c));
        leaf.is_none_or(|(leaf, _)| leaf != self.table.oid())
    }
}
