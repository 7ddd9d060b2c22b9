//! What an arbiter on more than columns makes of a working row: whether the row has a key in it, by
//! its condition, and the values of the expressions in the key.
//!
//! They are evaluated with the rights of the table's owner, see
//! [`IndexValues`].
use crate::pg::ffi;
use crate::pg::relation::index_values::IndexValues;
use crate::pg::rows::{NewRow, RowBuilder, Slot};
use crate::target::{OpenRelation, Target, UniqueIndex};
use std::cell::UnsafeCell;

/// An arbiter's expressions and condition, for working rows.
pub struct KeyValues {
    values: IndexValues,
    /// By expression, its position in a working row.
    positions: Vec<usize>,
    /// By column that is needed: its position, and its place in a row of the table.
    needed: Vec<(usize, usize)>,
    /// A row of the table. Nothing says that it is borrowed: an ERROR that jumps out of the work on
    /// it would leave it so, and a call may go on after that.
    row: UnsafeCell<RowBuilder>,
}

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
        let expressions = arbiter.keys.iter().filter(|key| key.expression.is_some());
        let place = |c: usize| (c, target.columns[c].attnum as usize - 1);
        let mut row = RowBuilder::new(&relation.row_desc());
        // An expression may ask which table it is in.
        row.set_table(relation.oid());
        Some(Self {
            values,
            positions: expressions.map(|key| key.column).collect(),
            needed: arbiter
                .deciding_columns()
                .iter()
                .copied()
                .map(place)
                .collect(),
            row: UnsafeCell::new(row),
        })
    }

    /// Puts the values of expressions into a working row whose columns are set. False if the row
    /// is outside of the condition: it has no key. They live until the next row.
    ///
    /// # Safety
    /// The row is a working row of the target. Runs inside `ffi::guard`.
    pub unsafe fn complete_unguarded(&self, working: &mut NewRow<'_>) -> bool {
        // SAFETY: it is only used here, and what is evaluated meanwhile cannot get at this.
        let builder = unsafe { &mut *self.row.get() };
        // SAFETY: the caller's promise. The needed columns are those of the target, and have their
        // places in a row of its table; the expressions have theirs behind them.
        unsafe {
            let mut row = builder.start();
            for (column, place) in &self.needed {
                row.set_unguarded(*place, working.get_unguarded(*column));
            }
            let row = row.finish().raw();
            self.values.evaluate_unguarded(row, |i, value| {
                if let Some(position) = self.positions.get(i) {
                    working.set_unguarded(*position, value);
                }
            })
        }
    }

    /// Likewise, for a row of a target that is checked to be one.
    pub fn complete(&self, target: &Target, working: &mut NewRow<'_>) -> bool {
        working.desc().check_same(target.row_desc());
        // SAFETY: a working row, as was checked; the guard holds nothing.
        unsafe { ffi::guard(|| self.complete_unguarded(working)) }
    }

    /// The working row that begins with these columns of a row. None if it is outside of the
    /// condition.
    pub fn working_row<'b>(
        &self,
        target: &Target,
        builder: &'b mut RowBuilder,
        row: &'b Slot,
        columns: impl IntoIterator<Item = usize>,
    ) -> Option<&'b Slot> {
        let mut working = builder.start();
        for (i, column) in columns.into_iter().enumerate() {
            working.set(column, row.value(i));
        }
        let has_key = self.complete(target, &mut working);
        let working = working.finish();
        has_key.then_some(working)
    }
}
