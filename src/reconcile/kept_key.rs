//! A repair leaves each row that it updates under its key: what is told if it would not.
//!
//! What the server makes of the columns is known before it is written, so a dry run tells it, too. What a
//! trigger makes of them shows when it is written.
use crate::error::{Report, SqlState};
use crate::payload::shape::Shape;
use crate::payload::updated_key::UpdatedKey;
use crate::pg::memory::Memory;
use crate::pg::rows::Slot;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{OpenRelation, Target, UniqueIndex};

/// Checks updates.
pub struct KeptKey<'a> {
    target: &'a Target,
    arbiter: &'a UniqueIndex,
    shape: &'a Shape,
    updated: Option<UpdatedKey<'a>>,
    /// Reset for every row.
    scratch: Memory,
}

impl<'a> KeptKey<'a> {
    /// For updates by rows of this shape.
    pub fn of(
        target: &'a Target,
        relation: &OpenRelation,
        arbiter: &'a UniqueIndex,
        shape: &'a Shape,
    ) -> Self {
        Self {
            target,
            arbiter,
            shape,
            updated: UpdatedKey::of(target, relation, arbiter),
            scratch: Memory::in_current(c"pg_idempotent updated key"),
        }
    }

    /// The columns of the target that the key is computed from, by position.
    pub fn needed(&self) -> &[usize] {
        self.updated.as_ref().map_or(&[], UpdatedKey::needed)
    }

    /// Demands that the row `stored`, which has the key of `expected`, still has it when these columns
    /// have the values of `expected`.
    ///
    /// # Errors
    /// 27000
    pub fn check<'v>(
        &mut self,
        stored: impl Fn(usize) -> SqlValue<'v>,
        expected: &'v Slot,
        columns: &[usize],
    ) {
        let value = |c: usize| match columns.contains(&c) {
            true => expected.value(c),
            false => stored(c),
        };
        let Some(updated) = &mut self.updated else {
            return;
        };
        let is_kept = self.scratch.scope(|| updated.is_kept(expected, value));
        self.scratch.reset();
        if !is_kept {
            self.would_move().raise()
        }
    }

    /// 27000: the columns that an update leaves make another key.
    fn would_move(&self) -> Report {
        let Self {
            target, arbiter, ..
        } = self;
        let set = |c: &usize| self.shape.compared.contains(c) || arbiter.has_column(*c);
        let left: Vec<usize> = self.needed().iter().copied().filter(|c| !set(c)).collect();
        let report = self.other_key("an update would give a row");
        if left.is_empty() {
            return report
                .detail(
                    "The key is also computed from a column of the key, of which an update leaves the \
                     stored spelling.",
                )
                .hint("Ignore all columns that the key refers to.");
        }
        let columns = target.column_list(left);
        report
            .detail(format!(
                "The key or its condition also refers to columns that the update does not set: {columns}."
            ))
            .hint("Add them to the source and to \"compare\", or ignore all columns that the key refers to.")
    }

    /// 27000: a trigger has given a row another key than that of the source's row.
    pub fn moved(&self) -> Report {
        self.other_key("an update gave a row")
            .detail("A BEFORE UPDATE trigger changed the key.")
            .hint("Disable the trigger.")
    }

    fn other_key(&self, what: &str) -> Report {
        let Self {
            target, arbiter, ..
        } = self;
        let report = Report::new(
            SqlState::TriggeredDataChangeViolation,
            format!(
                "{what} another key than its own in table \"{}\"",
                target.name
            ),
        );
        arbiter.name_in(report.table(&target.schema, &target.name))
    }
}
