//! What an index is made of, as its row in `pg_index` says it. The server's own functions
//! for it fold constants, and with that run what its owner wrote, see the head of
//! [`super`].
use super::OpenRelation;
use pgrx::pg_sys;

/// Whether an open index is partial.
pub fn is_partial(index: &OpenRelation) -> bool {
    has(index, pg_sys::Anum_pg_index_indpred)
}

/// Whether an open index is on expressions.
pub fn has_expressions(index: &OpenRelation) -> bool {
    has(index, pg_sys::Anum_pg_index_indexprs)
}

fn has(index: &OpenRelation, attribute: u32) -> bool {
    // SAFETY: an open index keeps its row of pg_index, of which both may be NULL; a
    // column that may be needs no descriptor.
    unsafe {
        let row = (*index.raw()).rd_indextuple;
        !pg_sys::heap_attisnull(row, attribute as i32, std::ptr::null_mut())
    }
}
