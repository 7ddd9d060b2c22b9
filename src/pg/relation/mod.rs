//! Relations that are open.
use crate::error::{Report, SqlState};
use crate::pg::ffi;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::CString;

/// 42P01: there is no relation with this oid (any more).
pub fn no_relation(oid: pg_sys::Oid) -> Report {
    Report::new(
        SqlState::UndefinedTable,
        format!("relation with OID {} does not exist", oid.to_u32()),
    )
}

/// A relation that is open.
pub struct OpenRelation {
    relation: pg_sys::Relation,
    /// What is unlocked when it is closed; `NoLock` keeps the lock until the
    /// transaction ends.
    unlock: pg_sys::LOCKMODE,
}

const KEEP: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;
const SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

impl OpenRelation {
    /// Opens and locks it; the lock stays until the transaction ends.
    ///
    /// # Errors
    /// 42P01 if there is none with this oid (any more).
    pub fn open(oid: pg_sys::Oid) -> Self {
        Self::try_open(oid).unwrap_or_else(|| no_relation(oid).raise())
    }

    /// Opens and locks the relation with this oid; None if there is none.
    pub fn try_open(oid: pg_sys::Oid) -> Option<Self> {
        Self::locked(oid, KEEP)
    }

    /// Opens the relation with a lock that is released when it is closed, as functions of the
    /// server that look at a table's definition do it.
    pub fn try_open_briefly(oid: pg_sys::Oid) -> Option<Self> {
        Self::locked(oid, SHARE)
    }

    /// An index of a table that is locked, for a look. The lock on the index goes when it is
    /// closed; the table's own keeps it. Kept longer, it would be in the way of a REINDEX that
    /// an INSERT behind the look waits for on the table: a deadlock, where an INSERT alone
    /// has none.
    ///
    /// # Errors
    /// 42P01 if there is none with this oid (any more).
    pub fn open_index(oid: pg_sys::Oid) -> Self {
        Self::try_open_briefly(oid).unwrap_or_else(|| no_relation(oid).raise())
    }

    /// Opens a relation that somebody else keeps from going, or whose going does no harm, without
    /// a lock; None if there is none.
    pub fn try_open_unlocked(oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a look-up; null if there is no such relation.
        let relation = unsafe { pg_sys::RelationIdGetRelation(oid) };
        (!relation.is_null()).then_some(Self {
            relation,
            unlock: KEEP,
        })
    }

    fn locked(oid: pg_sys::Oid, unlock: pg_sys::LOCKMODE) -> Option<Self> {
        // SAFETY: locks before it looks; null if there is no such relation.
        let relation = unsafe { pg_sys::try_relation_open(oid, SHARE) };
        (!relation.is_null()).then(|| Self { relation, unlock })
    }

    /// The same relation, open once more; the lock is the first one's.
    pub fn reopen(&self) -> Self {
        // SAFETY: the relation is open as long as this is, so its entry may be counted once more.
        unsafe { pg_sys::RelationIncrementReferenceCount(self.relation) };
        Self {
            relation: self.relation,
            unlock: KEEP,
        }
    }

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::Relation {
        self.relation
    }

    fn entry(&self) -> &pg_sys::RelationData {
        // SAFETY: the server keeps the entry of a relation at its place, and rebuilds it there,
        // until it is closed; that takes this for itself. What is read of it is copied before
        // the next call of the server's, or is behind a pointer of its own.
        unsafe { &*self.relation }
    }

    fn form(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: an open relation has a form, which is rebuilt in its place, likewise.
        unsafe { &*self.entry().rd_rel }
    }

    /// The relation's oid.
    pub fn oid(&self) -> pg_sys::Oid {
        self.entry().rd_id
    }

    /// The relation's name.
    pub fn name(&self) -> String {
        // SAFETY: a name ends with a NUL.
        unsafe { text::from_name(&self.form().relname) }
    }

    /// The oid of the relation's schema.
    pub fn schema_oid(&self) -> pg_sys::Oid {
        self.form().relnamespace
    }

    /// The name of the relation's schema.
    pub fn schema(&self) -> String {
        // SAFETY: a schema exists while it has relations, and its name is a C string.
        unsafe { text::from_server(pg_sys::get_namespace_name(self.schema_oid())) }
    }

    /// What it is (`pg_class.relkind`).
    pub fn kind(&self) -> u8 {
        self.form().relkind as u8
    }

    /// The relation's row descriptor.
    pub fn desc(&self) -> pg_sys::TupleDesc {
        self.entry().rd_att
    }

    /// The relation's columns in order, without dropped ones.
    pub fn attribute_rows(&self) -> impl Iterator<Item = &pg_sys::FormData_pg_attribute> {
        // SAFETY: an open, locked relation keeps its descriptor, which has as many attributes as
        // it says; they are borrowed no longer than this.
        let attributes = unsafe {
            let desc = self.desc();
            (0..(*desc).natts).map(move |i| ffi::attribute(desc, i))
        };
        attributes.filter(|attribute| !attribute.attisdropped)
    }

    /// Whether it is a partition.
    pub fn is_partition(&self) -> bool {
        self.form().relispartition
    }

    /// The partitioned tables (or indexes) that it is in, the root last; empty if it is no
    /// partition.
    pub fn partition_ancestors(&self) -> Vec<pg_sys::Oid> {
        if !self.is_partition() {
            return Vec::new();
        }
        // SAFETY: the relation exists while it is open, and is a partition.
        unsafe { ffi::partition_ancestors(self.oid()) }
    }

    /// The root of the partition tree that it is in, itself if it is no partition.
    pub fn partition_root(&self) -> pg_sys::Oid {
        // SAFETY: the relation exists while it is open.
        unsafe { ffi::partition_root(self.oid()) }
    }

    /// Whether it is a temporary table of another session's.
    pub fn is_other_temp(&self) -> bool {
        self.form().relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
            && !self.entry().rd_islocaltemp
    }
}

impl Drop for OpenRelation {
    fn drop(&mut self) {
        if !crate::pg::unwinding() {
            // SAFETY: this was opened once, or counted once more, and is closed once, with the
            // lock that was taken for it. After an error the abort closes and unlocks it.
            unsafe { pg_sys::relation_close(self.relation, self.unlock) };
        }
    }
}

/// The name of a column, in the server's encoding.
pub fn attribute_name(attribute: &pg_sys::FormData_pg_attribute) -> CString {
    let name = attribute.attname.data.iter().map(|c| *c as u8);
    let name: Vec<u8> = name.take_while(|byte| *byte != 0).collect();
    CString::new(name).expect("it ends at the first NUL")
}
