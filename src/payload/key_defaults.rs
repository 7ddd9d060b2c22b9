//! What completes the keys of working rows: the defaults of columns that payloads leave out, and the
//! values of expressions.
//!
//! A key column with an immutable default, or a session default such as
//! `current_setting('app.tenant')`, counts as named: the row that goes in has its default,
//! and so has the next attempt. To look the key up, the default is evaluated here. The INSERT
//! leaves the column out, as the payload does, and so needs no privilege on it.
use super::key_values::KeyValues;
use super::row::Mark;
use super::shape::Shape;
use crate::pg::rows::NewRow;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{OpenRelation, Target, UniqueIndex};
use std::borrow::Borrow;

/// What completes the keys of the rows of a call.
pub struct KeyDefaults {
    /// The values of such columns, by position.
    defaults: Vec<(usize, SqlValue<'static>)>,
    /// The arbiter's expressions and condition.
    values: Option<KeyValues>,
}

impl KeyDefaults {
    /// For payloads that name all other columns that decide on the key, or are NULL there if they
    /// do not; the values are in the current memory.
    ///
    /// # Errors
    /// Whatever a default raises, as the INSERT would; and as [`KeyValues::of`].
    pub fn of(
        target: &Target,
        relation: &OpenRelation,
        arbiter: &UniqueIndex,
        shapes: &[impl Borrow<Shape>],
    ) -> Self {
        let left_out = |c: &usize| shapes.iter().any(|shape| !shape.borrow().named.contains(c));
        let evaluate = |c: usize| (c, relation.default_value(target.columns[c].attnum));
        let deciding = arbiter.deciding_columns().iter().copied();
        Self {
            defaults: deciding.filter(left_out).map(evaluate).collect(),
            values: KeyValues::of(target, relation, arbiter),
        }
    }

    /// None, where there is no key to complete.
    pub fn none() -> Self {
        Self {
            defaults: Vec::new(),
            values: None,
        }
    }

    /// The columns, by position.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.defaults.iter().map(|(c, _)| *c)
    }

    /// Puts them into a working row that names these columns.
    pub fn complete(&self, named: &[usize], row: &mut NewRow<'_>) {
        for (c, value) in &self.defaults {
            if !named.contains(c) {
                row.set(*c, *value);
            }
        }
    }

    /// Evaluates the arbiter's expressions for a working row that is complete, and gives its mark.
    pub fn mark(&self, row: &mut NewRow<'_>) -> Mark {
        match &self.values {
            Some(values) if !values.complete(row) => Mark::Outside,
            _ => Mark::Pending,
        }
    }

    /// The arbiter's expressions and condition, if it has some.
    pub fn values(&self) -> Option<&KeyValues> {
        self.values.as_ref()
    }
}
