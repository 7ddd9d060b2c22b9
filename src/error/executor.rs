//! The one place where the executor is looked at: the run of every statement.
//!
//! It has a frame on the context stack for the errors of its workers. And if it reads a store that
//! is a [`WatchedStore`], the row that the scan is at is known while it is under way.
use super::context_stack::{RunFrame, RunId};
use super::ffi;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr;

thread_local! {
    /// The hook of the library that was loaded before, if one was.
    static NEXT: Cell<pg_sys::ExecutorRun_hook_type> = const { Cell::new(None) };
    /// The stores that are watched, the innermost last. Without a destructor: when the process
    /// ends, there is nothing to free into.
    static WATCHED: ManuallyDrop<RefCell<Vec<WatchedScan>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Asks the server to be told when a statement is run. Called once, as the library is
/// loaded.
pub fn install_executor_hook() {
    // SAFETY: a hook is a function that lives as long as the backend, as ours does.
    unsafe {
        NEXT.set(pg_sys::ExecutorRun_hook);
        pg_sys::ExecutorRun_hook = Some(run);
    }
}

/// Runs a statement, with a frame for the errors of its workers on the context stack, and,
/// if it is one of ours, with its row at hand known.
///
/// # Safety
/// Called by the executor only. An ERROR jumps straight out: nothing is owned here, and
/// the code that catches it puts the context stack back.
unsafe extern "C-unwind" fn run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: pg_sys::uint64,
    #[cfg(not(feature = "pg18"))] once: bool,
) {
    // SAFETY: the executor's own arguments are handed on; it has started the statement. The frame
    // is taken off before it goes out of scope.
    unsafe {
        let mut frame = RunFrame::new();
        let id = frame.put_on();
        begin_watching((*query).planstate, id);
        let next = NEXT.get().unwrap_or(ffi::standard_ExecutorRun);
        next(
            query,
            direction,
            count,
            #[cfg(not(feature = "pg18"))]
            once,
        );
        forget(id);
        frame.take_off();
    }
}

/// A store whose scan is watched.
struct WatchedScan {
    store: *const pg_sys::Tuplestorestate,
    /// The run that reads the store, if one does,
    run: RunId,
    /// and where its scan has its row. It lives as long as the run is under way: a run that an
    /// error has ended is not on the context stack any more, and is forgotten when another one
    /// gets its id.
    slot: *const pg_sys::TupleTableSlot,
}

/// Notes the run of a statement that reads the innermost store.
///
/// # Safety
/// The plan is that of a statement that was started.
unsafe fn begin_watching(plan: *mut pg_sys::PlanState, id: RunId) {
    forget(id);
    WATCHED.with(|watched| {
        let mut watched = watched.borrow_mut();
        let Some(innermost) = watched.last_mut().filter(|scan| !scan.run.is_running()) else {
            return;
        };
        // SAFETY: the caller's promise; null, or a scan of the plan.
        unsafe {
            if let Some(scan) = tuplestore_scan_of(plan).as_ref()
                && ptr::eq(scan.relation, innermost.store)
            {
                innermost.slot = scan.ss.ss_ScanTupleSlot;
                innermost.run = id;
            }
        }
    });
}

/// Forgets a run that has ended.
fn forget(id: RunId) {
    WATCHED.with(|watched| {
        for scan in watched.borrow_mut().iter_mut() {
            if scan.run == id {
                scan.run = RunId::NONE;
            }
        }
    });
}

/// The scan of a tuplestore that a plan of ours begins with, or null. It passes through
/// nothing that would read ahead of what is written, such as a sort: nothing in such a plan
/// keeps rows back.
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

/// Knows the row that the executor has at hand of the rows in a store.
pub struct WatchedStore {
    /// Which of the stores that are watched it is.
    place: usize,
    /// The column that is read.
    column: usize,
}

impl WatchedStore {
    /// Watches until it is dropped. `column` is the position (from 0) of a number in the store's
    /// rows.
    pub fn new(store: *const pg_sys::Tuplestorestate, column: usize) -> Self {
        let place = WATCHED.with(|watched| {
            let mut watched = watched.borrow_mut();
            watched.push(WatchedScan {
                store,
                run: RunId::NONE,
                slot: ptr::null(),
            });
            watched.len() - 1
        });
        Self { place, column }
    }

    /// The number in the row at hand; None between two rows, and outside of the run.
    pub fn number_at_hand(&self) -> Option<i64> {
        WATCHED.with(|watched| {
            let watched = watched.borrow();
            let scan = watched.get(self.place)?;
            if !scan.run.is_running() {
                return None;
            }
            // SAFETY: the scan of a run that is under way has its slot, whose columns before
            // `tts_nvalid` have their values in the arrays. (The qualification of our statements
            // looks at the row's last column, so the executor has all of them at hand.)
            unsafe {
                let slot = &*scan.slot;
                let empty = u32::from(slot.tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0;
                let read = usize::try_from(slot.tts_nvalid).unwrap_or(0);
                if empty || self.column >= read || *slot.tts_isnull.add(self.column) {
                    return None;
                }
                Some((*slot.tts_values.add(self.column)).value() as i64)
            }
        })
    }
}

impl Drop for WatchedStore {
    fn drop(&mut self) {
        WATCHED.with(|watched| watched.borrow_mut().truncate(self.place));
    }
}
