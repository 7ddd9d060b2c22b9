//! Relations that are open.
//!
//! Any look-up may rebuild what the relation cache holds of a relation, and free what it held
//! before. So what is asked of one is copied at once, and nobody gets a pointer to it but who asks
//! for [`OpenRelation::raw`].
mod entry;
#[forbid(unsafe_code)]
mod facts;
pub mod index;
#[forbid(unsafe_code)]
pub mod invalidation;
pub mod partition;
pub mod permission_check;
#[forbid(unsafe_code)]
pub mod privileges;

pub use entry::{OpenRelation, SimpleView, TriggerInfo};

use crate::error::{Report, SqlState};
use pgrx::pg_sys;
use std::ffi::CString;

/// 42P01: there is no relation with this oid (any more).
pub fn no_relation(oid: pg_sys::Oid) -> Report {
    Report::new(
        SqlState::UndefinedTable,
        format!("relation with OID {} does not exist", oid.to_u32()),
    )
}

impl OpenRelation {
    /// Opens and locks it; the lock stays until the transaction ends.
    ///
    /// # Errors
    /// 42P01 if there is none with this oid (any more).
    pub fn open(oid: pg_sys::Oid) -> Self {
        Self::try_open(oid).unwrap_or_else(|| no_relation(oid).raise())
    }

    /// Opens what this transaction has locked by its oid.
    ///
    /// # Errors
    /// 42P01 if it was gone before.
    pub fn open_locked(oid: pg_sys::Oid) -> Self {
        Self::try_open_locked(oid).unwrap_or_else(|| no_relation(oid).raise())
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
}

/// The name of a column, in the server's encoding.
pub fn attribute_name(attribute: &pg_sys::FormData_pg_attribute) -> CString {
    let name = attribute.attname.data.iter().map(|c| *c as u8);
    let name: Vec<u8> = name.take_while(|byte| *byte != 0).collect();
    CString::new(name).expect("it ends at the first NUL")
}
