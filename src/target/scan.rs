//! One scan of a unique index with the rows it points to.
use super::{KeyColumn, OpenRelation, StoredRow, UniqueIndex};
use crate::pg::heap::HeapRow;
use crate::pg::memory::Memory;
use crate::pg::schedule::wait_at;
use crate::pg::transaction::snapshot::{DirtySnapshot, Writers};
use crate::pg::value::sql_value::SqlValue;
use crate::pg::{ffi, unwinding};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

/// An index scan of a table, and the row that it is at.
///
/// It keeps what it reads: the table open (the index is kept by the server's own scan), and the
/// snapshot.
pub struct Scan {
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    /// The memory that it was begun in: there it keeps what it allocates as it goes.
    memory: pg_sys::MemoryContext,
    keys: Vec<pg_sys::ScanKeyData>,
    /// The arbiter's key columns, which the scan keys are made of.
    parts: Vec<KeyColumn>,
    /// Where an ordered scan has the copy of the key that it started at; None for a scan that
    /// finds one key at a time.
    start: Option<Memory>,
    /// How many columns of a row are deformed.
    columns: c_int,
    state: ScanState,
    /// Whether the last look for a key met an entry in the index, be its row
    /// visible or not.
    saw_entry: bool,
    /// Whether the slot holds the row that was found last.
    at_row: bool,
    snapshot: ScanSnapshot,
    /// Closed last.
    table: OpenRelation,
}

/// A transaction that writes a row, to be waited for.
#[derive(Clone, Copy)]
pub struct Writer {
    transaction: pg_sys::TransactionId,
    /// Not 0: only until it has made up its mind about a speculative insertion.
    token: u32,
    tuple: pg_sys::ItemPointerData,
}

/// What a scan reads under.
enum ScanSnapshot {
    /// The one that was active when the scan began; it is given back.
    Registered(pg_sys::Snapshot),
    Dirty(DirtySnapshot),
}

/// Where a scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ScanState {
    /// It was given no keys yet.
    New,
    /// It has keys, and is before, at or behind a row.
    Running,
    /// It is at its start, without a row or a page in hand.
    Paused,
}

impl Scan {
    /// A scan that finds one key at a time, under the active snapshot.
    pub fn by_equality(table: &OpenRelation, index: &OpenRelation, arbiter: &UniqueIndex) -> Self {
        let snapshot = ScanSnapshot::registered();
        Self::by_equality_under(table, index, arbiter, snapshot)
    }

    /// A scan that finds one key at a time, and sees rows of transactions in progress, too; whose
    /// they are is [`Scan::writers`].
    pub fn by_equality_dirty(
        table: &OpenRelation,
        index: &OpenRelation,
        arbiter: &UniqueIndex,
    ) -> Self {
        let snapshot = ScanSnapshot::Dirty(DirtySnapshot::new());
        Self::by_equality_under(table, index, arbiter, snapshot)
    }

    fn by_equality_under(
        table: &OpenRelation,
        index: &OpenRelation,
        arbiter: &UniqueIndex,
        snapshot: ScanSnapshot,
    ) -> Self {
        let keys = arbiter.keys.iter().enumerate().map(|(i, key)| {
            let mut scan_key = pg_sys::ScanKeyData::default();
            // SAFETY: the arbiter's look-up is copied into the current context, which is
            // that of the scan: to look an operator of a type of SQL's up takes longer than
            // to find a row.
            unsafe {
                pg_sys::ScanKeyEntryInitializeWithInfo(
                    &raw mut scan_key,
                    0,
                    i as pg_sys::AttrNumber + 1,
                    pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                    pg_sys::InvalidOid,
                    key.operators.collation,
                    key.operators.equality(),
                    pg_sys::Datum::null(),
                );
            }
            scan_key
        });
        let count = arbiter.keys.len() as c_int;
        // SAFETY: there are as many scan keys as are counted.
        unsafe { Self::begin(table, index, arbiter, keys.collect(), count, snapshot) }
    }

    /// A scan that starts at a key and goes on in the index's order. A key of
    /// several columns is a row comparison: its scan keys follow a header, which
    /// [`Scan::start_at`] points at them.
    pub fn from_key(table: &OpenRelation, index: &OpenRelation, arbiter: &UniqueIndex) -> Self {
        let strategy = pg_sys::BTGreaterEqualStrategyNumber;
        let keys = if let [key] = arbiter.keys.as_slice() {
            vec![scan_key(
                0,
                key.operators.collation,
                strategy,
                key.operators.greater_equal_function,
            )]
        } else {
            let header = pg_sys::ScanKeyData {
                sk_flags: pg_sys::SK_ROW_HEADER as c_int,
                sk_attno: 1,
                sk_strategy: strategy as pg_sys::StrategyNumber,
                ..Default::default()
            };
            let members = arbiter.keys.iter().enumerate();
            let members = members.map(|(i, key)| {
                let by = &key.operators;
                scan_key(i, by.collation, strategy, by.order_function)
            });
            std::iter::once(header).chain(members).collect()
        };
        let snapshot = ScanSnapshot::registered();
        // SAFETY: there is one scan key: the members of a row comparison are counted with their
        // header.
        let mut scan = unsafe { Self::begin(table, index, arbiter, keys, 1, snapshot) };
        scan.start = Some(Memory::in_current(c"pg_idempotent walk"));
        scan
    }

    /// # Safety
    /// The keys are the arbiter's, with a header before several that count as one.
    unsafe fn begin(
        table: &OpenRelation,
        index: &OpenRelation,
        arbiter: &UniqueIndex,
        keys: Vec<pg_sys::ScanKeyData>,
        count: c_int,
        snapshot: ScanSnapshot,
    ) -> Self {
        // SAFETY: an open relation; one that is no index has no form of an index.
        let form = unsafe { (*index.raw()).rd_index.as_ref() };
        let fits = form.is_some_and(|form| {
            form.indrelid == table.oid() && form.indnkeyatts as usize == arbiter.keys.len()
        });
        assert!(
            fits,
            "the index is one of the table, with the arbiter's keys"
        );
        // SAFETY: both are open, and belong together as was checked; the snapshot is kept with
        // the scan.
        unsafe {
            #[cfg(feature = "pg18")]
            let scan = pg_sys::index_beginscan(
                table.raw(),
                index.raw(),
                snapshot.raw(),
                ptr::null_mut(),
                count,
                0,
            );
            #[cfg(not(feature = "pg18"))]
            let scan = pg_sys::index_beginscan(table.raw(), index.raw(), snapshot.raw(), count, 0);
            let slot = pg_sys::table_slot_create(table.raw(), ptr::null_mut());
            Self {
                scan,
                slot,
                memory: pg_sys::CurrentMemoryContext,
                keys,
                parts: arbiter.keys.clone(),
                start: None,
                columns: (*(*slot).tts_tupleDescriptor).natts,
                state: ScanState::New,
                saw_entry: false,
                snapshot,
                at_row: false,
                table: table.reopen(),
            }
        }
    }

    /// Rows are left as they come: the reader of a column deforms it.
    pub fn skip_deforming(&mut self) {
        self.columns = 0;
    }

    /// Finds the row under a key, whose values `key` gives by position. NULLs are looked for as
    /// such.
    ///
    /// # Panics
    /// If a value is of another type than the index has for its column.
    pub fn find<'v>(&mut self, key: impl Fn(usize) -> SqlValue<'v>) -> bool {
        assert!(self.start.is_none(), "an ordered scan has a start");
        for (place, part) in self.parts.iter().enumerate() {
            set_argument(&mut self.keys[place], part.datum_of(key(part.column)));
        }
        // SAFETY: the key is set, and the guard holds nothing.
        unsafe { ffi::guard(|| self.find_key_unguarded()) }
    }

    /// Finds the row under a key, as [`Scan::find`] does.
    ///
    /// # Safety
    /// The scan is one by equality, and `key` gives values of its columns. Runs inside
    /// `ffi::guard`, which `key` keeps to.
    #[inline]
    pub unsafe fn find_unguarded(&mut self, key: impl Fn(usize) -> Option<pg_sys::Datum>) -> bool {
        for (scan_key, part) in self.keys.iter_mut().zip(&self.parts) {
            set_argument(scan_key, key(part.column));
        }
        // SAFETY: the key is set; the caller's promise.
        unsafe { self.find_key_unguarded() }
    }

    /// Finds the row under the key that is set.
    ///
    /// # Safety
    /// The key is set. Runs inside `ffi::guard`.
    #[inline]
    unsafe fn find_key_unguarded(&mut self) -> bool {
        let count = self.keys.len() as c_int;
        // SAFETY: the scan is open and has this many keys, which it reads when it
        // is asked for its first row.
        unsafe {
            self.in_its_memory(|scan| {
                if scan.state == ScanState::Paused {
                    let keys = (*scan.scan).keyData;
                    keys.copy_from_nonoverlapping(scan.keys.as_ptr(), scan.keys.len());
                    scan.state = ScanState::Running;
                } else {
                    scan.rescan(count);
                }
                scan.saw_entry = false;
                scan.next_unguarded()
            })
        }
    }

    /// Runs `work` in the memory that the scan was begun in.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    #[inline(always)]
    unsafe fn in_its_memory<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        // SAFETY: the memory is there as long as the scan. An ERROR that passes by is one of the
        // call, whose end resets the current memory.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(self.memory);
            let result = work(self);
            pg_sys::MemoryContextSwitchTo(caller);
            result
        }
    }

    /// Whether the last [`Scan::find`] met an entry in the index, be its row
    /// visible or not.
    pub fn saw_entry(&self) -> bool {
        self.saw_entry
    }

    /// Lets go of the row at hand and of the pages that it was found through: a
    /// scan that rests must not be in VACUUM's way.
    pub fn pause(&mut self) {
        if self.state == ScanState::Running {
            // SAFETY: a key was looked for; the guard holds nothing.
            unsafe { ffi::guard(|| self.pause_unguarded()) };
        }
    }

    /// Lets go, as [`Scan::pause`] does.
    ///
    /// # Safety
    /// A key was looked for. Runs inside `ffi::guard`.
    pub unsafe fn pause_unguarded(&mut self) {
        // SAFETY: the scan is open; given none, it keeps the keys that it has, if it is
        // told how many those are.
        unsafe {
            if let Some(clear) = (*(*self.slot).tts_ops).clear {
                clear(self.slot);
            }
            let count = (*self.scan).numberOfKeys;
            ffi::unguarded::index_rescan(self.scan, ptr::null_mut(), count, ptr::null_mut(), 0);
        }
        self.state = ScanState::Paused;
        self.at_row = false;
    }

    /// Starts at this key, which has no NULL, or the first one behind it. False
    /// if there is none. The scan goes on to compare with a copy of the key, which it keeps
    /// until it starts again.
    ///
    /// It is for scans made by [`Scan::from_key`].
    ///
    /// # Panics
    /// If a value is NULL, or of another type than the index has for its column.
    pub fn start_at<'v>(&mut self, key: impl Fn(usize) -> SqlValue<'v>) -> bool {
        let copies = self.start.as_mut().expect("an ordered scan");
        copies.reset();
        let first = usize::from(self.parts.len() > 1);
        let last = self.keys.len() - 1;
        for (i, (scan_key, part)) in self
            .keys
            .iter_mut()
            .skip(first)
            .zip(&self.parts)
            .enumerate()
        {
            let value = part.datum_of(key(part.column));
            let value = value.expect("the key has no NULL");
            let (by_value, length) = part.storage;
            // SAFETY: a non-null value of this storage; the guard holds nothing.
            scan_key.sk_argument = copies.scope(|| unsafe {
                ffi::guard(|| ffi::unguarded::datumCopy(value, by_value, length.into()))
            });
            if first == 1 {
                // Core changes the flags of row members with every start.
                let end = if i + first == last {
                    pg_sys::SK_ROW_END
                } else {
                    0
                };
                scan_key.sk_flags = (pg_sys::SK_ROW_MEMBER | end) as c_int;
            }
        }
        if first == 1 {
            self.keys[0].sk_argument = pg_sys::Datum::from(&raw const self.keys[1]);
        }
        // SAFETY: the scan was begun with one key, which may be a header; that points at
        // members in the same vector, which does not grow any more. The guard holds nothing.
        unsafe {
            ffi::guard(|| {
                self.in_its_memory(|scan| {
                    scan.rescan(1);
                    scan.next_unguarded()
                })
            })
        }
    }

    /// Goes on to the next row; false at the end, or if it was not started. A scan by equality goes on
    /// to compare with the values of the key that it was given, which are there still.
    pub fn next(&mut self) -> bool {
        if self.state != ScanState::Running {
            return false;
        }
        // SAFETY: the scan has its keys; the guard holds nothing.
        unsafe { ffi::guard(|| self.in_its_memory(|scan| scan.next_unguarded())) }
    }

    /// # Safety
    /// The scan was begun with this many keys. Runs inside `ffi::guard`.
    unsafe fn rescan(&mut self, count: c_int) {
        // SAFETY: the caller's promise; core copies the keys.
        unsafe {
            ffi::unguarded::index_rescan(
                self.scan,
                self.keys.as_mut_ptr(),
                count,
                ptr::null_mut(),
                0,
            );
        }
        self.state = ScanState::Running;
    }

    /// The next row, deformed whole, so that columns are read without calls.
    ///
    /// # Safety
    /// The scan has its keys. Runs inside `ffi::guard`.
    unsafe fn next_unguarded(&mut self) -> bool {
        // SAFETY: the scan is open, and the slot fits the table.
        unsafe {
            // As index_getnext_slot.
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            let mut found = false;
            while !found {
                if !(*self.scan).xs_heap_continue {
                    if ffi::unguarded::index_getnext_tid(self.scan, forward).is_null() {
                        break;
                    }
                    self.saw_entry = true;
                    if matches!(self.snapshot, ScanSnapshot::Dirty(_)) {
                        wait_at!("scan: entry");
                    }
                }
                found = ffi::unguarded::index_fetch_heap(self.scan, self.slot);
            }
            if found {
                ffi::slot_getsomeattrs_unguarded(self.slot, self.columns);
            }
            self.at_row = found;
            found
        }
    }

    /// The row at hand; `numbers` says where the target's columns are. None if there is none.
    pub fn row<'s>(&'s self, numbers: &'s [pg_sys::AttrNumber]) -> Option<StoredRow<'s>> {
        // SAFETY: the slot holds the row until the scan goes on, which takes it for itself.
        self.at_row
            .then(|| unsafe { StoredRow::in_slot(self.slot, numbers) })
    }

    /// The row at hand with all of its columns read, whatever was said of deforming.
    pub fn whole_row<'s>(&'s self, numbers: &'s [pg_sys::AttrNumber]) -> Option<StoredRow<'s>> {
        let row = self.row(numbers)?;
        // SAFETY: the slot holds that row.
        unsafe { pg_sys::slot_getallattrs(self.slot) };
        Some(row)
    }

    /// Whether the active snapshot shows the row at hand.
    ///
    /// # Panics
    /// If there is no row at hand, or no active snapshot.
    pub fn is_row_visible(&self) -> bool {
        let (table, slot) = (self.table.raw(), self.slot);
        // SAFETY: the slot holds a row of the open table, and a snapshot is active, as is
        // checked. The guard holds nothing.
        unsafe {
            let (method, snapshot) = self.row_method();
            let sees = method.tuple_satisfies_snapshot;
            ffi::guard(|| sees.is_some_and(|sees| sees(table, slot, snapshot)))
        }
    }

    /// Tells the server that the transaction has read the row at hand under the active snapshot:
    /// fetches it once more.
    ///
    /// # Panics
    /// If there is no row at hand, or no active snapshot.
    pub fn note_row_read(&self) {
        let table = self.table.raw();
        // SAFETY: as in `is_row_visible`; the copy has a slot of its own, which is dropped, or
        // goes with the current memory after an error.
        unsafe {
            let (method, snapshot) = self.row_method();
            let fetch = method.tuple_fetch_row_version;
            let copy = pg_sys::table_slot_create(table, ptr::null_mut());
            let mut tuple = (*self.slot).tts_tid;
            ffi::guard(|| fetch.is_some_and(|fetch| fetch(table, &raw mut tuple, snapshot, copy)));
            pg_sys::ExecDropSingleTupleTableSlot(copy);
        }
    }

    /// How the table's rows are looked at, under the active snapshot; checks that there is a
    /// row.
    fn row_method(&self) -> (&pg_sys::TableAmRoutine, pg_sys::Snapshot) {
        assert!(self.at_row, "a scan is at no row");
        // SAFETY: an open table has a method, which is a constant of the module that implements it. An
        // active snapshot is asked for only if there is one.
        unsafe {
            assert!(pg_sys::ActiveSnapshotSet(), "a snapshot is active");
            let method = &*(*self.table.raw()).rd_tableam;
            (method, pg_sys::GetActiveSnapshot())
        }
    }

    /// The transaction in progress that writes the row at hand, if one does.
    #[inline(always)]
    pub fn writer(&self) -> Option<Writer> {
        let Writers {
            inserter,
            deleter,
            token,
        } = self.writers();
        let none = pg_sys::InvalidTransactionId;
        if inserter == none && deleter == none {
            return None;
        }
        Some(Writer {
            transaction: if inserter == none { deleter } else { inserter },
            token,
            // SAFETY: the slot is alive as long as the scan, and says where its row is.
            tuple: unsafe { (*self.slot).tts_tid },
        })
    }

    /// Waits until a transaction that was found in the way has ended, or has made up its mind:
    /// an ordinary wait of the server, with its own words in CONTEXT. The scan is not at the
    /// row any more: nothing is pinned meanwhile.
    pub fn wait_for(&mut self, mut writer: Writer) {
        self.pause();
        // SAFETY: the numbers are those of a transaction that was met; the server uses the table,
        // which is open, and the place in messages only.
        unsafe {
            if writer.token == 0 {
                pg_sys::XactLockTableWait(
                    writer.transaction,
                    self.table.raw(),
                    &raw mut writer.tuple,
                    pg_sys::XLTW_Oper::XLTW_InsertIndexUnique,
                );
            } else {
                pg_sys::SpeculativeInsertionWait(writer.transaction, writer.token);
            }
        }
    }

    /// The transactions that write the row at hand; none if the scan does not see rows of transactions in
    /// progress.
    pub fn writers(&self) -> Writers {
        match &self.snapshot {
            ScanSnapshot::Dirty(dirty) => dirty.writers(),
            ScanSnapshot::Registered(_) => Writers {
                inserter: pg_sys::InvalidTransactionId,
                deleter: pg_sys::InvalidTransactionId,
                token: 0,
            },
        }
    }

    /// The slot with the row at hand.
    pub fn slot(&self) -> *mut pg_sys::TupleTableSlot {
        self.slot
    }

    /// A copy of the row at hand. None if there is none.
    pub fn copy_row(&self) -> Option<HeapRow> {
        // A snapshot that shows rows of transactions in progress keeps none.
        let kept = matches!(self.snapshot, ScanSnapshot::Registered(_));
        // SAFETY: the slot holds a row of the table, as is checked, which the scan's snapshot
        // shows.
        self.at_row
            .then(|| unsafe { HeapRow::of_slot(self.slot, kept) })
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: `begin` opened scan and slot, and nothing else closes them: they are
            // closed once, in the reverse order, and then the snapshot that was registered for
            // them is given back. After an error the abort releases all three.
            unsafe {
                pg_sys::ExecDropSingleTupleTableSlot(self.slot);
                pg_sys::index_endscan(self.scan);
                if let ScanSnapshot::Registered(snapshot) = self.snapshot {
                    pg_sys::UnregisterSnapshot(snapshot);
                }
            }
        }
    }
}

impl ScanSnapshot {
    /// The active snapshot, kept until it is given back.
    fn registered() -> Self {
        // SAFETY: registered only if one is active; a registered snapshot lives until it is given
        // back, whatever becomes of the active one.
        unsafe {
            assert!(pg_sys::ActiveSnapshotSet(), "a snapshot is active");
            Self::Registered(pg_sys::RegisterSnapshot(pg_sys::GetActiveSnapshot()))
        }
    }

    fn raw(&self) -> pg_sys::Snapshot {
        match self {
            Self::Registered(snapshot) => *snapshot,
            Self::Dirty(dirty) => dirty.raw(),
        }
    }
}

/// Sets what a scan key looks for.
#[inline]
fn set_argument(scan_key: &mut pg_sys::ScanKeyData, value: Option<pg_sys::Datum>) {
    match value {
        Some(value) => {
            scan_key.sk_flags = 0;
            scan_key.sk_argument = value;
        }
        None => {
            scan_key.sk_flags = (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as c_int;
            scan_key.sk_argument = pg_sys::Datum::null();
        }
    }
}

fn scan_key(
    i: usize,
    collation: pg_sys::Oid,
    strategy: u32,
    function: pg_sys::RegProcedure,
) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: an existing function; its look-up lives in the current context,
    // which is that of the scan.
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &raw mut key,
            0,
            i as pg_sys::AttrNumber + 1,
            strategy as pg_sys::StrategyNumber,
            pg_sys::InvalidOid,
            collation,
            function,
            pg_sys::Datum::null(),
        );
    }
    key
}
