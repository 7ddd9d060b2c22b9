//! Inserts the rows of a slice by SQL that Citus plans: many rows with one statement, as its parameters. The count
//! of such an INSERT is true; that of INSERT … SELECT is the number of rows that Citus has sent.
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::target::Target;
use crate::write::{Portion, insert_values};

/// Inserts the rows with these columns; gives how many went in.
pub fn insert(target: &Target, columns: &[usize], rows: &mut TupleStore) -> i64 {
    let mut sender = Sender {
        target,
        columns,
        plans: Vec::new(),
        count: 0,
    };
    let mut portion = Portion::default();
    rows.rewind();
    rows.each(|row| {
        if portion.put(row, columns) {
            portion.send(|rows| sender.send(rows));
        }
    });
    portion.send(|rows| sender.send(rows));
    sender.count as i64
}

struct Sender<'s> {
    target: &'s Target,
    columns: &'s [usize],
    /// Those that were prepared, with the number of their rows.
    plans: Vec<(usize, SpiPlan)>,
    /// How many rows went in.
    count: u64,
}

impl Sender<'_> {
    /// Sends these rows with one statement.
    fn send(&mut self, rows: &[Slot]) {
        pgrx::check_for_interrupts!();
        let values = rows
            .iter()
            .flat_map(|row| self.columns.iter().map(|c| row.value(*c)));
        let parameters: Vec<Parameter<'_>> = values.collect();
        let connection = Connection::open();
        if !self.plans.iter().any(|(count, _)| *count == rows.len()) {
            let sql = insert_values(self.target, self.columns, "", rows.len());
            let types: Vec<_> = parameters.iter().map(Parameter::typid).collect();
            let plan = SpiPlan::prepare_with(&connection, &sql, &types);
            self.plans.push((rows.len(), plan));
        }
        let mut plans = self.plans.iter();
        let plan = plans.find(|(count, _)| *count == rows.len());
        let (_, plan) = plan.expect("it is prepared");
        self.count += connection.execute_plan(plan, &parameters);
        self.target.check_still_named(plan);
    }
}
