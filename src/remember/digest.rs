//! Remembering in a bytea: the SHA-256 of the kept columns.
//!
//! Values that are equal must have one digest, also where they are written in
//! several ways (1.0 and 1.00, two time zones, upper and lower case in citext).
//! So what is digested is, by type:
//! - the value itself, where the type's operator class says that equal values
//!   have one image (core's `equalimage`, made for btree deduplication);
//! - for numeric, its text without trailing zeros;
//! - for an enum, and for what holds labels of one, its text, since the image has
//!   numbers that a restore gives anew;
//! - else the type's extended hash under two seeds, which goes with its equality;
//! - else its text.
//!
//! NULLs are left out, and columns go by their names in the order of these, so
//! that a column that is added later, or a restore in which columns change their
//! places, changes no digest.
use crate::pg::digest::{sha256, to_bytea};
use crate::pg::ffi;
use crate::target::{Column, Target};
use pgrx::pg_sys;
use std::ffi::CStr;

/// «Equal values have one image» of a btree (`BTEQUALIMAGE_PROC` of `nbtree.h`).
const EQUAL_IMAGE: i16 = 4;

/// What of a column's value is digested.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Image,
    Numeric,
    Hash(pg_sys::Oid),
    Text,
}

/// How the kept columns are digested.
pub struct Digest {
    /// By name.
    columns: Vec<(usize, Part)>,
}

impl Digest {
    /// For the kept columns of a target.
    pub fn new(target: &Target, kept: &[usize]) -> Self {
        let mut columns: Vec<(usize, Part)> = kept
            .iter()
            .map(|c| (*c, Part::of(&target.columns[*c])))
            .collect();
        columns.sort_by(|(a, _), (b, _)| target.columns[*a].c_name.cmp(&target.columns[*b].c_name));
        Self { columns }
    }

    /// Whether some value is digested as its text.
    pub fn depends_on_settings(&self) -> bool {
        self.columns.iter().any(|(_, part)| *part == Part::Text)
    }

    /// The digest of a row: a bytea of 32 bytes, in the current context.
    pub fn of(
        &self,
        target: &Target,
        row: impl Fn(usize) -> Option<pg_sys::Datum>,
    ) -> pg_sys::Datum {
        to_bytea(&sha256(&self.image(target, row)))
    }

    /// What is digested of a row: the same bytes for equal rows.
    pub fn image(&self, target: &Target, row: impl Fn(usize) -> Option<pg_sys::Datum>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (c, part) in &self.columns {
            let Some(value) = row(*c) else { continue };
            let column = &target.columns[*c];
            add(&mut bytes, column.c_name.to_bytes());
            // SAFETY: a non-null value of the column.
            unsafe { part.put(column, value, &mut bytes) };
        }
        bytes
    }
}

/// Whether two digests are the same.
pub fn same(a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    // SAFETY: both are bytea; the guard holds nothing.
    unsafe { ffi::guard(|| ffi::unguarded::datum_image_eq(a, b, false, -1)) }
}

/// Appends a part with its length, so that no two rows run together.
fn add(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
    bytes.extend_from_slice(part);
}

/// Whether values of a type are, or hold, labels of an enum: those are numbers in
/// them, others in every database.
fn holds_enum(typid: pg_sys::Oid) -> bool {
    // SAFETY: look-ups for an existing type; the descriptor is released.
    unsafe {
        let base = pg_sys::getBaseType(typid);
        let inner = match pg_sys::get_typtype(base) as u8 {
            pg_sys::TYPTYPE_ENUM => return true,
            pg_sys::TYPTYPE_RANGE => pg_sys::get_range_subtype(base),
            pg_sys::TYPTYPE_MULTIRANGE => pg_sys::get_multirange_range(base),
            pg_sys::TYPTYPE_COMPOSITE => {
                let desc = pg_sys::lookup_rowtype_tupdesc_copy(base, -1);
                return (0..(*desc).natts)
                    .map(|i| ffi::attribute(desc, i))
                    .filter(|attribute| !attribute.attisdropped)
                    .any(|attribute| holds_enum(attribute.atttypid));
            }
            _ => pg_sys::get_element_type(base),
        };
        inner != pg_sys::InvalidOid && holds_enum(inner)
    }
}

impl Part {
    fn of(column: &Column) -> Self {
        let base = column.base_type();
        if base == pg_sys::NUMERICOID {
            return Self::Numeric;
        }
        if holds_enum(base) {
            return Self::Text;
        }
        // SAFETY: look-ups for an existing type.
        unsafe {
            let class = pg_sys::GetDefaultOpClass(base, pg_sys::BTREE_AM_OID);
            if class != pg_sys::InvalidOid {
                let family = pg_sys::get_opclass_family(class);
                let input = pg_sys::get_opclass_input_type(class);
                let function = pg_sys::get_opfamily_proc(family, input, input, EQUAL_IMAGE);
                if function != pg_sys::InvalidOid
                    && pg_sys::OidFunctionCall1Coll(
                        function,
                        column.collation,
                        pg_sys::Datum::from(input),
                    )
                    .value()
                        != 0
                {
                    return Self::Image;
                }
            }
            let typid = if base == pg_sys::JSONOID {
                pg_sys::JSONBOID
            } else {
                base
            };
            let wanted = pg_sys::TYPECACHE_HASH_EXTENDED_PROC as i32;
            let entry = pg_sys::lookup_type_cache(typid, wanted);
            match (*entry).hash_extended_proc {
                pg_sys::InvalidOid => Self::Text,
                function => Self::Hash(function),
            }
        }
    }

    /// # Safety
    /// `value` is a non-null value of the column.
    unsafe fn put(self, column: &Column, value: pg_sys::Datum, bytes: &mut Vec<u8>) {
        // SAFETY: the caller's promise; each arm has the type that it treats.
        unsafe {
            match self {
                Self::Image => match column.storage() {
                    (true, _) => add(bytes, &(value.value() as u64).to_be_bytes()),
                    (false, -1) => {
                        let value = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
                        let data = pgrx::varlena::vardata_any(value).cast::<u8>();
                        let length = pgrx::varlena::varsize_any_exhdr(value);
                        add(bytes, std::slice::from_raw_parts(data, length));
                    }
                    (false, -2) => add(bytes, CStr::from_ptr(value.cast_mut_ptr()).to_bytes()),
                    (false, length) => {
                        let data = value.cast_mut_ptr::<u8>();
                        add(bytes, std::slice::from_raw_parts(data, length as usize));
                    }
                },
                Self::Numeric => {
                    let trim = pg_sys::Oid::from(pg_sys::F_TRIM_SCALE);
                    let value = pg_sys::OidFunctionCall1Coll(trim, pg_sys::InvalidOid, value);
                    add(bytes, column.show(value).to_bytes());
                }
                Self::Hash(function) => {
                    let value = if column.base_type() == pg_sys::JSONOID {
                        ffi::guard(|| column.to_jsonb(value))
                    } else {
                        value
                    };
                    for seed in 0..2i64 {
                        let seed = pg_sys::Datum::from(seed);
                        let hash =
                            pg_sys::OidFunctionCall2Coll(function, column.collation, value, seed);
                        add(bytes, &(hash.value() as u64).to_be_bytes());
                    }
                }
                Self::Text => add(bytes, column.show(value).to_bytes()),
            }
        }
    }
}
