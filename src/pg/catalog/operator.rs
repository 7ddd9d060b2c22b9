//! Operators and their classes by oid.
use crate::pg::catalog::name::qualified;
use crate::pg::catalog::syscache;
use crate::pg::ffi::plain;
use crate::pg::value::text;
use pgrx::pg_sys;

/// An operator, as its row has it.
pub struct Operator {
    pub schema: pg_sys::Oid,
    pub name: String,
    /// The types of its operands, the left one first; invalid where it has none.
    pub operands: [pg_sys::Oid; 2],
}

impl Operator {
    /// That of this oid; None if it is gone.
    pub fn find(operator: pg_sys::Oid) -> Option<Self> {
        syscache::find(operator, |row| {
            let form: &pg_sys::FormData_pg_operator = row.form();
            Self {
                schema: form.oprnamespace,
                name: row.name(),
                operands: [form.oprleft, form.oprright],
            }
        })
    }
}

/// What an operator is in the default order of a type (`BTEqualStrategyNumber` and its like); 0
/// if it is nothing there, or the type has no order.
pub fn btree_strategy(typid: pg_sys::Oid, operator: pg_sys::Oid) -> u32 {
    let Some(class) = btree_class(typid) else {
        return 0;
    };
    let family = plain::get_opclass_family(class);
    plain::get_op_opfamily_strategy(operator, family) as u32
}

/// The operator that is this (`BTLessStrategyNumber` and its like) in the default order of a type;
/// None if there is none, or the type has no order.
pub fn btree_operator(typid: pg_sys::Oid, strategy: u32) -> Option<pg_sys::Oid> {
    let class = btree_class(typid)?;
    let (family, input) = (
        plain::get_opclass_family(class),
        plain::get_opclass_input_type(class),
    );
    let operator = plain::get_opfamily_member(family, input, input, strategy as i16);
    (operator != pg_sys::InvalidOid).then_some(operator)
}

/// Whether values that are equal to a class of a btree have one image, under a collation or
/// `InvalidOid`, as core knows it for the sake of deduplication (`BTEQUALIMAGE_PROC` of
/// `nbtree.h`). XX000 if the class is gone.
pub fn has_equal_image(class: pg_sys::Oid, collation: pg_sys::Oid) -> bool {
    plain::btree_class_has_equal_image(class, collation)
}

/// The class by which values of a type have an order; None if they have none.
pub fn btree_class(typid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let class = plain::GetDefaultOpClass(typid, pg_sys::BTREE_AM_OID);
    (class != pg_sys::InvalidOid).then_some(class)
}

/// The name of an operator class as SQL has it, with its schema; None if it is gone.
pub fn class_name(class: pg_sys::Oid) -> Option<String> {
    let (schema, name) = syscache::find(class, |row| {
        let form: &pg_sys::FormData_pg_opclass = row.form();
        (form.opcnamespace, text::from_name(&form.opcname))
    })?;
    qualified(schema, &name)
}

/// The schema of an operator class; None if it is gone.
pub fn class_schema(class: pg_sys::Oid) -> Option<pg_sys::Oid> {
    syscache::find(class, |row| {
        let form: &pg_sys::FormData_pg_opclass = row.form();
        form.opcnamespace
    })
}

/// The extension that an operator class came with; None if it came with none.
pub fn class_extension(class: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let extension = plain::getExtensionOfObject(pg_sys::OperatorClassRelationId, class);
    (extension != pg_sys::InvalidOid).then_some(extension)
}
