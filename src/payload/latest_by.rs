//! What the elements of `latest_by` name: a column of the target, a column that only the source
//! has, or the one as which it is stored: `source_column stored as target_column`.
use crate::error::{OrRaise, Report, SqlState};
use crate::pg::value::text;
use crate::target::Target;

/// What decides which of two rows is the later.
#[derive(Debug, PartialEq, Eq)]
pub enum Decider {
    /// A column of the target, by position, that the source has by the same name.
    Stored(usize),
    /// Likewise, that the source has by this name.
    StoredAs(usize, String),
    /// A column of this name that only the source has.
    Unstored(String),
}

/// Between the two names of an element.
pub const STORED_AS: &str = " stored as ";

impl Decider {
    /// The elements of a list. `in_source` says whether the source has a column.
    ///
    /// # Errors
    /// 42703 for what neither the target has, nor the source; 42701 for a column of the target that
    /// two elements name.
    pub fn all(target: &Target, list: &[String], in_source: impl Fn(&str) -> bool) -> Vec<Self> {
        let deciders: Vec<Self> = list
            .iter()
            .map(|element| Self::of(target, element, &in_source))
            .collect();
        for (i, decider) in deciders.iter().enumerate() {
            let column = decider.column();
            if column.is_some() && deciders[..i].iter().any(|other| other.column() == column) {
                let name = column.map_or("", |c| target.columns[c].name.as_str());
                Report::new(
                    SqlState::DuplicateColumn,
                    format!("column \"{name}\" appears more than once in \"latest_by\""),
                )
                .raise()
            }
        }
        deciders
    }

    fn of(target: &Target, element: &str, in_source: &impl Fn(&str) -> bool) -> Self {
        if let Some(column) = target.column_by_bytes(text::to_server(element).to_bytes()) {
            return Self::Stored(column);
        }
        if in_source(element) {
            return Self::Unstored(element.to_owned());
        }
        // Of ASCII letters, lower case has as many bytes.
        match element.to_ascii_lowercase().find(STORED_AS) {
            Some(at) => {
                let (name, column) = (&element[..at], &element[at + STORED_AS.len()..]);
                let name = name.trim();
                let column = target.column_in(column.trim(), "latest_by").or_raise();
                if !in_source(name) {
                    not_in_source(target, name).raise()
                }
                Self::StoredAs(column, name.to_owned())
            }
            None => target
                .no_such_column_in(element, "latest_by")
                .more_detail("The source has no column of that name, either.")
                .raise(),
        }
    }

    /// The column of the target that keeps it, by position.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Stored(column) | Self::StoredAs(column, _) => Some(*column),
            Self::Unstored(_) => None,
        }
    }
}

/// 42703 for a column of `latest_by` that the source lacks.
pub fn not_in_source(target: &Target, name: &str) -> Report {
    Report::new(
        SqlState::UndefinedColumn,
        format!("column \"{name}\" of \"latest_by\" is not in the source"),
    )
    .table(&target.schema, &target.name)
    .column(name)
}
