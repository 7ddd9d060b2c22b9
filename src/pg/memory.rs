//! Memory contexts with an owner.
use super::unwinding;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::ptr::NonNull;

/// A memory context that is deleted with its owner.
pub struct Memory {
    context: pg_sys::MemoryContext,
    /// Whether no abort would free it.
    outlives_calls: bool,
}

impl Memory {
    /// A child of the current context.
    pub fn in_current(name: &'static CStr) -> Self {
        // SAFETY: reads a backend-local variable, which always has a valid context.
        Self::under(unsafe { pg_sys::CurrentMemoryContext }, name, false)
    }

    /// A context that lives until it is dropped, across transactions.
    pub fn in_cache(name: &'static CStr) -> Self {
        // SAFETY: reads a backend-local variable, whose context exists as long as the
        // backend.
        Self::under(unsafe { pg_sys::CacheMemoryContext }, name, true)
    }

    fn under(parent: pg_sys::MemoryContext, name: &'static CStr, outlives_calls: bool) -> Self {
        // SAFETY: a valid parent and a constant name.
        let context = unsafe {
            pg_sys::AllocSetContextCreateInternal(
                parent,
                name.as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        };
        Self {
            context,
            outlives_calls,
        }
    }

    /// The context itself, for core's functions that take one.
    pub fn context(&self) -> pg_sys::MemoryContext {
        self.context
    }

    /// Runs `work` with this as the current context.
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _switched = ContextSwitch::to(self.context);
        work()
    }

    /// Runs `work`, from inside a scope, with the context that this is a child
    /// of.
    pub fn outside<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: the context is ours and valid, so its parent is: deleting a parent deletes
        // its children, and `under` was given one.
        let _switched = ContextSwitch::to(unsafe { (*self.context).parent });
        work()
    }

    /// Frees all that was allocated in it.
    pub fn reset(&mut self) {
        self.free_all();
    }

    /// Called by those who know that nobody borrows it.
    fn free_all(&self) {
        // SAFETY: the context was made by `under`, and lives until we are dropped. What borrows it
        // is gone; what else points into it is a raw pointer or datum, and those who follow one
        // answer for it.
        // A call is spared where there is nothing to free.
        unsafe {
            if !(*self.context).isReset || !(*self.context).firstchild.is_null() {
                pg_sys::MemoryContextReset(self.context);
            }
        }
    }
}

/// A memory for what is gone when the next row comes. Nobody can borrow it, so it may be shared
/// by those who use it in turn.
pub struct Scratch(Memory);

impl Scratch {
    /// A child of the current context.
    pub fn in_current(name: &'static CStr) -> Self {
        Self(Memory::in_current(name))
    }

    /// As [`Memory::scope`].
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.scope(work)
    }

    /// As [`Memory::outside`].
    pub fn outside<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.outside(work)
    }

    /// As [`Memory::reset`].
    pub fn reset(&self) {
        self.0.free_all();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.outlives_calls || !unwinding() {
            // SAFETY: made by `under`, and deleted once: after an error a context that goes
            // with its parent is left to that.
            unsafe { pg_sys::MemoryContextDelete(self.context) };
        }
    }
}

/// Runs `work` with a context as the current one.
///
/// # Safety
/// The context is valid, and stays so until `work` has ended.
pub unsafe fn scope_of<R>(context: pg_sys::MemoryContext, work: impl FnOnce() -> R) -> R {
    let _switched = ContextSwitch::to(context);
    work()
}

struct ContextSwitch {
    previous: pg_sys::MemoryContext,
}

impl ContextSwitch {
    fn to(context: pg_sys::MemoryContext) -> Self {
        // SAFETY: writes a backend-local variable; the context is valid by the promise to
        // `scope_of`, or because a Memory is borrowed that owns it.
        unsafe {
            let previous = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = context;
            Self { previous }
        }
    }
}

impl Drop for ContextSwitch {
    fn drop(&mut self) {
        // SAFETY: writes a backend-local variable. What was current before belongs to code
        // further out, which is still running and cannot have freed it meanwhile.
        unsafe { pg_sys::CurrentMemoryContext = self.previous };
    }
}

/// Puts a value into a context.
///
/// # Safety
/// A valid context.
pub unsafe fn kept_in<T>(memory: pg_sys::MemoryContext, value: T) -> NonNull<T> {
    // The context frees it, and no destructor runs.
    const { assert!(!std::mem::needs_drop::<T>()) };
    const { assert!(align_of::<T>() <= pg_sys::MAXIMUM_ALIGNOF as usize) };
    // SAFETY: the caller's promise: as much memory as is written, aligned as for any type of the
    // server's, and never null.
    unsafe {
        let kept = pg_sys::MemoryContextAlloc(memory, size_of::<T>()).cast::<T>();
        kept.write(value);
        NonNull::new_unchecked(kept)
    }
}
