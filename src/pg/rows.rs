//! Rows in core's own containers: slots, tuplestores, tuplesorts.
use super::{ffi, unwinding};
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};
use std::ptr;

/// A slot that is dropped with its owner.
pub struct Slot(*mut pg_sys::TupleTableSlot);

impl Slot {
    /// A slot for values that are set column by column.
    pub fn for_values(desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: a descriptor that outlives the slot.
        Self(unsafe { pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsVirtual) })
    }

    /// A slot for rows that come out of a store or a sort.
    pub fn for_stored(desc: pg_sys::TupleDesc) -> Self {
        // SAFETY: as above.
        Self(unsafe {
            pg_sys::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsMinimalTuple)
        })
    }

    /// A cleared slot for values of the same descriptor.
    pub fn to_empty(&self) -> Self {
        // SAFETY: a live slot.
        let mut empty = Self::for_values(unsafe { (*self.0).tts_tupleDescriptor });
        empty.clear();
        empty
    }

    /// A copy of the row that owns its memory, with an equal descriptor that outlives
    /// this one's.
    pub fn to_stored_with(&self, desc: pg_sys::TupleDesc) -> Self {
        let copy = Self::for_stored(desc);
        // SAFETY: the slot holds a row; the descriptors are equal.
        unsafe { pg_sys::ExecCopySlot(copy.raw(), self.0) };
        copy
    }

    /// A copy of the row that owns its memory.
    pub fn to_stored(&self) -> Self {
        // SAFETY: the slot holds a row; the copy has the same descriptor.
        unsafe {
            let copy = Self::for_stored((*self.0).tts_tupleDescriptor);
            pg_sys::ExecCopySlot(copy.raw(), self.0);
            copy
        }
    }

    /// For core's functions.
    pub fn raw(&self) -> *mut pg_sys::TupleTableSlot {
        self.0
    }

    /// Sets every column of a slot for values to NULL, ready to be filled
    /// through [`Slot::set`]; then [`Slot::store`].
    pub fn clear(&mut self) {
        // SAFETY: the arrays have `natts` members (made by MakeTupleTableSlot).
        unsafe {
            let natts = (*(*self.0).tts_tupleDescriptor).natts as usize;
            ptr::write_bytes((*self.0).tts_values, 0, natts);
            std::slice::from_raw_parts_mut((*self.0).tts_isnull, natts).fill(true);
        }
    }

    /// Sets column `i` (from 0) of a cleared slot.
    pub fn set(&mut self, i: usize, value: Option<pg_sys::Datum>) {
        // SAFETY: `i` is a column of the descriptor.
        unsafe {
            debug_assert!((i as c_int) < (*(*self.0).tts_tupleDescriptor).natts);
            *(*self.0).tts_values.add(i) = value.unwrap_or(pg_sys::Datum::null());
            *(*self.0).tts_isnull.add(i) = value.is_none();
        }
    }

    /// Sets every column of a slot for values as another of the same descriptor has it,
    /// without a copy of what the values point to; then [`Slot::store`].
    pub fn set_all_of(&mut self, row: &Slot) {
        // SAFETY: the arrays of both have `natts` members.
        unsafe {
            let natts = (*(*self.0).tts_tupleDescriptor).natts as usize;
            ptr::copy_nonoverlapping((*row.0).tts_values, (*self.0).tts_values, natts);
            ptr::copy_nonoverlapping((*row.0).tts_isnull, (*self.0).tts_isnull, natts);
        }
    }

    /// Marks the values that were set as the slot's row, as
    /// ExecStoreVirtualTuple does; a slot for values never owns a tuple that
    /// would have to be freed first.
    pub fn store(&mut self) {
        // SAFETY: a live slot.
        unsafe {
            (*self.0).tts_flags &= !(pg_sys::TTS_FLAG_EMPTY as u16);
            (*self.0).tts_nvalid = (*(*self.0).tts_tupleDescriptor).natts as pg_sys::AttrNumber;
        }
    }

    /// Makes all columns readable through [`Slot::get`]. What comes out of a
    /// store or a sort is already.
    pub fn deform(&self) {
        // SAFETY: the slot holds a row.
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
    pub fn get(&self, i: usize) -> Option<pg_sys::Datum> {
        // SAFETY: `i` is a column, and its value was set.
        unsafe {
            debug_assert!(i < (*self.0).tts_nvalid as usize);
            if *(*self.0).tts_isnull.add(i) {
                None
            } else {
                Some(*(*self.0).tts_values.add(i))
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: ours.
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
        // SAFETY: the slot holds a row.
        unsafe { pg_sys::tuplestore_puttupleslot(self.0, slot.raw()) };
    }

    /// Adds a copy of the slot's row, as `put` does.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn put_unguarded(&mut self, slot: &Slot) {
        // SAFETY: the slot holds a row.
        unsafe { ffi::unguarded::tuplestore_puttupleslot(self.0, slot.raw()) };
    }

    /// The next row, from the first; false at the end. The row is the slot's
    /// own copy.
    pub fn next(&mut self, slot: &mut Slot) -> bool {
        // SAFETY: the slot has the descriptor of the rows; the guard holds
        // nothing.
        unsafe {
            ffi::guard(|| {
                slot.fill(|slot| ffi::unguarded::tuplestore_gettupleslot(self.0, true, true, slot))
            })
        }
    }

    /// Reads from the first row again.
    pub fn rewind(&mut self) {
        // SAFETY: stores are made with the right to rewind.
        unsafe { pg_sys::tuplestore_rescan(self.0) };
    }

    /// How many rows it holds.
    pub fn len(&self) -> u64 {
        // SAFETY: a live store.
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
            // SAFETY: ours.
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
        // SAFETY: a copy of ours, which a row type is registered for.
        let desc = unsafe { pg_sys::BlessTupleDesc(self.desc) };
        Some((&mut self.store, Slot::for_stored(desc)))
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
        // SAFETY: as above; the store copies the row.
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
pub struct TupleSort(*mut pg_sys::Tuplesortstate);

impl TupleSort {
    /// An empty sort of rows with this descriptor, NULLs last.
    pub fn new(desc: pg_sys::TupleDesc, columns: &[SortColumn]) -> Self {
        let mut numbers: Vec<pg_sys::AttrNumber> = columns
            .iter()
            .map(|c| c.column as pg_sys::AttrNumber + 1)
            .collect();
        let mut operators: Vec<pg_sys::Oid> = columns.iter().map(|c| c.operator).collect();
        let mut collations: Vec<pg_sys::Oid> = columns.iter().map(|c| c.collation).collect();
        let mut nulls_first = vec![false; columns.len()];
        // SAFETY: the arrays have as many members as there are sort columns;
        // core copies them.
        Self(unsafe {
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
        })
    }

    /// Adds the slot's row.
    pub fn put(&mut self, slot: &Slot) {
        // SAFETY: the guard holds nothing.
        unsafe { ffi::guard(|| self.put_unguarded(slot)) };
    }

    /// Adds a copy of the slot's row, as `put` does.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn put_unguarded(&mut self, slot: &Slot) {
        // SAFETY: the slot holds a row of the sort's descriptor.
        unsafe { ffi::unguarded::tuplesort_puttupleslot(self.0, slot.raw()) };
    }

    /// All rows are in; from here on they are read.
    pub fn sort(&mut self) {
        // SAFETY: called once, before the first `next`.
        unsafe { pg_sys::tuplesort_performsort(self.0) };
    }

    /// The next row in order; false at the end. The row is the slot's own copy.
    pub fn next(&mut self, slot: &mut Slot) -> bool {
        // SAFETY: the slot has the descriptor of the rows; the guard holds
        // nothing.
        unsafe {
            ffi::guard(|| {
                slot.fill(|slot| {
                    ffi::unguarded::tuplesort_gettupleslot(
                        self.0,
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
    pub fn drain(&mut self, store: &mut TupleStore, desc: pg_sys::TupleDesc) {
        const AT_ONCE: usize = 1024;
        let slot = Slot::for_stored(desc);
        let mut more = true;
        while more {
            pgrx::check_for_interrupts!();
            // SAFETY: the slot has the descriptor of the rows, and a row of the sort's
            // is read before the next one is asked for; the guard holds nothing.
            more = unsafe {
                ffi::guard(|| {
                    (0..AT_ONCE).all(|_| {
                        let some = ffi::unguarded::tuplesort_gettupleslot(
                            self.0,
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
            // SAFETY: ours.
            unsafe { pg_sys::tuplesort_end(self.0) };
        }
    }
}

/// A store that SQL run through SPI sees as a table.
pub struct EphemeralRelation {
    enr: Box<pg_sys::EphemeralNamedRelationData>,
}

impl EphemeralRelation {
    /// Registers the store with the current SPI connection until dropped.
    /// Descriptor and store must outlive that.
    pub fn register(name: &'static CStr, store: &TupleStore, desc: pg_sys::TupleDesc) -> Self {
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
        // SAFETY: the box does not move its content, and is unregistered
        // before it is freed (after an error the connection is gone).
        let code = unsafe { pg_sys::SPI_register_relation(&raw mut *enr) };
        assert_eq!(code, pg_sys::SPI_OK_REL_REGISTER as c_int);
        Self { enr }
    }
}

impl Drop for EphemeralRelation {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: registered by us under this name.
            unsafe { pg_sys::SPI_unregister_relation(self.enr.md.name) };
        }
    }
}
