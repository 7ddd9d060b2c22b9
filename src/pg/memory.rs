//! Memory contexts with an owner.
use super::unwinding;
use pgrx::pg_sys;
use std::ffi::CStr;

/// A memory context that is deleted with its owner.
pub struct Memory(pg_sys::MemoryContext);

impl Memory {
    /// A child of the current context.
    pub fn in_current(name: &'static CStr) -> Self {
        // SAFETY: the current context is always valid.
        Self::under(unsafe { pg_sys::CurrentMemoryContext }, name)
    }

    /// A context that lives until it is dropped, across transactions.
    pub fn in_cache(name: &'static CStr) -> Self {
        // SAFETY: exists from the start of the backend.
        Self::under(unsafe { pg_sys::CacheMemoryContext }, name)
    }

    fn under(parent: pg_sys::MemoryContext, name: &'static CStr) -> Self {
        // SAFETY: a valid parent and a constant name.
        Self(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                parent,
                name.as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        })
    }

    /// The context itself, for core's functions that take one.
    pub fn context(&self) -> pg_sys::MemoryContext {
        self.0
    }

    /// Runs `work` with this as the current context.
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _switched = Switched::to(self.0);
        work()
    }

    /// Runs `work`, from inside a scope, with the context that this is a child
    /// of.
    pub fn outside<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: a valid context has a valid parent.
        let _switched = Switched::to(unsafe { (*self.0).parent });
        work()
    }

    /// Frees all that was allocated in it.
    pub fn reset(&self) {
        // SAFETY: ours, and nobody keeps pointers into it across a reset. A
        // call is spared where there is nothing to free.
        unsafe {
            if !(*self.0).isReset || !(*self.0).firstchild.is_null() {
                pg_sys::MemoryContextReset(self.0);
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: ours; while unwinding its parent frees it.
            unsafe { pg_sys::MemoryContextDelete(self.0) };
        }
    }
}

struct Switched {
    previous: pg_sys::MemoryContext,
}

impl Switched {
    fn to(context: pg_sys::MemoryContext) -> Self {
        // SAFETY: both are valid contexts.
        unsafe {
            let previous = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = context;
            Self { previous }
        }
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        // SAFETY: the previous context outlives the scope.
        unsafe { pg_sys::CurrentMemoryContext = self.previous };
    }
}
