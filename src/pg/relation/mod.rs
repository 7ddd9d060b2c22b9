//! Relations that are open.
//!
//! Any look-up may rebuild what the relation cache holds of a relation, and free what it held
//! before. So what is asked of one is copied at once, and nobody gets a pointer to it but who asks
//! for [`OpenRelation::raw`].
mod facts;
pub mod index;
pub mod index_values;
#[forbid(unsafe_code)]
pub mod invalidation;
pub mod partition;
pub mod permission_check;
#[forbid(unsafe_code)]
pub mod privileges;

pub use facts::TriggerInfo;

use crate::error::{Report, SqlState};
use crate::pg::catalog::name::schema_name;
use crate::pg::ffi;
use crate::pg::rows::RowDesc;
use crate::pg::statement::evaluator;
use crate::pg::statement::expression::{Expression, Expressions};
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

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

    /// Its row of `pg_class`, for as long as nothing is looked up.
    fn form(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: an open relation has its row, which is rebuilt in its place, likewise.
        unsafe { &*self.entry().rd_rel }
    }

    /// The relation's oid.
    pub fn oid(&self) -> pg_sys::Oid {
        self.entry().rd_id
    }

    /// The relation's name.
    pub fn name(&self) -> String {
        let name = self.form().relname;
        text::from_name(&name)
    }

    /// The oid of the relation's schema.
    pub fn schema_oid(&self) -> pg_sys::Oid {
        self.form().relnamespace
    }

    /// The name of the relation's schema.
    pub fn schema(&self) -> String {
        schema_name(self.schema_oid()).expect("a schema exists while it has relations")
    }

    /// What it is (`pg_class.relkind`).
    pub fn kind(&self) -> u8 {
        self.form().relkind as u8
    }

    /// The role that owns it.
    pub fn owner(&self) -> pg_sys::Oid {
        self.form().relowner
    }

    /// The relation's row descriptor.
    pub fn desc(&self) -> pg_sys::TupleDesc {
        self.entry().rd_att
    }

    /// A copy of its row descriptor.
    pub fn row_desc(&self) -> RowDesc {
        // SAFETY: an open relation has a descriptor.
        unsafe { RowDesc::copy(self.desc()) }
    }

    /// The rows in `pg_attribute` of its columns in order, without dropped ones.
    pub fn attribute_rows(&self) -> Vec<pg_sys::FormData_pg_attribute> {
        // SAFETY: an open relation has a descriptor with as many attributes as it says. They are
        // copied, before anything is looked up.
        unsafe {
            let desc = self.desc();
            (0..(*desc).natts)
                .map(|i| *ffi::attribute(desc, i))
                .filter(|attribute| !attribute.attisdropped)
                .collect()
        }
    }

    /// The column with this number.
    ///
    /// # Panics
    /// If there is none.
    pub fn attribute(&self, number: pg_sys::AttrNumber) -> &pg_sys::FormData_pg_attribute {
        let number = i32::from(number);
        // SAFETY: an open, locked relation keeps its descriptor, which has such a column, as is
        // checked; it is borrowed no longer than this.
        unsafe {
            let desc = self.desc();
            assert!(
                (1..=(*desc).natts).contains(&number),
                "there is no such column"
            );
            ffi::attribute(desc, number - 1)
        }
    }

    /// The number of the column of this name.
    pub fn column_number(&self, name: &CStr) -> Option<pg_sys::AttrNumber> {
        self.attribute_rows()
            .iter()
            .find(|attribute| attribute_name(attribute).as_c_str() == name)
            .map(|attribute| attribute.attnum)
    }

    /// What fills a column, as [`Expressions::of_column`] has it.
    pub fn column_expression<'m>(
        &self,
        expressions: &'m Expressions,
        number: pg_sys::AttrNumber,
    ) -> Option<Expression<'m>> {
        // SAFETY: the relation is open.
        unsafe { expressions.of_column(self.relation, number) }
    }

    /// The default that a column has itself, as [`Expressions::own_default`] has it.
    pub fn own_default<'m>(
        &self,
        expressions: &'m Expressions,
        number: pg_sys::AttrNumber,
    ) -> Option<Expression<'m>> {
        // SAFETY: the relation is open.
        unsafe { expressions.own_default(self.relation, number) }
    }

    /// The value that a column's default has now, in the current memory: what an INSERT of this
    /// moment that leaves the column out would get. NULL without a default.
    ///
    /// It is evaluated as the executor evaluates it for the INSERT: with the rights of the
    /// current user, under the active snapshot. So it is asked for only on behalf of somebody who
    /// inserts into the table, or has its rows compared with others, and for whom the SELECT of
    /// them runs what the owner wrote into indexes and policies; never for one who looks at what
    /// the table is like.
    ///
    /// # Errors
    /// Whatever the default raises.
    pub fn default_value(&self, number: pg_sys::AttrNumber) -> SqlValue<'static> {
        // SAFETY: the relation is open.
        unsafe { evaluator::default_value(self.relation, number) }
    }

    /// An expression over its columns, see [`Expressions::parse`].
    pub fn parse_expression<'m>(
        &self,
        expressions: &'m Expressions,
        sql: &CStr,
    ) -> Option<Expression<'m>> {
        // SAFETY: the relation is open.
        unsafe { expressions.parse(self.relation, sql) }
    }

    /// Whether it is a partition.
    pub fn is_partition(&self) -> bool {
        self.form().relispartition
    }

    /// Whether it is a temporary table of another session's.
    pub fn is_other_temp(&self) -> bool {
        self.is_temporary() && !self.entry().rd_islocaltemp
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
