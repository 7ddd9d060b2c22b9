//! Being told of what changed in the catalogs.
//!
//! The server tells it while it accepts invalidations: at any look-up or lock. A listener looks
//! nothing up.
use pgrx::{pg_guard, pg_sys};

/// Who is told.
pub struct ChangeListener {
    /// A relation changed; all may have for `InvalidOid`. What is in the relation's entry counts.
    pub relation: fn(pg_sys::Oid),
    /// Something changed that is said of relations but is not in their entries: a schema, which may
    /// have another name, or a cast of a column's type.
    pub beside_relations: fn(),
    /// A function changed.
    pub function: fn(),
}

impl ChangeListener {
    /// Registers it for the life of the backend.
    pub fn register(&'static self) {
        use pg_sys::SysCacheIdentifier::{CASTSOURCETARGET, NAMESPACEOID, PROCOID};
        let this = pg_sys::Datum::from(std::ptr::from_ref(self));
        // SAFETY: the callbacks live as long as the backend, as does what they are given.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), this);
            for cache in [NAMESPACEOID, CASTSOURCETARGET] {
                pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(beside_changed), this);
            }
            pg_sys::CacheRegisterSyscacheCallback(PROCOID as i32, Some(function_changed), this);
        }
    }

    /// # Safety
    /// What [`ChangeListener::register`] gave the server.
    unsafe fn of(datum: pg_sys::Datum) -> &'static Self {
        // SAFETY: the caller's promise.
        unsafe { &*datum.cast_mut_ptr::<Self>() }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(this: pg_sys::Datum, oid: pg_sys::Oid) {
    // SAFETY: the server gives back what it was given.
    (unsafe { ChangeListener::of(this) }.relation)(oid);
}

#[pg_guard]
unsafe extern "C-unwind" fn beside_changed(this: pg_sys::Datum, _cache: i32, _hash: u32) {
    // SAFETY: the server gives back what it was given.
    (unsafe { ChangeListener::of(this) }.beside_relations)();
}

#[pg_guard]
unsafe extern "C-unwind" fn function_changed(this: pg_sys::Datum, _cache: i32, _hash: u32) {
    // SAFETY: the server gives back what it was given.
    (unsafe { ChangeListener::of(this) }.function)();
}
