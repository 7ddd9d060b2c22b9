//! State that lives as long as the statement whose trigger is called.
//!
//! What is opened for every row would often cost more than the work on the row itself, so it is
//! kept while the statement runs. The executor gives a trigger no hook for its end; but all that
//! a statement allocates is in a memory context that `FreeExecutorState` deletes, in the right
//! moment: the rows are in, and the statement's resource owner is still the current one. A reset
//! callback on that context drops what is kept.
//!
//! After an error things happen in another order: the abort releases buffers, relations and
//! locks by resource owner, and memory goes before or after that. Then nothing is closed, only
//! our own memory freed (see [`abandon`]): the callback asks whether a transaction is being
//! aborted, and the transaction callbacks note which statements the abort of a subtransaction
//! has overtaken.
//!
//! # Why this is sound
//! - *What is kept is borrowed for the time of a trigger's call.* It is dropped by the reset
//!   callback alone, and the server deletes no executor state while that state's trigger runs;
//!   after an error it does, when the call has been unwound.
//! - *A statement is known by the address of its executor's memory.* An entry is in the list
//!   until the callback of that very context takes it out, so a new context at an old address
//!   meets no entry of before.
//! - *The memory that things are made in is not below the executor's*, whose children the server
//!   deletes before it calls back: it is still there when they are dropped, and so are contexts
//!   that they have made below it. It goes after them.
//! - *The type of what a trigger's function data points at* is noted in it, and compared. The
//!   server hands such data to the function that it belongs to, and to no other.
//! - *A process may end without the callbacks* (a replication worker does after an error). Then
//!   nothing can be closed any more: entries are pointers, which have no destructor.
use crate::pg::memory::Memory;
use crate::pg::{abandon, backend};
use pgrx::{pg_guard, pg_sys};
use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::rc::Rc;

/// What is kept for a running statement.
pub struct StatementScope {
    /// The executor state's memory, by which the statement is known.
    executor_memory: pg_sys::MemoryContext,
    callback: pg_sys::MemoryContextCallback,
    /// The subtransaction that it runs in.
    subtransaction: Cell<pg_sys::SubTransactionId>,
    /// Whether an abort has released its resources.
    aborted: Cell<bool>,
    kept: RefCell<Vec<Rc<dyn Any>>>,
    /// What is kept is made in it, and dropped before it.
    memory: Memory,
}

/// What is kept for one trigger, at the address that the trigger's function data has.
#[repr(C)]
struct TriggerState<T> {
    /// First, so that it is read before the type is known.
    content: TypeId,
    value: RefCell<T>,
}

thread_local! {
    /// The scopes of all statements that run, which their callbacks take away again.
    static SCOPES: RefCell<Vec<*mut StatementScope>> = const { RefCell::new(Vec::new()) };

    /// Whether the server was asked to tell of the ends of transactions.
    static TOLD_OF_ENDS: Cell<bool> = const { Cell::new(false) };
}

impl StatementScope {
    /// That of the statement whose executor state is in this memory; begun if there is none.
    ///
    /// # Safety
    /// The context is alive, and is deleted, or reset, after `'s`.
    pub unsafe fn of<'s>(executor_memory: pg_sys::MemoryContext) -> &'s Self {
        let known = SCOPES.with_borrow(|scopes| {
            let mut newest_first = scopes.iter().rev();
            newest_first
                // SAFETY: an entry lives until its callback takes it away.
                .find(|scope| unsafe {
                    (***scope).executor_memory == executor_memory && !(***scope).aborted.get()
                })
                .copied()
        });
        // SAFETY: the caller's promise: the memory is alive, and the callback that is registered
        // in it, and frees the scope, is not called during `'s`.
        unsafe { &*known.unwrap_or_else(|| Self::begin(executor_memory)) }
    }

    /// # Safety
    /// The context is alive.
    unsafe fn begin(executor_memory: pg_sys::MemoryContext) -> *mut Self {
        ask_for_ends_of_transactions();
        let scope = Box::into_raw(Box::new(Self {
            executor_memory,
            callback: pg_sys::MemoryContextCallback {
                func: Some(on_end),
                arg: ptr::null_mut(),
                next: ptr::null_mut(),
            },
            subtransaction: Cell::new(backend::subtransaction()),
            aborted: Cell::new(false),
            kept: RefCell::default(),
            memory: Memory::in_cache(c"pg_idempotent statement"),
        }));
        SCOPES.with_borrow_mut(|scopes| scopes.push(scope));
        // SAFETY: the context is alive, by the caller's promise. The callback's struct is in a
        // box that the callback itself takes away.
        unsafe {
            (*scope).callback.arg = scope.cast();
            let callback = &raw mut (*scope).callback;
            pg_sys::MemoryContextRegisterResetCallback(executor_memory, callback);
        }
        scope
    }

    /// The one value of a type that the whole statement has.
    pub fn shared<T: Default + 'static>(&self) -> Rc<T> {
        let mut kept = self.kept.borrow_mut();
        let known = kept.iter().find_map(|one| Rc::clone(one).downcast().ok());
        known.unwrap_or_else(|| {
            let new = Rc::new(T::default());
            kept.push(Rc::clone(&new) as Rc<dyn Any>);
            new
        })
    }

    /// Keeps what `make` makes in the statement's memory for a trigger, and notes it in the
    /// function data that the trigger is called by.
    ///
    /// # Safety
    /// The data are those of a running call of a trigger of this statement.
    pub unsafe fn keep<T: 'static>(
        &self,
        function: *mut pg_sys::FmgrInfo,
        make: impl FnOnce() -> T,
    ) -> &RefCell<T> {
        let state = Rc::new(TriggerState {
            content: TypeId::of::<T>(),
            value: RefCell::new(self.memory.scope(make)),
        });
        let place = Rc::as_ptr(&state);
        self.kept.borrow_mut().push(state);
        // SAFETY: the data are alive by the caller's promise, and have this place for what their
        // function keeps. The state stays where it is as long as the scope has it.
        unsafe {
            (*function).fn_extra = place.cast_mut().cast();
            &(*place).value
        }
    }
}

/// What is kept for the trigger that is called by these function data; None if nothing is yet.
///
/// # Safety
/// The data are those of a call of a trigger function of ours that runs throughout `'c`.
///
/// # Panics
/// If something of another type is kept.
#[inline]
pub unsafe fn kept_for<'c, T: 'static>(function: *mut pg_sys::FmgrInfo) -> Option<&'c RefCell<T>> {
    // SAFETY: the caller's promise. Nobody but `keep` puts anything there, which is a state that
    // lives until the statement ends, after the call; each begins with its type.
    unsafe {
        let state = (*function).fn_extra.cast::<TriggerState<T>>();
        if state.is_null() {
            return None;
        }
        assert!(
            *state.cast::<TypeId>() == TypeId::of::<T>(),
            "a trigger keeps something of another type"
        );
        Some(&(*state).value)
    }
}

/// The executor state's memory goes: the statement has ended, or an abort is under way.
#[pg_guard]
unsafe extern "C-unwind" fn on_end(arg: *mut c_void) {
    let ended = arg.cast::<StatementScope>();
    SCOPES.with_borrow_mut(|scopes| scopes.retain(|scope| *scope != ended));
    // SAFETY: `begin` gave the box away to this callback, which the server calls once.
    let ended = unsafe { Box::from_raw(ended) };
    let in_order = backend::is_in_transaction() && !ended.aborted.get();
    if in_order {
        drop(ended);
    } else {
        abandon(ended);
    }
}

/// Asks the server to be told of the ends of transactions, once in a backend.
fn ask_for_ends_of_transactions() {
    if !TOLD_OF_ENDS.replace(true) {
        // SAFETY: registered for the life of the backend, as are the callbacks.
        unsafe {
            pg_sys::RegisterXactCallback(Some(on_end_of_transaction), ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_end_of_subtransaction), ptr::null_mut());
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_end_of_transaction(
    event: pg_sys::XactEvent::Type,
    _arg: *mut c_void,
) {
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        for_each_scope(|scope| scope.aborted.set(true));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_end_of_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    subtransaction: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _arg: *mut c_void,
) {
    for_each_scope(|scope| {
        if scope.subtransaction.get() != subtransaction {
            return;
        }
        match event {
            pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => scope.subtransaction.set(parent),
            pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => scope.aborted.set(true),
            _ => {}
        }
    });
}

fn for_each_scope(note: impl Fn(&StatementScope)) {
    SCOPES.with_borrow(|scopes| {
        // SAFETY: entries live until their callbacks take them away.
        scopes.iter().for_each(|scope| note(unsafe { &**scope }));
    });
}
