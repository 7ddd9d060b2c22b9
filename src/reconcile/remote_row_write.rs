//! The statements by which a repair writes rows of a foreign or distributed table, one row each.
//!
//! The place or version of such a row cannot be trusted here. So a statement finds the row by its key and
//! by all values that were read of it, and leaves a row alone that has other values by now. postgres_fdw
//! can send each of these statements to the other server as a whole, which takes one round trip.
use crate::pg::rows::Slot;
use crate::pg::statement::spi::{Connection, SpiPlan};
use crate::target::{Parameters, Target, UniqueIndex};

/// So many statements are kept.
const KEPT: usize = 8;

/// The statements for one table.
pub struct RemoteStatements<'a> {
    target: &'a Target,
    arbiter: &'a UniqueIndex,
    /// The columns of the source, without those that are generated.
    named: Vec<usize>,
    /// The one that was used last comes first.
    kept: Vec<(String, SpiPlan)>,
}

impl<'a> RemoteStatements<'a> {
    /// No statement is kept yet; `named` are the columns that the source has.
    pub fn new(target: &'a Target, arbiter: &'a UniqueIndex, named: &[usize]) -> Self {
        let named = named.iter().copied();
        Self {
            target,
            arbiter,
            named: named
                .filter(|c| target.columns[*c].generated == 0)
                .collect(),
            kept: Vec::new(),
        }
    }

    /// Deletes the rows that are still as this one was read. Gives their number.
    pub fn delete(&mut self, stored: &Slot) -> u64 {
        let mut parameters = Parameters::default();
        let same = self.is_as_read(&mut parameters, stored);
        let table = self.target.own_rows();
        self.run(format!("DELETE FROM {table} WHERE {same}"), &parameters)
    }

    /// Gives these columns the values that are expected, in the rows that are still as `stored` was
    /// read. Gives their number.
    pub fn update(&mut self, stored: &Slot, expected: &Slot, columns: &[usize]) -> u64 {
        let mut parameters = Parameters::default();
        let set = columns.iter().map(|c| {
            let value = parameters.add(expected.value(*c));
            format!("{} = {value}", self.target.column_list([*c]))
        });
        let set = set.collect::<Vec<_>>().join(", ");
        let same = self.is_as_read(&mut parameters, stored);
        let table = self.target.own_rows();
        self.run(
            format!("UPDATE {table} SET {set} WHERE {same}"),
            &parameters,
        )
    }

    /// Inserts a row. Gives the number of rows that went in.
    pub fn insert(&mut self, expected: &Slot) -> u64 {
        let mut parameters = Parameters::default();
        let named = self.named.iter().copied();
        let values = named.clone().map(|c| parameters.add(expected.value(c)));
        let values = values.collect::<Vec<_>>().join(", ");
        let (table, columns) = (self.target.qualified(), self.target.column_list(named));
        // A foreign table has no key that could be named here.
        let skip = match self.target.foreign {
            true => String::new(),
            false => format!(" ON CONFLICT {} DO NOTHING", self.key_clause()),
        };
        self.run(
            format!("INSERT INTO {table} ({columns}) VALUES ({values}){skip}"),
            &parameters,
        )
    }

    /// How ON CONFLICT names the key of a distributed table.
    fn key_clause(&self) -> String {
        let clause = self.arbiter.inference_clause.clone();
        let columns = || self.target.column_list(self.arbiter.columns());
        clause.unwrap_or_else(|| format!("({})", columns()))
    }

    /// The condition that a row is the one that was read, with the same values.
    fn is_as_read<'v>(&self, parameters: &mut Parameters<'v>, row: &'v Slot) -> String {
        self.target
            .is_as_read(self.arbiter, &self.named, parameters, row, row)
    }

    fn run(&mut self, sql: String, parameters: &Parameters<'_>) -> u64 {
        let connection = Connection::open();
        if let Some(place) = self.kept.iter().position(|(of, _)| *of == sql) {
            self.kept[..=place].rotate_right(1);
        } else {
            let plan = SpiPlan::prepare_with(&connection, &sql, &parameters.types());
            self.kept.truncate(KEPT - 1);
            self.kept.insert(0, (sql, plan));
        }
        let plan = &self.kept[0].1;
        let count = connection.execute_plan(plan, &parameters.0);
        self.target.check_still_named(plan);
        count
    }
}
