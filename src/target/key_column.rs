//! A column of the key of a unique index.
use super::key::equal;
use crate::pg::catalog::types;
use crate::pg::relation::index::KeyOperators;
use crate::pg::rows::TypeOrder;
use crate::pg::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::rc::Rc;

/// One key column of a usable unique index.
#[derive(Clone)]
pub struct KeyColumn {
    /// Position in [`Target::columns`](super::Target::columns), or behind these for an expression.
    pub column: usize,
    /// How an expression is written; None for a column.
    pub expression: Option<Rc<ExpressionText>>,
    /// Its storage: whether passed by value, and its length.
    pub storage: (bool, i16),
    /// The index's order of it.
    pub sort_order: TypeOrder,
    /// What the index compares it by.
    pub operators: KeyOperators,
}

/// How an expression in a key is written.
pub struct ExpressionText {
    /// As it is shown, and named in a key.
    pub name: String,
    /// As SQL, for whatever `search_path`.
    pub sql: String,
}

impl KeyColumn {
    /// The datum of a value of the column.
    ///
    /// # Panics
    /// If it is of another type.
    pub fn datum_of(&self, value: SqlValue<'_>) -> Option<pg_sys::Datum> {
        self.operators.datum_of(value)
    }

    /// Whether two values of the column are the same to the index. NULL is the
    /// same as NULL.
    #[inline]
    pub fn agrees(&self, a: SqlValue<'_>, b: SqlValue<'_>) -> bool {
        self.operators.agrees(a, b)
    }

    /// The index's order of two values of the column, NULL last.
    #[inline]
    pub fn compare(&self, a: SqlValue<'_>, b: SqlValue<'_>) -> Ordering {
        self.operators.compare(a, b)
    }

    /// SQL that says that two expressions are the same to the index.
    pub fn equals(&self, left: &str, right: &str) -> String {
        let collate = collate(self.operators.collation);
        equal(self.operators.equality_operator, left, &collate, right)
    }
}

/// ` COLLATE …`, or nothing without a collation.
pub(super) fn collate(collation: pg_sys::Oid) -> String {
    if collation == pg_sys::InvalidOid {
        return String::new();
    }
    let name = types::qualified_collation_name(collation);
    format!(" COLLATE {}", name.expect("an index keeps its collations"))
}
