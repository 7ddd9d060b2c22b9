//! Which payload a statement of ours was writing when the server raised an error, for its
//! CONTEXT, as COPY names its line.
//!
//! # How it is known
//! The statement reads its rows from a tuplestore, one by one, and writes each before it asks for
//! the next: nothing in such a plan keeps rows back ([`tuplestore_scan_of`] sees to that). So the
//! row at hand is the one in the slot of the scan. That slot is found when the executor starts to
//! run the statement, which [`WatchedExecution`] tells, and forgotten when that has ended. What
//! comes before the first row (a BEFORE STATEMENT trigger) meets an empty slot; after the last one
//! the scan has emptied it; and AFTER triggers, foreign keys and constraints that are deferred come
//! when it is forgotten. None of these is said to be about a payload.
//!
//! An error that is not about what is written, such as a cancellation or a full disk, may
//! be raised between two rows. It names none either.
use super::ffi;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::c_void;
use std::pin::Pin;
use std::ptr;

thread_local! {
    /// The innermost position that is watched, or null.
    static CURRENT: Cell<*const RowPosition> = const { Cell::new(ptr::null()) };
}

/// While it lives, an error that the server raises while it writes a row of the store gets
/// a CONTEXT line such as `payload 700`. All other fields stay as they are.
pub struct RowPosition {
    frame: pg_sys::ErrorContextCallback,
    store: *mut pg_sys::Tuplestorestate,
    /// The column of the store's rows that holds the ordinal, from 1.
    ordinal: pg_sys::AttrNumber,
    /// Where the scan has its row, while the statement is being run.
    slot: Cell<*mut pg_sys::TupleTableSlot>,
    outer: *const RowPosition,
}

impl RowPosition {
    /// Puts the position on the error context stack until it is dropped. `ordinal` is the
    /// position (from 0) of a bigint in the store's rows.
    pub fn watch(store: *mut pg_sys::Tuplestorestate, ordinal: usize) -> Pin<Box<Self>> {
        let mut position = Box::pin(Self {
            frame: pg_sys::ErrorContextCallback {
                // SAFETY: a read of a backend-local pointer.
                previous: unsafe { pg_sys::error_context_stack },
                callback: Some(Self::callback),
                arg: ptr::null_mut(),
            },
            store,
            ordinal: ordinal as pg_sys::AttrNumber + 1,
            slot: Cell::new(ptr::null_mut()),
            outer: CURRENT.get(),
        });
        // SAFETY: the box is pinned, so its address holds until Drop takes it off again.
        unsafe {
            let this = position.as_mut().get_unchecked_mut();
            this.frame.arg = (&raw mut *this).cast::<c_void>();
            pg_sys::error_context_stack = &raw mut this.frame;
            CURRENT.set(this);
        }
        position
    }

    /// The slot from which a statement that is about to run will have its rows of our
    /// store; null if it has none, or is run already.
    ///
    /// # Safety
    /// The statement was started.
    unsafe fn slot_of(&self, query: *mut pg_sys::QueryDesc) -> *mut pg_sys::TupleTableSlot {
        if !self.slot.get().is_null() {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe {
            match tuplestore_scan_of((*query).planstate).as_ref() {
                Some(scan) if ptr::eq(scan.relation, self.store) => scan.ss.ss_ScanTupleSlot,
                _ => ptr::null_mut(),
            }
        }
    }

    /// The ordinal of the row at hand, or 0.
    ///
    /// # Safety
    /// The slot, if there is one, is that of a statement that is being run.
    unsafe fn current(&self) -> i64 {
        // SAFETY: the caller's promise. The qualification of our statements looks at the
        // row's last column, so the executor has all of its values at hand.
        unsafe {
            let Some(slot) = self.slot.get().as_ref() else {
                return 0;
            };
            let empty = u32::from(slot.tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0;
            let i = self.ordinal as usize - 1;
            if empty || slot.tts_nvalid < self.ordinal || *slot.tts_isnull.add(i) {
                return 0;
            }
            (*slot.tts_values.add(i)).value() as i64
        }
    }

    unsafe extern "C-unwind" fn callback(arg: *mut c_void) {
        // SAFETY: `arg` is the live position; errfinish is running and copies.
        unsafe {
            let ordinal = (*arg.cast::<Self>()).current();
            if ordinal > 0 && is_about_row(ffi::geterrcode()) {
                ffi::errcontext_msg(c"payload %lld".as_ptr(), ordinal);
            }
        }
    }
}

impl Drop for RowPosition {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        // SAFETY: a write of a backend-local pointer: the frames behind ours are further out,
        // and live, since frames come off in the reverse order of their going on.
        unsafe { pg_sys::error_context_stack = self.frame.previous };
    }
}

/// Whether an error with this SQLSTATE is raised for what is done with the row at hand, not
/// between two rows: none of the classes 53 (resources), 57 (intervention), 58 (system) and
/// XX (internal).
fn is_about_row(sqlstate: i32) -> bool {
    /// Two characters of six bits.
    const CLASS: i32 = 0xfff;
    let class = |name: &[u8; 2]| {
        let bits = |c: u8| i32::from(c.wrapping_sub(b'0') & 0x3f);
        bits(name[0]) | bits(name[1]) << 6
    };
    ![b"53", b"57", b"58", b"XX"]
        .into_iter()
        .any(|name| class(name) == sqlstate & CLASS)
}

/// The scan of a tuplestore that a plan of ours begins with, or null. It passes through
/// nothing that would read ahead of what is written, such as a sort.
///
/// # Safety
/// A plan that was started, or null.
unsafe fn tuplestore_scan_of(
    plan: *mut pg_sys::PlanState,
) -> *mut pg_sys::NamedTuplestoreScanState {
    use pg_sys::NodeTag;
    let mut plan = plan;
    // SAFETY: the caller's promise; a node says what it is.
    unsafe {
        while let Some(node) = plan.as_ref() {
            plan = match node.type_ {
                NodeTag::T_NamedTuplestoreScanState => return plan.cast(),
                NodeTag::T_SubqueryScanState => (*plan.cast::<pg_sys::SubqueryScanState>()).subplan,
                NodeTag::T_ModifyTableState | NodeTag::T_NestLoopState | NodeTag::T_ResultState => {
                    node.lefttree
                }
                _ => return ptr::null_mut(),
            };
        }
    }
    ptr::null_mut()
}

/// What is watched of one run of the executor.
#[derive(Clone, Copy)]
pub struct WatchedExecution(*const RowPosition);

impl WatchedExecution {
    /// Before the run.
    ///
    /// # Safety
    /// The statement was started.
    pub unsafe fn begin(query: *mut pg_sys::QueryDesc) -> Self {
        // SAFETY: what is watched is live; the caller's promise.
        unsafe {
            let Some(position) = CURRENT.get().as_ref() else {
                return Self(ptr::null());
            };
            let slot = position.slot_of(query);
            if slot.is_null() {
                return Self(ptr::null());
            }
            position.slot.set(slot);
            Self(position)
        }
    }

    /// After it.
    ///
    /// # Safety
    /// The position that was watched is live still.
    pub unsafe fn end(self) {
        // SAFETY: the caller's promise.
        if let Some(position) = unsafe { self.0.as_ref() } {
            position.slot.set(ptr::null_mut());
        }
    }
}
