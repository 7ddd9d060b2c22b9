//! Rows in core's own containers: slots, tuplestores, tuplesorts.
use super::value::sql_value::SqlValue;
use super::{ffi, unwinding};
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};
use std::ptr;

/// A slot that is dropped with its owner.
pub struct Slot(*mut pg_sys::TupleTableSlot);

impl Slot {
    /// A slot for values that are set column by column.
    ///
    /// # Safety
    /// The descriptor is valid. It and the current context outlive the slot, and slots made
    /// from it.
    pub unsafe fn for_values(desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsVirtual) })
    }

    /// A slot for rows that come out of a store or a sort.
    ///
    /// # Safety
    /// As [`Slot::for_values`].
    pub unsafe fn for_stored(desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe {
            pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsMinimalTuple)
        })
    }

    /// A cleared slot for values of the same descriptor.
    pub fn to_empty(&self) -> Self {
        // SAFETY: the descriptor outlives slots made from ours, by the promise that ours was
        // made under.
        let mut empty = unsafe { Self::for_values(self.desc()) };
        empty.clear();
        empty
    }

    /// A copy of the row that owns its memory, with an equal descriptor that outlives
    /// this one's.
    ///
    /// # Safety
    /// As [`Slot::for_values`], and the descriptors are equal.
    pub unsafe fn to_stored_with(&self, desc: pg_sys::TupleDesc) -> Self {
        self.check_row();
        // SAFETY: the caller's promise; the slot holds a row, as was checked.
        unsafe {
            let copy = Self::for_stored(desc);
            pg_sys::ExecCopySlot(copy.raw(), self.0);
            copy
        }
    }

    /// A copy of the row that owns its memory.
    pub fn to_stored(&self) -> Self {
        // SAFETY: our own descriptor, which outlives slots made from ours, by the promise that
        // ours was made under.
        unsafe { self.to_stored_with(self.desc()) }
    }

    /// The descriptor that it was made with.
    fn desc(&self) -> pg_sys::TupleDesc {
        // SAFETY: the slot lives until we are dropped.
        unsafe { (*self.0).tts_tupleDescriptor }
    }

    /// How many columns it has.
    fn columns(&self) -> usize {
        // SAFETY: the descriptor outlives the slot by the promise that it was made under.
        unsafe { (*self.desc()).natts as usize }
    }

    /// # Panics
    /// If it holds no row.
    fn check_row(&self) {
        // SAFETY: the slot lives until we are dropped.
        let flags = unsafe { (*self.0).tts_flags };
        assert!(
            u32::from(flags) & pg_sys::TTS_FLAG_EMPTY == 0,
            "a slot without a row is read"
        );
    }

    /// # Panics
    /// If it is none for values.
    fn check_for_values(&self) {
        // SAFETY: the slot lives until we are dropped; the address of a constant of the
        // server's.
        let for_values = unsafe { ptr::eq((*self.0).tts_ops, &raw const pg_sys::TTSOpsVirtual) };
        assert!(for_values, "a slot for rows is set column by column");
    }

    /// # Panics
    /// If it has not as many columns of the same types as a descriptor.
    ///
    /// # Safety
    /// The descriptor is valid.
    unsafe fn check_desc(&self, desc: pg_sys::TupleDesc) {
        // SAFETY: the caller's promise, and that which the slot was made under.
        unsafe {
            let own = self.desc();
            let same = ptr::eq(own, desc)
                || (*own).natts == (*desc).natts
                    && (0..(*own).natts).all(|i| {
                        ffi::attribute(own, i).atttypid == ffi::attribute(desc, i).atttypid
                    });
            assert!(
                same,
                "a slot has other columns than the rows that it is for"
            );
        }
    }

    /// For core's functions.
    pub fn raw(&self) -> *mut pg_sys::TupleTableSlot {
        self.0
    }

    /// Sets every column of a slot for values to NULL, ready to be filled
    /// through [`Slot::set`]; then [`Slot::store`].
    pub fn clear(&mut self) {
        self.check_for_values();
        let natts = self.columns();
        // SAFETY: the arrays have `natts` members (made by MakeTupleTableSlot), and belong to
        // the slot, which owns no tuple.
        unsafe {
            ptr::write_bytes((*self.0).tts_values, 0, natts);
            std::slice::from_raw_parts_mut((*self.0).tts_isnull, natts).fill(true);
        }
    }

    /// Sets column `i` (from 0) of a cleared slot.
    ///
    /// # Panics
    /// If there is no such column.
    ///
    /// # Safety
    /// The value is one of the column's type, and outlives the row in the slot.
    pub unsafe fn set(&mut self, i: usize, value: Option<pg_sys::Datum>) {
        assert!(i < self.columns(), "a slot has no such column");
        // SAFETY: the arrays have a member for every column, as which this is checked.
        unsafe {
            *(*self.0).tts_values.add(i) = value.unwrap_or(pg_sys::Datum::null());
            *(*self.0).tts_isnull.add(i) = value.is_none();
        }
    }

    /// Sets every column of a slot for values as another of the same descriptor has it,
    /// without a copy of what the values point to; then [`Slot::store`].
    ///
    /// # Panics
    /// If that has no row with all columns read, or the columns are others.
    ///
    /// # Safety
    /// The row in the other slot outlives the one in this.
    pub unsafe fn set_all_of(&mut self, row: &Slot) {
        self.check_for_values();
        row.check_row();
        let natts = self.columns();
        // SAFETY: the arrays of both have `natts` members, and the values are of the same
        // types, as is checked.
        unsafe {
            row.check_desc(self.desc());
            assert!(
                (*row.0).tts_nvalid as usize >= natts,
                "a row is not read whole"
            );
            ptr::copy_nonoverlapping((*row.0).tts_values, (*self.0).tts_values, natts);
            ptr::copy_nonoverlapping((*row.0).tts_isnull, (*self.0).tts_isnull, natts);
        }
    }

    /// Marks the values that were set as the slot's row, as
    /// ExecStoreVirtualTuple does; a slot for values never owns a tuple that
    /// would have to be freed first.
    pub fn store(&mut self) {
        self.check_for_values();
        // SAFETY: the slot lives until we are dropped, and is one for values, whose row is its
        // arrays. They are initialized: empty since the slot was made, or what was set.
        unsafe {
            (*self.0).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
            (*self.0).tts_nvalid = (*(*self.0).tts_tupleDescriptor).natts as pg_sys::AttrNumber;
        }
    }

    /// Makes all columns readable through [`Slot::get`]. What comes out of a
    /// store or a sort is already.
    pub fn deform(&self) {
        self.check_row();
        // SAFETY: the slot holds a row, as was checked.
        unsafe { pg_sys::slot_getallattrs(self.0) };
    }

    /// Runs `fill`, which puts a copy of a row into the slot, in the slot's own
    /// memory, since the copy is made in the current one; then deforms it. False
    /// if there was no row.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    unsafe fn fill(&mut self, fill: impl FnOnce(*mut pg_sys::TupleTableSlot) -> bool) -> bool {
        // SAFETY: an ERROR in between is an error of the call, whose end resets
        // the current context.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo((*self.0).tts_mcxt);
            let some = fill(self.0);
            pg_sys::MemoryContextSwitchTo(caller);
            if some {
                self.deform_unguarded();
            }
            some
        }
    }

    /// # Safety
    /// The slot holds a row. Runs inside `ffi::guard`.
    unsafe fn deform_unguarded(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            let natts = (*(*self.0).tts_tupleDescriptor).natts;
            ffi::slot_getsomeattrs_unguarded(self.0, natts);
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
            assert!(i < (*self.0).tts_nvalid as usize, "a column is not read");
            if *(*self.0).tts_isnull.add(i) {
                None
            } else {
                Some(*(*self.0).tts_values.add(i))
            }
        }
    }

    /// Column `i`, as [`Slot::get`] gives it, with its type.
    pub fn value(&self, i: usize) -> SqlValue<'_> {
        let value = self.get(i);
        // SAFETY: the value of a column of the slot's descriptor, as `get` has checked, which
        // stays while the row is borrowed.
        unsafe {
            let typid = ffi::attribute(self.desc(), i as c_int).atttypid;
            SqlValue::of_datum(typid, value)
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made by MakeSingleTupleTableSlot, in memory that outlives it by the
            // promise to the constructors, and dropped once.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.0) };
        }
    }
}

/// Rows kept in the order in which they came; spills to disk beyond `work_mem`.
pub struct TupleStore(*mut pg_sys::Tuplestorestate);

impl TupleStore {
    /// An empty store.
    pub fn new() -> Self {
        // SAFETY: allocates in the current context.
        Self(unsafe { pg_sys::tuplestore_begin_heap(false, false, pg_sys::work_mem) })
    }

    /// An empty store that outlives commits, all of whose rows come before the first of
    /// them. No abort removes its files: it has to be dropped, by its owner, after any
    /// error was caught.
    pub fn across_commits() -> Self {
        // SAFETY: allocates in the current context, which outlives the commits, too.
        Self(unsafe { pg_sys::tuplestore_begin_heap(false, true, pg_sys::work_mem) })
    }

    /// Appends the slot's row.
    pub fn put(&mut self, slot: &Slot) {
        slot.check_row();
        // SAFETY: the slot holds a row, as was checked, of which the store makes a copy.
        unsafe { pg_sys::tuplestore_puttupleslot(self.0, slot.raw()) };
    }

    /// Adds a copy of the slot's row, as `put` does.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn put_unguarded(&mut self, slot: &Slot) {
        slot.check_row();
        // SAFETY: the slot holds a row, as was checked; there is a guard around by the
        // caller's promise.
        unsafe { ffi::unguarded::tuplestore_puttupleslot(self.0, slot.raw()) };
    }

    /// The next row, from the first; false at the end. The row is the slot's
    /// own copy.
    ///
    /// # Safety
    /// The slot has the columns of the rows, which the store does not know.
    pub unsafe fn next(&mut self, slot: &mut Slot) -> bool {
        // SAFETY: the caller's promise; a slot for values is refused by the server. The guard
        // holds nothing.
        unsafe {
            ffi::guard(|| {
                slot.fill(|slot| ffi::unguarded::tuplestore_gettupleslot(self.0, true, true, slot))
            })
        }
    }

    /// Reads from the first row again.
    pub fn rewind(&mut self) {
        // SAFETY: the store lives until we are dropped; stores are begun without flags of their
        // own, which lets them be read again.
        unsafe { pg_sys::tuplestore_rescan(self.0) };
    }

    /// How many rows it holds.
    pub fn len(&self) -> u64 {
        // SAFETY: the store lives until we are dropped.
        unsafe { pg_sys::tuplestore_tuple_count(self.0) as u64 }
    }

    /// For core's functions.
    pub fn raw(&self) -> *mut pg_sys::Tuplestorestate {
        self.0
    }
}

impl Default for TupleStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TupleStore {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made by tuplestore_begin_heap, and ended once.
            unsafe { pg_sys::tuplestore_end(self.0) };
        }
    }
}

/// Receives the rows of any statement, whatever their columns, into a store.
#[repr(C)]
pub struct ReceivedRows {
    /// First, so that a pointer to it is a pointer to this.
    dest: pg_sys::DestReceiver,
    store: TupleStore,
    /// Where the descriptor is kept.
    memory: pg_sys::MemoryContext,
    /// That of the rows; null if the statement returns none.
    desc: pg_sys::TupleDesc,
}

impl ReceivedRows {
    /// A receiver without rows, in the current context.
    pub fn new() -> Box<Self> {
        Box::new(Self {
            dest: pg_sys::DestReceiver {
                receiveSlot: Some(Self::take),
                rStartup: Some(Self::start),
                rShutdown: Some(Self::end),
                rDestroy: Some(Self::end),
                mydest: pg_sys::CommandDest::DestTuplestore,
            },
            store: TupleStore::new(),
            // SAFETY: reads a backend-local variable.
            memory: unsafe { pg_sys::CurrentMemoryContext },
            desc: ptr::null_mut(),
        })
    }

    /// For core's functions; it stays where it is.
    pub fn raw(&mut self) -> *mut pg_sys::DestReceiver {
        (&raw mut *self).cast()
    }

    /// The rows, and a slot for each of them; None if the statement returns none.
    pub fn rows(&mut self) -> Option<(&mut TupleStore, Slot)> {
        if self.desc.is_null() {
            return None;
        }
        // SAFETY: a copy that `start` made in the memory that the receiver was made in, which
        // outlives it and its rows; a row type is registered for it.
        let slot = unsafe { Slot::for_stored(pg_sys::BlessTupleDesc(self.desc)) };
        Some((&mut self.store, slot))
    }

    /// Called by the server before the first row; an ERROR jumps straight out of it.
    unsafe extern "C-unwind" fn start(
        dest: *mut pg_sys::DestReceiver,
        _operation: c_int,
        desc: pg_sys::TupleDesc,
    ) {
        // SAFETY: the receiver that the server was given; nothing is owned here.
        unsafe {
            let this = &mut *dest.cast::<Self>();
            if this.desc.is_null() {
                let caller = pg_sys::MemoryContextSwitchTo(this.memory);
                this.desc = ffi::unguarded::CreateTupleDescCopy(desc);
                pg_sys::MemoryContextSwitchTo(caller);
            }
        }
    }

    /// Called by the server with each row, likewise.
    unsafe extern "C-unwind" fn take(
        row: *mut pg_sys::TupleTableSlot,
        dest: *mut pg_sys::DestReceiver,
    ) -> bool {
        // SAFETY: the receiver that the server was given, which is the first field of this; a
        // row of the statement, which the store copies. Nothing is owned here.
        unsafe {
            let this = &mut *dest.cast::<Self>();
            ffi::unguarded::tuplestore_puttupleslot(this.store.0, row);
        }
        true
    }

    unsafe extern "C-unwind" fn end(_dest: *mut pg_sys::DestReceiver) {}
}

/// One column that rows are sorted by.
#[derive(Clone, Copy, Debug)]
pub struct SortColumn {
    /// From 0.
    pub column: usize,
    /// The type's «less than» operator.
    pub operator: pg_sys::Oid,
    /// The collation it uses, or `InvalidOid`.
    pub collation: pg_sys::Oid,
}

/// Rows that come out sorted; spills to disk beyond `work_mem`.
pub struct TupleSort {
    sort: *mut pg_sys::Tuplesortstate,
    /// That of the rows.
    desc: pg_sys::TupleDesc,
    /// Whether all are in.
    sorted: bool,
}

impl TupleSort {
    /// An empty sort of rows with this descriptor, NULLs last.
    ///
    /// # Safety
    /// As [`Slot::for_values`]; the columns are some of the descriptor's, with operators of
    /// their types.
    pub unsafe fn new(desc: pg_sys::TupleDesc, columns: &[SortColumn]) -> Self {
        let mut numbers: Vec<pg_sys::AttrNumber> = columns
            .iter()
            .map(|c| c.column as pg_sys::AttrNumber + 1)
            .collect();
        let mut operators: Vec<pg_sys::Oid> = columns.iter().map(|c| c.operator).collect();
        let mut collations: Vec<pg_sys::Oid> = columns.iter().map(|c| c.collation).collect();
        let mut nulls_first = vec![false; columns.len()];
        // SAFETY: the caller's promise; the arrays have as many members as there are sort
        // columns, and core copies them.
        let sort = unsafe {
            pg_sys::tuplesort_begin_heap(
                desc,
                columns.len() as c_int,
                numbers.as_mut_ptr(),
                operators.as_mut_ptr(),
                collations.as_mut_ptr(),
                nulls_first.as_mut_ptr(),
                pg_sys::work_mem,
                ptr::null_mut(),
                pg_sys::TUPLESORT_NONE as c_int,
            )
        };
        Self {
            sort,
            desc,
            sorted: false,
        }
    }

    /// Adds the slot's row.
    pub fn put(&mut self, slot: &Slot) {
        // SAFETY: inside the guard nothing is owned.
        unsafe { ffi::guard(|| self.put_unguarded(slot)) };
    }

    /// Adds a copy of the slot's row, as `put` does.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn put_unguarded(&mut self, slot: &Slot) {
        slot.check_row();
        assert!(!self.sorted, "a row is added to a sort that is done");
        // SAFETY: the slot holds a row with the sort's columns, as is checked; the descriptor
        // outlives the sort by the promise to `new`. There is a guard around by the caller's.
        unsafe {
            slot.check_desc(self.desc);
            ffi::unguarded::tuplesort_puttupleslot(self.sort, slot.raw());
        }
    }

    /// All rows are in; from here on they are read.
    pub fn sort(&mut self) {
        assert!(!self.sorted, "a sort is done twice");
        self.sorted = true;
        // SAFETY: a sort that was not yet done, as was checked.
        unsafe { pg_sys::tuplesort_performsort(self.sort) };
    }

    /// The next row in order; false at the end. The row is the slot's own copy.
    pub fn next(&mut self, slot: &mut Slot) -> bool {
        assert!(self.sorted, "a sort is read before it is done");
        // SAFETY: the slot has the columns of the rows and the sort is done, as is checked; the
        // guard holds nothing.
        unsafe {
            slot.check_desc(self.desc);
            ffi::guard(|| {
                slot.fill(|slot| {
                    ffi::unguarded::tuplesort_gettupleslot(
                        self.sort,
                        true,
                        true,
                        slot,
                        ptr::null_mut(),
                    )
                })
            })
        }
    }
}

impl TupleSort {
    /// Puts the rows that are left into a store, in order.
    pub fn drain(&mut self, store: &mut TupleStore) {
        const AT_ONCE: usize = 1024;
        assert!(self.sorted, "a sort is read before it is done");
        // SAFETY: the descriptor outlives the sort, and so this slot, by the promise to `new`.
        let slot = unsafe { Slot::for_stored(self.desc) };
        let mut more = true;
        while more {
            pgrx::check_for_interrupts!();
            // SAFETY: the slot has the descriptor of the rows, and a row of the sort's
            // is read before the next one is asked for; the guard holds nothing.
            more = unsafe {
                ffi::guard(|| {
                    (0..AT_ONCE).all(|_| {
                        let some = ffi::unguarded::tuplesort_gettupleslot(
                            self.sort,
                            true,
                            false,
                            slot.raw(),
                            ptr::null_mut(),
                        );
                        if some {
                            ffi::unguarded::tuplestore_puttupleslot(store.0, slot.raw());
                        }
                        some
                    })
                })
            };
        }
    }
}

impl Drop for TupleSort {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made by tuplesort_begin_heap, and ended once.
            unsafe { pg_sys::tuplesort_end(self.sort) };
        }
    }
}

/// A store that SQL run through SPI sees as a table.
pub struct EphemeralRelation {
    enr: Box<pg_sys::EphemeralNamedRelationData>,
}

impl EphemeralRelation {
    /// Registers the store with the current SPI connection until dropped.
    ///
    /// # Safety
    /// The rows of the store have this descriptor, and both outlive what is returned.
    pub unsafe fn register(
        name: &'static CStr,
        store: &TupleStore,
        desc: pg_sys::TupleDesc,
    ) -> Self {
        let mut enr = Box::new(pg_sys::EphemeralNamedRelationData {
            md: pg_sys::EphemeralNamedRelationMetadataData {
                name: name.as_ptr().cast_mut(),
                reliddesc: pg_sys::InvalidOid,
                tupdesc: desc,
                enrtype: pg_sys::EphemeralNameRelationType::ENR_NAMED_TUPLESTORE,
                enrtuples: store.len() as f64,
            },
            reldata: store.raw().cast(),
        });
        // SAFETY: the caller's promise; the box does not move its content, and is unregistered
        // before it is freed (after an error the connection is gone).
        let code = unsafe { pg_sys::SPI_register_relation(&raw mut *enr) };
        assert_eq!(code, pg_sys::SPI_OK_REL_REGISTER as c_int);
        Self { enr }
    }
}

impl Drop for EphemeralRelation {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: `register` has registered it under this name, which is a constant; a
            // connection that is gone by now has forgotten it, and then nothing is found.
            unsafe { pg_sys::SPI_unregister_relation(self.enr.md.name) };
        }
    }
}
