//! The columns that a merge writes when a row goes in, and never again.
//!
//! What the server makes by itself names the row for others: a surrogate key that foreign
//! keys refer to, a token that a client was given. The same event, staged again, comes
//! with another one.
use crate::error::OrRaise;
use crate::target::{ColumnDefault, OpenRelation, Target, UniqueIndex};

/// The columns that are neither compared nor updated.
pub struct NeverUpdated {
    /// By position.
    pub columns: Vec<usize>,
    /// Those of them that `insert_only` names.
    insert_only: Vec<usize>,
}

impl NeverUpdated {
    /// Those that `insert_only` names, and those that the server makes: generated ones, an
    /// identity, what a sequence or anything volatile fills.
    ///
    /// # Errors
    /// 42703 for a name that is no column; 22023 for a column of the key.
    pub fn new(
        target: &Target,
        relation: &OpenRelation,
        arbiter: &UniqueIndex,
        insert_only: Option<&[String]>,
    ) -> Self {
        let names = insert_only.unwrap_or_default().iter();
        let position = |name: &String| target.column_in(name, "insert_only").or_raise();
        let insert_only: Vec<usize> = names.map(position).collect();
        if let Some(column) = insert_only.iter().find(|c| arbiter.has_column(**c)) {
            target
                .cannot_be_in(*column, "is part of the key", "insert_only")
                .raise()
        }
        let made = |c: &usize| {
            let column = &target.columns[*c];
            column.generated != 0
                || ColumnDefault::of(relation, column).is_some_and(|default| default.is_volatile)
        };
        let made = (0..target.columns.len()).filter(made);
        let columns = made
            .filter(|c| !arbiter.has_column(*c) && !insert_only.contains(c))
            .chain(insert_only.iter().copied())
            .collect();
        Self {
            columns,
            insert_only,
        }
    }

    /// None of them may be named in an option that says when a stored row is replaced.
    ///
    /// # Errors
    /// 22023
    pub fn refuse_in(&self, target: &Target, named: &[usize], option: &str) {
        let Some(column) = named.iter().find(|c| self.columns.contains(c)) else {
            return;
        };
        if self.insert_only.contains(column) {
            target
                .cannot_be_in(*column, "is in \"insert_only\"", option)
                .raise()
        }
        target
            .cannot_be_in(*column, "is server-generated", option)
            .detail("A merge writes it when a row goes in, and never changes it.")
            .raise()
    }
}
