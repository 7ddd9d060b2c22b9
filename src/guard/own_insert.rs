//! The INSERTs of our own functions, whose rows the guard does not judge.
//!
//! A function has looked its rows up and verifies what does not go in, so the
//! guard of the table only takes part in the protocol between sessions: it takes
//! the key lock and skips what is stored, and judges nothing.
use crate::pg::transaction::snapshot::{active_command, next_command};
use pgrx::pg_sys;
use std::cell::Cell;

#[derive(Clone, Copy)]
struct Statement {
    /// The index that decides for the function.
    arbiter: pg_sys::Oid,
    /// The command of its INSERT.
    command: pg_sys::CommandId,
}

thread_local! {
    static STATEMENT: Cell<Option<Statement>> = const { Cell::new(None) };
}

/// While it lives, the next statement of this backend is an INSERT of ours.
pub struct OwnInsert(Option<Statement>);

impl OwnInsert {
    /// For an INSERT that starts next and is decided by this index.
    pub fn for_next_statement(arbiter: pg_sys::Oid) -> Self {
        // What was done so far gets a number of its own before it.
        let command = next_command();
        Self(STATEMENT.replace(Some(Statement { arbiter, command })))
    }
}

impl Drop for OwnInsert {
    fn drop(&mut self) {
        STATEMENT.set(self.0);
    }
}

/// The index that decides for the running statement, if it is one of ours.
///
/// The statement is told by the command number of its snapshot: whatever a
/// trigger or a function runs inside of it has a later one.
pub fn own_insert_arbiter() -> Option<pg_sys::Oid> {
    let statement = STATEMENT.get()?;
    (active_command() == Some(statement.command)).then_some(statement.arbiter)
}
