//! From the columns of a source to those of the target, by core's own expressions: what an
//! assignment in an INSERT does to a value.
use crate::error::{Report, SqlState};
use crate::pg::catalog::types;
use crate::pg::statement::evaluator::{Evaluator, Prepared};
use crate::pg::statement::expression::{Assignment, Expressions, Variable};
use crate::target::{Column, OpenRelation, Target};
use pgrx::pg_sys;

/// How each selected column becomes one of the target.
pub struct Coercions {
    /// By column of the SELECT; None where the types agree.
    pub expressions: Vec<Option<Prepared>>,
    /// What they are evaluated in, over rows of the SELECT; the code that reads the rows resets its
    /// per-row memory.
    pub evaluator: Evaluator,
}

impl Coercions {
    /// For the columns of a relation with these numbers, and the columns of the target, by
    /// position, that they are to become.
    ///
    /// The casts (and CHECKs of a target's domains) are prepared and evaluated as the
    /// current user: for a caller who reads the source into the target, as INSERT … SELECT
    /// evaluates them.
    ///
    /// # Errors
    /// 42804 where no assignment cast leads from one to the other.
    pub fn new(
        target: &Target,
        relation: &OpenRelation,
        numbers: &[pg_sys::AttrNumber],
        columns: &[usize],
    ) -> Self {
        let (evaluator, expressions) = (Evaluator::new(), Expressions::new());
        let coerce = |(i, (number, c)): (usize, (&pg_sys::AttrNumber, &usize))| {
            let (attribute, column) = (relation.attribute(*number), &target.columns[*c]);
            let variable = Variable {
                number: (i + 1) as pg_sys::AttrNumber,
                typid: attribute.atttypid,
                typmod: attribute.atttypmod,
                collation: attribute.attcollation,
            };
            match expressions.assignment(&variable, column.typid, column.typmod) {
                Assignment::Unchanged => None,
                Assignment::Coerced(expression) => Some(evaluator.prepare(expression)),
                Assignment::Refused => refuse_type(target, column, attribute.atttypid),
            }
        };
        let expressions = numbers.iter().zip(columns).enumerate().map(coerce);
        Self {
            expressions: expressions.collect(),
            evaluator,
        }
    }
}

fn refuse_type(target: &Target, column: &Column, from: pg_sys::Oid) -> ! {
    let (to, from) = (types::name(column.typid), types::name(from));
    Report::new(
        SqlState::DatatypeMismatch,
        format!(
            "column \"{}\" is of type {to} but expression is of type {from}",
            column.name
        ),
    )
    .hint("Cast the column in the source, or use a view that casts it.")
    .table(&target.schema, &target.name)
    .column(column.name.clone())
    .raise()
}
