//! What an index is made of, as its row in `pg_index` says it. The server's own functions
//! for it fold constants, and with that run what its owner wrote, see the head of
//! [`super`].
use super::OpenRelation;
use crate::pg::catalog::syscache;
use pgrx::pg_sys;
use std::ffi::CString;

type IndexRow = syscache::Row<pg_sys::FormData_pg_index>;

/// Whether an open index is partial.
pub fn is_partial(index: &OpenRelation) -> bool {
    has(index, pg_sys::Anum_pg_index_indpred)
}

/// Whether an open index is on expressions.
pub fn has_expressions(index: &OpenRelation) -> bool {
    has(index, pg_sys::Anum_pg_index_indexprs)
}

/// The numbers of the columns that the expressions of an open index refer to, in order.
pub fn numbers_in_expressions(index: &OpenRelation) -> Vec<pg_sys::AttrNumber> {
    let Some(expressions) = tree(index, IndexRow::expressions) else {
        return Vec::new();
    };
    let mut numbers = Vec::new();
    // SAFETY: expressions over the table, which is number 1 among their relations; the set
    // counts from the first system column on.
    unsafe {
        let mut set = std::ptr::null_mut();
        pg_sys::pull_varattnos(expressions, 1, &raw mut set);
        let mut member = -1;
        loop {
            member = pg_sys::bms_next_member(set, member);
            if member < 0 {
                return numbers;
            }
            let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
            numbers.push(number as pg_sys::AttrNumber);
        }
    }
}

/// The number of the column of which the condition of an open index says that it is NULL,
/// and nothing else.
pub fn number_where_null(index: &OpenRelation) -> Option<pg_sys::AttrNumber> {
    let condition = tree(index, IndexRow::predicate)?;
    // SAFETY: a whole tree; each node is of the type that its tag says, which is asked first.
    unsafe {
        if (*condition).type_ != pg_sys::NodeTag::T_NullTest {
            return None;
        }
        let test = &*condition.cast::<pg_sys::NullTest>();
        let tested = test.arg.cast::<pg_sys::Node>();
        let is_null = test.nulltesttype == pg_sys::NullTestType::IS_NULL;
        (is_null && (*tested).type_ == pg_sys::NodeTag::T_Var)
            .then(|| (*tested.cast::<pg_sys::Var>()).varattno)
    }
}

fn has(index: &OpenRelation, attribute: u32) -> bool {
    // SAFETY: an open index keeps its row of pg_index, of which both may be NULL; a
    // column that may be needs no descriptor.
    unsafe {
        let row = (*index.raw()).rd_indextuple;
        !pg_sys::heap_attisnull(row, attribute as i32, std::ptr::null_mut())
    }
}

/// An expression in the row of an open index, as it is written, in the current context.
fn tree(
    index: &OpenRelation,
    column: fn(&IndexRow) -> Option<CString>,
) -> Option<*mut pg_sys::Node> {
    let text = syscache::find(index.oid(), column)??;
    // SAFETY: the text of a node, which core reads to its NUL.
    Some(unsafe { pg_sys::stringToNode(text.as_ptr()) }.cast())
}
