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
    /// Something changed that is said of relations but is not in their entries: a schema, an operator
    /// or a collation, which may have another name or be in another schema; a cast of a column's type;
    /// an operator class, by which values are compared.
    pub beside_relations: fn(),
    /// A function changed, whose oid has this hash; any may have for 0.
    pub function: fn(u32),
    /// Likewise a type. `ALTER DOMAIN` changes its type.
    pub value_type: fn(u32),
}

/// Who is told.
static LISTENER: OnceLock<&'static ChangeListener> = OnceLock::new();

impl ChangeListener {
    /// Registers it for the life of the backend.
    ///
    /// # Panics
    /// If there is one already.
    pub fn register(&'static self) {
        use pg_sys::SysCacheIdentifier::{
            AMOPOPID, AMPROCNUM, CASTSOURCETARGET, CLAOID, COLLOID, NAMESPACEOID, OPEROID, PROCOID,
            TYPEOID,
        };
        assert!(LISTENER.set(self).is_ok(), "there is one listener");
        plain::on_relcache_change(relation_changed);
        // Changes of these are rare.
        for cache in [
            NAMESPACEOID,
            CASTSOURCETARGET,
            CLAOID,
            AMOPOPID,
            AMPROCNUM,
            OPEROID,
            COLLOID,
        ] {
            plain::on_syscache_change(cache, beside_changed);
        }
        plain::on_syscache_change(PROCOID, function_changed);
        plain::on_syscache_change(TYPEOID, type_changed);
    }
}

/// What the listener is told of a change to this function.
pub fn hash_of_function(function: pg_sys::Oid) -> u32 {
    plain::hash_in_syscache(pg_sys::SysCacheIdentifier::PROCOID, function)
}

/// Likewise to this type.
pub fn hash_of_type(typid: pg_sys::Oid) -> u32 {
    plain::hash_in_syscache(pg_sys::SysCacheIdentifier::TYPEOID, typid)
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
extern "C-unwind" fn function_changed(_none: pg_sys::Datum, _cache: i32, hash: u32) {
    if let Some(listener) = LISTENER.get() {
        (listener.function)(hash);
    }
}

#[pg_guard]
extern "C-unwind" fn type_changed(_none: pg_sys::Datum, _cache: i32, hash: u32) {
    if let Some(listener) = LISTENER.get() {
        (listener.value_type)(hash);
    }
}
