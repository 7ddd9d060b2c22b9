//! Which unique index of a target decides.
use super::{Target, UniqueIndex};
use crate::error::{Report, SqlState};
use std::fmt::Write;

impl Target {
    /// The arbiter for an explicit key: the usable unique index on exactly
    /// these columns, in any order.
    ///
    /// # Errors
    /// 42703 for a name that is no column; 42P10 if no usable unique index has
    /// these columns, with the reason.
    pub fn arbiter_for_key(&self, key: &[String]) -> &UniqueIndex {
        let columns: Vec<usize> = key.iter().map(|name| self.column_by_name(name)).collect();
        let mut refused = None;
        for index in self.indexes.iter().filter(|index| index.is_about(&columns)) {
            match index.unusable_reason {
                None => return index,
                Some(reason) => refused = refused.or(Some((index, reason))),
            }
        }
        let names = self.column_list(columns.iter().copied());
        let report = Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "table \"{}\" has no usable unique index on ({names})",
                self.name
            ),
        )
        .table(&self.schema, &self.name);
        match refused {
            Some((index, reason)) => report
                .detail(format!("Index \"{}\" {reason}.", index.name))
                .constraint(index.name.clone()),
            None => report.detail(self.list_indexes()),
        }
        .hint(self.index_hint(&columns, refused.map(|(index, _)| index)))
        .raise()
    }

    /// The arbiter when the caller names no key: the primary key if every
    /// payload names all its columns (`named` says so for a column), else the
    /// one usable unique index whose columns they all name.
    ///
    /// # Errors
    /// 42P10 if there is none, or more than one.
    pub fn default_arbiter(&self, named: impl Fn(usize) -> bool) -> &UniqueIndex {
        let mut candidates: Vec<&UniqueIndex> = Vec::new();
        for index in self
            .indexes
            .iter()
            .filter(|index| index.unusable_reason.is_none())
        {
            if !index.columns().all(&named) {
                continue;
            }
            if index.primary {
                return index;
            }
            // Two indexes on the same columns decide the same.
            let columns: Vec<usize> = index.columns().collect();
            if !candidates
                .iter()
                .any(|candidate| candidate.same_columns(&columns))
            {
                candidates.push(index);
            }
        }
        let detail = match candidates.as_slice() {
            [index] => return index,
            [] => {
                Report::new(
                    SqlState::InvalidColumnReference,
                    format!(
                        "table \"{}\" has no usable unique index whose columns every payload \
                         names",
                        self.name
                    ),
                )
                .detail(self.list_indexes())
                .hint(
                    "Name the key columns in every payload, or create a unique index on the \
                     columns that identify the business event.",
                )
                .table(&self.schema, &self.name)
                .raise();
            }
            many => {
                let mut detail = String::from("Candidates: ");
                for (i, index) in many.iter().enumerate() {
                    let separator = if i == 0 { "" } else { ", " };
                    let _ = write!(detail, "{separator}{}", self.describe(index));
                }
                detail.push('.');
                detail
            }
        };
        Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "the key is ambiguous: several unique indexes of table \"{}\" qualify",
                self.name
            ),
        )
        .detail(detail)
        .hint("Name the key columns with the argument key.")
        .table(&self.schema, &self.name)
        .raise()
    }

    /// `"name" (columns)`, for error texts.
    pub fn describe(&self, index: &UniqueIndex) -> String {
        let columns = self.column_list(index.columns());
        format!("\"{}\" ({columns})", index.name)
    }

    /// A sentence that lists the unique indexes, and why some do not qualify.
    pub fn list_indexes(&self) -> String {
        if self.indexes.is_empty() {
            return "The table has no unique index.".to_owned();
        }
        let mut list = String::from("Unique indexes: ");
        for (i, index) in self.indexes.iter().enumerate() {
            if i > 0 {
                list.push_str("; ");
            }
            list.push_str(&match index.unusable_reason {
                None => self.describe(index),
                Some(reason) => format!("\"{}\", which {reason}", index.name),
            });
        }
        list.push('.');
        list
    }
}
