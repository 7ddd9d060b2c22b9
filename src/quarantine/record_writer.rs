//! Writing records of a call into their table of state, as its owner.
use crate::id_sequence::IdSequence;
use crate::kept;
use crate::pg::backend;
use crate::pg::memory::Memory;
use crate::pg::rows::TupleStore;
use crate::pg::statement::spi::Connection;
use crate::pg::value::sql_value::SqlValue;
use crate::state::StateTable;
use crate::target::Target;
use crate::user_context::UserContext;
use std::ffi::CStr;

/// How records get into their table.
pub struct RecordWriter {
    pub table: StateTable,
    /// The name under which the statements see the records.
    pub rows: &'static CStr,
    /// Inserts those that are not recorded yet; $1 is the target, $2 the caller.
    pub record: &'static str,
    /// Looks for one that has no record, since the number that was drawn for it is another one's; $1
    /// is the target.
    pub missing: &'static str,
    pub numbers: IdSequence,
}

impl RecordWriter {
    /// Writes so many records, in the caller's transaction. All values are jsonb or bytes by now:
    /// nothing of the target's is evaluated as the owner of the records.
    pub fn write(&self, records: &TupleStore, target: &Target) {
        let scratch = Memory::in_current(c"pg_idempotent records");
        scratch.scope(|| {
            let caller = backend::current_user_name();
            let _owner = UserContext::owner_of(self.table);
            let connection = Connection::open();
            let target = kept::table_parameter(target.oid);
            let parameters = [target, SqlValue::name(&caller)];
            records.as_table(self.rows, || {
                self.numbers.insert_with_new_id(&connection, || {
                    connection.execute(self.record, &parameters) == records.len()
                        || connection.execute(self.missing, &[target]) == 0
                });
            });
        });
    }
}
