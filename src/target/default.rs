//! What fills a column that an INSERT does not name, and whether that is another
//! value with every attempt.
use super::default_kind::DefaultKind;
use super::{Column, OpenRelation};
use crate::pg::statement::expression::Expressions;
use pgrx::pg_sys;

/// A default that is not immutable.
pub struct ColumnDefault {
    pub kind: DefaultKind,
    /// Whether it is another value at every call, in any session and at any time: a sequence, or
    /// anything volatile, be the time in it as well.
    pub is_volatile: bool,
    /// As SQL shows it, such as `now()`; None for an identity.
    pub expression: Option<String>,
}

impl ColumnDefault {
    /// That of a column; None if there is none, or it is immutable. The expression is
    /// walked and shown as it is written; none of its functions is called.
    pub fn of(relation: &OpenRelation, column: &Column) -> Option<Self> {
        if !column.has_volatile_default && column.stable_default.is_none() {
            return None;
        }
        Self::of_number(relation, column.attnum)
    }

    /// The default of the column with this number, which is not generated, of any relation; None if
    /// there is none, or it is immutable.
    pub fn of_number(relation: &OpenRelation, number: pg_sys::AttrNumber) -> Option<Self> {
        let expressions = Expressions::new();
        let default = relation.column_expression(&expressions, number)?;
        if !default.is_mutable() {
            return None;
        }
        let called = default.called_functions();
        Some(Self {
            kind: DefaultKind::of(&called),
            is_volatile: called.sequence || called.volatile,
            expression: (!default.is_identity()).then(|| default.to_sql()),
        })
    }
}
