//! Being told of what changed in the catalogs.
//!
//! The server tells it while it accepts invalidations: at any look-up or lock. A listener looks
//! nothing up.
use crate::pg::ffi::plain;
use pgrx::{pg_guard, pg_sys};
use std::sync::OnceLock;

/// What is called.
pub struct ChangeListener {
    /// A relation changed; all may have for `InvalidOid`. What is in the relation's entry counts.
    pub relation: fn(pg_sys::Oid),
    /// Something changed that is said of relations but is not in their entries: a schema, which may
    /// have another name, or a cast of a column's type.
    pub beside_relations: fn(),
    /// A function changed.
    pub function: fn(),
}

/// Who is told.
static LISTENER: OnceLock<&'static ChangeListener> = OnceLock::new();

impl ChangeListener {
    /// Registers it for the life of the backend.
    ///
    /// # Panics
    /// If there is one already.
    pub fn register(&'static self) {
        use pg_sys::SysCacheIdentifier::{CASTSOURCETARGET, NAMESPACEOID, PROCOID};
        assert!(LISTENER.set(self).is_ok(), "there is one listener");
        plain::on_relcache_change(relation_changed);
        plain::on_syscache_change(NAMESPACEOID, beside_changed);
        plain::on_syscache_change(CASTSOURCETARGET, beside_changed);
        plain::on_syscache_change(PROCOID, function_changed);
    }
}

#[pg_guard]
extern "C-unwind" fn relation_changed(_none: pg_sys::Datum, oid: pg_sys::Oid) {
    if let Some(listener) = LISTENER.get() {
        (listener.relation)(oid);
    }
}

#[pg_guard]
extern "C-unwind" fn beside_changed(_none: pg_sys::Datum, _cache: i32, _hash: u32) {
    if let Some(listener) = LISTENER.get() {
        (listener.beside_relations)();
    }
}

#[pg_guard]
extern "C-unwind" fn function_changed(_none: pg_sys::Datum, _cache: i32, _hash: u32) {
    if let Some(listener) = LISTENER.get() {
        (listener.function)();
    }
}
