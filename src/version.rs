//! Whether the objects of the extension in this database are those that this library works with.
//!
//! The library is a file of the server, the objects are in each database, and a session keeps the
//! library that it has loaded. So the two differ for a while when a new version is installed: the
//! objects are older until ALTER EXTENSION UPDATE, and newer in a session that began before the
//! installation.
//!
//! # The mark
//! `idempotent.objects_version()` says in which version what CREATE EXTENSION makes has changed
//! last, and [`OBJECTS`] is what this library was made for. A version that changes the library alone
//! changes neither: its objects need no update. The mark is a function, because all sessions are told
//! at once of a function that changes, and of a row in `pg_extension` nobody is.
//!
//! # What is refused, and what goes on
//! - *A function that takes arguments* reads them by their places in its declaration, which may be
//!   another version's. It is refused before it reads one.
//! - *Triggers* of guards and views have their options in their definition, and go on: inserts must
//!   not stop until somebody has updated the extension.
//! - *A table of state* is compared with what this library knows of it before it is used, whoever
//!   asks ([`state`](crate::state)). If it is otherwise, a difference of versions is the first reason
//!   to be given, and not how the table could be bent into the other version's form.
//! - *The types of state*, which dumps read and write, go on.
use crate::error::{Report, SqlState};
use crate::pg::call::arguments::check_before_reading;
use crate::pg::catalog::function::FunctionSource;
use crate::pg::catalog::name::schema_oid;
use crate::pg::catalog::syscache::function_without_arguments;
use crate::target::function_changes;
use std::cell::Cell;
use std::cmp::Ordering;

mod order;

/// The version in which the objects changed last, as `sql/version.sql` has it.
const OBJECTS: &str = "0.1.0";

/// Has every function checked before it reads its first argument.
pub fn register() {
    check_before_reading(check);
}

/// Returns if the objects in this database are those that this library works with.
///
/// # Errors
/// 55000
pub fn check() {
    thread_local! {
        /// The changes of functions at which they were found to be.
        static FOUND: Cell<Option<u64>> = const { Cell::new(None) };
    }
    let now = function_changes();
    if FOUND.get() == Some(now) {
        return;
    }
    match mark() {
        Some(version) if version == OBJECTS => FOUND.set(Some(now)),
        other => differ(other.as_deref()).raise(),
    }
}

/// What the mark says; None if there is none, as in the first versions.
fn mark() -> Option<String> {
    let function = function_without_arguments(schema_oid(c"idempotent")?, c"objects_version")?;
    let source = FunctionSource::find(function)?.source.into_string().ok()?;
    let version = source.strip_prefix("SELECT '")?.strip_suffix('\'')?;
    Some(version.to_owned())
}

/// The report, by which of the two is older.
fn differ(objects: Option<&str>) -> Report {
    let newer = objects.filter(|version| order::compare(version, OBJECTS) == Ordering::Greater);
    let report = |message| Report::new(SqlState::ObjectNotInPrerequisiteState, message);
    if let Some(version) = newer {
        return report("extension \"pg_idempotent\" was updated after this session loaded its library")
            .detail(format!(
                "The objects in this database are of version {version}, the library works with those of version {OBJECTS}."
            ))
            .hint(format!(
                "Reconnect. If a new session gets this error, too, install version {version} on this server."
            ));
    }
    let found = objects.map_or_else(
        || "an earlier version".to_owned(),
        |version| format!("version {version}"),
    );
    report("extension \"pg_idempotent\" is not updated yet in this database")
        .detail(format!(
            "The objects in this database are of {found}, the library works with those of version {OBJECTS}."
        ))
        .hint("Run ALTER EXTENSION pg_idempotent UPDATE.")
}
