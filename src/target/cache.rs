//! What is kept of tables in a backend, each entry until its table changes.
//!
//! The targets themselves are one such cache, in this room. What the other rooms make of a
//! target (plans, configurations) they keep in caches of their own, which know the target that an
//! entry was made for: when a table has changed, its target is gathered anew, and the entry is
//! made anew with it. `ri_query_cache` of the server's `ri_triggers.c` does the same.
use crate::pg::relation::invalidation::ChangeListener;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::{self, ManuallyDrop};
use std::rc::Rc;

/// Beyond this many tables a cache starts anew, so that a backend which
/// visits ever new tables keeps flat memory.
const MAX_TABLES: usize = 256;

thread_local! {
    /// All caches that are in use. Without a destructor: when the process ends, there is
    /// nothing to free into.
    static CACHES: ManuallyDrop<RefCell<Vec<Rc<dyn Forget>>>> = ManuallyDrop::default();
    /// How many targets were gathered.
    static GATHERED: Cell<u64> = const { Cell::new(0) };
    /// Counts invalidations that may concern us; a target gathered while the
    /// count moved is used but not kept.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    /// Counts invalidations of functions.
    static FUNCTION_CHANGES: Cell<u64> = const { Cell::new(0) };
    /// Relations other than targets whose changes somebody counts.
    static WATCHED: ManuallyDrop<RefCell<Vec<pg_sys::Oid>>> = ManuallyDrop::default();
    /// Counts invalidations of these.
    static WATCHED_CHANGES: Cell<u64> = const { Cell::new(0) };
}

static LISTENER: ChangeListener = ChangeListener {
    relation: invalidate,
    beside_relations: || invalidate(pg_sys::InvalidOid),
    function: || FUNCTION_CHANGES.set(FUNCTION_CHANGES.get() + 1),
};

/// Asks the server to be told of changed tables. Called once, at load.
pub fn register_invalidation_callbacks() {
    LISTENER.register();
}

/// The table changed; InvalidOid stands for all tables.
fn invalidate(oid: pg_sys::Oid) {
    CHANGES.set(CHANGES.get() + 1);
    // No code borrows it while core runs; if some did, the change would count.
    let watched = WATCHED.with(|watched| {
        watched
            .try_borrow()
            .map_or(true, |watched| watched.contains(&oid))
    });
    if watched || oid == pg_sys::InvalidOid {
        WATCHED_CHANGES.set(WATCHED_CHANGES.get() + 1);
    }
    CACHES.with(|caches| {
        // Borrowed to add one only, while no code of the server's runs.
        if let Ok(caches) = caches.try_borrow() {
            caches.iter().for_each(|cache| cache.forget(oid));
        }
    });
}

/// Which gathering of which table a target is: a table that has changed has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetId {
    table: pg_sys::Oid,
    number: u64,
}

impl TargetId {
    /// That of a target that is being gathered.
    pub fn next(table: pg_sys::Oid) -> Self {
        let number = GATHERED.get() + 1;
        GATHERED.set(number);
        Self { table, number }
    }
}

/// What hears of changed tables.
trait Forget {
    /// Drops the entry of the table, or all for InvalidOid.
    fn forget(&self, table: pg_sys::Oid);
}

type Entries<T> = RefCell<HashMap<pg_sys::Oid, T>>;

impl<T> Forget for Entries<T> {
    fn forget(&self, table: pg_sys::Oid) {
        // An entry that is in use may stay: it is found out when it is asked for.
        let Ok(mut entries) = self.try_borrow_mut() else {
            return;
        };
        let gone = if table == pg_sys::InvalidOid {
            mem::take(&mut *entries)
        } else {
            entries.remove_entry(&table).into_iter().collect()
        };
        drop(entries);
        drop(gone);
    }
}

/// A value a table, dropped when the table changes. For a `thread_local!`: it is never
/// deregistered.
pub struct PerTable<T>(Rc<Entries<T>>);

impl<T: Clone + 'static> PerTable<T> {
    /// Empty, without a destructor: when the process ends, there is nothing to free into.
    pub fn new() -> ManuallyDrop<Self> {
        let entries: Rc<Entries<T>> = Rc::default();
        CACHES.with(|caches| {
            caches
                .borrow_mut()
                .push(Rc::clone(&entries) as Rc<dyn Forget>)
        });
        ManuallyDrop::new(Self(entries))
    }

    /// The table's value.
    pub fn get(&self, table: pg_sys::Oid) -> Option<T> {
        self.0.borrow().get(&table).cloned()
    }

    /// Keeps a value for the table.
    pub fn insert(&self, table: pg_sys::Oid, value: T) {
        let mut entries = self.0.borrow_mut();
        let full = entries.len() >= MAX_TABLES && !entries.contains_key(&table);
        let gone = if full {
            mem::take(&mut *entries)
        } else {
            HashMap::new()
        };
        let replaced = entries.insert(table, value);
        // Both may free what the server keeps, so not while the entries are borrowed.
        drop(entries);
        drop((gone, replaced));
    }
}

/// What a room keeps of targets: a value for each, which is made with the target and dropped when
/// the table changes. Look it up once a statement, not once a row.
pub struct PerTarget<T>(PerTable<(TargetId, Rc<T>)>);

impl<T: Default + 'static> PerTarget<T> {
    /// Empty, for a `thread_local!`.
    pub fn new() -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self(ManuallyDrop::into_inner(PerTable::new())))
    }

    /// The target's value; a new one if the target was gathered since the last call.
    pub fn of(&self, target: TargetId) -> Rc<T> {
        if let Some((of, value)) = self.0.get(target.table)
            && of == target
        {
            return value;
        }
        let value = Rc::<T>::default();
        self.0.insert(target.table, (target, Rc::clone(&value)));
        value
    }
}

/// Counts changes of tables: as long as it stays the same, no table has changed.
pub fn changes() -> u64 {
    CHANGES.get()
}

/// Counts the changes of a relation from now on. It need not be a target, nor be locked.
pub fn watch(oid: pg_sys::Oid) {
    WATCHED.with(|watched| {
        let mut watched = watched.borrow_mut();
        if !watched.contains(&oid) {
            watched.push(oid);
        }
    });
}

/// Counts changes of what is watched: as long as it stays the same, none has another owner or
/// name.
pub fn watched_changes() -> u64 {
    WATCHED_CHANGES.get()
}

/// Counts changes of functions: as long as it stays the same, none has another owner.
pub fn function_changes() -> u64 {
    FUNCTION_CHANGES.get()
}
