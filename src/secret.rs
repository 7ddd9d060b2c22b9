//! The secret of a database, with which the tags of locks are keyed.
//!
//! Every user can read the tags of all locks in `pg_locks`. Ours are a SipHash of what
//! the lock is on, under a secret in `idempotent.lock_secret`. So a tag does not show which
//! key, request or partition a session works on, and a user cannot find a key of their own
//! whose lock is that of another table, slice or role. What is hashed begins with the
//! subject and, where there is one, the table or role, so that not even the same values
//! meet.
//!
//! # Why no two sessions use different secrets
//! - The secret is made by CREATE EXTENSION, and only the extension's owner has
//!   rights on it. Until that commits, no other session has the extension's functions.
//! - It goes with its table only. Who uses it holds a lock on the table until the
//!   transaction ends, which is as long as any lock that was tagged with it: DROP EXTENSION
//!   waits for that, and who comes later waits for DROP EXTENSION, and then finds the next
//!   one's table, if there is one.
//! - It is read as the server reads its catalogs: as it is committed now, or written by the
//!   transaction itself, whatever the transaction's snapshot shows.
//! - Should it be lost, its owner makes another after TRUNCATE, which waits as well, and is
//!   told to all.
//! - The first row counts. Logical replication of all tables may bring another server's,
//!   behind it.
//!
//! # Copies
//! A dump does not contain it; CREATE EXTENSION makes another for the database that is
//! restored, whose locks are its own. So are those of a database that is made from a
//! template, under the same secret: a tag names its database. A standby and pg_upgrade have
//! it with the data.
//!
//! A load's lock is not tagged so: its number is that of its row, by which the view
//! `idempotent.loads` finds it, and tells nothing of what is loaded; only the
//! load takes it, and no session waits for it.
use crate::error::{OrRaise, Report, SqlState};
use crate::pg::catalog::name::{relation_oid, schema_oid};
use crate::pg::hash::siphash::SipHash;
use crate::pg::transaction::locks::LockSubject;
use crate::pg::transaction::relation_lock::lock_relation;
use crate::target::{OpenRelation, changes};
use pgrx::pg_sys;
use std::cell::Cell;

/// The table, and the secret in it.
#[derive(Clone, Copy)]
struct CachedSecret {
    /// The state of the catalogs in which it was found.
    at: u64,
    table: pg_sys::Oid,
    secret: [u64; 2],
}

thread_local! {
    static CACHED: Cell<Option<CachedSecret>> = const { Cell::new(None) };
}

/// Begins the hash by which a lock on such a thing is tagged.
///
/// # Errors
/// 42P01 without the extension, 55000 if its table is not what it was made.
pub fn hash(subject: LockSubject) -> SipHash {
    hash_under(secret(), subject)
}

/// The same, and a secret number that goes with another one, and is the tag of no lock.
///
/// # Errors
/// As [`hash`].
pub fn hash_and_seed(subject: LockSubject, number: u64) -> (SipHash, u64) {
    let secret = secret();
    // No subject has this number.
    let seed = SipHash::new(secret).word(0).word(number).finish();
    (hash_under(secret, subject), seed)
}

fn hash_under(secret: [u64; 2], subject: LockSubject) -> SipHash {
    SipHash::new(secret).word(subject as u64)
}

/// Why no lock can be tagged; None if locks can. No lock is kept on the table.
pub fn problem() -> Option<Box<Report>> {
    match find() {
        // One that goes meanwhile is found to be gone the next time.
        Ok(table) => read(&OpenRelation::try_open_briefly(table)?).err(),
        Err(report) => Some(report),
    }
}

/// The secret, whose table is locked until the transaction ends.
fn secret() -> [u64; 2] {
    if let Some(known) = CACHED.get()
        && known.at == changes()
    {
        // A table that is being dropped shows when it is locked.
        lock_relation(known.table, pg_sys::AccessShareLock);
        if known.at == changes() {
            return known.secret;
        }
    }
    loop {
        let table = find().or_raise();
        // It may go before it is locked; then there is another, or none.
        if let Some(relation) = OpenRelation::try_open(table)
            && find().or_raise() == table
        {
            let at = changes();
            let secret = read(&relation).or_raise();
            CACHED.set(Some(CachedSecret { at, table, secret }));
            return secret;
        }
    }
}

/// The table, by name.
///
/// # Errors
/// 42P01
fn find() -> Result<pg_sys::Oid, Box<Report>> {
    let schema = schema_oid(c"idempotent");
    let table = schema.and_then(|schema| relation_oid(schema, c"lock_secret"));
    table.ok_or_else(|| {
        let message = "relation \"idempotent.lock_secret\" does not exist";
        let report = Report::new(SqlState::UndefinedTable, message)
            .hint("Install the extension with CREATE EXTENSION pg_idempotent.");
        Box::new(report)
    })
}

/// The first row of the table.
///
/// # Errors
/// 55000
fn read(relation: &OpenRelation) -> Result<[u64; 2], Box<Report>> {
    let secret = relation
        .first_bytea()
        .and_then(|bytes| match bytes.as_chunks::<8>() {
            (&[first, second], []) => Some([u64::from_le_bytes(first), u64::from_le_bytes(second)]),
            _ => None,
        });
    secret.ok_or_else(|| {
        let report = Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            "table \"lock_secret\" of schema \"idempotent\" is not as the extension made it",
        )
        .detail("It does not hold the 16-byte secret by which the tags of locks are hashed.")
        .hint(
            "Make another, as the extension's owner: \
             BEGIN; TRUNCATE idempotent.lock_secret; INSERT INTO idempotent.lock_secret VALUES \
             (substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16)); \
             COMMIT;",
        )
        .table("idempotent", "lock_secret");
        Box::new(report)
    })
}
