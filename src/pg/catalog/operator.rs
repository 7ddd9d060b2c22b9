//! Operators and their classes by oid.
use crate::pg::value::text;
use pgrx::pg_sys;

/// What an operator is in the default order of a type (`BTEqualStrategyNumber` and its like); 0
/// if it is nothing there, or the type has no order.
pub fn btree_strategy(typid: pg_sys::Oid, operator: pg_sys::Oid) -> u32 {
    // SAFETY: look-ups by number; the family is that of a class that was just found, and core
    // raises an error should it have gone since.
    unsafe {
        let class = pg_sys::GetDefaultOpClass(typid, pg_sys::BTREE_AM_OID);
        if class == pg_sys::InvalidOid {
            return 0;
        }
        let family = pg_sys::get_opclass_family(class);
        pg_sys::get_op_opfamily_strategy(operator, family) as u32
    }
}

/// The schema of an operator class; None if it is gone.
pub fn class_schema(class: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by number. The row is one of `pg_opclass`, and is read before it is
    // released.
    unsafe {
        let id = pg_sys::SysCacheIdentifier::CLAOID as i32;
        let row = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(class));
        if row.is_null() {
            return None;
        }
        let schema = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_opclass>()).opcnamespace;
        pg_sys::ReleaseSysCache(row);
        Some(schema)
    }
}

/// The extension that an operator class came with; None if it came with none.
pub fn class_extension(class: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: a scan of a catalog by two numbers.
    let extension = unsafe { pg_sys::getExtensionOfObject(pg_sys::OperatorClassRelationId, class) };
    (extension != pg_sys::InvalidOid).then_some(extension)
}

/// The name of an operator class as SQL has it, quoted and, where it has to be, qualified.
///
/// # Errors
/// XX000, in core's words, if it is gone.
pub fn class_name(class: pg_sys::Oid) -> String {
    // SAFETY: core's look-up gives a C string of palloc's, or raises an error.
    unsafe { text::from_server(pg_sys::generate_opclass_name(class)) }
}

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
        // SAFETY: a look-up by number. The row is one of `pg_operator`, and is read before it is
        // released; the name in it ends with a NUL.
        unsafe {
            let id = pg_sys::SysCacheIdentifier::OPEROID as i32;
            let row = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(operator));
            if row.is_null() {
                return None;
            }
            let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_operator>();
            let found = Self {
                schema: form.oprnamespace,
                name: text::from_name(&form.oprname),
                operands: [form.oprleft, form.oprright],
            };
            pg_sys::ReleaseSysCache(row);
            Some(found)
        }
    }
}
