//! The slice that is replaced: columns with the values that its rows have there, or with ranges
//! in which these lie.
use crate::compare::Order;
use crate::pg::catalog::operator::btree_operator;
use crate::pg::catalog::types;
use crate::pg::rows::Slot;
use crate::pg::statement::spi::Parameter;
use crate::target::{Column, Target, equal, is_null};
use pgrx::pg_sys;

/// A slice of a target: the rows that have all of the values, and lie in all of the ranges.
pub struct Slice<'t> {
    pub target: &'t Target,
    /// The columns of which it names the value, by position, in the table's order.
    pub columns: Vec<usize>,
    /// Those of which it names a range, likewise.
    pub ranges: Vec<RangeColumn>,
    /// A working row with its values, and with the lower bounds of its ranges, or NULL.
    pub values: Slot,
    /// One with their upper bounds, or NULL.
    pub ends: Slot,
}

/// A column whose values lie in a range, which holds its lower bound and not its upper one. NULL
/// is in no range.
#[derive(Clone, Copy)]
pub struct RangeColumn {
    pub column: usize,
    pub order: Order,
}

impl<'t> Slice<'t> {
    /// The rows that have the values of a working row in these columns, in the table's order. Of
    /// none it is the whole table.
    pub fn of_row(target: &'t Target, columns: &[usize], row: Slot) -> Self {
        Self {
            target,
            columns: columns.to_vec(),
            ranges: Vec::new(),
            values: row,
            ends: Slot::for_stored(target.row_desc()),
        }
    }
}

impl Slice<'_> {
    /// All columns that it names, in the table's order.
    pub fn named(&self) -> Vec<usize> {
        let ranges = self.ranges.iter().map(|range| range.column);
        let mut named: Vec<usize> = self.columns.iter().copied().chain(ranges).collect();
        named.sort_unstable();
        named
    }

    /// SQL that a row of the slice meets, and its parameters.
    pub fn condition(&self) -> (String, Vec<Parameter<'_>>) {
        let mut condition = Condition::default();
        for c in &self.columns {
            let name = self.target.column_list([*c]);
            match self.values.get(*c) {
                None => condition.parts.push(is_null(&name)),
                Some(_) => {
                    let column = &self.target.columns[*c];
                    let value = self.values.value(*c);
                    condition.compare(column, &name, column.equality_operator(), value);
                }
            }
        }
        for range in &self.ranges {
            let column = &self.target.columns[range.column];
            let name = self.target.column_list([range.column]);
            for (row, strategy) in [(&self.values, FROM), (&self.ends, TO)] {
                if row.get(range.column).is_some() {
                    let operator = btree_operator(column.base_type(), strategy);
                    let operator = operator.expect("a range is of a type that has an order");
                    condition.compare(column, &name, operator, row.value(range.column));
                }
            }
        }
        if condition.parts.is_empty() {
            condition.parts.push("true".to_owned());
        }
        (condition.parts.join(" AND "), condition.parameters)
    }
}

/// What a value is to a lower bound,
const FROM: u32 = pg_sys::BTGreaterEqualStrategyNumber;
/// and to an upper one.
const TO: u32 = pg_sys::BTLessStrategyNumber;

/// Whether a column can have a range: its type has an order, and the operators of that.
pub fn may_have_range(column: &Column) -> bool {
    let typid = column.base_type();
    [FROM, TO]
        .iter()
        .all(|s| btree_operator(typid, *s).is_some())
}

/// Conditions that are joined by AND.
#[derive(Default)]
struct Condition<'s> {
    parts: Vec<String>,
    parameters: Vec<Parameter<'s>>,
}

impl<'s> Condition<'s> {
    fn compare(
        &mut self,
        column: &Column,
        name: &str,
        operator: pg_sys::Oid,
        value: Parameter<'s>,
    ) {
        self.parameters.push(value);
        let collate = collate_against_domain(column);
        let parameter = format!("${}", self.parameters.len());
        self.parts.push(equal(operator, name, &collate, &parameter));
    }
}

/// What lets the column's collation decide where the parameter, a domain, has another one
/// of its own.
fn collate_against_domain(column: &Column) -> String {
    let own = types::collation(column.typid);
    if own == column.collation || own == pg_sys::DEFAULT_COLLATION_OID {
        return String::new();
    }
    format!(" COLLATE {}", types::collation_name(column.collation))
}
