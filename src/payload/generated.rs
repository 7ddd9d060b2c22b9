//! Generated columns that payloads name.
//!
//! A row that was read from the table, `to_jsonb(row)` say, or a copy of the table as the
//! source, names them. What it says is no news if it is what the server computes from the
//! other columns; so that is computed, row by row, and compared. Nothing is stored from the
//! payload: the server computes it once more when the row goes in.
//!
//! The expressions are evaluated as the caller, who may insert into the table, and whose
//! INSERT would evaluate them as well.
use super::shape::{Comparison, Shape};
use crate::error::{NumberedRow, Report, SqlState};
use crate::pg::rows::RowBuilder;
use crate::pg::statement::evaluator::{Evaluator, Prepared};
use crate::pg::statement::expression::Expressions;
use crate::target::{Column, OpenRelation, Target};
use pgrx::pg_sys;

/// What the server computes for the generated columns that some payloads name.
pub struct GeneratedColumns<'t> {
    pub(super) target: &'t Target,
    /// A row of the table.
    pub(super) row: RowBuilder,
    /// By shape.
    pub(super) shapes: Vec<ComputedColumns>,
    /// By column, what an INSERT that does not name it gives it.
    pub(super) defaults: Vec<Option<pg_sys::Datum>>,
    /// The generated columns that are computed from such defaults,
    by_defaults: Vec<usize>,
    /// and by column, what was computed for the row at hand.
    pub(super) computed: Vec<Option<pg_sys::Datum>>,
    pub(super) evaluator: Evaluator,
}

/// What is computed for the payloads of a shape.
pub(super) struct ComputedColumns {
    /// By column, whether payloads name it.
    pub(super) named: Vec<bool>,
    /// The generated ones of these, with their expressions.
    pub(super) columns: Vec<(usize, Prepared)>,
}

impl<'t> GeneratedColumns<'t> {
    /// For payloads of these shapes; None if they name no generated column.
    ///
    /// # Errors
    /// 428C9 if one is computed from a column that a payload leaves out, and whose default
    /// is not the same every time.
    pub fn of(target: &'t Target, relation: &OpenRelation, shapes: &[Shape]) -> Option<Self> {
        let generated = |c: &&usize| target.columns[**c].generated != 0;
        let mut all = shapes.iter().flat_map(|shape| &shape.named);
        all.find(generated)?;
        let mut this = Self {
            target,
            row: RowBuilder::new(&relation.row_desc()),
            shapes: Vec::with_capacity(shapes.len()),
            defaults: vec![None; target.columns.len()],
            by_defaults: Vec::new(),
            computed: vec![None; target.columns.len()],
            evaluator: Evaluator::new(),
        };
        for shape in shapes {
            let columns = shape.named.iter().filter(generated);
            let columns = columns
                .map(|c| (*c, this.prepare(relation, shape, *c)))
                .collect();
            let mut named = vec![false; target.columns.len()];
            shape.named.iter().for_each(|c| named[*c] = true);
            this.shapes.push(ComputedColumns { named, columns });
        }
        // An expression may ask which table it is in.
        this.row.set_table(relation.oid());
        Some(this)
    }

    /// The expression of a column, and the defaults of those that it needs and payloads of
    /// the shape leave out.
    fn prepare(&mut self, relation: &OpenRelation, shape: &Shape, c: usize) -> Prepared {
        let columns = &self.target.columns;
        let expressions = Expressions::new();
        let expression = relation
            .column_expression(&expressions, columns[c].attnum)
            .expect("a generated column has its expression");
        let used = expression.columns();
        for (i, column) in columns.iter().enumerate() {
            if !shape.named.contains(&i) && used.contains(&column.attnum) {
                match column.constant_default(relation) {
                    Some(default) => {
                        self.defaults[i] = column.values.datum_of(default);
                        self.by_defaults.push(c);
                    }
                    None => refuse(&columns[c])
                        .more_detail(&format!(
                            "Its value cannot be checked without column \"{}\".",
                            column.name
                        ))
                        .raise(),
                }
            }
        }
        self.evaluator.prepare(expression)
    }

    /// The generated columns that are computed from a default, of a column that payloads leave
    /// out: they do not follow from what these name.
    pub fn by_defaults(&self) -> &[usize] {
        &self.by_defaults
    }

    /// Where a payload leaves the stored value of a column alone, such a column is computed from
    /// what no payload names.
    ///
    /// # Errors
    /// 428C9
    pub fn refuse_by_defaults(&self) {
        if let Some(column) = self.by_defaults.first() {
            refuse(&self.target.columns[*column])
                .more_detail(
                    "Its value cannot be checked where a payload leaves out a column that it is \
                     computed from.",
                )
                .raise()
        }
    }

    /// What the server computes in a generated column, in its own notation, for the row that
    /// [`GeneratedColumns::mismatch`] was last asked about and found nothing in.
    pub fn computed(&self, column: usize) -> Option<pg_sys::Datum> {
        self.computed[column]
    }

    /// 428C9, for a column in which a row differs.
    pub fn differs(&self, column: usize, row: NumberedRow) -> Report {
        refuse(&self.target.columns[column]).more_detail(&format!(
            "{} has a value there that differs from the one that the server computes.",
            row.capitalized()
        ))
    }
}

/// The columns that a generated column is computed from, by position.
///
/// # Panics
/// If it is none.
pub fn sources(target: &Target, relation: &OpenRelation, column: usize) -> Vec<usize> {
    let expressions = Expressions::new();
    let expression = relation
        .column_expression(&expressions, target.columns[column].attnum)
        .expect("a generated column has its expression");
    let used = expression.columns();
    (0..target.columns.len())
        .filter(|c| used.contains(&target.columns[*c].attnum))
        .collect()
}

/// Generated columns are not compared: they follow from others. One that is stored may be
/// named in `compare`.
///
/// # Errors
/// 22023 for one that is virtual, which no stored row holds.
pub fn exclude_from_comparison(target: &Target, comparison: &Comparison, shapes: &mut [Shape]) {
    let named = comparison.named();
    let virtual_one = named
        .iter()
        .find(|c| target.columns[**c].virtual_generated());
    if let Some(column) = virtual_one {
        let name = &target.columns[*column].name;
        Report::new(
            SqlState::InvalidParameterValue,
            format!("column \"{name}\" is virtual and cannot be in \"compare\""),
        )
        .hint("Compare the columns that it is computed from.")
        .table(&target.schema, &target.name)
        .column(name.clone())
        .raise()
    }
    let compared = |c: &usize| target.columns[*c].generated == 0 || named.contains(c);
    for shape in shapes {
        shape.compared.retain(compared);
    }
}

/// 428C9, in core's words.
fn refuse(column: &Column) -> Report {
    let name = &column.name;
    Report::new(
        SqlState::GeneratedAlways,
        format!("cannot insert a non-DEFAULT value into column \"{name}\""),
    )
    .detail(format!("Column \"{name}\" is a generated column."))
    .hint("Leave the column out.")
}
