//! Indexes, by their rows of `pg_index`: nothing that they contain is evaluated.
use pgrx::pg_sys;

/// `Anum_pg_index_indclass`, the operator classes of an index's columns.
const CLASSES: pg_sys::AttrNumber = pg_sys::Anum_pg_index_indclass as pg_sys::AttrNumber;

/// What there is to say of an index.
pub struct IndexShape {
    /// Whether it refuses rows, or has expressions or a predicate.
    pub more_than_plain: bool,
    /// Whether it is a constraint's.
    pub of_constraint: bool,
    /// The operator classes of its columns.
    pub classes: Vec<pg_sys::Oid>,
}

impl IndexShape {
    /// That of an index; None if it is gone.
    pub fn find(index: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a look-up by number. The row is one of `pg_index`, whose classes are an
        // oidvector without NULLs and never toasted; all of it is copied before the row is
        // released.
        unsafe {
            let id = pg_sys::SysCacheIdentifier::INDEXRELID as i32;
            let row = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(index));
            if row.is_null() {
                return None;
            }
            let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_index>();
            let has =
                |number: u32| !pg_sys::heap_attisnull(row, number as i32, std::ptr::null_mut());
            let more_than_plain = form.indisunique
                || form.indisexclusion
                || has(pg_sys::Anum_pg_index_indexprs)
                || has(pg_sys::Anum_pg_index_indpred);
            let mut null = false;
            let classes = pg_sys::SysCacheGetAttr(id, row, CLASSES, &raw mut null);
            let classes = classes.cast_mut_ptr::<pg_sys::oidvector>();
            let count = usize::try_from((*classes).dim1).unwrap_or(0);
            let classes = (*classes).values.as_slice(count).to_vec();
            pg_sys::ReleaseSysCache(row);
            Some(Self {
                more_than_plain,
                of_constraint: has_constraint(index),
                classes,
            })
        }
    }
}

/// Whether an index is a constraint's.
pub fn has_constraint(index: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in a catalog by number, which gives `InvalidOid` for what there is not.
    unsafe { pg_sys::get_index_constraint(index) != pg_sys::InvalidOid }
}
