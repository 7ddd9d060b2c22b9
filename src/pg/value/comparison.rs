//! How values of a type are compared: by its operators, or by their bytes; and how they are hashed
//! so that equal ones have one hash, or by sort keys that equal ones share.
#[cfg(not(feature = "pg15"))]
use crate::pg::catalog::types;
use crate::pg::ffi;
use crate::pg::hash::siphash::SipHash;
use crate::pg::value::by_reference::packed_content_of;
use pgrx::pg_sys;
use std::cmp::Ordering;
use std::ffi::{CStr, c_int};
#[cfg(not(feature = "pg15"))]
use std::ptr;
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
    // SAFETY: the caller's promise.
    unsafe {
        match storage {
            (true, _) => a.value().cmp(&b.value()),
            (false, length) => referred_to(length, a).cmp(referred_to(length, b)),
        }
    }
}

/// Appends the bytes of a value, so that no two rows of such values run together: whether there is
/// one, how long it is where that is not known, its bytes.
///
/// # Safety
/// None is NULL; else it is a value that is stored so. Runs inside `ffi::guard`.
pub unsafe fn append_image(image: &mut Vec<u8>, storage: Storage, value: Option<pg_sys::Datum>) {
    let Some(value) = value else {
        return image.push(0);
    };
    image.push(1);
    match storage {
        (true, length) => {
            let value = value.value() as u64 & used_bits(length);
            image.extend_from_slice(&value.to_ne_bytes());
        }
        (false, length) => {
            // SAFETY: the caller's promise.
            let bytes = unsafe { referred_to(length, value) };
            image.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
            image.extend_from_slice(bytes);
        }
    }
}

/// The bits of a word that a value of so many bytes has: what is above them depends on where it
/// comes from.
fn used_bits(length: i16) -> u64 {
    u64::MAX >> (64 - 8 * i32::from(length))
}

/// The bytes of a value that is passed by reference, detoasted in the current memory if need be.
///
/// # Safety
/// A non-null value of this length, that outlives `'d`, as does the current memory. Runs inside
/// `ffi::guard`.
#[inline]
unsafe fn referred_to<'d>(length: i16, value: pg_sys::Datum) -> &'d [u8] {
    // SAFETY: the caller's promise; a negative length says what kind of pointer it is.
    unsafe {
        match length {
            -1 => packed_content_of(value),
            -2 => CStr::from_ptr(value.cast_mut_ptr()).to_bytes(),
            length => {
                let length = length.unsigned_abs().into();
                slice::from_raw_parts(value.cast_mut_ptr::<u8>(), length)
            }
        }
    }
}

/// What of a value is hashed, so that equal values have one hash.
#[derive(Clone, Copy)]
pub enum HashInput {
    /// Of a value that is passed as such, the bits that count.
    Bits(u64),
    /// So many bytes.
    Fixed(i16),
    /// A varlena, or a C string: the bytes, and how many they are.
    Bytes(i16),
    /// The type's extended hash.
    Hash(*mut pg_sys::FmgrInfo),
    /// Nothing: all values have one hash.
    Nothing,
}

impl HashInput {
    /// For values whose bytes are equal where they are.
    pub fn of_image(storage: Storage) -> Self {
        match storage {
            (true, length) => Self::Bits(used_bits(length)),
            (false, length @ (-1 | -2)) => Self::Bytes(length),
            (false, length) => Self::Fixed(length),
        }
    }

    /// For values of a type that a function finds equal: the type's own hash, if that goes with
    /// the function.
    pub fn of_type(typid: pg_sys::Oid, equality: pg_sys::RegProcedure) -> Self {
        let wanted = pg_sys::TYPECACHE_EQ_OPR | pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO;
        // SAFETY: entries of the type cache are never freed.
        unsafe {
            let entry = pg_sys::lookup_type_cache(typid, wanted as i32);
            let function = &raw mut (*entry).hash_extended_proc_finfo;
            if pg_sys::get_opcode((*entry).eq_opr) == equality
                && (*function).fn_oid != pg_sys::InvalidOid
            {
                Self::Hash(function)
            } else {
                Self::Nothing
            }
        }
    }

    /// Adds a value to a hash; the type's own has a seed.
    ///
    /// # Safety
    /// A non-null value, of the type or storage that this was made for. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn add_unguarded(
        self,
        hash: SipHash,
        value: pg_sys::Datum,
        collation: pg_sys::Oid,
        seed: pg_sys::Datum,
    ) -> SipHash {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Bits(mask) => hash.word(value.value() as u64 & mask),
                Self::Fixed(length) => hash.fixed(referred_to(length, value)),
                Self::Bytes(length) => hash.bytes(referred_to(length, value)),
                Self::Hash(function) => {
                    let value = ffi::unguarded::FunctionCall2Coll(function, collation, value, seed);
                    hash.word(value.value() as u64)
                }
                Self::Nothing => hash,
            }
        }
    }
}

/// A collation that is not deterministic: it makes different texts equal, and its sort keys stand for
/// them. PostgreSQL 15 makes sort keys inside of its hash functions only, and gives nobody the key.
#[cfg(not(feature = "pg15"))]
pub struct LooseCollation {
    /// Of the server's, which keeps it as long as the session.
    locale: ffi::unguarded::Locale,
}

#[cfg(not(feature = "pg15"))]
impl LooseCollation {
    /// A collation; None if it is deterministic, or `InvalidOid`.
    ///
    /// # Errors
    /// XX000, in core's words, if the collation is gone.
    pub fn find(collation: pg_sys::Oid) -> Option<Self> {
        if collation == pg_sys::InvalidOid || types::is_deterministic(collation) {
            return None;
        }
        // SAFETY: a look-up by number, with core's error for a collation that is gone; the guard
        // holds nothing but the number.
        let locale =
            unsafe { ffi::guard(|| ffi::unguarded::pg_newlocale_from_collation(collation)) };
        Some(Self { locale })
    }

    /// The sort key of a text in the server's encoding, in the current memory. Equal texts have
    /// one, and others have another.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`; the current memory outlives `'k`.
    pub unsafe fn sort_key_unguarded<'k>(&self, text: &[u8]) -> &'k [u8] {
        let (begin, length) = (text.as_ptr().cast(), text.len() as isize);
        // SAFETY: a locale of the server's, and a text with its length. The server writes no more
        // than it is told, and gives the length of the whole key, without the NUL that it puts
        // behind it.
        unsafe {
            let key = |to, room| ffi::unguarded::pg_strnxfrm(to, room, begin, length, self.locale);
            let room = key(ptr::null_mut(), 0) + 1;
            let buffer = ffi::unguarded::palloc(room);
            let length = key(buffer.cast(), room).min(room - 1);
            slice::from_raw_parts(buffer.cast(), length)
        }
    }
}
