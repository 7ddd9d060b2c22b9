//! Rows in core's own containers: tuplestores, which SQL can read as tables, and tuplesorts.
//! Each knows the descriptor of its rows.
pub use super::slot::{NewRow, RowBuilder, RowColumn, RowDesc, Slot};

use super::{ffi, unwinding};
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::{mem, ptr};

/// Rows kept in the order in which they came; spills to disk beyond `work_mem`.
pub struct TupleStore {
    store: *mut pg_sys::Tuplestorestate,
    /// That of the rows.
    desc: RowDesc,
    /// The read pointer for rows that are only shown.
    peeking: Option<c_int>,
}

impl TupleStore {
    /// An empty store of rows with this descriptor.
    pub fn new(desc: &RowDesc) -> Self {
        Self::begin(desc, false)
    }

    /// An empty store that outlives commits, all of whose rows come before the first of
    /// them. No abort removes its files: it has to be dropped, by its owner, after any
    /// error was caught.
    pub fn across_commits(desc: &RowDesc) -> Self {
        Self::begin(desc, true)
    }

    fn begin(desc: &RowDesc, across_commits: bool) -> Self {
        Self {
            store: begin_store(across_commits),
            desc: desc.clone(),
            peeking: None,
        }
    }

    /// Appends the slot's row.
    pub fn put(&mut self, slot: &Slot) {
        slot.check_row();
        self.desc.check_same(slot.desc());
        // SAFETY: the slot holds a row with the store's columns, as was checked, of which the
        // store makes a copy.
        unsafe { pg_sys::tuplestore_puttupleslot(self.store, slot.raw()) };
    }

    /// Adds a copy of the slot's row, as `put` does.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn put_unguarded(&mut self, slot: &Slot) {
        slot.check_row();
        self.desc.check_same(slot.desc());
        // SAFETY: the slot holds a row with the store's columns, as was checked; there is a guard
        // around by the caller's promise.
        unsafe { ffi::unguarded::tuplestore_puttupleslot(self.store, slot.raw()) };
    }

    /// The next row, from the first; false at the end. The row is the slot's
    /// own copy.
    ///
    /// # Panics
    /// If the slot has other columns than the rows.
    pub fn next(&mut self, slot: &mut Slot) -> bool {
        self.desc.check_same(slot.desc());
        // SAFETY: the slot has the columns of the rows, as was checked; one for values is refused
        // by the server. The guard holds nothing.
        unsafe {
            ffi::guard(|| {
                slot.fill(|slot| {
                    ffi::unguarded::tuplestore_gettupleslot(self.store, true, true, slot)
                })
            })
        }
    }

    /// Hands over the rows from the next one on. It can be cancelled before each.
    ///
    /// # Errors
    /// 57014, and what `take` raises.
    pub fn each(&mut self, mut take: impl FnMut(&Slot)) {
        let mut row = Slot::for_stored(&self.desc);
        while self.next(&mut row) {
            pgrx::check_for_interrupts!();
            take(&row);
        }
    }

    /// Shows the rows that are read next, as long as `take` takes them, and says how many it has taken. They
    /// are still to be read.
    pub fn peek(&mut self, mut take: impl FnMut(&Slot) -> bool) -> u64 {
        let pointer = *self.peeking.get_or_insert_with(|| {
            // SAFETY: the store lives until we are dropped; the new pointer asks for nothing that the
            // first one does not.
            unsafe { pg_sys::tuplestore_alloc_read_pointer(self.store, 0) }
        });
        // SAFETY: both pointers are the store's.
        unsafe {
            pg_sys::tuplestore_copy_read_pointer(self.store, 0, pointer);
            pg_sys::tuplestore_select_read_pointer(self.store, pointer);
        }
        let mut row = Slot::for_stored(&self.desc);
        let mut taken = 0;
        while self.next(&mut row) && take(&row) {
            pgrx::check_for_interrupts!();
            taken += 1;
        }
        // SAFETY: the first pointer, which every store has.
        unsafe { pg_sys::tuplestore_select_read_pointer(self.store, 0) };
        taken
    }

    /// Reads from the first row again.
    pub fn rewind(&mut self) {
        // SAFETY: the store lives until we are dropped; stores are begun without flags of their
        // own, which lets them be read again.
        unsafe { pg_sys::tuplestore_rescan(self.store) };
    }

    /// How many rows it holds.
    pub fn len(&self) -> u64 {
        // SAFETY: the store lives until we are dropped.
        unsafe { pg_sys::tuplestore_tuple_count(self.store) as u64 }
    }

    /// The descriptor of its rows.
    pub fn desc(&self) -> &RowDesc {
        &self.desc
    }

    /// For core's functions.
    pub fn raw(&self) -> *mut pg_sys::Tuplestorestate {
        self.store
    }

    /// Runs `work` while SQL that the current SPI connection runs sees the store as a table of
    /// this name.
    ///
    /// # Panics
    /// If `work` leaves another connection open.
    pub fn as_table<R>(&self, name: &'static CStr, work: impl FnOnce() -> R) -> R {
        let _named = EphemeralRelation::register(name, self);
        work()
    }
}

impl Drop for TupleStore {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made by tuplestore_begin_heap, and ended once.
            unsafe { pg_sys::tuplestore_end(self.store) };
        }
    }
}

fn begin_store(across_commits: bool) -> *mut pg_sys::Tuplestorestate {
    // SAFETY: allocates in the current context, which outlives commits where the store does.
    unsafe { pg_sys::tuplestore_begin_heap(false, across_commits, pg_sys::work_mem) }
}

/// A store that SQL run through SPI sees as a table.
struct EphemeralRelation<'s> {
    enr: Box<pg_sys::EphemeralNamedRelationData>,
    store: PhantomData<&'s TupleStore>,
}

impl<'s> EphemeralRelation<'s> {
    /// Registers the store with the current SPI connection until dropped.
    fn register(name: &'static CStr, store: &'s TupleStore) -> Self {
        let mut enr = Box::new(pg_sys::EphemeralNamedRelationData {
            md: pg_sys::EphemeralNamedRelationMetadataData {
                name: name.as_ptr().cast_mut(),
                reliddesc: pg_sys::InvalidOid,
                tupdesc: store.desc.raw(),
                enrtype: pg_sys::EphemeralNameRelationType::ENR_NAMED_TUPLESTORE,
                enrtuples: store.len() as f64,
            },
            reldata: store.store.cast(),
        });
        // SAFETY: the rows have this descriptor, and the store is borrowed with it. The box does
        // not move its content, and is unregistered before it is freed (after an error the
        // connection is gone).
        let code = unsafe { pg_sys::SPI_register_relation(&raw mut *enr) };
        assert_eq!(code, pg_sys::SPI_OK_REL_REGISTER as c_int);
        Self {
            enr,
            store: PhantomData,
        }
    }
}

impl Drop for EphemeralRelation<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: `register` has registered it under this name, which is a constant.
            let code = unsafe { pg_sys::SPI_unregister_relation(self.enr.md.name) };
            assert_eq!(code, pg_sys::SPI_OK_REL_UNREGISTER as c_int);
        }
    }
}

/// Receives the rows of any statement, whatever their columns, into a store.
#[repr(C)]
pub struct ReceivedRows {
    /// First, so that a pointer to it is a pointer to this.
    dest: pg_sys::DestReceiver,
    store: *mut pg_sys::Tuplestorestate,
    /// That of the rows; None if the statement returns none.
    desc: Option<RowDesc>,
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
            store: begin_store(false),
            desc: None,
        })
    }

    /// For core's functions; it stays where it is.
    pub fn raw(&mut self) -> *mut pg_sys::DestReceiver {
        (&raw mut *self).cast()
    }

    /// The rows, whose type is registered; None if the statement returns none.
    pub fn into_rows(mut self) -> Option<TupleStore> {
        let desc = self.desc.take()?;
        desc.bless();
        let store = mem::replace(&mut self.store, ptr::null_mut());
        Some(TupleStore {
            store,
            desc,
            peeking: None,
        })
    }

    /// Called by the server before the first row; an ERROR jumps straight out of it.
    unsafe extern "C-unwind" fn start(
        dest: *mut pg_sys::DestReceiver,
        _operation: c_int,
        desc: pg_sys::TupleDesc,
    ) {
        // SAFETY: the receiver that the server was given; what is made belongs to it at once.
        unsafe {
            let this = &mut *dest.cast::<Self>();
            if this.desc.is_none() {
                this.desc = Some(RowDesc::copy_unguarded(desc));
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
            ffi::unguarded::tuplestore_puttupleslot(this.store, row);
        }
        true
    }

    unsafe extern "C-unwind" fn end(_dest: *mut pg_sys::DestReceiver) {}
}

impl Drop for ReceivedRows {
    fn drop(&mut self) {
        if !self.store.is_null() && !unwinding() {
            // SAFETY: made by tuplestore_begin_heap, and not handed on.
            unsafe { pg_sys::tuplestore_end(self.store) };
        }
    }
}

/// How the values of a type are ordered.
#[derive(Clone, Copy, Debug)]
pub struct TypeOrder {
    typid: pg_sys::Oid,
    /// Its «less than» operator.
    operator: pg_sys::Oid,
    /// The collation it uses, or `InvalidOid`.
    collation: pg_sys::Oid,
}

impl TypeOrder {
    /// By a «less than» operator, under a collation or `InvalidOid`.
    ///
    /// # Panics
    /// If the operator does not take two values of the type.
    pub fn new(typid: pg_sys::Oid, operator: pg_sys::Oid, collation: pg_sys::Oid) -> Self {
        let (mut left, mut right) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: look-ups by number; an operator that does not exist is an ERROR.
        let fits = unsafe {
            pg_sys::op_input_types(operator, &raw mut left, &raw mut right);
            left == right && pg_sys::IsBinaryCoercible(typid, left)
        };
        assert!(
            fits,
            "an operator does not take the values that it is to order"
        );
        Self {
            typid,
            operator,
            collation,
        }
    }

    /// That of bigint.
    pub fn of_bigint() -> Self {
        /// «Less than» (`pg_operator.dat`).
        const INT8_LESS_THAN: u32 = 412;
        Self {
            typid: pg_sys::INT8OID,
            operator: pg_sys::Oid::from(INT8_LESS_THAN),
            collation: pg_sys::InvalidOid,
        }
    }
}

/// One column that rows are sorted by.
#[derive(Clone, Copy, Debug)]
pub struct SortColumn {
    /// From 0.
    pub column: usize,
    /// Of the type that it has.
    pub order: TypeOrder,
}

/// Rows that come out sorted; spills to disk beyond `work_mem`.
pub struct TupleSort {
    sort: *mut pg_sys::Tuplesortstate,
    /// That of the rows.
    desc: RowDesc,
    /// Whether all are in.
    sorted: bool,
}

impl TupleSort {
    /// An empty sort of rows with this descriptor, NULLs last.
    ///
    /// # Panics
    /// If it has no such columns, or they are of other types.
    pub fn new(desc: &RowDesc, columns: &[SortColumn]) -> Self {
        assert!(
            columns
                .iter()
                .all(|c| desc.types()[c.column] == c.order.typid),
            "a column is sorted by the order of another type"
        );
        let mut numbers: Vec<pg_sys::AttrNumber> = columns
            .iter()
            .map(|c| c.column as pg_sys::AttrNumber + 1)
            .collect();
        let mut operators: Vec<pg_sys::Oid> = columns.iter().map(|c| c.order.operator).collect();
        let mut collations: Vec<pg_sys::Oid> = columns.iter().map(|c| c.order.collation).collect();
        let mut nulls_first = vec![false; columns.len()];
        // SAFETY: columns of the descriptor, which lives as long as the sort, and operators of their
        // types. The arrays have as many members as there are sort columns, and core copies them.
        let sort = unsafe {
            pg_sys::tuplesort_begin_heap(
                desc.raw(),
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
            desc: desc.clone(),
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
        self.desc.check_same(slot.desc());
        // SAFETY: the slot holds a row with the sort's columns, as was checked. There is a guard
        // around by the caller's promise.
        unsafe { ffi::unguarded::tuplesort_puttupleslot(self.sort, slot.raw()) };
    }

    /// The descriptor of its rows.
    pub fn desc(&self) -> &RowDesc {
        &self.desc
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
        self.desc.check_same(slot.desc());
        // SAFETY: the slot has the columns of the rows and the sort is done, as was checked; the
        // guard holds nothing.
        unsafe {
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

    /// Puts the rows that are left into a store, in order.
    pub fn drain(&mut self, store: &mut TupleStore) {
        const AT_ONCE: usize = 1024;
        assert!(self.sorted, "a sort is read before it is done");
        self.desc.check_same(&store.desc);
        let slot = Slot::for_stored(&self.desc);
        let mut more = true;
        while more {
            pgrx::check_for_interrupts!();
            // SAFETY: slot and store have the columns of the rows, and a row of the sort's
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
                            ffi::unguarded::tuplestore_puttupleslot(store.store, slot.raw());
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
