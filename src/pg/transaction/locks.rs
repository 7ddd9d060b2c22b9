//! Locks of the server under tags of our own.
use crate::pg::transaction::waits::note_wait;
use crate::pg::{backend, ffi, unwinding};
use pgrx::pg_sys;
use std::cell::Cell;

/// What a lock is on. The number is field 4 of the tag: users' advisory locks have 1
/// or 2 there, so that ours never meet them.
#[derive(Clone, Copy)]
pub enum LockSubject {
    /// The key of a row that a guard lets in.
    RowKey = 29,
    /// The key of a request.
    RequestKey = 30,
    /// A partition that a run makes.
    Partition = 31,
    /// The slices of a table that are being overwritten.
    Slices = 32,
    /// One of these.
    Slice = 33,
    /// A load, while it runs.
    Load = 34,
    /// The sequence of attempts, while it is put ahead.
    Attempts = 35,
    /// Where the slices of a table lie that may overlap.
    SliceRange = 36,
    /// The token of a batch.
    Batch = 37,
    /// A table of which an idempotent view is made.
    ViewTarget = 38,
}

const MODE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;

/// The tag of the lock on something with this hash, in this database. Everybody sees it in
/// `pg_locks`: the hash must tell nothing.
pub fn tag(subject: LockSubject, hash: u64) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        locktag_field1: backend::current_database().to_u32(),
        locktag_field2: (hash >> 32) as u32,
        locktag_field3: hash as u32,
        locktag_field4: subject as u16,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

/// A lock that outlives commits. It is given back when this is dropped, and by any
/// transaction's abort; unlike an advisory lock, users cannot give it back.
pub struct SessionLock(pg_sys::LOCKTAG);

impl SessionLock {
    /// Waits for the lock, and takes it.
    pub fn acquire(subject: LockSubject, number: u64) -> Self {
        let tag = session_tag(subject, number);
        // SAFETY: the lock belongs to the session, and is given back when this is dropped, or by an abort.
        // The guard holds nothing.
        unsafe { ffi::guard(|| wait_for_unguarded(&tag, MODE, true)) };
        Self(tag)
    }
}

/// The tag of a lock that users cannot give back.
fn session_tag(subject: LockSubject, number: u64) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        ..tag(subject, number)
    }
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        if !unwinding() && is_held(&self.0) {
            // SAFETY: the session holds it, as was just looked up; a transaction's abort would
            // have given it back.
            unsafe { pg_sys::LockRelease(&raw const self.0, MODE, true) };
        }
    }
}

fn is_held(tag: &pg_sys::LOCKTAG) -> bool {
    // SAFETY: a look-up in the backend's own table.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        return pg_sys::LockHeldByMe(tag, MODE);
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        return pg_sys::LockHeldByMe(tag, MODE, false);
    }
}

/// Waits for the lock, and takes it.
///
/// # Safety
/// Runs inside `ffi::guard`.
pub unsafe fn acquire_unguarded(tag: &pg_sys::LOCKTAG) {
    // SAFETY: the caller's promise; the lock belongs to the current resource owner, whose abort releases it.
    unsafe { wait_for_unguarded(tag, MODE, false) };
}

/// Takes the lock, and waits for it if it has to, which is noted.
///
/// # Safety
/// Runs inside `ffi::guard`. Somebody gives the lock back.
#[inline]
unsafe fn wait_for_unguarded(tag: &pg_sys::LOCKTAG, mode: pg_sys::LOCKMODE, session: bool) {
    // SAFETY: a valid tag; a mode that is none is an ERROR; the caller's promise.
    unsafe {
        let taken = ffi::unguarded::LockAcquire(tag, mode, session, true);
        if taken == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            note_wait();
            ffi::unguarded::LockAcquire(tag, mode, session, false);
        }
    }
}

/// Takes the lock if nobody has it; says whether.
///
/// # Safety
/// Runs inside `ffi::guard`.
pub unsafe fn try_acquire_unguarded(tag: &pg_sys::LOCKTAG) -> bool {
    // SAFETY: a valid tag and mode; the lock belongs to the current resource owner, whose
    // abort releases it.
    let result = unsafe { ffi::unguarded::LockAcquire(tag, MODE, false, true) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// Gives the lock back, which was taken under the current resource owner; one that is not held
/// is a warning.
///
/// # Safety
/// Runs inside `ffi::guard`.
pub unsafe fn release_unguarded(tag: &pg_sys::LOCKTAG) {
    // SAFETY: a valid tag and mode; there is a guard around by the caller's promise.
    unsafe { ffi::unguarded::LockRelease(tag, MODE, false) };
}

/// Waits for the lock, and takes it, until it is released or the transaction ends.
///
/// # Errors
/// 55P03 after `lock_timeout`, 40P01 in a deadlock.
pub fn acquire(tag: &pg_sys::LOCKTAG) {
    // SAFETY: the guard holds nothing that needs dropping.
    unsafe { ffi::guard(|| acquire_unguarded(tag)) };
}

/// Takes the lock if nobody has it; says whether.
pub fn try_acquire(tag: &pg_sys::LOCKTAG) -> bool {
    // SAFETY: the guard holds nothing that needs dropping.
    unsafe { ffi::guard(|| try_acquire_unguarded(tag)) }
}

/// Gives the lock back; one that is not held is a warning.
pub fn release(tag: &pg_sys::LOCKTAG) {
    // SAFETY: core looks the lock up among those of the current resource owner; the guard holds
    // nothing that needs dropping.
    unsafe { ffi::guard(|| release_unguarded(tag)) };
}

/// A place for one lock, which belongs to the resource owner that is current when it is taken. It
/// is given back when this is dropped, under the same owner, and by that owner's abort.
pub struct HeldLock {
    subject: LockSubject,
    tag: Cell<Option<pg_sys::LOCKTAG>>,
}

impl HeldLock {
    /// Nothing is locked yet.
    pub fn on(subject: LockSubject) -> Self {
        Self {
            subject,
            tag: Cell::new(None),
        }
    }

    /// Gives back the lock that is held, and waits for the one on this hash.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn exchange_unguarded(&self, hash: u64) {
        let tag = tag(self.subject, hash);
        // SAFETY: the caller's promise.
        unsafe {
            self.release_unguarded();
            acquire_unguarded(&tag);
        }
        self.tag.set(Some(tag));
    }

    /// Gives back the lock that is held, if one is.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`.
    #[inline]
    pub unsafe fn release_unguarded(&self) {
        if let Some(tag) = self.tag.take() {
            // SAFETY: taken by `exchange_unguarded`; under another resource owner it is one that
            // the server warns of. The caller's promise.
            unsafe { release_unguarded(&tag) };
        }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: inside the guard nothing is owned.
            unsafe { ffi::guard(|| self.release_unguarded()) };
        }
    }
}

/// Waits for a lock, and keeps it until the transaction ends.
pub fn acquire_until_commit(subject: LockSubject, hash: u64, mode: u32) {
    keep_until_commit(tag(subject, hash), mode);
}

/// Waits for the lock that a [`SessionLock`] would be, and keeps it until the transaction ends.
pub fn acquire_like_session(subject: LockSubject, number: u64) {
    keep_until_commit(session_tag(subject, number), pg_sys::ExclusiveLock);
}

fn keep_until_commit(tag: pg_sys::LOCKTAG, mode: u32) {
    // SAFETY: the lock passes on to the transaction. The guard holds nothing.
    unsafe { ffi::guard(|| wait_for_unguarded(&tag, mode as pg_sys::LOCKMODE, false)) };
}

/// The lock on a table that the work of a call may need: that of its statements that write,
/// from the start.
pub fn working_lock_mode() -> pg_sys::LOCKMODE {
    let mode = if backend::transaction_is_read_only() {
        pg_sys::AccessShareLock
    } else {
        pg_sys::RowExclusiveLock
    };
    mode as pg_sys::LOCKMODE
}
