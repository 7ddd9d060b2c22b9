//! Order of two column values: which one is the later.
use crate::pg::ffi;
use crate::target::Column;
use pgrx::pg_sys;
use std::cmp::Ordering;

/// How values of a column are ordered.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// By the type's default btree comparison. The function lives in core's type
    /// cache.
    Function(*mut pg_sys::FmgrInfo),
    /// `json`, as jsonb.
    Json,
    /// A type without an order: by its bytes. Arbitrary, but the same every time.
    Image,
}

impl Order {
    /// That of a column.
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
                    let (a, b) = (column.to_jsonb(a), column.to_jsonb(b));
                    let compare = ffi::functions::jsonb_cmp;
                    ffi::unguarded::DirectFunctionCall2Coll(compare, pg_sys::InvalidOid, a, b)
                })
                .to_ordering(),
                Self::Image => image(column, a).cmp(image(column, b)),
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

/// The bytes of a value, as its type's binary or text image.
///
/// # Safety
/// A non-null value of the column, which outlives the result, as the current
/// context does.
unsafe fn image<'v>(column: &Column, value: pg_sys::Datum) -> &'v [u8] {
    // SAFETY: the caller's promise.
    unsafe { column.show(value) }.to_bytes()
}
