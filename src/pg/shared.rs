//! One piece of memory that all processes of the server share, under a lock.
//!
//! PostgreSQL 15 and 16 hand shared memory out when they start, so the library has to be in
//! `shared_preload_libraries` there. From 17 on, the first who asks for a named segment makes it, at any time.
//! Either way it begins as zeros, and goes when the server ends, or restarts after a crash.
use pgrx::pg_sys;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What can be in shared memory.
///
/// # Safety
/// All zeros are a value of it. It is of use to several processes at once: what may change is atomic, it
/// has no pointers, nothing that is dropped, and no need of an alignment above that of the server's.
pub unsafe trait Shareable: Sync + 'static {}

/// What is at the address.
#[repr(C)]
struct Segment<T> {
    lock: pg_sys::LWLock,
    content: T,
}

/// Where the segment is mapped in this process; null as long as it is not.
static AT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// The memory. The extension has one, of one type.
pub struct SharedMemory<T: Shareable> {
    name: &'static CStr,
    content: PhantomData<T>,
}

impl<T: Shareable> SharedMemory<T> {
    /// That of this name, which says its layout, too: a library that replaces another one in a running
    /// server must not find the other one's memory.
    pub const fn named(name: &'static CStr) -> Self {
        const { assert!(align_of::<Segment<T>>() <= pg_sys::MAXIMUM_ALIGNOF as usize) };
        const { assert!(!std::mem::needs_drop::<T>()) };
        Self {
            name,
            content: PhantomData,
        }
    }

    /// Asks a server that starts for the memory, where only such a one can give it.
    pub fn reserve(&self) {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        at_start::reserve(self.name, size_of::<Segment<T>>());
    }

    /// Whether the server makes such memory whenever it is asked.
    pub const fn is_made_at_any_time() -> bool {
        cfg!(not(any(feature = "pg15", feature = "pg16")))
    }

    /// Finds the memory, or makes it, where that can be done at any time.
    ///
    /// # Errors
    /// What the server says if it has no more shared memory.
    pub fn attach(&self) {
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        at_any_time::attach(self.name, size_of::<Segment<T>>());
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        if let Some(segment) = self.segment() {
            // SAFETY: the lock was made before the segment was shown to anybody.
            unsafe { name_lock(segment.cast()) };
        }
    }

    /// Whether the memory is at hand.
    #[inline]
    pub fn is_attached(&self) -> bool {
        !AT.load(Ordering::Relaxed).is_null()
    }

    fn segment(&self) -> Option<*mut Segment<T>> {
        let at = AT.load(Ordering::Relaxed).cast::<Segment<T>>();
        (!at.is_null()).then_some(at)
    }

    /// Runs `work`, which must not fail, beside others that do; None if the memory is not at hand.
    pub fn with_shared<R>(&self, work: impl FnOnce(&T) -> R) -> Option<R> {
        self.with_lock(pg_sys::LWLockMode::LW_SHARED, work)
    }

    /// Likewise, while nobody else does.
    pub fn with_exclusive<R>(&self, work: impl FnOnce(&T) -> R) -> Option<R> {
        self.with_lock(pg_sys::LWLockMode::LW_EXCLUSIVE, work)
    }

    fn with_lock<R>(
        &self,
        mode: pg_sys::LWLockMode::Type,
        work: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let segment = self.segment()?;
        // SAFETY: mapped as long as the process lives, of this type, begun as zeros. The lock is given
        // back before the call ends, or by the abort, should `work` fail after all.
        unsafe {
            let lock = &raw mut (*segment).lock;
            pg_sys::LWLockAcquire(lock, mode);
            let result = work(&(*segment).content);
            pg_sys::LWLockRelease(lock);
            Some(result)
        }
    }
}

/// Makes a new segment of this size.
///
/// # Safety
/// So many bytes of memory, which nobody else knows yet.
unsafe fn make(segment: *mut c_void, size: usize) {
    // SAFETY: the caller's promise; the lock comes first.
    unsafe {
        ptr::write_bytes(segment.cast::<u8>(), 0, size);
        pg_sys::LWLockInitialize(segment.cast(), pg_sys::LWLockNewTrancheId());
    }
}

/// Names a lock in this process, and in those that it forks, for `pg_stat_activity`.
///
/// # Safety
/// A lock that was made.
unsafe fn name_lock(lock: *const pg_sys::LWLock) {
    // SAFETY: the caller's promise; the name lives as long as the process.
    unsafe {
        let tranche = i32::from((*lock).tranche);
        pg_sys::LWLockRegisterTranche(tranche, c"pg_idempotent".as_ptr());
    }
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
mod at_start {
    use super::{AT, make, name_lock};
    use pgrx::{pg_guard, pg_sys};
    use std::ffi::CStr;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    /// What was asked for, and whom the server would have called.
    struct Reservation {
        name: &'static CStr,
        size: usize,
        next_request: pg_sys::shmem_request_hook_type,
        next_startup: pg_sys::shmem_startup_hook_type,
    }

    static RESERVATION: OnceLock<Reservation> = OnceLock::new();

    pub fn reserve(name: &'static CStr, size: usize) {
        // SAFETY: reads and sets variables of the process, while it loads its libraries, alone.
        unsafe {
            if !pg_sys::process_shared_preload_libraries_in_progress {
                return;
            }
            let reservation = Reservation {
                name,
                size,
                next_request: pg_sys::shmem_request_hook,
                next_startup: pg_sys::shmem_startup_hook,
            };
            if RESERVATION.set(reservation).is_ok() {
                pg_sys::shmem_request_hook = Some(on_request);
                pg_sys::shmem_startup_hook = Some(on_startup);
            }
        }
    }

    #[pg_guard]
    unsafe extern "C-unwind" fn on_request() {
        let reservation = RESERVATION.get().expect("made before the hook");
        // SAFETY: the server calls this when it may be asked for memory, as it would call the next one.
        unsafe {
            if let Some(next) = reservation.next_request {
                next();
            }
            pg_sys::RequestAddinShmemSpace(reservation.size);
        }
    }

    /// Called by the postmaster, also when it begins anew after a crash. What it forks has the address.
    #[pg_guard]
    unsafe extern "C-unwind" fn on_startup() {
        let reservation = RESERVATION.get().expect("made before the hook");
        // SAFETY: the server calls this when its memory is there, as it would call the next one. No
        // other process runs yet.
        unsafe {
            if let Some(next) = reservation.next_startup {
                next();
            }
            let (name, mut found) = (reservation.name.as_ptr(), false);
            let segment = pg_sys::ShmemInitStruct(name, reservation.size, &raw mut found);
            if !found {
                make(segment, reservation.size);
            }
            name_lock(segment.cast());
            AT.store(segment, Ordering::Relaxed);
        }
    }
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
mod at_any_time {
    use super::{AT, make};
    use pgrx::{pg_guard, pg_sys};
    use std::ffi::{CStr, c_void};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The server does not tell its callback.
    static SIZE: AtomicUsize = AtomicUsize::new(0);

    pub fn attach(name: &'static CStr, size: usize) {
        SIZE.store(size, Ordering::Relaxed);
        let mut found = false;
        // SAFETY: the name is below the server's limit. The segment is pinned, and mapped as long as the
        // process lives.
        let segment = unsafe {
            pg_sys::GetNamedDSMSegment(name.as_ptr(), size, Some(on_new), &raw mut found)
        };
        AT.store(segment, Ordering::Relaxed);
    }

    #[pg_guard]
    unsafe extern "C-unwind" fn on_new(segment: *mut c_void) {
        // SAFETY: the server calls this with the segment of the size that was asked for, before anybody
        // else can have it.
        unsafe { make(segment, SIZE.load(Ordering::Relaxed)) };
    }
}
