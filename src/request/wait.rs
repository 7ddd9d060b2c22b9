//! How long a call waits for others that work on its key.
use crate::pg::backend;
use crate::pg::call::arguments::Arguments;
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::transaction::waits::note_wait;
use pgrx::pg_sys;
use std::ffi::CString;

/// Microseconds between two looks at a lease: at first, and at most.
const FIRST_PAUSE: i64 = 10_000;
const LONGEST_PAUSE: i64 = 200_000;

/// The argument `wait` of a call: until when it waits. Without the argument a call waits for
/// transactions as `lock_timeout` says, and not at all for a lease.
pub struct WaitLimit {
    until: Option<pg_sys::TimestampTz>,
    pause: i64,
}

impl WaitLimit {
    /// That in the argument with this position, from now on.
    ///
    /// # Errors
    /// 22023 if it is negative.
    pub fn of(arguments: &Arguments, position: usize) -> Self {
        let interval = arguments.optional_interval(position, "wait");
        Self {
            until: interval.map(|interval| interval.after(backend::clock())),
            pause: FIRST_PAUSE,
        }
    }

    /// Whether it waits for a transaction, and not at all events for its lock.
    pub fn waits_for_transactions(&self) -> bool {
        match self.until {
            Some(until) => until > backend::clock(),
            None => backend::lock_timeout() != 0,
        }
    }

    /// Runs `work`, which waits for a lock, no longer than until the limit. What is over time is
    /// the error of `lock_timeout`.
    pub fn limit_lock_wait<R>(&self, work: impl FnOnce() -> R) -> R {
        let Some(until) = self.until else {
            return work();
        };
        // Zero would be no limit.
        let left = (until - backend::clock()).max(0) / 1000 + 1;
        let left = left.min(i64::from(i32::MAX)).to_string();
        let left = CString::new(left).expect("digits");
        let _limit = LocalSettings::set(&[(c"lock_timeout", &left)]);
        work()
    }

    /// Waits for a moment, in which an attempt may let go of a lease that it holds; false if the
    /// time is over.
    pub fn pause_for_lease(&mut self, lease_until: Option<pg_sys::TimestampTz>) -> bool {
        let now = backend::clock();
        let Some(until) = self.until.filter(|until| *until > now) else {
            return false;
        };
        if self.pause == FIRST_PAUSE {
            note_wait();
        }
        let end = lease_until.map_or(until, |lease| lease.clamp(now + 1, until));
        backend::sleep(self.pause.min(end - now));
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        true
    }
}
