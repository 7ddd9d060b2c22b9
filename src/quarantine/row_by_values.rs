//! The stored row of a conflict, where rows are found and written by SQL: in shards of Citus, see
//! [`Target::is_distributed`].
use crate::pg::rows::{ReceivedRows, RowBuilder, Slot};
use crate::pg::statement::spi::{Connection, SpiPlan};
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::target::{Parameters, Target, UniqueIndex};

/// Finds and updates rows of a table by their values, as the caller.
pub struct RowByValues<'a> {
    target: &'a Target,
    arbiter: &'a UniqueIndex,
}

impl<'a> RowByValues<'a> {
    /// None where rows are found in the table itself.
    pub fn of(target: &'a Target, arbiter: &'a UniqueIndex) -> Option<Self> {
        let this = Self { target, arbiter };
        target.is_distributed().then_some(this)
    }

    /// The row that is stored under the key of a working row, as far as the caller may see it.
    pub fn find(&self, key: &Slot) -> Option<Slot> {
        let target = self.target;
        let mut parameters = Parameters::default();
        let has_key = target.has_key_of(self.arbiter, &mut parameters, key);
        let columns = target.column_list(0..target.columns.len());
        let sql = format!(
            "SELECT {columns} FROM {} WHERE {has_key}",
            target.own_rows()
        );
        let mut received = ReceivedRows::new();
        {
            let _settings = self.transmission();
            let _snapshot = FreshSnapshot::push();
            let connection = Connection::open();
            let plan = SpiPlan::prepare_with(&connection, &sql, &parameters.types());
            let code = connection.receive(&plan, &parameters.0, true, &mut received);
            assert!(code >= 0, "SPI code {code}");
            target.check_still_named(&plan);
        }
        let mut builder = RowBuilder::new(target.row_desc());
        let mut found = None;
        received.into_rows()?.each(|row| {
            let mut working = builder.start();
            (0..target.columns.len()).for_each(|c| working.set(c, row.value(c)));
            let row = working.finish().to_stored();
            row.deform();
            found = Some(row);
        });
        found
    }

    /// Gives these columns of the row with the key of `key` the payload's values, if it still has the values that were
    /// read in the columns `compared`. Gives the number of rows.
    pub fn update(
        &self,
        key: &Slot,
        (read, compared): (&Slot, &[usize]),
        payload: &Slot,
        columns: &[usize],
    ) -> u64 {
        let target = self.target;
        let mut parameters = Parameters::default();
        let set = columns.iter().map(|c| {
            let value = parameters.add(payload.value(*c));
            format!("{} = {value}", target.column_list([*c]))
        });
        let set = set.collect::<Vec<_>>().join(", ");
        let is_stored = |c: &usize| target.columns[*c].generated == 0;
        let compared: Vec<usize> = compared.iter().copied().filter(is_stored).collect();
        let same = target.is_as_read(self.arbiter, &compared, &mut parameters, key, read);
        let sql = format!("UPDATE {} SET {set} WHERE {same}", target.own_rows());
        let _settings = self.transmission();
        let connection = Connection::open();
        let plan = SpiPlan::prepare_with(&connection, &sql, &parameters.types());
        let count = connection.execute_plan(&plan, &parameters.0);
        target.check_still_named(&plan);
        count
    }

    /// The settings under which Citus sends values to the shards.
    fn transmission(&self) -> Option<LocalSettings> {
        self.target
            .is_in_shards()
            .then(LocalSettings::fixed_transmission)
    }
}
