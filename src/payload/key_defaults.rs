//! Key columns that payloads leave out, and whose default says what they are.
//!
//! A key column with an immutable default, or a session default such as
//! `current_setting('app.tenant')`, counts as named: the row that goes in has its default,
//! and so has the next attempt. To look the key up, the default is evaluated here. The INSERT
//! leaves the column out, as the payload does, and so needs no privilege on it.
use super::shape::Shape;
use crate::pg::rows::NewRow;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{OpenRelation, Target, UniqueIndex};
use std::borrow::Borrow;

/// The values of such columns, by position.
pub struct KeyDefaults(Vec<(usize, SqlValue<'static>)>);

impl KeyDefaults {
    /// For payloads that name all other key columns; the values are in the current memory.
    ///
    /// # Errors
    /// Whatever a default raises, as the INSERT would.
    pub fn of(
        target: &Target,
        relation: &OpenRelation,
        arbiter: &UniqueIndex,
        shapes: &[impl Borrow<Shape>],
    ) -> Self {
        let left_out = |c: &usize| shapes.iter().any(|shape| !shape.borrow().named.contains(c));
        let evaluate = |c: usize| (c, relation.default_value(target.columns[c].attnum));
        Self(arbiter.columns().filter(left_out).map(evaluate).collect())
    }

    /// None, where there is no key to complete.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// The columns, by position.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|(c, _)| *c)
    }

    /// Puts them into a working row that names these columns.
    pub fn complete(&self, named: &[usize], row: &mut NewRow<'_>) {
        for (c, value) in &self.0 {
            if !named.contains(c) {
                row.set(*c, *value);
            }
        }
    }
}
