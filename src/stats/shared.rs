//! The counters that all sessions of a server share.
//!
//! They are in shared memory on every version, and begin anew with the server, also after a crash. On PostgreSQL
//! 15 and 16 the library has to be preloaded for that; from 17 on the first session makes the memory. The
//! server's own cumulative statistics take in an extension's from 18 on, and only if it is preloaded there,
//! which the named memory does not need: so that would be a third way, for those who preload on 18, to keep the
//! counts over restarts. What reads counters has to see a restart anyway, since a crash is one.
use super::table::{CounterTable, Counts, Subject};
use crate::error::{is_of_sqlstate_class, message_of};
use crate::pg::backend;
use crate::pg::shared::{Shareable, SharedMemory};
use crate::pg::transaction::transactions::in_subtransaction;
use crate::settings;
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;

/// So many pairs of a table and a form are counted in all databases together. An entry takes 92 bytes.
pub const SUBJECTS: usize = 8192;

type Table = CounterTable<SUBJECTS>;

// SAFETY: its fields are atomic numbers and arrays of them, and all zeros are the empty table.
unsafe impl Shareable for Table {}

/// The number is that of the layout. It changes with [`CounterTable`] and with the numbers of forms and
/// counters.
static MEMORY: SharedMemory<Table> = SharedMemory::named(c"pg_idempotent statistics 1");

thread_local! {
    /// Whether the session has tried to reach the memory.
    static TRIED: Cell<bool> = const { Cell::new(false) };

    /// Why it is not to be had, if the server has said why.
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };

    /// Whether counts found no room since this was asked last.
    static FULL: Cell<bool> = const { Cell::new(false) };

    /// When that was.
    static LOOKED_FOR_ROOM: Cell<i64> = const { Cell::new(0) };

    /// What is about to get an entry.
    static NEW: RefCell<Vec<(Subject, Counts)>> = const { RefCell::new(Vec::new()) };
}

/// Asks for the memory, when the library is loaded.
pub fn reserve() {
    MEMORY.reserve();
}

/// Whether what is counted now comes to the shared counters.
#[inline]
pub fn counts() -> bool {
    settings::track() && is_at_hand()
}

/// Whether the session reaches the counters. The first time it tries to; should the server have no memory
/// left, statistics must not fail a statement.
pub fn is_at_hand() -> bool {
    if MEMORY.is_attached() {
        return true;
    }
    if !SharedMemory::<Table>::is_made_at_any_time() || TRIED.replace(true) {
        return false;
    }
    match in_subtransaction(|| MEMORY.attach()) {
        Ok(()) => MEMORY.is_attached(),
        Err(caught) if is_of_sqlstate_class(&caught, "57") => {
            // A cancel is one of the statement.
            TRIED.set(false);
            resume_unwind(caught)
        }
        Err(caught) => {
            FAILURE.set(Some(message_of(&caught)));
            false
        }
    }
}

/// Why the counters are not to be had, in words.
pub fn reason() -> Option<String> {
    if is_at_hand() {
        return None;
    }
    let failure = FAILURE.with_borrow(Clone::clone);
    Some(failure.unwrap_or_else(|| "pg_idempotent is not in shared_preload_libraries".to_owned()))
}

/// Adds what a transaction has counted. Called while it ends.
pub fn add(counted: impl Iterator<Item = (Subject, Counts)>) {
    let mut counted = counted.peekable();
    if counted.peek().is_none() {
        return;
    }
    let mut new = NEW.take();
    MEMORY.with_shared(|table| {
        new.extend(counted.filter(|(subject, counts)| !table.add(*subject, counts)));
    });
    if !new.is_empty() {
        let now = backend::clock();
        MEMORY.with_exclusive(|table| {
            for (subject, counts) in &new {
                if !table.add_or_begin(*subject, counts, now) {
                    FULL.set(true);
                }
            }
        });
        new.clear();
    }
    NEW.set(new);
}

/// Whether counts of the session found no room since this was asked last. True once a minute at most: to look
/// for room takes some milliseconds.
pub fn was_full() -> bool {
    const MINUTE: i64 = 60_000_000;
    if !FULL.get() || backend::clock() - LOOKED_FOR_ROOM.get() < MINUTE {
        return false;
    }
    LOOKED_FOR_ROOM.set(backend::clock());
    FULL.take()
}

/// Every subject with its counts, and since when it counts.
pub fn all() -> Vec<(Subject, Counts, i64)> {
    let mut all = Vec::with_capacity(SUBJECTS);
    MEMORY.with_shared(|table| {
        table.for_each(|subject, counts, since| all.push((subject, counts, since)));
    });
    all
}

/// What found no room, since the server has started.
pub fn uncounted() -> u64 {
    MEMORY.with_shared(Table::uncounted).unwrap_or(0)
}

/// Gives the entries of subjects back.
pub fn remove(subjects: &[Subject]) {
    MEMORY.with_exclusive(|table| subjects.iter().for_each(|subject| table.remove(*subject)));
}

/// Begins to count anew for the subjects of which `which` is true. Gives the time.
pub fn restart(which: impl Fn(Subject) -> bool) -> i64 {
    let now = backend::clock();
    MEMORY.with_exclusive(|table| table.restart(now, which));
    now
}
