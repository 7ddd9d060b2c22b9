//! Order of two column values: which one is the later.
use crate::pg::ffi;
use crate::target::Column;
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::ffi::CStr;

/// How values of a column are ordered.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// By the type's default btree comparison. The function lives in core's type
    /// cache.
    Function(*mut pg_sys::FmgrInfo),
    /// `json`, as jsonb; what jsonb refuses comes last.
    Json,
    /// A type without an order: by its bytes. Arbitrary, but the same every time.
    Image,
}

impl Order {
    /// The order of the values of a column.
    pub fn of(column: &Column) -> Self {
        if column.base_type() == pg_sys::JSONOID {
            return Self::Json;
        }
        // SAFETY: entries of the type cache are never freed.
        unsafe {
            let wanted = pg_sys::TYPECACHE_CMP_PROC_FINFO as i32;
            let entry = pg_sys::lookup_type_cache(column.typid, wanted);
            let function = &raw mut (*entry).cmp_proc_finfo;
            if (*function).fn_oid == pg_sys::InvalidOid {
                Self::Image
            } else {
                Self::Function(function)
            }
        }
    }

    /// Compares two values of the column. NULL comes before every value.
    pub fn compare(
        self,
        column: &Column,
        a: Option<pg_sys::Datum>,
        b: Option<pg_sys::Datum>,
    ) -> Ordering {
        let (a, b) = match (a, b) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => (a, b),
        };
        // SAFETY: non-null values of the column; the guard holds nothing.
        unsafe {
            match self {
                Self::Function(function) => ffi::guard(|| {
                    ffi::unguarded::FunctionCall2Coll(function, column.collation, a, b)
                })
                .to_ordering(),
                Self::Json => ffi::guard(|| {
                    let refused = |value| column.refused_json(value).is_some();
                    match (refused(a), refused(b)) {
                        (true, true) => return image(column, a, b),
                        (false, false) => {}
                        (a, b) => return a.cmp(&b),
                    }
                    let (a, b) = (column.to_jsonb(a), column.to_jsonb(b));
                    let compare = ffi::functions::jsonb_cmp;
                    ffi::unguarded::DirectFunctionCall2Coll(Some(compare), pg_sys::InvalidOid, a, b)
                        .to_ordering()
                }),
                Self::Image => ffi::guard(|| image(column, a, b)),
            }
        }
    }
}

trait ToOrdering {
    fn to_ordering(self) -> Ordering;
}

impl ToOrdering for pg_sys::Datum {
    /// What a btree comparison says: an int4.
    fn to_ordering(self) -> Ordering {
        (self.value() as i32).cmp(&0)
    }
}

/// Compares the bytes of two values, which are the same if `datum_image_eq` says so.
///
/// # Safety
/// Two non-null values of the column. Runs inside `ffi::guard`.
unsafe fn image(column: &Column, a: pg_sys::Datum, b: pg_sys::Datum) -> Ordering {
    // SAFETY: what the type's storage says; detoasted copies live in the current context.
    unsafe {
        match column.storage() {
            (true, _) => a.value().cmp(&b.value()),
            (false, -1) => varlena(a).cmp(varlena(b)),
            (false, -2) => {
                let bytes = |value: pg_sys::Datum| CStr::from_ptr(value.cast_mut_ptr()).to_bytes();
                bytes(a).cmp(bytes(b))
            }
            (false, length) => {
                let length = length.unsigned_abs().into();
                let bytes = |value: pg_sys::Datum| {
                    std::slice::from_raw_parts(value.cast_mut_ptr::<u8>(), length)
                };
                bytes(a).cmp(bytes(b))
            }
        }
    }
}

/// # Safety
/// A varlena. Runs inside `ffi::guard`.
unsafe fn varlena<'v>(value: pg_sys::Datum) -> &'v [u8] {
    // SAFETY: a varlena, by the caller's promise; once it is detoasted, as many bytes as its header
    // says follow that.
    unsafe {
        let value = ffi::unguarded::pg_detoast_datum_packed(value.cast_mut_ptr());
        std::slice::from_raw_parts(
            pgrx::varlena::vardata_any(value).cast::<u8>(),
            pgrx::varlena::varsize_any_exhdr(value),
        )
    }
}
