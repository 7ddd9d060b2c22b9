//! A batch under a token: what has committed once is answered from its record.
//!
//! A token is known by role and target, and has one row in `idempotent.batch_records`, which goes in
//! with the rows of the batch. So there is a record just where the batch has committed, and it says
//! what a call with that token is told, without a look at source or target.
//!
//! # Why no interleaving goes wrong
//! A call that finds no record takes the lock on the token, and looks again. It holds the lock until
//! its transaction ends, or the load does, so of two calls with one token the second finds the
//! record of the first, or does the work itself if the first has rolled back. At REPEATABLE READ and
//! SERIALIZABLE, a record that the snapshot cannot see is 40001.
mod options;

pub use options::BatchOptions;

use crate::enum_text;
use crate::error::{Report, SqlState};
use crate::kept;
use crate::pg::backend;
use crate::pg::call::arguments::Arguments;
use crate::pg::statement::spi::{Connection, Parameter};
use crate::pg::transaction::locks::{LockSubject, SessionLock, acquire_like_session};
use crate::pg::transaction::snapshot::{FreshSnapshot, LatestSnapshot, uses_transaction_snapshot};
use crate::pg::value::document::Document;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::secret;
use crate::state::StateTable;
use crate::target::Target;
use crate::user_context::UserContext;
use pgrx::pg_sys;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// A token may have so many characters.
const MAX_CHARACTERS: usize = 255;

/// So many options are named in which two calls differ.
const MAX_OPTIONS: usize = 10;

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchFunction {
    /// `idempotent_insert_from`
    InsertFrom,
    /// `idempotent_load`
    Load,
    /// `idempotent_merge`
    Merge,
}

/// $1 token, $2 target, $3 role, $4 names of counts
const FIND: &str = "
    SELECT record.function::pg_catalog.text, record.options::pg_catalog.jsonb, record.digest::pg_catalog.text,
           pg_catalog.array_to_string(ARRAY(
               SELECT COALESCE((record.counts OPERATOR(pg_catalog.->>) wanted.name)::pg_catalog.int8, 0)
                 FROM pg_catalog.unnest($4) WITH ORDINALITY AS wanted (name, place)
                ORDER BY wanted.place), ' ') AS counts
      FROM idempotent.batch_records AS record
     WHERE record.token OPERATOR(pg_catalog.=) $1
       AND record.target OPERATOR(idempotent.=) $2
       AND record.role OPERATOR(idempotent.=) $3";

/// $1 token, $2 target, $3 role, $4 function, $5 options, $6 digest, $7 counts
const RECORD: &str = "
    INSERT INTO idempotent.batch_records (token, target, role, function, options, digest, counts)
    VALUES ($1, $2, $3, $4, $5, $6, $7::pg_catalog.jsonb)
    ON CONFLICT (token, target, role) DO NOTHING";

/// A batch that came with a token.
pub struct Batch {
    target: pg_sys::Oid,
    target_name: String,
    role: pg_sys::Oid,
    token: String,
    /// What tells its content from another one's, as the caller says.
    digest: Option<String>,
    function: BatchFunction,
    options: BatchOptions,
}

/// What the row of a token says.
#[derive(Deserialize)]
struct BatchRecord {
    function: String,
    options: Document,
    digest: Option<String>,
    counts: String,
}

/// The arguments `token` and `digest`.
pub struct BatchToken {
    token: String,
    digest: Option<String>,
}

impl BatchToken {
    /// Those at these positions; None without a token.
    ///
    /// # Errors
    /// 22023 for a token that is too short or too long, and for a digest without one.
    pub fn read(arguments: &Arguments, token: usize, digest: usize) -> Option<Self> {
        let digest = arguments.optional_text(digest);
        let Some(token) = arguments.optional_text(token) else {
            if digest.is_some() {
                Report::new(
                    SqlState::InvalidParameterValue,
                    "argument \"digest\" requires argument \"token\"",
                )
                .raise()
            }
            return None;
        };
        let characters = token.chars().count();
        if characters == 0 || characters > MAX_CHARACTERS {
            Report::new(
                SqlState::InvalidParameterValue,
                format!("a token must have 1 to {MAX_CHARACTERS} characters"),
            )
            .detail(format!("This one has {characters}."))
            .raise()
        }
        Some(Self { token, digest })
    }

    /// The token itself.
    pub fn text(&self) -> &str {
        &self.token
    }

    /// A batch of the current user's for a target.
    pub fn batch(&self, target: &Target, function: BatchFunction, options: &BatchOptions) -> Batch {
        Batch {
            target: target.oid,
            target_name: target.name.clone(),
            role: backend::current_user(),
            token: self.token.clone(),
            digest: self.digest.clone(),
            function,
            options: options.clone(),
        }
    }
}

impl Batch {
    /// The counts of these names if the batch has committed. Else the token is locked until the
    /// transaction ends.
    ///
    /// # Errors
    /// 23I02 if the token was used for another batch, 40001, 55P03 after `lock_timeout`.
    pub fn counts_or_lock<const N: usize>(&self, names: [&str; N]) -> Option<[i64; N]> {
        self.counts(names).or_else(|| {
            acquire_like_session(LockSubject::Batch, self.hash());
            self.counts(names)
        })
    }

    /// Likewise; but the lock is the session's.
    ///
    /// # Errors
    /// As [`Batch::counts_or_lock`].
    pub fn counts_or_session_lock<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[i64; N], SessionLock> {
        if let Some(counts) = self.counts(names) {
            return Ok(counts);
        }
        let lock = SessionLock::acquire(LockSubject::Batch, self.hash());
        self.counts(names).ok_or(lock)
    }

    fn hash(&self) -> u64 {
        secret::hash(LockSubject::Batch)
            .word(u64::from(self.role.to_u32()))
            .word(u64::from(self.target.to_u32()))
            .bytes(self.token.as_bytes())
            .finish()
    }

    /// What the record says, if there is one.
    fn counts<const N: usize>(&self, names: [&str; N]) -> Option<[i64; N]> {
        let names = names.map(str::to_owned);
        let record = self.look(&names)?;
        self.check_same(&record);
        let mut counts = record.counts.split(' ').flat_map(str::parse);
        Some([(); N].map(|()| counts.next().unwrap_or(0)))
    }

    /// The record as it is committed, and as the transaction may see it.
    ///
    /// # Errors
    /// 40001 if the transaction may not see it.
    fn look(&self, names: &[String]) -> Option<BatchRecord> {
        let [token, target, role] = self.key();
        let parameters = [token, target, role, SqlValue::texts(names)];
        let look = || -> Option<BatchRecord> {
            let _owner = UserContext::owner_of(StateTable::Batches);
            Connection::open().query_record(FIND, &parameters)
        };
        let seen = {
            let _snapshot = FreshSnapshot::push();
            look()
        };
        if seen.is_none() && uses_transaction_snapshot() {
            let _snapshot = LatestSnapshot::push();
            if look().is_some() {
                Report::could_not_serialize("idempotent", "batch_records").raise()
            }
        }
        seen
    }

    /// # Errors
    /// 23I02 if the record is that of another batch.
    fn check_same(&self, record: &BatchRecord) {
        if record.function != enum_text::name(self.function) {
            let was = format!("It was used by idempotent_{}.", record.function);
            self.reused(&was).raise()
        }
        let asked = self.options.document();
        let (ours, theirs) = (record.options.container(), asked.container());
        if !ours.equals(theirs) {
            let differing = ours.differing_fields(theirs, MAX_OPTIONS);
            let names = differing.map_or_else(Vec::new, |differing| differing.names);
            self.reused(&format!("The calls differ in {}.", names.join(", ")))
                .raise()
        }
        match (&self.digest, &record.digest) {
            (Some(digest), Some(recorded)) if digest != recorded => {
                self.reused("The batches differ in their digest.").raise()
            }
            (Some(_), None) => self
                .reused("The batch was recorded without a digest.")
                .raise(),
            _ => (),
        }
    }

    /// 23I02
    fn reused(&self, detail: &str) -> Report {
        Report::new(
            SqlState::KeyReused,
            format!(
                "token \"{}\" was used for another batch of table \"{}\"",
                text::abbreviated(&self.token),
                self.target_name
            ),
        )
        .detail(detail)
        .hint("Use a new token for a new batch.")
        .table("idempotent", "batch_records")
        .constraint("batch_records_pkey")
    }

    /// Records that the batch is done, as part of the transaction that has done it.
    ///
    /// # Errors
    /// 40001 if somebody else has written the row, past the lock.
    pub fn record<const N: usize>(&self, names: [&str; N], counts: [i64; N]) {
        let mut document = String::from("{");
        for (i, (name, count)) in names.iter().zip(counts).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let _ = write!(document, "{comma}\"{name}\": {count}");
        }
        document.push('}');
        let [token, target, role] = self.key();
        let parameters = [
            token,
            target,
            role,
            SqlValue::text(enum_text::name(self.function)),
            SqlValue::jsonb(self.options.document()),
            SqlValue::optional_text(self.digest.as_deref()),
            SqlValue::text(&document),
        ];
        let _owner = UserContext::owner_of(StateTable::Batches);
        if Connection::open().execute(RECORD, &parameters) == 0 {
            Report::could_not_serialize("idempotent", "batch_records").raise()
        }
    }

    fn key(&self) -> [Parameter<'_>; 3] {
        [
            SqlValue::text(&self.token),
            kept::table_parameter(self.target),
            kept::role_parameter(self.role),
        ]
    }
}
