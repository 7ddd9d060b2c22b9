//! How values of a type are compared: by its operators, or by their bytes.
use crate::pg::ffi;
use crate::pg::value::varlena::packed_content_of;
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::ffi::{CStr, c_int};
use std::slice;

/// Whether a type is passed in a word, and its length: -1 for a varlena, -2 for a C string.
pub type Storage = (bool, i16);

/// A support function of a type, from core's type cache, whose entries are never freed.
#[derive(Clone, Copy, Debug)]
pub struct TypeFunction(*mut pg_sys::FmgrInfo);

/// How two values of a type are found equal.
#[derive(Clone, Copy, Debug)]
pub enum Equality {
    /// The type's default equality.
    Function(TypeFunction),
    /// `json` has no equality; compared as jsonb.
    Json,
    /// A type without default equality: by its bytes.
    Image,
}

/// How values of a type are ordered.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// By the type's default btree comparison.
    Function(TypeFunction),
    /// `json`, as jsonb; what jsonb refuses comes last.
    Json,
    /// A type without an order: by its bytes. Arbitrary, but the same every time.
    Image,
}

impl TypeFunction {
    /// Calls it.
    ///
    /// # Safety
    /// Two non-null values of the type that it was looked up for. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn call_unguarded(
        self,
        collation: pg_sys::Oid,
        a: pg_sys::Datum,
        b: pg_sys::Datum,
    ) -> pg_sys::Datum {
        // SAFETY: the caller's promise; the type cache keeps the function.
        unsafe { ffi::unguarded::FunctionCall2Coll(self.0, collation, a, b) }
    }
}

impl Equality {
    /// That of a type, which is, or is a domain over, `base`.
    pub fn of(typid: pg_sys::Oid, base: pg_sys::Oid) -> Self {
        if base == pg_sys::JSONOID {
            return Self::Json;
        }
        // SAFETY: entries of the type cache are never freed; core raises an error for a type that is
        // gone.
        unsafe {
            let entry = pg_sys::lookup_type_cache(typid, pg_sys::TYPECACHE_EQ_OPR_FINFO as i32);
            let function = &raw mut (*entry).eq_opr_finfo;
            if (*function).fn_oid == pg_sys::InvalidOid {
                Self::Image
            } else {
                Self::Function(TypeFunction(function))
            }
        }
    }
}

impl Order {
    /// That of a type, which is, or is a domain over, `base`.
    pub fn of(typid: pg_sys::Oid, base: pg_sys::Oid) -> Self {
        if base == pg_sys::JSONOID {
            return Self::Json;
        }
        // SAFETY: as in `Equality::of`.
        unsafe {
            let wanted = pg_sys::TYPECACHE_CMP_PROC_FINFO as i32;
            let function = &raw mut (*pg_sys::lookup_type_cache(typid, wanted)).cmp_proc_finfo;
            if (*function).fn_oid == pg_sys::InvalidOid {
                Self::Image
            } else {
                Self::Function(TypeFunction(function))
            }
        }
    }
}

/// What a btree comparison says: an int4.
pub fn to_ordering(result: pg_sys::Datum) -> Ordering {
    (result.value() as i32).cmp(&0)
}

/// Whether two values have the same bytes, however they are stored.
///
/// # Safety
/// Two non-null values of one type, which is stored so. Runs inside `ffi::guard`.
#[inline]
pub unsafe fn same_image(storage: Storage, a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    let (by_value, length) = storage;
    // SAFETY: the caller's promise.
    unsafe { ffi::unguarded::datum_image_eq(a, b, by_value, c_int::from(length)) }
}

/// Compares the bytes of two values, which are the same if [`same_image`] says so.
///
/// # Safety
/// As [`same_image`].
pub unsafe fn image_order(storage: Storage, a: pg_sys::Datum, b: pg_sys::Datum) -> Ordering {
    // SAFETY: what the type's storage says; detoasted copies live in the current context.
    unsafe {
        match storage {
            (true, _) => a.value().cmp(&b.value()),
            (false, -1) => packed_content_of(a).cmp(packed_content_of(b)),
            (false, -2) => {
                let bytes = |value: pg_sys::Datum| CStr::from_ptr(value.cast_mut_ptr()).to_bytes();
                bytes(a).cmp(bytes(b))
            }
            (false, length) => {
                let length = length.unsigned_abs().into();
                let bytes = |value: pg_sys::Datum| {
                    slice::from_raw_parts(value.cast_mut_ptr::<u8>(), length)
                };
                bytes(a).cmp(bytes(b))
            }
        }
    }
}
