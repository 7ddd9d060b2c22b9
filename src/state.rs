//! The tables of state, and whether they are as the extension made them.
//!
//! The extension works on them with its owner's rights. So nothing may be on them that runs
//! code of another role, or lets another role decide: a trigger, a rule, a default, a
//! constraint, a policy, an index on an expression, a child, an owner that is not the
//! extension's. A role that was granted TRIGGER on a table, or owned it for a while, can have put
//! something there, and ALTER DEFAULT PRIVILEGES can have granted it.
//!
//! The check comes after the lock that the work takes. All that it looks at takes a lock that
//! conflicts with ROW EXCLUSIVE, so a table that was in order stays so until the transaction
//! ends. In a READ ONLY transaction nothing is written; ACCESS SHARE keeps off what could run
//! code in a SELECT. The lock is taken at once as strong as it will be needed, on the table
//! before its indexes, as UPDATE does: beside a REINDEX, a stronger one later would be a
//! deadlock.
//!
//! What is found in order is remembered until the server says that the table has changed, or its
//! sequence, or a function, which may have another owner since. The look reads the relation cache,
//! and catalogs under a snapshot of the moment. What the cache shows not to be there is not asked
//! for: a session's first call pays for the query, most of all for planning it.
//!
//! # On Citus
//! What is recorded here says that something is stored on other nodes. So both commit, or neither does, see
//! [`two_phase`](crate::pg::transaction::two_phase).
use crate::error::{Report, SqlState};
use crate::pg::catalog::name::{relation_oid, schema_oid};
use crate::pg::catalog::relation;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::transaction::snapshot::LatestSnapshot;
use crate::pg::transaction::two_phase::commit_in_two_phases;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{OpenRelation, Target, function_changes, watch, watched_changes};
use crate::user_context::UserContext;
use crate::version;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

mod definition;
mod expected;
mod glance;
mod part;
mod table;

pub use table::StateTable;

use glance::Glance;
use part::TablePart;
use table::COUNT;

/// A deviation is one if it is seen so often in a row.
const LOOKS: usize = 3;

impl StateTable {
    /// The table, locked until the transaction ends and found in order.
    ///
    /// # Errors
    /// 42P01 without the extension; 55000 if the table is not as the extension made it.
    pub fn open(self) -> (Rc<Target>, OpenRelation) {
        let oid = self.oid();
        let (target, relation) = Target::open_to_write(oid);
        self.check_definition(&target, &relation);
        commit_in_two_phases();
        (target, relation)
    }

    fn oid(self) -> pg_sys::Oid {
        let schema = schema_oid(c"idempotent");
        let table = schema.and_then(|schema| relation_oid(schema, self.name()));
        table.unwrap_or_else(|| {
            if schema.is_some() {
                version::check();
            }
            Report::new(
                SqlState::UndefinedTable,
                format!(
                    "relation \"idempotent.{}\" does not exist",
                    self.display_name()
                ),
            )
            .hint("Install the extension with CREATE EXTENSION pg_idempotent.")
            .raise()
        })
    }

    fn check_definition(self, target: &Rc<Target>, relation: &OpenRelation) {
        thread_local! {
            /// The tables as they were when they were found in order, and the changes of
            /// functions and sequences until then.
            static IN_ORDER: RefCell<[(Weak<Target>, [u64; 2]); COUNT]> =
                const { RefCell::new([const { (Weak::new(), [0; 2]) }; COUNT]) };
        }
        let changes = || [function_changes(), watched_changes()];
        let before = changes();
        let known = IN_ORDER.with(|tables| {
            let (known, at) = &tables.borrow()[self as usize];
            known.upgrade().filter(|_| *at == before)
        });
        if known.is_some_and(|known| Rc::ptr_eq(&known, target)) {
            return;
        }
        let lost = self.watch_sequence(relation).err();
        let look = || definition::deviation(self, &self.parts(relation));
        // What core shows of an index is newer than the snapshot: a REINDEX CONCURRENTLY that gives the
        // name to another index in between looks like a deviation, until the next look.
        let deviation = (1..LOOKS).fold(look(), |found, _| found.and_then(|_| look()));
        // A lost identity takes its sequence along, and its hint brings both back.
        let deviation = deviation.or(lost);
        if let Some((what, heal)) = deviation {
            // Of another version's table nothing is to be repaired.
            version::check();
            Report::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!(
                    "table \"{}\" of schema \"idempotent\" is not as the extension made it",
                    self.display_name()
                ),
            )
            .detail(what)
            .hint(heal)
            .table("idempotent", self.display_name())
            .raise()
        }
        IN_ORDER.with(|tables| {
            tables.borrow_mut()[self as usize] = (Rc::downgrade(target), before);
        });
    }

    /// Watches the sequence from before it is looked at. What has its name must be one: the
    /// name is in statements that run as the owner.
    fn watch_sequence(self, relation: &OpenRelation) -> Result<(), (String, String)> {
        let Some(name) = self.sequence() else {
            return Ok(());
        };
        let sequence = relation_oid(relation.schema_oid(), name);
        let sequence = sequence.unwrap_or(pg_sys::InvalidOid);
        let kind = relation::kind(sequence);
        watch(sequence);
        // What is gone has no kind.
        if kind == pg_sys::RELKIND_SEQUENCE {
            return Ok(());
        }
        let name = name.to_str().expect("ASCII");
        Err((
            format!("It has lost the sequence \"{name}\"."),
            "Rename the sequence back.".to_owned(),
        ))
    }

    /// What there is to say of the table.
    fn parts(self, relation: &OpenRelation) -> Vec<TablePart> {
        // With the rights of its owner, since catalogs may have been closed to others;
        // of what is theirs, nothing runs.
        let _owner = UserContext::switch_to(relation.owner());
        let _plain = LocalSettings::set(&[(c"quote_all_identifiers", c"off")]);
        let _now = LatestSnapshot::push();
        let connection = Connection::open();
        let table = SqlValue::oid(relation.oid());
        connection.query(&definition::query(&Glance::at(relation)), &[table]);
        let mut parts = glance::columns(relation);
        parts.extend(glance::triggers(relation));
        if let Some(lines) = connection.first_text(1) {
            parts.extend(lines.lines().filter_map(TablePart::parse));
        }
        parts.sort_unstable();
        parts
    }
}

// Here, because a role is switched to in rooms that know nothing of tables of state.
impl UserContext {
    /// Switches to the owner of a table of state, which is locked until the transaction ends
    /// and was found to be as the extension made it. Only SQL of our own, over this table,
    /// may run before it is dropped.
    ///
    /// # Errors
    /// As [`StateTable::open`].
    pub fn owner_of(state: StateTable) -> Self {
        let (_, relation) = state.open();
        Self::switch_to(relation.owner())
    }
}
