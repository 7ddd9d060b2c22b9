//! Rows to hashes: what is known of row types while a query runs.
//!
//! Looking up a row type and its columns' functions costs more than writing the row, so
//! it is kept as long as the calling expression, see [`argument`](super::argument). Writing a row
//! happens under one guard. What is missing for it, such as the columns of a row inside
//! the row, is looked up outside, and the row is written again from its start.
use super::encoding::{Canonical, Missing, ValueEncoding};
use super::sink::Sink;
use super::tag;
use super::writer::Writer;
use crate::pg::ffi;
use crate::pg::memory::Memory;
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::value::comparison::Equality;
use crate::pg::value::sql_value::SqlValue;
use crate::target::Target;
use pg_idempotent_lthash::Hash;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ptr;

/// A row type.
pub struct RowEncoder {
    typid: pg_sys::Oid,
    typmod: i32,
    /// Null for an anonymous record, which does not change.
    entry: *mut pg_sys::TypeCacheEntry,
    /// That of the columns as they were: a row type may be altered.
    identifier: u64,
    desc: pg_sys::TupleDesc,
    /// By column; None for a dropped one.
    columns: Vec<Option<ValueEncoding>>,
    /// How many are not dropped.
    count: usize,
    /// The number of the row that it was looked up for.
    looked_up_for: u64,
}

impl RowEncoder {
    fn of_type(typid: pg_sys::Oid, typmod: i32, rows: &RowEncoders) -> Self {
        let memory = rows.memory;
        // SAFETY: look-ups, with core's own errors for what is no row type. Between the
        // identifier and the copy no message of a change is read. The memory outlives the rows, by
        // the promise of `new`.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(memory);
            let (entry, identifier, desc) = if typid == pg_sys::RECORDOID {
                let desc = pg_sys::lookup_rowtype_tupdesc_copy(typid, typmod);
                (ptr::null_mut(), 0, desc)
            } else {
                // Its error, if the type has no columns.
                pg_sys::lookup_rowtype_tupdesc_copy(typid, typmod);
                let wanted = pg_sys::TYPECACHE_TUPDESC as i32;
                let entry = pg_sys::lookup_type_cache(typid, wanted);
                let desc = pg_sys::CreateTupleDescCopyConstr((*entry).tupDesc);
                (entry, (*entry).tupDesc_identifier, desc)
            };
            let columns: Vec<Option<ValueEncoding>> = (0..(*desc).natts)
                .map(|i| ffi::attribute(desc, i))
                .map(|attribute| {
                    let same = rows.same.under(attribute.attcollation);
                    let form = || ValueEncoding::of_type(attribute.atttypid, same, memory);
                    (!attribute.attisdropped).then(form)
                })
                .collect();
            pg_sys::MemoryContextSwitchTo(caller);
            Self {
                typid,
                typmod,
                entry,
                identifier,
                desc,
                count: columns.iter().flatten().count(),
                columns,
                looked_up_for: rows.number,
            }
        }
    }

    /// How many columns a row of it has.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether it is that of a row type, as this is now.
    ///
    /// For the row that it was looked up for it is, whatever has become of the type cache's
    /// entry since: the look-up of the columns' functions reads messages of changes, and
    /// the server may drop its caches at any of these. Else a row might wait for ever for a
    /// moment in which nothing is dropped. Such a plan is right for its row: the query
    /// that made the row had locked what it was read from, and what a free-standing type
    /// has got since is NULL in a row that was made before.
    #[inline]
    fn is_of(&self, typid: pg_sys::Oid, typmod: i32, row: u64) -> bool {
        self.typid == typid
            && self.typmod == typmod
            && (self.looked_up_for == row
                // SAFETY: an entry of the type cache, which stays.
                || unsafe { self.entry.as_ref() }
                    .is_none_or(|entry| entry.tupDesc_identifier == self.identifier))
    }
}

/// The row types that an expression has met.
pub struct RowEncoders {
    encoders: Vec<RowEncoder>,
    /// How many rows were written, or begun.
    number: u64,
    memory: pg_sys::MemoryContext,
    same: Canonical,
    /// Whether the fixed settings are in force.
    fixed: bool,
    /// Whether some row needed them.
    needs_fixed: bool,
}

impl RowEncoders {
    /// What is looked up stays in `memory`.
    ///
    /// # Safety
    /// The memory outlives this.
    pub unsafe fn new(memory: pg_sys::MemoryContext, same: Canonical) -> Self {
        Self {
            encoders: Vec::new(),
            number: 0,
            memory,
            same,
            fixed: false,
            needs_fixed: false,
        }
    }

    /// The hash of what `write` writes, see [`RowEncoders::written`].
    ///
    /// # Safety
    /// `write` runs inside `ffi::guard`: it owns nothing, and does not panic.
    #[inline]
    pub unsafe fn hash(
        &mut self,
        writer: &mut Writer,
        write: impl Fn(&Self, &mut Writer) -> Result<(), Missing>,
    ) -> Hash {
        // SAFETY: the caller's promise.
        unsafe { self.written(writer, write) };
        writer.finish()
    }

    /// Has `write` write a row. It is called again, from the start, when something was missing.
    ///
    /// # Safety
    /// `write` runs inside `ffi::guard`: it owns nothing, and does not panic.
    #[inline]
    pub unsafe fn written(
        &mut self,
        writer: &mut Writer,
        write: impl Fn(&Self, &mut Writer) -> Result<(), Missing>,
    ) {
        self.number += 1;
        loop {
            let _settings = self.needs_fixed.then(LocalSettings::fixed_names);
            self.fixed = self.needs_fixed;
            writer.begin();
            // SAFETY: the caller's promise.
            match unsafe { ffi::guard(|| write(self, writer)) } {
                Ok(()) => return,
                Err(Missing::Settings) => self.needs_fixed = true,
                Err(Missing::RowType(typid, typmod)) => {
                    let encoder = RowEncoder::of_type(typid, typmod, self);
                    let stale = |known: &RowEncoder| known.typid == typid && known.typmod == typmod;
                    self.encoders.retain(|known| !stale(known));
                    self.encoders.push(encoder);
                }
            }
        }
    }

    /// Whether the fixed settings are in force.
    pub fn settings_are_fixed(&self) -> bool {
        self.fixed
    }

    /// The plan for a row, and the row.
    ///
    /// # Safety
    /// The row is detoasted. Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn encoder_of(
        &self,
        row: pg_sys::HeapTupleHeader,
    ) -> Result<(&RowEncoder, pg_sys::HeapTupleHeader), Missing> {
        // SAFETY: a composite datum has its type in its header.
        let (typid, typmod) = unsafe {
            let fields = &(*row).t_choice.t_datum;
            (fields.datum_typeid, fields.datum_typmod)
        };
        match self
            .encoders
            .iter()
            .find(|encoder| encoder.is_of(typid, typmod, self.number))
        {
            Some(encoder) => Ok((encoder, row)),
            None => Err(Missing::RowType(typid, typmod)),
        }
    }

    /// Writes the columns of a row.
    ///
    /// # Safety
    /// The plan is that of the row. Runs inside `ffi::guard`.
    pub unsafe fn write(
        &self,
        encoder: &RowEncoder,
        row: pg_sys::HeapTupleHeader,
        writer: &mut Writer,
    ) -> Result<(), Missing> {
        let count = encoder.columns.len();
        // SAFETY: the caller's promise; room for every column.
        unsafe {
            let values = ffi::unguarded::palloc(count * (size_of::<pg_sys::Datum>() + 1));
            let values = values.cast::<pg_sys::Datum>();
            let nulls = values.add(count).cast::<bool>();
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varlena::varsize_4b(row.cast()) as u32,
                t_data: row,
                ..Default::default()
            };
            ffi::unguarded::heap_deform_tuple(&raw mut tuple, encoder.desc, values, nulls);
            for (i, column) in encoder.columns.iter().enumerate() {
                match column {
                    None => {}
                    Some(_) if *nulls.add(i) => writer.tag(tag::NULL),
                    Some(form) => form.write(*values.add(i), self, writer)?,
                }
            }
        }
        Ok(())
    }
}

/// How rows are written that consist of some columns of a target: by the names of these, each as it
/// goes with the column's equality.
pub struct ColumnEncoder {
    /// By name.
    columns: Vec<EncodedColumn>,
    /// What the row at hand is written with; none while it is in use, by a row whose
    /// values run a function that comes here again.
    tools: Cell<Option<Box<Tools>>>,
    memory: Memory,
}

struct Tools {
    rows: RowEncoders,
    writer: Writer,
    /// The values of the row at hand, in the order of the columns.
    values: Vec<Option<pg_sys::Datum>>,
}

/// A column, and how its values are written.
struct EncodedColumn {
    /// By position in the target.
    place: usize,
    typid: pg_sys::Oid,
    encoding: ColumnEncoding,
}

enum ColumnEncoding {
    Value(ValueEncoding),
    /// A json, written as the jsonb that it is.
    Json,
}

impl ColumnEncoder {
    /// For columns of a target, by position.
    pub fn new(target: &Target, columns: &[usize]) -> Self {
        let memory = Memory::in_cache(c"pg_idempotent digest");
        let encoding = |c: usize| {
            let column = &target.columns[c];
            let (base, context) = (column.base_type(), memory.context());
            let same = Canonical::ByEquality(column.collation);
            // SAFETY: the memory lives as long as the encoder.
            ColumnEncoding::Value(match column.values.equality {
                Equality::Json => return ColumnEncoding::Json,
                Equality::Image => unsafe { ValueEncoding::exact(base, context) },
                Equality::Function(_) => unsafe { ValueEncoding::of_type(base, same, context) },
            })
        };
        let column = |c: &usize| EncodedColumn {
            place: *c,
            typid: target.columns[*c].typid,
            encoding: encoding(*c),
        };
        let mut columns: Vec<EncodedColumn> = columns.iter().map(column).collect();
        let name = |column: &EncodedColumn| &target.columns[column.place].c_name;
        columns.sort_by(|a, b| name(a).cmp(name(b)));
        Self {
            columns,
            tools: Cell::new(None),
            memory,
        }
    }

    /// The hash of a row, of its values that are not NULL, the same for equal rows; None is as good
    /// as NULL.
    ///
    /// # Panics
    /// If a value is of another type than its column had when this was made.
    pub fn hash<'v>(&self, target: &Target, row: impl Fn(usize) -> Option<SqlValue<'v>>) -> Hash {
        let mut tools = self.tools.take().unwrap_or_else(|| {
            let same = Canonical::ByEquality(pg_sys::InvalidOid);
            Box::new(Tools {
                // SAFETY: the memory lives as long as the encoder, which has the tools.
                rows: unsafe { RowEncoders::new(self.memory.context(), same) },
                writer: Writer::in_server_encoding(),
                values: Vec::with_capacity(self.columns.len()),
            })
        });
        let Tools {
            rows,
            writer,
            values,
        } = &mut *tools;
        // Before the guard: what is a caller's may own something, or panic.
        values.clear();
        values.extend(self.columns.iter().map(|column| {
            let now = &target.columns[column.place].values;
            assert_eq!(now.typid, column.typid, "a column has another type");
            now.datum_of(row(column.place)?)
        }));
        // SAFETY: the closure owns nothing, and does not panic; the values are of the columns, as
        // was checked.
        let hash = unsafe {
            rows.hash(writer, |rows, writer| {
                self.write_unguarded(target, values, rows, writer)
            })
        };
        self.tools.set(Some(tools));
        hash
    }

    /// # Safety
    /// The values are those of the columns, in their order. Runs inside `ffi::guard`.
    unsafe fn write_unguarded(
        &self,
        target: &Target,
        values: &[Option<pg_sys::Datum>],
        rows: &RowEncoders,
        writer: &mut Writer,
    ) -> Result<(), Missing> {
        for (part, value) in self.columns.iter().zip(values) {
            let (Some(value), Some(column)) = (*value, target.columns.get(part.place)) else {
                continue;
            };
            // SAFETY: a non-null value of the column; the caller's promise.
            unsafe {
                writer.text(column.c_name.to_bytes());
                match &part.encoding {
                    ColumnEncoding::Value(form) => form.write(value, rows, writer)?,
                    ColumnEncoding::Json => match column.values.refused_json(value) {
                        // No document has this tag.
                        Some(text) => writer.bytes(tag::BYTES, text),
                        None => ValueEncoding::Document.write(
                            column.values.to_jsonb(value),
                            rows,
                            writer,
                        )?,
                    },
                }
            }
        }
        Ok(())
    }
}
