//! What a request is known by.
use crate::error::{Report, SqlState};
use crate::pg::backend;
use crate::pg::call::arguments::Arguments;
use crate::pg::transaction::locks;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::secret;
use crate::stats::{Recorder, Requests};
use pgrx::pg_sys;

/// A key may have so many characters.
const MAX_CHARACTERS: usize = 255;

/// What a request is known by.
pub struct RequestKey<'c> {
    /// The role that sends it.
    pub role: pg_sys::Oid,
    /// The scope, a text.
    pub scope: SqlValue<'c>,
    /// The key, a text.
    pub key: SqlValue<'c>,
    /// The key, for error texts.
    name: Vec<u8>,
    /// That of the lock on it.
    pub(super) tag: pg_sys::LOCKTAG,
}

impl<'c> RequestKey<'c> {
    /// That in the arguments with these positions, of the current user.
    ///
    /// # Errors
    /// 22004 for a NULL, 22023 for a key or scope that is too short or too long.
    pub fn new(arguments: &Arguments<'c>, key: usize, scope: usize) -> Self {
        let (key, key_bytes) = arguments.whole_text(key, "key");
        let (scope, scope_bytes) = arguments.whole_text(scope, "scope");
        let count = characters(key_bytes);
        if count == 0 || count > MAX_CHARACTERS {
            Report::new(
                SqlState::InvalidParameterValue,
                format!("a request key must have 1 to {MAX_CHARACTERS} characters"),
            )
            .detail(format!("This one has {count}."))
            .raise()
        }
        let count = characters(scope_bytes);
        if count > MAX_CHARACTERS {
            Report::new(
                SqlState::InvalidParameterValue,
                format!("a scope must have at most {MAX_CHARACTERS} characters"),
            )
            .detail(format!("This one has {count}."))
            .raise()
        }
        let role = backend::current_user();
        let tag = tag(role, scope_bytes, key_bytes);
        Self {
            role,
            scope,
            key,
            name: key_bytes.to_vec(),
            tag,
        }
    }

    /// The key, for error texts.
    pub fn display_text(&self) -> String {
        text::from_server_bytes(&self.name)
    }

    /// 55I01, which is counted: what is told is raised.
    pub fn in_progress(&self) -> Report {
        Recorder::of_requests().count(Requests::InProgress);
        Report::new(
            SqlState::KeyInProgress,
            format!("request key \"{}\" is in progress", self.display_text()),
        )
        .detail("Another transaction is working on it.")
        .hint("Send the request again later.")
        .table("idempotent", "request_records")
        .constraint("request_records_pkey")
    }

    /// 55I01 for an attempt that holds the request by a lease.
    pub fn in_progress_until(&self, lease_until: Option<pg_sys::TimestampTz>) -> Report {
        let Some(until) = lease_until else {
            return self.in_progress();
        };
        let seconds = ((until - backend::clock()).max(1) + 999_999) / 1_000_000;
        let unit = if seconds == 1 { "second" } else { "seconds" };
        let until = backend::timestamp_text(until);
        self.in_progress()
            .detail(format!(
                "An attempt holds it until {until}, unless its lease is renewed."
            ))
            .hint(format!("Send the request again after {seconds} {unit}."))
    }
}

/// How many characters a text has; of a short one its bytes, which are no fewer.
fn characters(text: &[u8]) -> usize {
    if text.len() <= MAX_CHARACTERS {
        return text.len();
    }
    text::from_server_bytes(text).chars().count()
}

fn tag(role: pg_sys::Oid, scope: &[u8], key: &[u8]) -> pg_sys::LOCKTAG {
    let subject = locks::LockSubject::RequestKey;
    let hash = secret::hash(subject).word(u64::from(role.to_u32()));
    locks::tag(subject, hash.bytes(scope).bytes(key).finish())
}
