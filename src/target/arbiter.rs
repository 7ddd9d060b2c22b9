//! Which unique index of a target decides.
use super::{Target, UniqueIndex};
use crate::error::{OrRaise, Report, SqlState};

/// HINT where no unique index of a table can decide.
pub const CREATE_INDEX: &str =
    "Create a unique index on the columns that identify the business event.";

impl Target {
    /// The arbiter for an explicit key: the usable unique index on exactly
    /// these columns, in any order.
    ///
    /// # Errors
    /// 42703 for a name that is no column; 42P10 if no usable unique index has
    /// these columns, with the reason.
    pub fn arbiter_for_key(&self, key: &[String]) -> &UniqueIndex {
        self.find_arbiter_for_key(key).or_raise()
    }

    /// As [`Target::arbiter_for_key`], with the error for the caller to decide about.
    pub fn find_arbiter_for_key(&self, key: &[String]) -> Result<&UniqueIndex, Box<Report>> {
        let columns = key.iter().map(|name| self.find_column(name));
        let columns = columns.collect::<Result<Vec<usize>, _>>()?;
        let mut refused = None;
        for index in self.indexes.iter().filter(|index| index.is_about(&columns)) {
            match index.unusable_reason {
                None => return Ok(index),
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
        let report = match refused {
            Some((index, reason)) => report
                .detail(format!("Index \"{}\" {reason}.", index.name))
                .constraint(index.name.clone()),
            None => report.detail(self.list_indexes()),
        };
        let hint = self.index_hint(&columns, refused.map(|(index, _)| index));
        Err(Box::new(report.hint(hint)))
    }

    /// The arbiter when the caller names no key: the primary key if every
    /// payload names all its columns (`named` says so for a column), else the
    /// one usable unique index whose columns they all name.
    ///
    /// # Errors
    /// 42P10 if there is none, or more than one.
    pub fn find_default_arbiter(
        &self,
        named: impl Fn(usize) -> bool,
    ) -> Result<&UniqueIndex, Box<Report>> {
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
                return Ok(index);
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
        match candidates.as_slice() {
            [index] => Ok(index),
            [] => Err(Box::new(self.no_named_key(named))),
            many => Err(Box::new(self.ambiguous_key(many))),
        }
    }

    /// 42P10: no usable index has only columns that are `named`. If there is one usable index,
    /// the columns of it that are not named are told.
    fn no_named_key(&self, named: impl Fn(usize) -> bool) -> Report {
        let report = Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "table \"{}\" has no usable unique index whose columns every payload names",
                self.name
            ),
        )
        .detail(self.list_indexes())
        .table(&self.schema, &self.name);
        let usable = self.usable_indexes();
        let report = match usable.as_slice() {
            [] => return report.hint(CREATE_INDEX),
            [index] => {
                let lacking: Vec<usize> = index.columns().filter(|c| !named(*c)).collect();
                let lacking = match lacking.as_slice() {
                    [column] => format!("column \"{}\"", self.columns[*column].name),
                    several => format!(
                        "each of the columns {}",
                        self.column_list(several.iter().copied())
                    ),
                };
                report.more_detail(&format!("Not every payload names {lacking}."))
            }
            _ => report,
        };
        report.hint(
            "Name the key columns in every payload, or create a unique index on the columns \
             that identify the business event.",
        )
    }

    /// 42P10: several indexes could decide.
    fn ambiguous_key(&self, candidates: &[&UniqueIndex]) -> Report {
        let described: Vec<String> = candidates.iter().map(|i| self.describe(i)).collect();
        Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "the key is ambiguous: several unique indexes of table \"{}\" qualify",
                self.name
            ),
        )
        .detail(format!("Candidates: {}.", described.join(", ")))
        .hint("Name the key columns with the argument key.")
        .table(&self.schema, &self.name)
    }

    /// The unique indexes that can decide.
    pub fn usable_indexes(&self) -> Vec<&UniqueIndex> {
        let indexes = self.indexes.iter();
        indexes.filter(|i| i.unusable_reason.is_none()).collect()
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
