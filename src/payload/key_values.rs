//! What an arbiter on more than columns makes of a working row: whether the row has a key in it, by
//! its condition, and the values of the expressions in the key.
//!
//! With whose rights they are evaluated, [`IndexValues`] says.
use crate::pg::rows::{NewRow, RowBuilder, Slot};
use crate::pg::statement::evaluator::{IndexValues, IndexWorkingValues};
use crate::target::{OpenRelation, Target, UniqueIndex};

/// An arbiter's expressions and condition, for working rows.
pub struct KeyValues(IndexWorkingValues);

impl KeyValues {
    /// For an arbiter of a target, which is open; None if it is on columns alone, and on all rows.
    ///
    /// # Errors
    /// What is raised by the functions that are called to prepare them.
    pub fn of(target: &Target, relation: &OpenRelation, arbiter: &UniqueIndex) -> Option<Self> {
        if !arbiter.is_computed() {
            return None;
        }
        let values = IndexValues::of(relation, &OpenRelation::open_index(arbiter.oid))?;
        let place = |c: &usize| (*c, target.columns[*c].attnum as usize - 1);
        let needed = arbiter.deciding_columns().iter().map(place).collect();
        let expressions = arbiter.keys.iter().filter(|key| key.expression.is_some());
        let places = expressions.map(|key| key.column).collect();
        let working = target.row_desc();
        Some(Self(IndexWorkingValues::new(
            values, relation, working, needed, places,
        )))
    }

    /// Those of the server.
    pub fn values(&self) -> &IndexWorkingValues {
        &self.0
    }

    /// Puts the values of expressions into a working row whose columns are set. False if the row
    /// is outside of the condition: it has no key. They live until the next row.
    ///
    /// # Panics
    /// If it is no working row of the target.
    pub fn complete(&self, working: &mut NewRow<'_>) -> bool {
        self.0.complete(working)
    }

    /// The working row that begins with these columns of a row. None if it is outside of the
    /// condition.
    pub fn working_row<'b>(
        &self,
        builder: &'b mut RowBuilder,
        row: &'b Slot,
        columns: impl IntoIterator<Item = usize>,
    ) -> Option<&'b Slot> {
        let mut working = builder.start();
        for (i, column) in columns.into_iter().enumerate() {
            working.set(column, row.value(i));
        }
        let has_key = self.complete(&mut working);
        let working = working.finish();
        has_key.then_some(working)
    }
}
