//! One [`Target`] a table and backend, until the table changes.
use super::Target;
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// Beyond this many tables the cache starts anew, so that a backend which
/// visits ever new tables keeps flat memory.
const MAX_TARGETS: usize = 256;

thread_local! {
    /// Without a destructor: when the process ends, there is nothing to free into.
    static TARGETS: ManuallyDrop<RefCell<HashMap<pg_sys::Oid, Rc<Target>>>> =
        ManuallyDrop::default();
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

/// Asks the server to be told of changed tables. Called once, at load.
pub fn register_invalidation_callbacks() {
    // SAFETY: registered for the life of the backend, as is the callback.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(invalidate), pg_sys::Datum::null());
        // A schema that is renamed changes nothing in its tables' entries, nor does a cast of
        // a column's type that is made or dropped.
        for cache in [
            pg_sys::SysCacheIdentifier::NAMESPACEOID,
            pg_sys::SysCacheIdentifier::CASTSOURCETARGET,
        ] {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(invalidate_all),
                pg_sys::Datum::null(),
            );
        }
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::PROCOID as i32,
            Some(note_function),
            pg_sys::Datum::null(),
        );
    }
}

/// The table changed; InvalidOid stands for all tables.
#[pg_guard]
unsafe extern "C-unwind" fn invalidate(_arg: pg_sys::Datum, oid: pg_sys::Oid) {
    CHANGES.set(CHANGES.get() + 1);
    // Borrowed for longer by nobody while core runs; if it were, the change counts.
    let watched = WATCHED.with(|watched| {
        watched
            .try_borrow()
            .map_or(true, |watched| watched.contains(&oid))
    });
    if watched || oid == pg_sys::InvalidOid {
        WATCHED_CHANGES.set(WATCHED_CHANGES.get() + 1);
    }
    TARGETS.with(|targets| {
        // Never borrowed while core runs, see `lookup`.
        if let Ok(mut targets) = targets.try_borrow_mut() {
            if oid == pg_sys::InvalidOid {
                targets.clear();
            } else {
                targets.remove(&oid);
            }
        }
    });
}

/// A schema or a cast changed.
#[pg_guard]
unsafe extern "C-unwind" fn invalidate_all(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    // SAFETY: as if all tables had changed.
    unsafe { invalidate(pg_sys::Datum::null(), pg_sys::InvalidOid) };
}

/// A function changed.
#[pg_guard]
unsafe extern "C-unwind" fn note_function(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    FUNCTION_CHANGES.set(FUNCTION_CHANGES.get() + 1);
}

/// The target, from the cache or gathered. The caller holds a lock on the
/// table, so that invalidations that concern it have arrived.
pub fn lookup(oid: pg_sys::Oid, gather: impl FnOnce() -> Target) -> Rc<Target> {
    if let Some(target) = TARGETS.with(|targets| targets.borrow().get(&oid).cloned()) {
        return target;
    }
    let before = CHANGES.get();
    let target = Rc::new(gather());
    if CHANGES.get() == before {
        TARGETS.with(|targets| {
            let mut targets = targets.borrow_mut();
            if targets.len() >= MAX_TARGETS {
                targets.clear();
            }
            targets.insert(oid, Rc::clone(&target));
        });
    }
    target
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
