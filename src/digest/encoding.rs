//! Canonical bytes of a value, by its type.
//!
//! Values that are equal for the type's own `=` have the same bytes, for the types that
//! come with the server. Where types of extensions and collations make equal what is
//! written in several ways, it depends on what the bytes are for ([`Canonical`]).
use super::document;
use super::number;
use super::row_encoder::RowEncoders;
use super::sink::Sink;
use super::sort_key::SortKey;
use super::tag;
use super::writer::Writer;
use crate::pg::catalog::name::function_name;
use crate::pg::catalog::{operator, types};
use crate::pg::value::by_reference::{
    inline_content_of as inline_content, packed_content_of as packed,
};
use crate::pg::{ffi, lookup_function};
use pgrx::pg_sys;
use std::ffi::{CStr, c_char, c_int};
use std::{ptr, slice};

/// What is missing before a row can be written.
#[derive(Clone, Copy)]
pub enum Missing {
    /// The columns of this row type: its oid and type modifier.
    RowType(pg_sys::Oid, i32),
    /// The fixed settings, under which a value's text is always the same.
    Settings,
}

/// Which values have the same bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Canonical {
    /// What is the same everywhere: text is compared byte by byte, whatever its collation
    /// says, since what a collation makes equal is another thing on every machine. A type
    /// that the server does not come with is written as its output function shows it.
    Portable,
    /// What is equal for the `=` of its type, under this collation. A collation that makes equal
    /// what is written in several ways is asked for its sort key, where the server gives it, and a
    /// type of an extension that does for its own hash; and a type of an extension is written as it
    /// is stored if it says that equal values are stored alike.
    ByEquality(pg_sys::Oid),
}

/// The tag of a text that its sort key stands for. In no digest of rows.
#[cfg(not(feature = "pg15"))]
const SORT_KEY: u8 = 42;

/// How values of a type are written.
pub enum ValueEncoding {
    Boolean,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Date,
    Time,
    Timetz,
    Timestamp,
    Timestamptz,
    Interval,
    Money,
    Numeric,
    Text,
    /// `char(n)`, whose trailing blanks are none.
    Bpchar,
    Name,
    CString,
    /// A varlena as it is.
    Bytes(u8),
    Bits,
    /// So many bytes.
    Fixed(u8, usize),
    /// So many floats.
    Floats(usize),
    Path,
    Polygon,
    Document,
    Array(Box<ArrayElement>),
    Range(*mut pg_sys::TypeCacheEntry, Box<ValueEncoding>),
    Multirange(*mut pg_sys::TypeCacheEntry, Box<ValueEncoding>),
    Composite,
    /// A value that is passed in a word, of a type that is not known.
    Word,
    /// citext: in lower case, by this function.
    Citext(*mut pg_sys::FmgrInfo),
    /// By the sort key that a collation gives.
    Sorted(SortKey),
    /// By the type's own hash, under a collation.
    Hashed(*mut pg_sys::FmgrInfo, pg_sys::Oid),
    /// As the output function shows it, and whether settings might change that.
    Output(*mut pg_sys::FmgrInfo, bool),
}

/// The members of an array.
pub struct ArrayElement {
    form: ValueEncoding,
    typid: pg_sys::Oid,
    length: i16,
    by_value: bool,
    align: c_char,
}

impl ValueEncoding {
    /// That of a type. What is looked up stays in `memory`.
    ///
    /// # Safety
    /// The memory outlives this.
    pub unsafe fn of_type(
        typid: pg_sys::Oid,
        same: Canonical,
        memory: pg_sys::MemoryContext,
    ) -> Self {
        // SAFETY: look-ups for existing types; entries of the type cache stay. The caller's promise.
        unsafe {
            let base = types::base(typid);
            if let Some(form) = Self::of_equality(base, same, memory) {
                return form;
            }
            if let Some(form) = Self::of_known_type(base) {
                return form;
            }
            let range = |typid| {
                let entry = pg_sys::lookup_type_cache(typid, pg_sys::TYPECACHE_RANGE_INFO as i32);
                let element = (*(*entry).rngelemtype).type_id;
                let same = same.under((*entry).rng_collation);
                (entry, Box::new(Self::of_type(element, same, memory)))
            };
            match types::kind(base) {
                pg_sys::TYPTYPE_COMPOSITE => return Self::Composite,
                pg_sys::TYPTYPE_RANGE => {
                    let (entry, element) = range(base);
                    return Self::Range(entry, element);
                }
                pg_sys::TYPTYPE_MULTIRANGE => {
                    let range_of = types::range_of_multirange(base);
                    let (entry, element) = range(range_of.unwrap_or(pg_sys::InvalidOid));
                    return Self::Multirange(entry, element);
                }
                _ => {}
            }
            if let Some(element) = types::element(base) {
                return Self::Array(Box::new(ArrayElement::of_type(element, same, memory)));
            }
            Self::by_output(base, memory)
        }
    }

    fn of_known_type(typid: pg_sys::Oid) -> Option<Self> {
        Some(match typid {
            pg_sys::BOOLOID => Self::Boolean,
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::OIDOID => Self::Oid,
            pg_sys::FLOAT4OID => Self::Float4,
            pg_sys::FLOAT8OID => Self::Float8,
            pg_sys::DATEOID => Self::Date,
            pg_sys::TIMEOID => Self::Time,
            pg_sys::TIMETZOID => Self::Timetz,
            pg_sys::TIMESTAMPOID => Self::Timestamp,
            pg_sys::TIMESTAMPTZOID => Self::Timestamptz,
            pg_sys::INTERVALOID => Self::Interval,
            pg_sys::MONEYOID => Self::Money,
            pg_sys::NUMERICOID => Self::Numeric,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::JSONOID => Self::Text,
            pg_sys::BPCHAROID => Self::Bpchar,
            pg_sys::NAMEOID => Self::Name,
            pg_sys::UNKNOWNOID | pg_sys::CSTRINGOID => Self::CString,
            pg_sys::BYTEAOID => Self::Bytes(tag::BYTES),
            pg_sys::INETOID | pg_sys::CIDROID => Self::Bytes(tag::ADDRESS),
            pg_sys::BITOID | pg_sys::VARBITOID => Self::Bits,
            pg_sys::UUIDOID => Self::Fixed(tag::UUID, 16),
            pg_sys::MACADDROID => Self::Fixed(tag::MAC, 6),
            pg_sys::MACADDR8OID => Self::Fixed(tag::MAC, 8),
            pg_sys::POINTOID => Self::Floats(2),
            pg_sys::LINEOID | pg_sys::CIRCLEOID => Self::Floats(3),
            pg_sys::LSEGOID | pg_sys::BOXOID => Self::Floats(4),
            pg_sys::PATHOID => Self::Path,
            pg_sys::POLYGONOID => Self::Polygon,
            pg_sys::JSONBOID => Self::Document,
            pg_sys::RECORDOID => Self::Composite,
            _ => return None,
        })
    }

    /// Where the bytes go with the type's equality, and this is not that of what is
    /// written.
    ///
    /// # Safety
    /// The memory outlives this.
    unsafe fn of_equality(
        typid: pg_sys::Oid,
        same: Canonical,
        memory: pg_sys::MemoryContext,
    ) -> Option<Self> {
        let Canonical::ByEquality(collation) = same else {
            return None;
        };
        // SAFETY: look-ups for an existing type, and the caller's promise.
        unsafe {
            let collated = collation != pg_sys::InvalidOid && types::is_collatable(typid);
            let coarse = collated && !types::is_deterministic(collation);
            let foreign = typid.to_u32() >= pg_sys::FirstNormalObjectId
                && types::kind(typid) == pg_sys::TYPTYPE_BASE
                && types::element(typid).is_none();
            if !coarse && !foreign {
                return None;
            }
            if foreign && has_equal_image(typid, collation) {
                return Some(Self::as_stored(typid));
            }
            if foreign && has_canonical_output(typid) {
                return None;
            }
            if let Some(key) = SortKey::of(typid, collation) {
                return Some(Self::Sorted(key));
            }
            let wanted = pg_sys::TYPECACHE_HASH_EXTENDED_PROC as i32;
            let hash = (*pg_sys::lookup_type_cache(typid, wanted)).hash_extended_proc;
            if hash == pg_sys::InvalidOid {
                return None;
            }
            if foreign && function_name(hash).as_deref() == Some("citext_hash_extended") {
                // Its equality is that of the lower case under the database's collation.
                let lower = pg_sys::Oid::from(pg_sys::F_LOWER_TEXT);
                return Some(Self::Citext(lookup_function(memory, lower)));
            }
            Some(Self::Hashed(lookup_function(memory, hash), collation))
        }
    }

    /// As the type stores it.
    fn as_stored(typid: pg_sys::Oid) -> Self {
        let storage = types::storage(typid);
        match storage.length {
            _ if storage.by_value => Self::Word,
            -1 => Self::Bytes(tag::BYTES),
            -2 => Self::CString,
            length => Self::Fixed(tag::BYTES, length as usize),
        }
    }

    /// Of a type without an equality, whose values are compared as they are stored: the
    /// bytes of xml, and what the output function of any other type shows, which is the
    /// same on every machine. What is looked up stays in `memory`.
    ///
    /// # Safety
    /// The memory outlives this.
    pub unsafe fn exact(typid: pg_sys::Oid, memory: pg_sys::MemoryContext) -> Self {
        if typid == pg_sys::XMLOID {
            return Self::Bytes(tag::BYTES);
        }
        let function = types::output_function(typid);
        // SAFETY: the function of an existing type, in memory of the caller's choice.
        Self::Output(unsafe { lookup_function(memory, function) }, true)
    }

    /// # Safety
    /// The memory outlives this.
    unsafe fn by_output(typid: pg_sys::Oid, memory: pg_sys::MemoryContext) -> Self {
        // SAFETY: look-ups for an existing type, and the caller's promise.
        unsafe {
            let output = lookup_function(memory, types::output_function(typid));
            let text = lookup_function(memory, pg_sys::Oid::from(pg_sys::F_TEXTOUT));
            if (*output).fn_addr.map(|f| f as usize) == (*text).fn_addr.map(|f| f as usize) {
                return Self::Text;
            }
            let always_the_same = types::kind(typid) == pg_sys::TYPTYPE_ENUM
                || matches!(
                    typid,
                    pg_sys::XMLOID
                        | pg_sys::JSONPATHOID
                        | pg_sys::TSVECTOROID
                        | pg_sys::TSQUERYOID
                        | pg_sys::CHAROID
                        | pg_sys::TIDOID
                        | pg_sys::XIDOID
                        | pg_sys::XID8OID
                        | pg_sys::CIDOID
                        | pg_sys::PG_LSNOID
                        | pg_sys::PG_SNAPSHOTOID
                );
            Self::Output(output, !always_the_same)
        }
    }

    /// Hands a value over, if nothing of the server is needed for it; else false, with nothing handed
    /// over. `foreign` says that text is to be converted.
    ///
    /// # Safety
    /// `value` is a non-null value of the type.
    #[inline]
    pub unsafe fn write_plain(
        &self,
        value: pg_sys::Datum,
        foreign: bool,
        sink: &mut impl Sink,
    ) -> bool {
        // SAFETY: the caller's promise; each arm has the type that it treats, as
        // `postgres.h` and the type's header have it.
        unsafe {
            let word = value.value();
            match self {
                Self::Int4 => sink.integer(i64::from(word as i32)),
                Self::Text | Self::Numeric | Self::Bpchar | Self::Bytes(_) => {
                    let Some(content) = inline_content(value) else {
                        return false;
                    };
                    return self.write_content(content, foreign, sink);
                }
                Self::Float8 => sink.float(f64::from_bits(word as u64)),
                Self::Timestamptz => sink.fixed(tag::TIMESTAMPTZ, (word as i64).to_be_bytes()),
                Self::Boolean => sink.tag(if word & 0xFF == 0 {
                    tag::FALSE
                } else {
                    tag::TRUE
                }),
                Self::Int2 => sink.integer(i64::from(word as i16)),
                Self::Int8 => sink.integer(word as i64),
                Self::Oid => sink.integer(i64::from(word as u32)),
                Self::Float4 => sink.float(f64::from(f32::from_bits(word as u32))),
                Self::Date => sink.fixed(tag::DATE, (word as i32).to_be_bytes()),
                Self::Time => sink.fixed(tag::TIME, (word as i64).to_be_bytes()),
                Self::Timestamp => sink.fixed(tag::TIMESTAMP, (word as i64).to_be_bytes()),
                Self::Money => sink.fixed(tag::MONEY, (word as i64).to_be_bytes()),
                Self::Fixed(tag, length) => {
                    sink.bytes(*tag, slice::from_raw_parts(value.cast_mut_ptr(), *length));
                }
                _ => return false,
            }
        }
        true
    }

    /// Hands over what [`ValueEncoding::content_unguarded`] gives; false, with nothing handed over, if it
    /// is text that is to be converted.
    #[inline]
    pub fn write_content(&self, content: &[u8], foreign: bool, sink: &mut impl Sink) -> bool {
        match self {
            Self::Numeric => number::write(content, sink),
            Self::Bytes(tag) => sink.bytes(*tag, content),
            _ => {
                let text = self.significant(content);
                if foreign && !text.is_ascii() {
                    return false;
                }
                sink.bytes(tag::TEXT, text);
            }
        }
        true
    }

    /// What of a text counts.
    #[inline]
    fn significant<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        match self {
            Self::Bpchar => text.trim_blanks(),
            _ => text,
        }
    }

    /// The content of a text, a numeric or a string of bytes, detoasted in the current memory if need
    /// be; None for other types.
    ///
    /// # Safety
    /// `value` is a non-null value of the type that outlives `'v`, as does the current memory. Runs
    /// inside `ffi::guard`.
    #[inline]
    pub unsafe fn content_unguarded<'v>(&self, value: pg_sys::Datum) -> Option<&'v [u8]> {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Text | Self::Bpchar | Self::Numeric | Self::Bytes(_) => Some(packed(value)),
                Self::Name | Self::CString => Some(CStr::from_ptr(value.cast_mut_ptr()).to_bytes()),
                _ => None,
            }
        }
    }

    /// Writes a value.
    ///
    /// # Safety
    /// `value` is a non-null value of the type. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn write(
        &self,
        value: pg_sys::Datum,
        rows: &RowEncoders,
        writer: &mut Writer,
    ) -> Result<(), Missing> {
        // SAFETY: the caller's promise.
        unsafe {
            let foreign = writer.is_foreign();
            if self.write_plain(value, foreign, writer) {
                return Ok(());
            }
            if let Some(content) = self.content_unguarded(value) {
                if !self.write_content(content, foreign, writer) {
                    write_text(self.significant(content), writer);
                }
                return Ok(());
            }
            if let Self::Output(output, false) = self {
                let shown = ffi::unguarded::OutputFunctionCall(*output, value);
                write_text(CStr::from_ptr(shown).to_bytes(), writer);
                return Ok(());
            }
            self.write_rare(value, rows, writer)
        }
    }

    /// As [`ValueEncoding::write`].
    unsafe fn write_rare(
        &self,
        value: pg_sys::Datum,
        rows: &RowEncoders,
        writer: &mut Writer,
    ) -> Result<(), Missing> {
        // SAFETY: as there.
        unsafe {
            match self {
                Self::Timetz => {
                    let time = &*value.cast_mut_ptr::<pg_sys::TimeTzADT>();
                    writer.fixed(tag::TIMETZ, time.time.to_be_bytes());
                    writer.raw(&time.zone.to_be_bytes());
                }
                Self::Interval => {
                    let interval = &*value.cast_mut_ptr::<pg_sys::Interval>();
                    let days = i128::from(interval.month) * 30 + i128::from(interval.day);
                    let span = days * 86_400_000_000 + i128::from(interval.time);
                    writer.fixed(tag::INTERVAL, span.to_be_bytes());
                }
                Self::Bits => {
                    let content = packed(value);
                    let bits = integer_at(content, 0);
                    writer.tag(tag::BITS);
                    writer.length(bits as u32 as usize);
                    writer.raw(content.get(4..).unwrap_or_default());
                }
                Self::Floats(count) => {
                    let floats = value.cast_mut_ptr::<u8>();
                    write_floats(slice::from_raw_parts(floats, 8 * count), writer);
                }
                Self::Path => {
                    // npts, closed and a pad, then the points.
                    let content = packed(value);
                    writer.tag(if integer_at(content, 4) == 0 {
                        tag::FALSE
                    } else {
                        tag::TRUE
                    });
                    write_floats(content.get(12..).unwrap_or_default(), writer);
                }
                Self::Polygon => {
                    // npts and the bounding box, then the points.
                    write_floats(packed(value).get(36..).unwrap_or_default(), writer);
                }
                Self::Document => {
                    writer.tag(tag::DOCUMENT);
                    let root = crate::pg::value::jsonb::Container::of_datum_unguarded(value);
                    document::write(root, writer);
                }
                Self::Word => writer.bytes(tag::BYTES, &(value.value() as u64).to_be_bytes()),
                _ => return self.write_nested(value, rows, writer),
            }
        }
        Ok(())
    }

    /// As [`ValueEncoding::write`], of what consists of other values.
    unsafe fn write_nested(
        &self,
        value: pg_sys::Datum,
        rows: &RowEncoders,
        writer: &mut Writer,
    ) -> Result<(), Missing> {
        // SAFETY: as there.
        unsafe {
            match self {
                Self::Array(element) => return element.write_array(value, rows, writer),
                Self::Range(entry, element) => {
                    let range = ffi::unguarded::pg_detoast_datum(value.cast_mut_ptr());
                    return write_range(*entry, element, range.cast(), rows, writer);
                }
                Self::Multirange(entry, element) => {
                    let value = ffi::unguarded::pg_detoast_datum(value.cast_mut_ptr());
                    let (mut count, mut ranges) = (0, ptr::null_mut());
                    let (to_count, to_ranges) = (&raw mut count, &raw mut ranges);
                    ffi::unguarded::multirange_deserialize(*entry, value, to_count, to_ranges);
                    writer.tag(tag::MULTIRANGE);
                    writer.length(count as usize);
                    for i in 0..count as usize {
                        ffi::check_for_interrupts_unguarded();
                        write_range(*entry, element, *ranges.add(i), rows, writer)?;
                    }
                }
                Self::Composite => {
                    ffi::unguarded::check_stack_depth();
                    let row = ffi::unguarded::pg_detoast_datum(value.cast_mut_ptr());
                    let (encoder, row) = rows.encoder_of(row.cast())?;
                    writer.tag(tag::COMPOSITE);
                    writer.length(encoder.len());
                    return rows.write(encoder, row, writer);
                }
                _ => return self.write_by_function(value, rows, writer),
            }
        }
        Ok(())
    }

    /// As [`ValueEncoding::write`], of what a function of the type, or of its collation, makes of the
    /// value.
    unsafe fn write_by_function(
        &self,
        value: pg_sys::Datum,
        rows: &RowEncoders,
        writer: &mut Writer,
    ) -> Result<(), Missing> {
        // SAFETY: as there.
        unsafe {
            match self {
                Self::Citext(lower) => {
                    let collation = pg_sys::DEFAULT_COLLATION_OID;
                    let folded = ffi::unguarded::FunctionCall1Coll(*lower, collation, value);
                    write_text(packed(folded), writer);
                }
                #[cfg(feature = "pg15")]
                Self::Sorted(never) => match *never {},
                #[cfg(not(feature = "pg15"))]
                Self::Sorted(key) => {
                    let text = key.significant(packed(value));
                    let key = key.collation().sort_key_unguarded(text);
                    writer.bytes(SORT_KEY, key);
                }
                Self::Hashed(hash, collation) => {
                    writer.tag(tag::HASHED);
                    for seed in 0..HASHES {
                        let seed = pg_sys::Datum::from(seed);
                        let hash =
                            ffi::unguarded::FunctionCall2Coll(*hash, *collation, value, seed);
                        writer.raw(&(hash.value() as u64).to_be_bytes());
                    }
                }
                Self::Output(output, _) => {
                    if !rows.settings_are_fixed() {
                        return Err(Missing::Settings);
                    }
                    let shown = ffi::unguarded::OutputFunctionCall(*output, value);
                    write_text(CStr::from_ptr(shown).to_bytes(), writer);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Canonical {
    /// The same, of values that have another collation.
    pub fn under(self, collation: pg_sys::Oid) -> Self {
        match self {
            Self::Portable => self,
            Self::ByEquality(_) => Self::ByEquality(collation),
        }
    }
}

/// Whether the output of a type of an extension is the same for equal values, and another for
/// others, though the type has a hash: hstore, which keeps its pairs sorted and shows each once;
/// ltree, which has a hash from version 1.3 on, which comes with PostgreSQL 17. Such a type goes
/// by its text everywhere: hashes can be met on purpose, and would come with an upgrade. Of the
/// types that come with the server and its contrib modules no other has got an extended hash
/// since PostgreSQL 15.
fn has_canonical_output(typid: pg_sys::Oid) -> bool {
    let name = function_name(types::output_function(typid));
    name.is_some_and(|name| ["hstore_out", "ltree_out"].contains(&name.as_str()))
}

/// So many hashes of 64 bits, each under a seed of its own, stand for a value whose
/// equality nothing else tells.
const HASHES: i64 = 4;

/// Whether equal values of a type are stored alike; `collation` may be `InvalidOid`.
fn has_equal_image(typid: pg_sys::Oid, collation: pg_sys::Oid) -> bool {
    operator::btree_class(typid).is_some_and(|class| operator::has_equal_image(class, collation))
}

/// A type, or one that it is made of, of whose equal values nobody knows what they have in common: one
/// of an extension that may store them in several ways, and has no hash. Equal values of it are written
/// as they are shown, and may differ in that. One with a hash of 32 bits alone is taken to show equal
/// values alike.
pub fn part_without_canonical_form(typid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let mut found = None;
    types::visit(typid, |part| {
        if found.is_none() && has_no_canonical_form(part) {
            found = Some(part);
        }
    });
    found
}

fn has_no_canonical_form(typid: pg_sys::Oid) -> bool {
    let wanted = pg_sys::TYPECACHE_HASH_PROC as i32;
    typid.to_u32() >= pg_sys::FirstNormalObjectId
        && types::kind(typid) == pg_sys::TYPTYPE_BASE
        && types::element(typid).is_none()
        && types::equality_operator(typid) != pg_sys::InvalidOid
        && !has_equal_image(typid, types::collation(typid))
        && !has_canonical_output(typid)
        // SAFETY: a look-up for an existing type; entries of the type cache stay.
        && unsafe { (*pg_sys::lookup_type_cache(typid, wanted)).hash_proc } == pg_sys::InvalidOid
}

impl ArrayElement {
    /// # Safety
    /// The memory outlives this.
    unsafe fn of_type(typid: pg_sys::Oid, same: Canonical, memory: pg_sys::MemoryContext) -> Self {
        let storage = types::storage(typid);
        // SAFETY: the caller's promise.
        let form = unsafe { ValueEncoding::of_type(typid, same, memory) };
        Self {
            form,
            typid,
            length: storage.length,
            by_value: storage.by_value,
            align: storage.align,
        }
    }

    /// Bounds count: `=` of arrays compares them.
    ///
    /// # Safety
    /// As [`ValueEncoding::write`], for an array of these.
    unsafe fn write_array(
        &self,
        value: pg_sys::Datum,
        rows: &RowEncoders,
        writer: &mut Writer,
    ) -> Result<(), Missing> {
        // SAFETY: the caller's promise; dimensions and lower bounds follow the header
        // (`array.h`), and there are as many members as core says.
        unsafe {
            let array = ffi::unguarded::pg_detoast_datum(value.cast_mut_ptr());
            let array = array.cast::<pg_sys::ArrayType>();
            let dimensions = (*array).ndim as usize;
            writer.tag(tag::ARRAY);
            writer.length(dimensions);
            let bounds = array.add(1).cast::<c_int>();
            for i in 0..2 * dimensions {
                writer.integer(i64::from(*bounds.add(i)));
            }
            let (mut values, mut nulls, mut count) = (ptr::null_mut(), ptr::null_mut(), 0);
            ffi::unguarded::deconstruct_array(
                array,
                self.typid,
                c_int::from(self.length),
                self.by_value,
                self.align,
                &raw mut values,
                &raw mut nulls,
                &raw mut count,
            );
            for i in 0..count as usize {
                ffi::check_for_interrupts_unguarded();
                if *nulls.add(i) {
                    writer.tag(tag::NULL);
                } else {
                    self.form.write(*values.add(i), rows, writer)?;
                }
            }
        }
        Ok(())
    }
}

/// # Safety
/// As [`ValueEncoding::write`]; the range is detoasted.
unsafe fn write_range(
    entry: *mut pg_sys::TypeCacheEntry,
    element: &ValueEncoding,
    range: *mut pg_sys::RangeType,
    rows: &RowEncoders,
    writer: &mut Writer,
) -> Result<(), Missing> {
    let mut lower = pg_sys::RangeBound::default();
    let mut upper = pg_sys::RangeBound::default();
    let mut empty = false;
    // SAFETY: the caller's promise.
    unsafe {
        ffi::unguarded::range_deserialize(
            entry,
            range,
            &raw mut lower,
            &raw mut upper,
            &raw mut empty,
        );
    }
    writer.tag(tag::RANGE);
    writer.tag(u8::from(empty));
    if empty {
        return Ok(());
    }
    for bound in [lower, upper] {
        writer.tag(u8::from(bound.infinite) << 1 | u8::from(bound.inclusive));
        if !bound.infinite {
            // SAFETY: a bound that is finite has its value.
            unsafe { element.write(bound.val, rows, writer)? };
        }
    }
    Ok(())
}

/// Writes text in the server's encoding, as [`Writer::text`] does, without a guard of its own.
///
/// # Safety
/// Runs inside `ffi::guard`.
#[inline]
unsafe fn write_text(text: &[u8], writer: &mut Writer) {
    if !writer.is_foreign() || text.is_ascii() {
        return writer.utf8(text);
    }
    // SAFETY: inside `ffi::guard`, by the caller's promise. As many bytes as core is told; the
    // result is the same pointer or a palloc'd C string, which is written before anything frees it.
    unsafe {
        let utf8 = pg_sys::pg_enc::PG_UTF8 as c_int;
        let (begin, length) = (text.as_ptr().cast(), text.len() as c_int);
        let converted = ffi::unguarded::pg_server_to_any(begin, length, utf8);
        writer.utf8(if ptr::eq(converted, begin) {
            text
        } else {
            CStr::from_ptr(converted).to_bytes()
        });
    }
}

/// Floats of the machine, one after the other.
fn write_floats(bytes: &[u8], writer: &mut Writer) {
    writer.tag(tag::GEOMETRY);
    writer.length(bytes.len() / 8);
    for float in bytes.chunks_exact(8) {
        if let Ok(float) = float.try_into() {
            writer.float(f64::from_ne_bytes(float));
        }
    }
}

/// An int of the machine.
fn integer_at(content: &[u8], at: usize) -> i32 {
    match content.get(at..at + 4) {
        Some(&[a, b, c, d]) => i32::from_ne_bytes([a, b, c, d]),
        _ => 0,
    }
}

trait TrimBlanks {
    fn trim_blanks(&self) -> &Self;
}

impl TrimBlanks for [u8] {
    fn trim_blanks(&self) -> &Self {
        let end = self.iter().rposition(|byte| *byte != b' ');
        self.get(..end.map_or(0, |end| end + 1)).unwrap_or_default()
    }
}
