//! Whether an update would leave a stored row under its key, told before anything is written.
//!
//! An expression of the key, its condition, or a generated column of it is computed from columns of
//! the row, and an update may set some of these and leave others. What is computed here is what the
//! server computes for the new version, before triggers: these may make it another one. Generated
//! columns are evaluated as the caller, as by an UPDATE of theirs; with whose rights the rest is, says
//! [`KeyValues`].
use super::generated::{GeneratedColumns, sources};
use super::key_values::KeyValues;
use super::shape::Shape;
use crate::pg::rows::{RowBuilder, Slot};
use crate::pg::value::sql_value::SqlValue;
use crate::target::{OpenRelation, Target, UniqueIndex};

/// Computes the keys of rows that are to be updated.
pub struct UpdatedKey<'t> {
    arbiter: &'t UniqueIndex,
    generated: Option<GeneratedColumns<'t>>,
    values: Option<KeyValues>,
    /// The columns that it is computed from, by position.
    needed: Vec<usize>,
    row: RowBuilder,
}

impl<'t> UpdatedKey<'t> {
    /// For an arbiter of a target; None if its key is made of plain columns, and of all rows: an
    /// update of other columns leaves it.
    ///
    /// # Errors
    /// As [`KeyValues::of`].
    pub fn of(
        target: &'t Target,
        relation: &OpenRelation,
        arbiter: &'t UniqueIndex,
    ) -> Option<Self> {
        let is_generated = |c: &usize| target.columns[*c].generated != 0;
        let deciding = arbiter.deciding_columns();
        let (generated, mut needed): (Vec<usize>, Vec<usize>) =
            deciding.iter().partition(|c| is_generated(c));
        if generated.is_empty() && !arbiter.is_computed() {
            return None;
        }
        for column in &generated {
            needed.extend(sources(target, relation, *column));
        }
        needed.sort_unstable();
        needed.dedup();
        let plain = (0..target.columns.len()).filter(|c| !is_generated(c));
        let shape = Shape {
            named: plain.chain(generated).collect(),
            compared: Vec::new(),
            first: 1,
        };
        Some(Self {
            arbiter,
            generated: GeneratedColumns::of(target, relation, &[shape]),
            values: KeyValues::of(target, relation, arbiter),
            needed,
            row: RowBuilder::new(target.row_desc()),
        })
    }

    /// The columns that the key is computed from, and those of it that are not generated, by
    /// position.
    pub fn needed(&self) -> &[usize] {
        &self.needed
    }

    /// Whether a row with these values has the key of a working row.
    ///
    /// # Errors
    /// What the expressions raise, as they do in an update.
    pub fn is_kept<'v>(&mut self, key: &Slot, updated: impl Fn(usize) -> SqlValue<'v>) -> bool {
        let mut row = self.row.start();
        for c in &self.needed {
            row.set(*c, updated(*c));
        }
        if let Some(generated) = &mut self.generated {
            generated.complete(&mut row);
        }
        let values = self.values.as_ref();
        if values.is_some_and(|values| !values.complete(&mut row)) {
            return false;
        }
        let row = row.finish();
        let mut keys = self.arbiter.keys.iter();
        keys.all(|part| part.agrees(row.value(part.column), key.value(part.column)))
    }
}
