//! What the constraint of a partition says, in terms that need no tree of nodes.
use crate::pg::ffi;
use crate::pg::list::members;
use pgrx::pg_sys;

/// A condition that all rows of a partition meet.
pub enum PartitionCondition {
    /// A column, by its number in the partition, is NULL.
    IsNull(pg_sys::AttrNumber),
    /// A column compared with a constant that is not NULL.
    Compared(ColumnComparison),
    /// Anything else.
    Other,
}

/// `column operator constant`
pub struct ColumnComparison {
    /// The column's number in the partition.
    pub column: pg_sys::AttrNumber,
    pub operator: pg_sys::Oid,
    /// The collation under which it compares.
    pub collation: pg_sys::Oid,
    /// The constant: its type, and its value, which lives as long as the memory that was
    /// current.
    pub typid: pg_sys::Oid,
    pub value: pg_sys::Datum,
}

/// The conditions of a partition's constraint, those of its ancestors included; none for a table
/// that is no partition, or a default partition without siblings.
///
/// When the server first makes the constraint, it calls IMMUTABLE functions of partition keys as
/// the current user.
///
/// # Safety
/// The relation is open.
pub unsafe fn conditions_of(partition: pg_sys::Relation) -> Vec<PartitionCondition> {
    // SAFETY: the caller's promise. Core gives a list of expressions in the current memory; the
    // guard holds nothing but the pointer.
    unsafe {
        let list = ffi::guard(|| ffi::unguarded::RelationGetPartitionQual(partition));
        members(list).map(|node| condition(node)).collect()
    }
}

/// # Safety
/// An expression.
unsafe fn condition(node: *mut pg_sys::Node) -> PartitionCondition {
    // SAFETY: a node is what its tag says.
    let known = unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_NullTest => {
                let test = &*node.cast::<pg_sys::NullTest>();
                let is_null = test.nulltesttype == pg_sys::NullTestType::IS_NULL;
                let column = column(test.arg.cast()).filter(|_| is_null);
                column.map(PartitionCondition::IsNull)
            }
            pg_sys::NodeTag::T_OpExpr => {
                comparison(&*node.cast()).map(PartitionCondition::Compared)
            }
            _ => None,
        }
    };
    known.unwrap_or(PartitionCondition::Other)
}

/// # Safety
/// An expression of an analyzed query.
unsafe fn comparison(expression: &pg_sys::OpExpr) -> Option<ColumnComparison> {
    // SAFETY: the arguments of an operator are a list of expressions, each of which is what its
    // tag says.
    unsafe {
        let arguments: Vec<*mut pg_sys::Node> = members(expression.args).collect();
        let &[first, second] = arguments.as_slice() else {
            return None;
        };
        let column = column(first)?;
        if (*second).type_ != pg_sys::NodeTag::T_Const {
            return None;
        }
        let constant = &*second.cast::<pg_sys::Const>();
        (!constant.constisnull).then_some(ColumnComparison {
            column,
            operator: expression.opno,
            collation: expression.inputcollid,
            typid: constant.consttype,
            value: constant.constvalue,
        })
    }
}

/// The number of the column that an expression is, perhaps taken as another type of the same
/// representation.
///
/// # Safety
/// An expression.
unsafe fn column(node: *mut pg_sys::Node) -> Option<pg_sys::AttrNumber> {
    // SAFETY: a node is what its tag says.
    unsafe {
        let node = match (*node).type_ {
            pg_sys::NodeTag::T_RelabelType => (*node.cast::<pg_sys::RelabelType>())
                .arg
                .cast::<pg_sys::Node>(),
            _ => node,
        };
        ((*node).type_ == pg_sys::NodeTag::T_Var).then(|| (*node.cast::<pg_sys::Var>()).varattno)
    }
}
