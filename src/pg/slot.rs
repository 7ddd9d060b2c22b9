//! Rows in core's slots, and the descriptors that say what columns they have.
//!
//! A slot owns what it is made of, wherever it is made, and shares its descriptor. The values of
//! a row that came out of a store are its own as well. A row that is put together of values that
//! lie elsewhere is made by a [`RowBuilder`], and can be read as long as they are borrowed.
use super::ffi;
use super::memory::scope_of;
use super::value::sql_value::SqlValue;
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};
use std::ptr;
use std::rc::Rc;

/// Which columns a row has. Rows share it.
#[derive(Clone)]
pub struct RowDesc(Rc<SharedDesc>);

struct SharedDesc {
    desc: pg_sys::TupleDesc,
    /// The types of its columns.
    types: Vec<pg_sys::Oid>,
    /// Whether it is freed with this.
    owned: bool,
}

/// A column of a descriptor that is made here.
pub struct RowColumn<'n> {
    /// Its name, in the server's encoding.
    pub name: &'n CStr,
    /// Its type.
    pub typid: pg_sys::Oid,
    /// The type modifier, or -1.
    pub typmod: i32,
    /// None for that of the type.
    pub collation: Option<pg_sys::Oid>,
}

impl<'n> RowColumn<'n> {
    /// A column of this type, as it is.
    pub fn of_type(name: &'n CStr, typid: pg_sys::Oid) -> Self {
        Self {
            name,
            typid,
            typmod: -1,
            collation: None,
        }
    }
}

impl RowDesc {
    /// For rows of these columns.
    ///
    /// # Errors
    /// XX000 for a type that does not exist.
    pub fn of(columns: &[RowColumn<'_>]) -> Self {
        // SAFETY: CacheMemoryContext lives as long as the backend. Numbers run from 1 to the
        // number that the template is made for; core looks the types up, and copies the names.
        unsafe {
            let desc = in_cache(|| pg_sys::CreateTemplateTupleDesc(columns.len() as c_int));
            for (number, column) in (1..).zip(columns) {
                let name = column.name.as_ptr();
                let RowColumn { typid, typmod, .. } = *column;
                pg_sys::TupleDescInitEntry(desc, number, name, typid, typmod, 0);
                if let Some(collation) = column.collation {
                    pg_sys::TupleDescInitEntryCollation(desc, number, collation);
                }
            }
            Self::new(desc, true)
        }
    }

    /// That of a composite type.
    ///
    /// # Errors
    /// 42809 for what is none, in core's words.
    pub fn of_composite(typid: pg_sys::Oid) -> Self {
        // SAFETY: core gives a copy, which is ours, or raises an error. What it looks up on the way
        // is not for memory that lives as long as the backend, so there are two.
        unsafe {
            let found = pg_sys::lookup_rowtype_tupdesc_copy(typid, -1);
            let copy = Self::copy(found);
            pg_sys::FreeTupleDesc(found);
            copy
        }
    }

    /// A descriptor of the server's.
    ///
    /// # Safety
    /// It is valid, and outlives this, its copies, and the slots that are made for it.
    pub unsafe fn of_server(desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self::new(desc, false) }
    }

    /// A copy of a descriptor of the server's, with its constraints: the other kind of copy is
    /// without NOT NULL and identity.
    ///
    /// # Safety
    /// It is valid.
    pub unsafe fn copy(desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: the caller's promise; the copy is ours.
        unsafe {
            let copy = in_cache(|| pg_sys::CreateTupleDescCopyConstr(desc));
            Self::new(copy, true)
        }
    }

    /// A copy without constraints.
    ///
    /// # Safety
    /// It is valid. Runs inside `ffi::guard`.
    pub unsafe fn copy_unguarded(desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: the caller's promise; a copy in memory that lives as long as the backend is
        // ours. Nothing is owned before it is made, and an ERROR is one of the call, whose end
        // resets the current context.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(pg_sys::CacheMemoryContext);
            let copy = ffi::unguarded::CreateTupleDescCopy(desc);
            pg_sys::MemoryContextSwitchTo(caller);
            Self::new(copy, true)
        }
    }

    /// # Safety
    /// The descriptor is valid as long as this and its copies live, or ours to free then.
    unsafe fn new(desc: pg_sys::TupleDesc, owned: bool) -> Self {
        // SAFETY: the caller's promise; numbers within the descriptor.
        let types = unsafe {
            (0..(*desc).natts)
                .map(|i| ffi::attribute(desc, i).atttypid)
                .collect()
        };
        Self(Rc::new(SharedDesc { desc, types, owned }))
    }

    /// Registers it as a row type of the server's, for rows that are made values of it.
    pub fn bless(&self) {
        // SAFETY: the descriptor lives as long as this; of a type without a name it is noted
        // which number it has.
        unsafe { pg_sys::BlessTupleDesc(self.raw()) };
    }

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::TupleDesc {
        self.0.desc
    }

    /// Its columns as rows of `pg_attribute`, dropped ones among them.
    pub fn attributes(&self) -> impl Iterator<Item = &pg_sys::FormData_pg_attribute> {
        let count = self.types().len() as c_int;
        // SAFETY: the descriptor lives as long as this, with as many columns.
        (0..count).map(|i| unsafe { ffi::attribute(self.raw(), i) })
    }

    /// The types of its columns.
    pub fn types(&self) -> &[pg_sys::Oid] {
        &self.0.types
    }

    /// # Panics
    /// If another descriptor has other types of columns.
    #[inline]
    pub fn check_same(&self, other: &Self) {
        assert!(
            Rc::ptr_eq(&self.0, &other.0) || self.0.types == other.0.types,
            "a slot has other columns than the rows that it is for"
        );
    }
}

impl Drop for SharedDesc {
    fn drop(&mut self) {
        if self.owned {
            // SAFETY: ours, made in memory that lives as long as the backend, and freed once;
            // what was made for it has kept it alive.
            unsafe { pg_sys::FreeTupleDesc(self.desc) };
        }
    }
}

/// Runs `work` with memory that lives as long as the backend as the current context.
fn in_cache<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: reads a backend-local variable, whose context is never deleted.
    unsafe { scope_of(pg_sys::CacheMemoryContext, work) }
}

/// A slot that is dropped with its owner.
pub struct Slot {
    slot: *mut pg_sys::TupleTableSlot,
    desc: RowDesc,
}

impl Slot {
    /// A slot for rows that come out of a store or a sort.
    pub fn for_stored(desc: &RowDesc) -> Self {
        Self::new(desc, &raw const pg_sys::TTSOpsMinimalTuple)
    }

    fn new(desc: &RowDesc, kind: *const pg_sys::TupleTableSlotOps) -> Self {
        // SAFETY: the descriptor lives as long as the slot, which shares it, and the slot is
        // made in memory that lives as long as the backend. A kind of slot that has neither
        // buffers nor anything else that a resource owner knows.
        let slot = in_cache(|| unsafe { pg_sys::MakeSingleTupleTableSlot(desc.raw(), kind) });
        let desc = desc.clone();
        Self { slot, desc }
    }

    /// A copy of the row that owns its memory.
    pub fn to_stored(&self) -> Self {
        self.check_row();
        let copy = Self::for_stored(&self.desc);
        // SAFETY: both slots have one descriptor, and this one holds a row, as was checked.
        unsafe { pg_sys::ExecCopySlot(copy.slot, self.slot) };
        copy
    }

    /// The descriptor that it was made with.
    pub fn desc(&self) -> &RowDesc {
        &self.desc
    }

    /// # Panics
    /// If it holds no row.
    #[inline]
    pub fn check_row(&self) {
        // SAFETY: the slot lives until we are dropped.
        let flags = unsafe { (*self.slot).tts_flags };
        assert!(
            u32::from(flags) & pg_sys::TTS_FLAG_EMPTY == 0,
            "a slot without a row is read"
        );
    }

    /// # Panics
    /// If it holds no row with all columns read.
    pub fn check_whole(&self) {
        self.check_row();
        // SAFETY: the slot lives until we are dropped.
        let read = unsafe { (*self.slot).tts_nvalid };
        assert!(
            read as usize >= self.desc.types().len(),
            "a row is not read whole"
        );
    }

    /// For core's functions.
    pub fn raw(&self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }

    /// Makes all columns readable through [`Slot::get`]. What comes out of a
    /// store or a sort is already.
    pub fn deform(&self) {
        self.check_row();
        // SAFETY: the slot holds a row, as was checked.
        unsafe { pg_sys::slot_getallattrs(self.slot) };
    }

    /// Runs `fill`, which puts a copy of a row into the slot, in the slot's own
    /// memory, since the copy is made in the current one; then deforms it. False
    /// if there was no row.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`. The row is one of the slot's columns.
    pub unsafe fn fill(&mut self, fill: impl FnOnce(*mut pg_sys::TupleTableSlot) -> bool) -> bool {
        // SAFETY: an ERROR in between is an error of the call, whose end resets
        // the current context. The slot has as many columns as its descriptor.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo((*self.slot).tts_mcxt);
            let some = fill(self.slot);
            pg_sys::MemoryContextSwitchTo(caller);
            if some {
                let natts = (*(*self.slot).tts_tupleDescriptor).natts;
                ffi::slot_getsomeattrs_unguarded(self.slot, natts);
            }
            some
        }
    }

    /// Column `i` (from 0) of a row that was stored or deformed.
    ///
    /// # Panics
    /// If there is no such column, or it was not read.
    #[inline]
    pub fn get(&self, i: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the slot lives until we are dropped; the columns before `tts_nvalid` have
        // their values in the arrays, and this is checked to be one.
        unsafe {
            assert!(i < (*self.slot).tts_nvalid as usize, "a column is not read");
            self.get_unguarded(i)
        }
    }

    /// Likewise, without a check that could panic.
    ///
    /// # Safety
    /// The slot holds a row, of which this column is deformed.
    #[inline]
    pub unsafe fn get_unguarded(&self, i: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise; a slot's arrays have a member for every column.
        unsafe {
            let slot = &*self.slot;
            (!*slot.tts_isnull.add(i)).then(|| *slot.tts_values.add(i))
        }
    }

    /// Column `i`, as [`Slot::get`] gives it, with its type.
    #[inline]
    pub fn value(&self, i: usize) -> SqlValue<'_> {
        self.check_row();
        // SAFETY: the value of a column of this type, which stays while the row is borrowed.
        unsafe { SqlValue::of_datum(self.desc.types()[i], self.get(i)) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: made by `new`, in memory that lives as long as the backend, and dropped once. It
        // holds memory only, so that it may be dropped while an error is on its way out.
        unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
    }
}

/// Makes rows, one after the other, of values that lie elsewhere.
pub struct RowBuilder(Slot);

impl RowBuilder {
    /// For rows with this descriptor.
    pub fn new(desc: &RowDesc) -> Self {
        Self(Slot::new(desc, &raw const pg_sys::TTSOpsVirtual))
    }

    /// A new row, in the place of the one before, with NULL in every column.
    #[inline]
    pub fn start(&mut self) -> NewRow<'_> {
        let natts = self.0.desc.types().len();
        // SAFETY: the arrays have a member for every column (made by MakeTupleTableSlot), and
        // belong to the slot, which owns no tuple.
        unsafe {
            let slot = &mut *self.0.slot;
            ptr::write_bytes(slot.tts_values, 0, natts);
            std::slice::from_raw_parts_mut(slot.tts_isnull, natts).fill(true);
        }
        NewRow(&mut self.0)
    }

    /// Says which table the rows are in.
    pub fn set_table(&mut self, table: pg_sys::Oid) {
        // SAFETY: the slot lives as long as this.
        unsafe { (*self.0.slot).tts_tableOid = table };
    }
}

/// A row that is being made of values that are borrowed.
pub struct NewRow<'v>(&'v mut Slot);

impl<'v> NewRow<'v> {
    /// Takes every column of a row with an equal descriptor, without a copy of what it points to.
    ///
    /// # Panics
    /// If the columns are others.
    pub fn copy_all(&mut self, row: &'v Slot) {
        self.0.desc.check_same(&row.desc);
        self.copy(row, row.desc.types().len());
    }

    /// Takes so many columns, the first ones, of a row that begins with the same ones.
    ///
    /// # Panics
    /// If the columns are others.
    pub fn copy_first(&mut self, row: &'v Slot, columns: usize) {
        assert!(
            self.0.desc.types()[..columns] == row.desc.types()[..columns],
            "a row begins with other columns"
        );
        self.copy(row, columns);
    }

    /// Takes columns of the same types, as is checked.
    fn copy(&mut self, row: &'v Slot, columns: usize) {
        row.check_row();
        // SAFETY: the arrays of both slots have as many members at least, and the values are of
        // the same types; they are borrowed as long as this row.
        unsafe {
            let (from, to) = (&*row.slot, &mut *self.0.slot);
            assert!(
                from.tts_nvalid as usize >= columns,
                "a row is not read whole"
            );
            ptr::copy_nonoverlapping(from.tts_values, to.tts_values, columns);
            ptr::copy_nonoverlapping(from.tts_isnull, to.tts_isnull, columns);
        }
    }

    /// Sets column `i` (from 0). What is made of a Rust value is in the current context.
    ///
    /// # Panics
    /// If there is no such column, or it is of another type.
    #[inline]
    pub fn set(&mut self, i: usize, value: SqlValue<'v>) {
        assert!(
            self.0.desc.types()[i] == value.typid(),
            "a column is set to a value of another type"
        );
        // SAFETY: a value of the column's type, as is checked, which outlives this row.
        unsafe { self.set_unguarded(i, value.to_datum()) };
    }

    /// Sets column `i` (from 0), without a check that could panic.
    ///
    /// # Safety
    /// There is such a column; the value is one of its type, and outlives this row.
    #[inline]
    pub unsafe fn set_unguarded(&mut self, i: usize, value: Option<pg_sys::Datum>) {
        // SAFETY: the caller's promise; a slot's arrays have a member for every column.
        unsafe {
            let slot = &mut *self.0.slot;
            *slot.tts_values.add(i) = value.unwrap_or(pg_sys::Datum::null());
            *slot.tts_isnull.add(i) = value.is_none();
        }
    }

    /// Column `i` (from 0), as it is set so far.
    ///
    /// # Safety
    /// There is such a column.
    #[inline]
    pub unsafe fn get_unguarded(&self, i: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the caller's promise.
        unsafe { self.0.get_unguarded(i) }
    }

    /// Its descriptor.
    pub fn desc(&self) -> &RowDesc {
        &self.0.desc
    }

    /// The row, as ExecStoreVirtualTuple would have it: a slot for values never owns a tuple
    /// that would have to be freed first.
    #[inline]
    pub fn finish(self) -> &'v Slot {
        let Self(slot) = self;
        // SAFETY: the slot lives as long as it is borrowed. Its row is its arrays, in which
        // every column is set.
        unsafe {
            let raw = &mut *slot.slot;
            raw.tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
            raw.tts_nvalid = slot.desc.types().len() as pg_sys::AttrNumber;
        }
        slot
    }
}
