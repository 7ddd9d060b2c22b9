//! The expressions in a guard's key, and the condition of its arbiter, for the row at hand.
//!
//! They are evaluated with the rights of the table's owner, see
//! [`IndexValues`].
use crate::pg::call::trigger::TriggerRow;
use crate::pg::ffi;
use crate::pg::relation::index_values::IndexValues;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{OpenRelation, StoredRow, Target, UniqueIndex};
use pgrx::pg_sys;

/// What a row's key is, where its arbiter is on more than columns.
pub struct ComputedKey {
    values: IndexValues,
    /// The position of the first expression in working rows of the target: those of an index are
    /// side by side.
    first: usize,
    /// The expressions' types,
    types: Vec<pg_sys::Oid>,
    /// and their values for the row at hand.
    computed: Vec<Option<pg_sys::Datum>>,
}

impl ComputedKey {
    /// For rows of a table, and its part of the target's arbiter. None if the arbiter is on columns
    /// alone, and on all rows.
    pub fn of(
        target: &Target,
        arbiter: &UniqueIndex,
        table: &OpenRelation,
        index: &OpenRelation,
    ) -> Option<Self> {
        if !arbiter.is_computed() {
            return None;
        }
        let values = IndexValues::of(table, index)?;
        let expressions = arbiter.keys.iter().filter(|key| key.expression.is_some());
        let positions: Vec<usize> = expressions.map(|key| key.column).collect();
        Some(Self {
            values,
            first: positions.first().copied().unwrap_or(usize::MAX),
            types: positions.iter().map(|c| target.column(*c).typid).collect(),
            computed: vec![None; positions.len()],
        })
    }

    /// Computes them for a row; false if it is outside of the condition.
    ///
    /// # Safety
    /// The row is one of the table. Runs inside `ffi::guard`.
    pub unsafe fn compute_unguarded(&mut self, row: TriggerRow<'_>) -> bool {
        let computed = &mut self.computed;
        // SAFETY: the caller's promise; the slot holds the row while its trigger runs, longer than
        // the values are used.
        unsafe {
            self.values.evaluate_unguarded(row.slot(), |i, value| {
                if let Some(place) = computed.get_mut(i) {
                    *place = value;
                }
            })
        }
    }

    /// Likewise, under a guard of its own.
    pub fn compute(&mut self, row: TriggerRow<'_>) -> bool {
        // SAFETY: a guard opens this for the table that its rows are of; the guard holds nothing.
        unsafe { ffi::guard(|| self.compute_unguarded(row)) }
    }

    /// The value of an expression, by its position in working rows; None for a column.
    pub fn value(&self, position: usize) -> Option<SqlValue<'_>> {
        let i = position.checked_sub(self.first)?;
        // SAFETY: what the expression of this type has given for the row at hand.
        Some(unsafe { SqlValue::of_datum(self.types[i], self.computed[i]) })
    }
}

/// The value of a part of a row's key, by its position.
///
/// # Safety
/// It is a position in the arbiter's key, whose columns the row has deformed.
#[inline(always)]
pub unsafe fn part_of_key(
    payload: &StoredRow<'_>,
    key: Option<&ComputedKey>,
    position: usize,
) -> Option<pg_sys::Datum> {
    match key {
        Some(key) if position >= key.first => *key.computed.get(position - key.first)?,
        // SAFETY: the caller's promise: a column.
        _ => unsafe { payload.get_unguarded(position) },
    }
}
