//! Recording the conflicts of a call.
use crate::compare::Differences;
use crate::owner::AsOwner;
use crate::pg::ffi;
use crate::pg::jsonb::ObjectBuilder;
use crate::pg::local_settings::LocalSettings;
use crate::pg::memory::Memory;
use crate::pg::rows::{NamedStore, Slot, Store};
use crate::pg::spi::Connection;
use crate::pg::text;
use crate::target::{Readable, StoredRow, Target, UniqueIndex};
use pgrx::pg_sys;
use std::ffi::CStr;

const ROWS: &CStr = c"pg_idempotent_conflicts";

/// $1 is the target, $2 the caller. A conflict that arrives again while its
/// record is unresolved is not recorded twice: a retry stays a retry.
const RECORD: &str = "
    INSERT INTO idempotent.conflict_records
           (target, key, payload, stored, differences, arrived_by)
    SELECT $1, conflict.key, conflict.payload, conflict.stored, conflict.differences, $2
      FROM pg_idempotent_conflicts AS conflict
    ON CONFLICT (target, idempotent.conflict_digest(key, payload, stored, differences))
          WHERE resolution IS NULL
    DO NOTHING";

/// The conflicts of one call. They wait in a tuplestore until the call is done,
/// so that nothing is written while rows are being looked up.
pub struct Records {
    store: Store,
    desc: pg_sys::TupleDesc,
    memory: pg_sys::MemoryContext,
}

impl Records {
    /// None yet; they live in `memory`.
    pub fn new(memory: pg_sys::MemoryContext) -> Self {
        // SAFETY: the memory of the running call; attribute numbers within the
        // template.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(memory);
            let names = [c"key", c"payload", c"stored", c"differences"];
            let desc = pg_sys::CreateTemplateTupleDesc(names.len() as i32);
            for (i, name) in names.iter().enumerate() {
                let number = (i + 1) as pg_sys::AttrNumber;
                pg_sys::TupleDescInitEntry(desc, number, name.as_ptr(), pg_sys::JSONBOID, -1, 0);
            }
            let store = Store::new();
            pg_sys::MemoryContextSwitchTo(caller);
            Self {
                store,
                desc,
                memory,
            }
        }
    }

    /// Adds a conflict with the stored row (the differences may be those to what
    /// first arrived); `named` are the columns that the payload names. The
    /// record holds all stored values: who may see them is decided when it is
    /// read.
    pub fn add<P: Fn(usize) -> Option<pg_sys::Datum>>(
        &mut self,
        target: &Target,
        arbiter: &UniqueIndex,
        stored: &StoredRow<'_>,
        differences: &Differences<'_, P>,
        named: &[usize],
    ) {
        let _fixed = LocalSettings::fixed_output();
        let payload = |columns: &mut dyn Iterator<Item = usize>| {
            // SAFETY: the names live with the target, the values as long as
            // the payload; the guard holds nothing.
            unsafe {
                ffi::guard(|| {
                    let mut object = ObjectBuilder::new();
                    for c in columns {
                        let column = target.columns.get_unchecked(c);
                        object.key(&column.c_name);
                        column.put_readable(&mut object, (differences.payload)(c));
                    }
                    object.finish()
                })
            }
        };
        let everything = Readable::everything();
        let complete = Differences {
            target,
            arbiter,
            stored: differences.stored,
            payload: &differences.payload,
            columns: differences.columns,
            first_arrived: differences.first_arrived,
            readable: &everything,
            sent: &everything,
        };
        let values = [
            payload(&mut arbiter.columns()),
            payload(&mut named.iter().copied()),
            stored_row(target, stored),
            complete.to_jsonb(),
        ];
        let mut slot = Slot::for_values(self.desc);
        slot.clear();
        for (i, value) in values.into_iter().enumerate() {
            slot.set(i, Some(value));
        }
        slot.store();
        // SAFETY: the call's memory; switched back at once.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(self.memory);
            self.store.put(&slot);
            pg_sys::MemoryContextSwitchTo(caller);
        }
    }

    /// Writes them, in the caller's transaction. All values are jsonb by now: nothing of
    /// the target's is evaluated as the owner of the records.
    pub fn write(self, target: &Target) {
        let scratch = Memory::in_current(c"pg_idempotent records");
        scratch.scope(|| {
            // SAFETY: the current user exists.
            let caller =
                unsafe { text::from_server(pg_sys::GetUserNameFromId(pg_sys::GetUserId(), false)) };
            let caller = text::to_name(&caller);
            let _owner = AsOwner::switch();
            let connection = Connection::open();
            let _named = NamedStore::register(ROWS, &self.store, self.desc);
            connection.execute(
                RECORD,
                &[
                    (pg_sys::REGCLASSOID, Some(pg_sys::Datum::from(target.oid))),
                    (pg_sys::NAMEOID, Some(caller)),
                ],
            );
        });
    }
}

/// The whole stored row, in a form that can be read again.
fn stored_row(target: &Target, stored: &StoredRow<'_>) -> pg_sys::Datum {
    // SAFETY: the names live with the target, the values until the look goes
    // on; the guard holds nothing, and positions are those of the columns.
    unsafe {
        ffi::guard(|| {
            let mut object = ObjectBuilder::new();
            for (c, column) in target.columns.iter().enumerate() {
                if !column.virtual_generated() {
                    object.key(&column.c_name);
                    column.put_readable(&mut object, stored.get_unguarded(c));
                }
            }
            object.finish()
        })
    }
}
