//! The columns that a payload names, and which of them are compared.
use crate::error::{NumberedRow, OrRaise, Report, RowOrigin, SqlState};
use crate::pg::value::text;
use crate::target::{Column, Target, UniqueIndex};

/// Payloads that name the same columns.
#[derive(Debug)]
pub struct Shape {
    /// The named columns, by position, in the order in which they are read.
    pub named: Vec<usize>,
    /// Those whose values must agree with the stored row.
    pub compared: Vec<usize>,
    /// The ordinal of the first such payload, for error texts.
    pub first: i64,
}

impl Shape {
    /// By column of the target: whether it is named.
    pub fn mask(&self, target: &Target) -> Vec<bool> {
        let mut mask = vec![false; target.columns.len()];
        self.named.iter().for_each(|c| mask[*c] = true);
        mask
    }
}

/// The options that say which columns are compared.
#[derive(Debug, Default)]
pub struct Comparison {
    compare: Option<Vec<usize>>,
    ignore: Option<Vec<usize>>,
    /// No other columns are compared.
    limit: Option<Vec<usize>>,
    /// Nor are these, unless `compare` names them.
    excluded: Vec<usize>,
}

impl Comparison {
    /// Checks the options against the target.
    ///
    /// # Errors
    /// 22023 for both at once, 42703 for a name that is no column.
    pub fn new(
        target: &Target,
        compare: Option<&[String]>,
        ignore: Option<&[String]>,
    ) -> Result<Self, Box<Report>> {
        if compare.is_some() && ignore.is_some() {
            let report = Report::new(
                SqlState::InvalidParameterValue,
                "arguments \"compare\" and \"ignore\" cannot be used together",
            )
            .hint(
                "Name the compared columns with compare, or take columns away from the default \
                 with ignore.",
            );
            return Err(Box::new(report));
        }
        let positions = |option, names: Option<&[String]>| {
            let position = |name: &String| target.column_in(name, option);
            let positions = names.map(|names| names.iter().map(position));
            positions.map(Iterator::collect).transpose()
        };
        Ok(Self {
            compare: positions("compare", compare)?,
            ignore: positions("ignore", ignore)?,
            limit: None,
            excluded: Vec::new(),
        })
    }

    /// Compares these columns at most, as the guard of the target does.
    pub fn limit(&mut self, columns: &[usize]) {
        self.limit = Some(columns.to_vec());
    }

    /// Does not compare these columns, unless `compare` names them.
    pub fn exclude(&mut self, columns: &[usize]) {
        self.excluded.extend_from_slice(columns);
    }

    /// The columns that `compare` names, by position.
    pub fn named(&self) -> &[usize] {
        self.compare.as_deref().unwrap_or_default()
    }

    /// Resolves the compared columns of every shape.
    ///
    /// # Errors
    /// 22023 for a column that is part of the key: it agrees by definition.
    pub fn apply(&self, target: &Target, arbiter: &UniqueIndex, shapes: &mut [Shape]) {
        self.try_apply(target, arbiter, shapes).or_raise()
    }

    /// As [`Comparison::apply`], with the error for the caller to decide about.
    pub fn try_apply(
        &self,
        target: &Target,
        arbiter: &UniqueIndex,
        shapes: &mut [Shape],
    ) -> Result<(), Box<Report>> {
        for (list, option) in [(&self.compare, "compare"), (&self.ignore, "ignore")] {
            if let Some(column) = list.iter().flatten().find(|c| arbiter.has_column(**c)) {
                let report = target.cannot_be_in(*column, "is part of the key", option);
                return Err(Box::new(report));
            }
        }
        // There may be as many shapes as payloads.
        let may_be_compared = self.mask(target, arbiter);
        for shape in shapes {
            pgrx::check_for_interrupts!();
            let named = shape.named.iter().copied();
            shape.compared = named.filter(|c| may_be_compared[*c]).collect();
            // In the table's order, which is the one people know.
            shape.compared.sort_unstable();
        }
        Ok(())
    }

    /// By column: whether it is compared where it is named.
    fn mask(&self, target: &Target, arbiter: &UniqueIndex) -> Vec<bool> {
        let mut mask = vec![true; target.columns.len()];
        for only in [&self.limit, &self.compare].into_iter().flatten() {
            let mut listed = vec![false; mask.len()];
            only.iter().for_each(|c| listed[*c] = true);
            mask.iter_mut()
                .zip(listed)
                .for_each(|(may, listed)| *may &= listed);
        }
        let ignored = self.ignore.iter().flatten().copied();
        // What `compare` names is compared even if the default set lacks it.
        let excluded = if self.compare.is_none() {
            self.excluded.as_slice()
        } else {
            &[]
        };
        arbiter
            .columns()
            .chain(ignored)
            .chain(excluded.iter().copied())
            .for_each(|c| mask[c] = false);
        mask
    }
}

/// By column: whether all shapes name it.
pub fn named_by_all(target: &Target, shapes: &[Shape]) -> Vec<bool> {
    let mut by_all = vec![true; target.columns.len()];
    for shape in shapes {
        pgrx::check_for_interrupts!();
        let named = shape.mask(target);
        by_all
            .iter_mut()
            .zip(named)
            .for_each(|(all, named)| *all &= named);
    }
    by_all
}

/// Every payload, or the source, must name the key, but for columns whose default is the same in every
/// attempt. What an expression or a condition refers to may be left out where that is NULL then; and
/// so may all that has no default, where rows can be outside of a condition.
///
/// # Errors
/// 23502 that names the column and the place.
pub fn check_key_named(
    target: &Target,
    arbiter: &UniqueIndex,
    shapes: &[Shape],
    place: impl Fn(&Shape) -> KeyPlace,
) {
    let missing = shapes
        .iter()
        .find_map(|shape| Some((shape, missing_key_column(target, arbiter, shape)?)));
    if let Some((shape, column)) = missing {
        key_violation(target, arbiter, column, place(shape), "missing from").raise()
    }
}

/// The first column that decides on the key and that payloads of a shape lack.
pub fn missing_key_column(target: &Target, arbiter: &UniqueIndex, shape: &Shape) -> Option<usize> {
    let may_be_null = |c: usize| {
        let column = &target.columns[c];
        let must_be_named = arbiter.condition.is_none() && arbiter.has_column(c);
        !must_be_named && !column.has_default && column.generated == 0
    };
    let deciding = arbiter.deciding_columns().iter().copied();
    let mut unnamed = deciding.filter(|c| !shape.named.contains(c));
    unnamed.find(|c| !target.columns[*c].has_repeatable_default() && !may_be_null(*c))
}

/// What becomes of the values that payloads have for identity columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IdentityValues {
    /// Those of a column that is GENERATED ALWAYS are refused, whatever the caller says.
    #[default]
    Refused,
    /// They are refused, since the caller does not say otherwise.
    NotOverriding,
    /// They are written: OVERRIDING SYSTEM VALUE.
    Written,
    /// Those of all identity columns are ignored, and the sequence's taken: OVERRIDING USER
    /// VALUE.
    Ignored,
}

impl IdentityValues {
    /// Whether the payload's value of this column is no part of the row.
    pub fn ignores(self, column: &Column) -> bool {
        self == Self::Ignored && column.is_identity
    }

    /// Whether an INSERT may name this column.
    pub fn allows(self, column: &Column) -> bool {
        column.may_be_named || matches!(self, Self::Written | Self::Ignored)
    }

    /// The value of the option; empty if it is not given.
    pub fn option(self) -> &'static str {
        match self {
            Self::Refused | Self::NotOverriding => "",
            Self::Written => "system",
            Self::Ignored => "user",
        }
    }

    /// What an INSERT says of it, between its columns and its query.
    pub fn clause(self) -> &'static str {
        match self {
            Self::Refused | Self::NotOverriding => "",
            Self::Written => "OVERRIDING SYSTEM VALUE ",
            Self::Ignored => "OVERRIDING USER VALUE ",
        }
    }
}

const OMIT_HINT: &str = "Leave it out; for a source table, use a view of its other columns";

/// Refuses an INSERT that names an identity column which is GENERATED ALWAYS, unless its values
/// are overriding. The server does, too, but its hint is for the author of the statement, which is
/// this extension here.
///
/// # Errors
/// 428C9, in core's words.
pub fn refuse_identity(target: &Target, named: &[usize], values: IdentityValues) {
    let mut named = named.iter().map(|c| &target.columns[*c]);
    if let Some(column) = named.find(|column| !values.allows(column)) {
        let other_ways = match values {
            IdentityValues::NotOverriding => {
                "Write it with overriding => 'system', ignore it with overriding => 'user'"
            }
            _ => OMIT_HINT,
        };
        let hint = format!(
            "{other_ways}, or make it writable: ALTER TABLE {} ALTER COLUMN {} SET GENERATED BY \
             DEFAULT;",
            target.qualified_root(),
            text::quote_identifier(&column.name)
        );
        let what = "an identity column defined as GENERATED ALWAYS";
        cannot_be_named(&column.name, what, hint).raise()
    }
}

fn cannot_be_named(name: &str, what: &str, hint: String) -> Report {
    Report::new(
        SqlState::GeneratedAlways,
        format!("cannot insert a non-DEFAULT value into column \"{name}\""),
    )
    .detail(format!("Column \"{name}\" is {what}."))
    .hint(hint)
}

/// What has an incomplete key.
pub enum KeyPlace {
    /// A payload, or a row of a source.
    Row(NumberedRow),
    /// The source: it lacks the column.
    Source,
}

impl KeyPlace {
    /// The one payload.
    pub fn payload() -> Self {
        Self::Row(RowOrigin::Payload.numbered(1))
    }
}

/// 23502 for a part of the key, or a column that decides on it, that a payload or a source lacks or
/// has as NULL.
pub fn key_violation(
    target: &Target,
    arbiter: &UniqueIndex,
    column: usize,
    place: KeyPlace,
    what: &str,
) -> Report {
    let part = target.column(column);
    let is_column = column < target.columns.len();
    let (place, noun) = match place {
        KeyPlace::Row(row) => (row.to_string(), row.origin().noun()),
        KeyPlace::Source => ("the source".to_owned(), RowOrigin::Source.noun()),
    };
    let kind = if !is_column {
        "key expression"
    } else if arbiter.has_column(column) {
        "key column"
    } else {
        "column"
    };
    let report = Report::new(
        SqlState::NotNullViolation,
        format!("{kind} \"{}\" is {what} {place}", part.name),
    )
    .detail(format!(
        "A {noun} cannot be identified without its complete key."
    ))
    .table(&target.schema, &target.name);
    let report = arbiter.name_in(report);
    if is_column {
        report.column(part.name.clone())
    } else {
        report
    }
}
