//! One column of a target, with the functions of its type.
use super::OpenRelation;
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::text;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};

/// How two values of a column are compared.
#[derive(Clone, Copy, Debug)]
pub enum Equality {
    /// The type's default equality. The function lives in core's type cache.
    Function(*mut pg_sys::FmgrInfo),
    /// `json` has no equality; compared as jsonb.
    Json,
    /// A type without default equality: by its bytes.
    Image,
}

/// One column.
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its name in the server's encoding.
    pub c_name: CString,
    /// Its number in the table, from 1.
    pub attnum: pg_sys::AttrNumber,
    /// Its type.
    pub typid: pg_sys::Oid,
    /// The type modifier, or -1.
    pub typmod: i32,
    /// Its collation, or `InvalidOid`.
    pub collation: pg_sys::Oid,
    /// Whether its type (or a domain's base type) is an array or a composite,
    /// which JSON fills member by member.
    pub nested: bool,
    /// How its values are compared.
    pub equality: Equality,
    by_value: bool,
    length: i16,
    input: *mut pg_sys::FmgrInfo,
    input_param: pg_sys::Oid,
    output: *mut pg_sys::FmgrInfo,
    /// `to_jsonb` with this column's type, made when first needed.
    to_jsonb: Cell<*mut pg_sys::FmgrInfo>,
    memory: pg_sys::MemoryContext,
}

impl Column {
    /// The columns of an open relation, without dropped ones.
    pub fn of_relation(relation: &OpenRelation, memory: &Memory) -> Vec<Self> {
        let desc = relation.desc();
        // SAFETY: an open relation's descriptor.
        let natts = unsafe { (*desc).natts };
        (0..natts)
            // SAFETY: within the descriptor; its entries live while it is open.
            .map(|i| unsafe { ffi::attribute(desc, i) })
            .filter(|attribute| !attribute.attisdropped)
            .map(|attribute| Self::of_attribute(attribute, memory))
            .collect()
    }

    fn of_attribute(attribute: &pg_sys::FormData_pg_attribute, memory: &Memory) -> Self {
        // SAFETY: the type of an existing column; functions are set up in
        // memory that lives as long as the column.
        unsafe {
            let base = pg_sys::getBaseType(attribute.atttypid);
            let nested = pg_sys::get_typtype(base) as u8 == pg_sys::TYPTYPE_COMPOSITE
                || pg_sys::get_element_type(base) != pg_sys::InvalidOid;
            let (mut function, mut param) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
            pg_sys::getTypeInputInfo(attribute.atttypid, &raw mut function, &raw mut param);
            let input = function_in(memory.context(), function);
            let mut is_varlena = false;
            pg_sys::getTypeOutputInfo(attribute.atttypid, &raw mut function, &raw mut is_varlena);
            let output = function_in(memory.context(), function);
            let name = CStr::from_ptr(attribute.attname.data.as_ptr());
            Self {
                name: text::from_server(name.as_ptr()),
                c_name: name.to_owned(),
                attnum: attribute.attnum,
                typid: attribute.atttypid,
                typmod: attribute.atttypmod,
                collation: attribute.attcollation,
                nested,
                equality: Equality::of_type(attribute.atttypid, base),
                by_value: attribute.attbyval,
                length: attribute.attlen,
                input,
                input_param: param,
                output,
                to_jsonb: Cell::new(std::ptr::null_mut()),
                memory: memory.context(),
            }
        }
    }

    /// The value that the type's input function reads from a text, with the
    /// column's type modifier, exactly as a literal in an INSERT would be. A
    /// null text gives NULL (and a domain may refuse it).
    ///
    /// # Safety
    /// `text` is null or a C string in the server's encoding.
    pub unsafe fn read(&self, text: *mut c_char) -> Option<pg_sys::Datum> {
        // SAFETY: the type's own input function.
        let value =
            unsafe { pg_sys::InputFunctionCall(self.input, text, self.input_param, self.typmod) };
        (!text.is_null()).then_some(value)
    }

    /// The value as the type's output function shows it, in the server's
    /// encoding and the current context.
    ///
    /// # Safety
    /// `value` is a non-null value of the column's type.
    pub unsafe fn show<'a>(&self, value: pg_sys::Datum) -> &'a CStr {
        // SAFETY: the type's own output function.
        unsafe { CStr::from_ptr(pg_sys::OutputFunctionCall(self.output, value)) }
    }

    /// The value as jsonb, by core's `to_jsonb`.
    ///
    /// # Safety
    /// `value` is a non-null value of the column's type.
    pub unsafe fn to_jsonb(&self, value: pg_sys::Datum) -> pg_sys::Datum {
        if self.to_jsonb.get().is_null() {
            // SAFETY: made once, in memory that lives as long as the column.
            // to_jsonb(anyelement) learns its argument's type from the call's
            // expression, for which a constant of the type serves.
            unsafe {
                let function = function_in(self.memory, pg_sys::Oid::from(pg_sys::F_TO_JSONB));
                let caller = pg_sys::MemoryContextSwitchTo(self.memory);
                let argument = pg_sys::makeNullConst(self.typid, self.typmod, self.collation);
                let mut arguments = std::ptr::null_mut();
                arguments = pg_sys::lappend(arguments, argument.cast());
                (*function).fn_expr = pg_sys::makeFuncExpr(
                    pg_sys::Oid::from(pg_sys::F_TO_JSONB),
                    pg_sys::JSONBOID,
                    arguments,
                    pg_sys::InvalidOid,
                    pg_sys::InvalidOid,
                    pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
                )
                .cast();
                pg_sys::MemoryContextSwitchTo(caller);
                self.to_jsonb.set(function);
            }
        }
        // SAFETY: set up above.
        unsafe { pg_sys::FunctionCall1Coll(self.to_jsonb.get(), pg_sys::InvalidOid, value) }
    }

    /// Storage of the type, for comparison by image.
    pub fn storage(&self) -> (bool, i16) {
        (self.by_value, self.length)
    }
}

impl Equality {
    fn of_type(typid: pg_sys::Oid, base: pg_sys::Oid) -> Self {
        if base == pg_sys::JSONOID {
            return Self::Json;
        }
        // SAFETY: entries of the type cache are never freed.
        unsafe {
            let entry = pg_sys::lookup_type_cache(typid, pg_sys::TYPECACHE_EQ_OPR_FINFO as i32);
            let function = &raw mut (*entry).eq_opr_finfo;
            if (*function).fn_oid == pg_sys::InvalidOid {
                Self::Image
            } else {
                Self::Function(function)
            }
        }
    }
}

/// Looks a function up, in memory of the caller's choice.
///
/// # Safety
/// `function` exists, and `memory` outlives the result's use.
pub unsafe fn function_in(
    memory: pg_sys::MemoryContext,
    function: pg_sys::Oid,
) -> *mut pg_sys::FmgrInfo {
    // SAFETY: the caller's promise.
    unsafe {
        let info = pg_sys::MemoryContextAllocZero(memory, size_of::<pg_sys::FmgrInfo>())
            .cast::<pg_sys::FmgrInfo>();
        pg_sys::fmgr_info_cxt(function, info, memory);
        info
    }
}
