//! What the relation cache says of a relation while it is open.
//!
//! Each function reads what it gives at once, and keeps no pointer: any look-up may rebuild the
//! relation's entry.
use super::{OpenRelation, TriggerInfo, Triggers};
use crate::pg::catalog::partition::{self, PartitionCondition};
use crate::pg::catalog::row_type::{self, Attribute};
use crate::pg::ffi;
use pgrx::pg_sys;

/// Which events on its rows a table's triggers look at, its partitions' not included.
#[derive(Clone, Copy, Debug, Default)]
pub struct TriggerEvents {
    /// A row is about to be deleted, and may be kept.
    pub before_delete_row: bool,
    /// Rows are deleted, or the table is truncated, in whatever way a trigger gets to know it.
    pub delete_or_truncate: bool,
}

impl OpenRelation {
    /// Its row of `pg_class`.
    fn class(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: an open relation has its row. The cache keeps the row where it is while the
        // relation is open, and writes it anew only in look-ups, none of which is made while the
        // functions here have it in hand.
        unsafe { &*(*self.raw()).rd_rel }
    }

    /// The role that owns it.
    pub fn owner(&self) -> pg_sys::Oid {
        self.class().relowner
    }

    /// Whether tables inherit from it, or did so once.
    pub fn may_have_children(&self) -> bool {
        self.class().relhassubclass
    }

    /// Whether row-level security is enabled on it.
    pub fn has_row_security(&self) -> bool {
        self.class().relrowsecurity
    }

    /// Whether it is a plain table with the server's own storage.
    pub fn is_heap_table(&self) -> bool {
        let class = self.class();
        class.relkind as u8 == pg_sys::RELKIND_RELATION && class.relam == pg_sys::HEAP_TABLE_AM_OID
    }

    /// Whether it is a temporary table.
    pub fn is_temporary(&self) -> bool {
        self.class().relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
    }

    /// Whether it is a typed table (`CREATE TABLE … OF`).
    pub fn is_typed(&self) -> bool {
        self.class().reloftype != pg_sys::InvalidOid
    }

    /// How often this session has it open, this time included.
    pub fn reference_count(&self) -> i32 {
        // SAFETY: open.
        unsafe { (*self.raw()).rd_refcnt }
    }

    /// Whether columns have defaults or are generated.
    pub fn has_defaults(&self) -> bool {
        // SAFETY: open; a descriptor without constraints has a null pointer there.
        unsafe {
            let constraints = (*self.desc()).constr.as_ref();
            constraints.is_some_and(|constraints| constraints.num_defval > 0)
        }
    }

    /// What its triggers look at.
    pub fn trigger_events(&self) -> TriggerEvents {
        // SAFETY: open; without triggers there is a null pointer.
        let Some(triggers) = (unsafe { (*self.raw()).trigdesc.as_ref() }) else {
            return TriggerEvents::default();
        };
        TriggerEvents {
            before_delete_row: triggers.trig_delete_before_row,
            delete_or_truncate: triggers.trig_delete_before_row
                || triggers.trig_delete_after_row
                || triggers.trig_delete_before_statement
                || triggers.trig_delete_after_statement
                || triggers.trig_delete_old_table
                || triggers.trig_truncate_before_statement
                || triggers.trig_truncate_after_statement,
        }
    }

    /// Whether it has rules.
    pub fn has_rules(&self) -> bool {
        // SAFETY: open.
        unsafe { !(*self.raw()).rd_rules.is_null() }
    }

    /// Whether it has a rule on DELETE.
    pub fn has_delete_rule(&self) -> bool {
        // SAFETY: open; the rules are as many as they say.
        unsafe {
            let Some(rules) = (*self.raw()).rd_rules.as_ref() else {
                return false;
            };
            let count = usize::try_from(rules.numLocks).unwrap_or(0);
            (0..count).any(|i| (**rules.rules.add(i)).event == pg_sys::CmdType::CMD_DELETE)
        }
    }

    /// Whether it has extended statistics.
    pub fn has_extended_statistics(&self) -> bool {
        // SAFETY: open; core gives a list of its own memory, null if it is empty.
        unsafe { !pg_sys::RelationGetStatExtList(self.raw()).is_null() }
    }

    /// The oids of its indexes, valid or not.
    pub fn index_oids(&self) -> Vec<pg_sys::Oid> {
        // SAFETY: open; core gives a copy of its list of oids.
        unsafe { ffi::oids(pg_sys::RelationGetIndexList(self.raw())) }
    }

    /// Its columns in order, without dropped ones.
    pub fn attributes(&self) -> Vec<Attribute> {
        // SAFETY: open.
        unsafe { row_type::attributes_of(self.desc()) }
    }

    /// What its rows meet because it is a partition, see [`partition::conditions_of`].
    pub fn partition_conditions(&self) -> Vec<PartitionCondition> {
        // SAFETY: open.
        unsafe { partition::conditions_of(self.raw()) }
    }

    /// The first column of the first row of a plain table, as it is committed now or written by
    /// this transaction; None if there is no row, or the value is NULL, or the table is no plain
    /// one whose first column is a bytea.
    pub fn first_bytea(&self) -> Option<Vec<u8>> {
        // SAFETY: an open relation has a descriptor with as many columns as it says.
        let is_bytea = unsafe {
            (*self.desc()).natts > 0 && {
                let column = ffi::attribute(self.desc(), 0);
                !column.attisdropped && column.atttypid == pg_sys::BYTEAOID
            }
        };
        if !self.is_heap_table() || !is_bytea {
            return None;
        }
        // SAFETY: a plain table, scanned in its order as a catalog is, under a snapshot of the
        // moment. The value is a bytea, and is copied while the row is in hand; the scan is ended
        // here, or by the abort.
        unsafe {
            let none = std::ptr::null_mut();
            let scan = pg_sys::systable_beginscan(
                self.raw(),
                pg_sys::InvalidOid,
                false,
                none,
                0,
                none.cast(),
            );
            let tuple = pg_sys::systable_getnext(scan);
            let mut bytes = None;
            if !tuple.is_null() {
                let count = (*self.desc()).natts as usize;
                let (mut values, mut nulls) =
                    (vec![pg_sys::Datum::null(); count], vec![true; count]);
                let (columns, null) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::heap_deform_tuple(tuple, self.desc(), columns, null);
                if !nulls[0] {
                    bytes = Some(crate::pg::value::varlena::bytes_of_datum(values[0]));
                }
            }
            pg_sys::systable_endscan(scan);
            bytes
        }
    }
}

impl Triggers {
    /// Those of an open relation, copied to the current memory.
    pub fn of_relation(relation: &OpenRelation) -> Self {
        // SAFETY: open.
        unsafe { Self::of(relation.raw()) }
    }

    /// What there is to know of the trigger at this position.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn info(&self, i: usize) -> TriggerInfo {
        // SAFETY: one of these triggers.
        unsafe { TriggerInfo::of(&self[i]) }
    }
}
