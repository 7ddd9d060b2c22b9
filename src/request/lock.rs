//! A request's key, and the lock on it.
//!
//! The lock is held while a call looks at the row and writes it. That somebody works on
//! a request is told by the row, which nobody else sees yet, and lasts as long as that
//! transaction: so a transaction may work on any number of requests.
use super::record::{self, Probe, Request};
use crate::error::{Report, SqlState, in_place_of_lock_timeout};
use crate::pg::arguments::Arguments;
use crate::pg::{ffi, locks, text, unwinding};
use pgrx::pg_sys;

/// A key may have so many characters.
const MOST_CHARACTERS: usize = 255;

/// What a request is known by.
pub struct RequestKey {
    /// The role that sends it.
    pub role: pg_sys::Oid,
    /// The scope, a text.
    pub scope: pg_sys::Datum,
    /// The key, a text.
    pub key: pg_sys::Datum,
    name: String,
    tag: pg_sys::LOCKTAG,
}

impl RequestKey {
    /// That in the arguments with these positions, of the current user.
    ///
    /// # Errors
    /// 22004 for a NULL, 22023 for a key or scope that is too short or too long.
    pub fn new(arguments: &Arguments, key: usize, scope: usize) -> Self {
        let name = arguments.text(key, "key");
        let scope_name = arguments.text(scope, "scope");
        if name.is_empty() || name.chars().count() > MOST_CHARACTERS {
            Report::new(
                SqlState::InvalidParameterValue,
                format!("a request key has 1 to {MOST_CHARACTERS} characters"),
            )
            .detail(format!("This one has {}.", name.chars().count()))
            .raise()
        }
        if scope_name.chars().count() > MOST_CHARACTERS {
            Report::new(
                SqlState::InvalidParameterValue,
                format!("a scope has at most {MOST_CHARACTERS} characters"),
            )
            .detail(format!("This one has {}.", scope_name.chars().count()))
            .raise()
        }
        // SAFETY: reads a backend-local variable.
        let role = unsafe { pg_sys::GetUserId() };
        let tag = tag(role, &scope_name, &name);
        Self {
            role,
            scope: text::to_text(&scope_name),
            key: text::to_text(&name),
            name,
            tag,
        }
    }

    /// The key, for error texts.
    pub fn shown(&self) -> &str {
        &self.name
    }

    /// Takes the lock on the key, with nobody else's work on it in progress.
    ///
    /// # Errors
    /// If a transaction is working on it: 23I02 if its request is another, else 55I01,
    /// at once or after `lock_timeout`.
    pub fn lock(&self, request: &Request) -> Held<'_> {
        loop {
            let acquire = || Held::acquire(&self.tag);
            let mut held = in_place_of_lock_timeout(acquire, || self.in_progress());
            let busy = match record::probe(self) {
                Probe::Settled(exists) => {
                    held.exists = exists;
                    return held;
                }
                Probe::Busy(busy) => busy,
            };
            // Never wait for a transaction with the lock in hand.
            drop(held);
            match &busy.written {
                Some(known) if !known.is_free() && !known.is_same(request) => {
                    known.reused(self, request).raise()
                }
                // SAFETY: reads a setting.
                Some(_) if unsafe { pg_sys::LockTimeout } == 0 => self.in_progress().raise(),
                // A purge is removing it, which does not take long.
                _ => {}
            }
            in_place_of_lock_timeout(|| busy.wait(), || self.in_progress());
        }
    }

    /// 55I01
    pub fn in_progress(&self) -> Report {
        Report::new(
            SqlState::KeyInProgress,
            format!("request key \"{}\" is in progress", self.name),
        )
        .detail("Another transaction is working on it.")
        .hint("Send the request again later.")
        .table("idempotent", "requests")
        .constraint("requests_pkey")
    }

    /// 55I01 for an attempt that holds the request by a lease.
    pub fn in_progress_until(&self, lease_until: Option<pg_sys::TimestampTz>) -> Report {
        let Some(until) = lease_until else {
            return self.in_progress();
        };
        // SAFETY: a timestamp, shown by core.
        let until = unsafe { text::from_server(pg_sys::timestamptz_to_str(until)) };
        self.in_progress().detail(format!(
            "An attempt holds it until {until}, unless it is renewed."
        ))
    }
}

/// The lock, until it is dropped.
pub struct Held<'k> {
    tag: &'k pg_sys::LOCKTAG,
    /// Whether there is a committed row under the key.
    pub exists: bool,
}

impl<'k> Held<'k> {
    fn acquire(tag: &'k pg_sys::LOCKTAG) -> Self {
        // SAFETY: the guard holds nothing.
        unsafe { ffi::guard(|| locks::acquire_unguarded(tag)) };
        Self { tag, exists: false }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: taken by this call, under its resource owner; the guard holds
            // nothing.
            unsafe { ffi::guard(|| locks::release_unguarded(self.tag)) };
        }
    }
}

fn tag(role: pg_sys::Oid, scope: &str, key: &str) -> pg_sys::LOCKTAG {
    let parts = [scope.as_bytes(), key.as_bytes()];
    let hash = parts.iter().fold(u64::from(role.to_u32()), |seed, part| {
        ffi::hash_bytes(part, seed)
    });
    locks::tag(locks::Subject::RequestKey, hash)
}
