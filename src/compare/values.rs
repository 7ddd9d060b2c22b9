//! What is asked of the values of columns.
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::{PAIRS, ValueOrder, differing_pairs};
use crate::target::{Column, StoredRow};
use std::cmp::Ordering;

/// The compared columns (by position) in which the payload differs from the
/// stored row.
///
/// # Panics
/// If a value is of another type than its column.
pub fn differing<'v>(
    columns: &[Column],
    compared: &[usize],
    stored: &StoredRow<'_>,
    payload: impl Fn(usize) -> SqlValue<'v>,
) -> Vec<usize> {
    let mut differing = Vec::new();
    for compared in compared.chunks(PAIRS) {
        let pairs: [_; PAIRS] = std::array::from_fn(|i| {
            let c = *compared.get(i)?;
            Some(columns[c].values.pair(stored.value(c), payload(c)))
        });
        let found = differing_pairs(&pairs);
        // Almost always there is none.
        if found != 0 {
            let differs = |i: usize| found >> i & 1 != 0;
            differing.extend(
                (0..compared.len())
                    .filter(|i| differs(*i))
                    .map(|i| compared[i]),
            );
        }
    }
    differing
}

/// How values of a column are ordered: by the type's own order, or else by their bytes.
#[derive(Clone, Copy, Debug)]
pub struct Order(ValueOrder);

impl Order {
    /// The order of the values of a column.
    pub fn of(column: &Column) -> Self {
        Self(column.values.order())
    }

    /// Compares two values of the column. NULL comes before every value.
    ///
    /// # Panics
    /// If the column or a value is of another type.
    pub fn compare(self, column: &Column, a: SqlValue<'_>, b: SqlValue<'_>) -> Ordering {
        column.values.compare(self.0, a, b)
    }

    /// For inner loops, see [`ValueType::compare_unguarded`](crate::pg::value::value_type::ValueType::compare_unguarded).
    pub fn of_values(self) -> ValueOrder {
        self.0
    }
}
