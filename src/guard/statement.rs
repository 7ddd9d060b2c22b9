//! What guards keep while a statement runs: one entry for each executor state.
//!
//! A scan that is opened for every row would cost more than the look itself, so
//! scans live as long as the statement. The executor gives a trigger no hook for
//! its end; but all that a statement allocates is in a memory context that
//! `FreeExecutorState` deletes, in the right moment: the rows are in, and the
//! statement's resource owner is still the current one. A reset callback on a
//! context below it closes what we hold.
//!
//! After an error things happen in another order: the abort releases buffers,
//! relations and locks by resource owner, and memory goes before or after that.
//! Then nothing is closed, only our own memory freed: the callback asks whether
//! a (sub)transaction is being aborted, and the transaction callbacks note which
//! statements an abort has overtaken.
use super::row::Guard;
use crate::pg::backend;
use crate::pg::statement::executor;
use crate::pg::transaction::locks;
use crate::pg::{abandon, ffi};
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr::{self, NonNull};

/// A running statement with guarded tables.
pub struct StatementState {
    /// The executor state's memory, by which the statement is known.
    executor_memory: pg_sys::MemoryContext,
    /// Where scans and slots of its guards live.
    memory: pg_sys::MemoryContext,
    callback: pg_sys::MemoryContextCallback,
    /// The subtransaction that it runs in.
    subtransaction: Cell<pg_sys::SubTransactionId>,
    /// Whether an abort has released its resources.
    aborted: Cell<bool>,
    /// Boxes that the statement owns, as pointers: the executor keeps their addresses.
    guards: RefCell<Vec<NonNull<Guard>>>,
    /// The key lock of the last row that was let through.
    held_lock: Cell<Option<pg_sys::LOCKTAG>>,
    /// The partition that the row which an UPDATE has at hand may leave.
    moving_from: Cell<Option<pg_sys::Oid>>,
}

thread_local! {
    /// Boxes that their callbacks take away again. Kept as pointers, which have no
    /// destructor: a process may end without the callbacks (a replication worker
    /// does after an error), and nothing can be closed any more then.
    static STATEMENTS: RefCell<Vec<*mut StatementState>> = const { RefCell::new(Vec::new()) };
}

impl StatementState {
    /// The statement whose trigger is being called. It stays where it is as long
    /// as the statement runs.
    ///
    /// # Safety
    /// Called in a BEFORE ROW trigger: then the current memory is that of a row,
    /// below the executor state's (`ExecBRInsertTriggers`). What it gives is not used after the
    /// trigger has returned, but by the statement's guards.
    pub unsafe fn current<'s>() -> &'s Self {
        // SAFETY: the current memory is that of a row, by the caller's promise, and has a parent.
        let executor_memory = unsafe { (*pg_sys::CurrentMemoryContext).parent };
        let known = STATEMENTS.with(|statement| {
            let statement = statement.borrow();
            let mut newest_first = statement.iter().rev();
            newest_first
                // SAFETY: an entry lives until its callback takes it away.
                .find(|r| unsafe {
                    (***r).executor_memory == executor_memory && !(***r).aborted.get()
                })
                .copied()
        });
        let current = known.unwrap_or_else(|| Self::begin(executor_memory));
        // SAFETY: made by `begin`, and not taken away while the executor state is there, in
        // whose memory its callback is registered.
        unsafe { &*current }
    }

    fn begin(executor_memory: pg_sys::MemoryContext) -> *mut Self {
        // SAFETY: a child of the executor state's memory, deleted with it. The
        // callback's struct is in a box that the callback itself takes away.
        unsafe {
            let memory = pg_sys::AllocSetContextCreateInternal(
                executor_memory,
                c"pg_idempotent guard".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            );
            let this = Box::into_raw(Box::new(Self {
                executor_memory,
                memory,
                callback: pg_sys::MemoryContextCallback {
                    func: Some(on_context_reset),
                    arg: ptr::null_mut(),
                    next: ptr::null_mut(),
                },
                subtransaction: Cell::new(backend::subtransaction()),
                aborted: Cell::new(false),
                guards: RefCell::default(),
                held_lock: Cell::new(None),
                moving_from: Cell::new(None),
            }));
            (*this).callback.arg = this.cast();
            STATEMENTS.with(|all| all.borrow_mut().push(this));
            pg_sys::MemoryContextRegisterResetCallback(memory, &raw mut (*this).callback);
            this
        }
    }

    /// Whether the rows that the statement puts into one of these tables come from MERGE.
    pub fn merges_into(&self, tables: impl Fn(pg_sys::Oid) -> bool) -> bool {
        self.executor_state()
            // SAFETY: the state was found in the memory of the statement that runs.
            .is_some_and(|state| unsafe { executor::only_merges_into(state, tables) })
    }

    /// The state of the executor that runs the statement, if it is found.
    pub fn executor_state(&self) -> Option<&pg_sys::EState> {
        // SAFETY: the statement's own memory, which outlives this.
        unsafe { executor::executor_state_in(self.executor_memory) }
    }

    /// Keeps a guard until the statement ends, made in the statement's memory.
    pub fn add_guard(&self, make: impl FnOnce() -> Guard) -> NonNull<Guard> {
        // SAFETY: the statement's memory; switched back at once, or by the
        // error's handler.
        let guard = unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(self.memory);
            let guard = make();
            pg_sys::MemoryContextSwitchTo(caller);
            guard
        };
        let guard = NonNull::from(Box::leak(Box::new(guard)));
        self.guards.borrow_mut().push(guard);
        guard
    }

    /// Takes the lock on a key; the one on the row before, which is in by now, is
    /// released first. So a statement holds one at most.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn lock_unguarded(&self, hash: u64) {
        // SAFETY: under the statement's own resource owner, both.
        unsafe {
            self.unlock_unguarded();
            let tag = locks::tag(locks::LockSubject::RowKey, hash);
            locks::acquire_unguarded(&tag);
            self.held_lock.set(Some(tag));
        }
    }

    /// Releases the lock that is held, if one is.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    pub unsafe fn unlock_unguarded(&self) {
        if let Some(tag) = self.held_lock.take() {
            // SAFETY: taken by this statement, under its resource owner.
            unsafe { locks::release_unguarded(&tag) };
        }
    }

    /// An UPDATE has a row at hand; `moving_from` is the partition that it may leave.
    pub fn note_update(&self, moving_from: Option<pg_sys::Oid>) {
        self.moving_from.set(moving_from);
    }

    /// Whether a row that comes to this partition is the one that an UPDATE has
    /// just had at hand. The executor deletes it where it was, and inserts it next.
    pub fn is_moving_to(&self, partition: pg_sys::Oid) -> bool {
        self.moving_from
            .take()
            .is_some_and(|moving_from| moving_from != partition)
    }
}

impl Drop for StatementState {
    fn drop(&mut self) {
        for guard in self.guards.take() {
            // SAFETY: leaked by `add_guard` and freed here alone. Its address, which the executor
            // keeps, is not used any more: no trigger fires when the statement's memory goes.
            drop(unsafe { Box::from_raw(guard.as_ptr()) });
        }
    }
}

/// The statement's memory goes: it has ended, or an abort is under way.
#[pg_guard]
unsafe extern "C-unwind" fn on_context_reset(arg: *mut c_void) {
    let ended = arg.cast::<StatementState>();
    STATEMENTS.with(|statement| statement.borrow_mut().retain(|r| *r != ended));
    // SAFETY: `begin` gave the box away to this callback, which the server calls once.
    let ended = unsafe { Box::from_raw(ended) };
    let alive = backend::is_in_transaction() && !ended.aborted.get();
    if alive {
        // SAFETY: the statement ends in its own resource owner, under which the lock was taken;
        // inside the guard nothing is owned.
        unsafe { ffi::guard(|| ended.unlock_unguarded()) };
        drop(ended);
    } else {
        abandon(ended);
    }
}

/// Asks the server to be told of the ends of transactions. Called once, at load.
pub fn register_transaction_callbacks() {
    // SAFETY: registered for the life of the backend, as are the callbacks.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ended), ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction_ended), ptr::null_mut());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ended(event: pg_sys::XactEvent::Type, _arg: *mut c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        for_each_statement(|statement| statement.aborted.set(true));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn subtransaction_ended(
    event: pg_sys::SubXactEvent::Type,
    subtransaction: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _arg: *mut c_void,
) {
    for_each_statement(|statement| {
        if statement.subtransaction.get() != subtransaction {
            return;
        }
        match event {
            pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => statement.subtransaction.set(parent),
            pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => statement.aborted.set(true),
            _ => {}
        }
    });
}

fn for_each_statement(note: impl Fn(&StatementState)) {
    STATEMENTS.with(|statement| {
        // SAFETY: entries live until their callbacks take them away.
        statement
            .borrow()
            .iter()
            .for_each(|r| note(unsafe { &**r }));
    });
}
