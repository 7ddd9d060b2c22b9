//! Roles and tables in the rows of state: the types `idempotent.kept_role` and
//! `idempotent.kept_table`.
//!
//! # Why they have types of their own
//! A row is its role's through every ALTER ROLE … RENAME, and never that of a role that is made
//! later under the same name: within a cluster the oid tells. In another cluster it tells nothing,
//! and the name does. So the oid is what is stored, and the *text* of a value, which is all that
//! dumps and logical replication carry (binary, too), is the name as it is when the text is made.
//! That is what `regrole` and `regclass` do, too, but for what is not there:
//! - Their text of a role that was dropped is its number, which another role may have where
//!   the text is read. Ours is `(dropped 16403 of …)`, with the cluster (and the database) that
//!   the number is from, so that it never meets another one.
//! - They do not read a name that is not there, and COPY then fails as a whole. Ours is kept
//!   as `(name)`.
//!
//! What is in parentheses is *nobody's*: it is no role's and no table's, is the same in the next
//! dump, and becomes somebody's only if it is written anew. No role and no table has such a
//! text: their names would be quoted. It does not meet the role that gets the name later, and
//! has rows of its own by then: otherwise one dump of both would not be restored.
//!
//! # Who may hand out rows
//! The owner of a database restores it without being a superuser, and so may INSERT into the
//! tables of state. A text becomes a role only for whoever has the privileges of that role,
//! and a table for who may SELECT and UPDATE it, with no policy in force: what is said to be
//! another's is nobody's.
//!
//! A value need not come from a text. The owner may SELECT, too, and a value can be copied from
//! another row. So a trigger on each table applies the same rule to the rows that go in: see
//! [`inserter`].
//!
//! # What is stored
//! The types are laid out as bytea, and compared as that: a byte and the oid, or the text in
//! parentheses. A comparison looks nothing up.
use crate::error::{Report, SqlState, with_error_capture};
use crate::pg::backend::{current_database, current_user, system_identifier};
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::catalog::name::{
    quoted_relation_name, quoted_role_name, relation_oid, role_oid, schema_oid, split_qualified,
    type_oid, visible_relation_oid,
};
use crate::pg::catalog::privilege::{has_privileges_of, may_select_and_update};
use crate::pg::statement::spi::Parameter;
use crate::pg::value::sql_value::{BytesType, SqlValue};
use crate::pg::value::text;
use crate::version;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

mod inserter;

/// The byte before an oid. A text in parentheses begins with another one.
const PRESENT: u8 = 1;

/// A role, as a parameter of a statement on tables of state.
pub fn role_parameter(oid: pg_sys::Oid) -> Parameter<'static> {
    optional_role_parameter(Some(oid))
}

/// A role, or NULL, as a parameter.
pub fn optional_role_parameter(oid: Option<pg_sys::Oid>) -> Parameter<'static> {
    let roles = type_named(c"kept_role", Some(kept_role_out_wrapper));
    match oid {
        Some(oid) => value(roles, oid),
        None => SqlValue::null(roles.oid()),
    }
}

/// A table, as a parameter.
pub fn table_parameter(oid: pg_sys::Oid) -> Parameter<'static> {
    value(type_named(c"kept_table", Some(kept_table_out_wrapper)), oid)
}

/// The type with this oid, if it is that of a role.
pub fn as_role_type(typid: pg_sys::Oid) -> Option<BytesType> {
    BytesType::of(typid, Some(kept_role_out_wrapper))
}

/// A value that is there, of one of the types.
pub fn value(kept: BytesType, oid: pg_sys::Oid) -> SqlValue<'static> {
    SqlValue::of_bytes(kept, bytes_of(oid))
}

fn find_type(name: &CStr) -> Option<pg_sys::Oid> {
    type_oid(schema_oid(c"idempotent")?, name)
}

/// # Errors
/// 55000 without the extension.
fn type_named(name: &CStr, output: pg_sys::PGFunction) -> BytesType {
    find_type(name)
        .and_then(|typid| BytesType::of(typid, output))
        .unwrap_or_else(|| {
            version::check();
            Report::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!(
                    "type \"{}\" of schema \"idempotent\" is not as the extension made it",
                    name.to_string_lossy()
                ),
            )
            .raise()
        })
}

fn bytes_of(oid: pg_sys::Oid) -> [u8; 5] {
    let [a, b, c, d] = oid.to_u32().to_be_bytes();
    [PRESENT, a, b, c, d]
}

/// A value.
enum KeptValue {
    /// With this oid, whether or not it has been dropped since.
    Present(pg_sys::Oid),
    /// The text in parentheses.
    Unresolved(Vec<u8>),
}

impl KeptValue {
    /// The only argument of a strict function.
    fn of(call: SqlCall<'_>) -> Self {
        let content = call.first_argument().to_content();
        Self::of_content(content.expect("a value of variable length"))
    }

    /// What is stored.
    fn of_content(content: Vec<u8>) -> Self {
        match *content.as_slice() {
            [PRESENT, a, b, c, d] => {
                Self::Present(pg_sys::Oid::from(u32::from_be_bytes([a, b, c, d])))
            }
            _ => Self::Unresolved(content),
        }
    }
}

/// `kept_role_in(cstring)`: the role of this name.
#[pg_extern(sql = false)]
fn kept_role_in(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| value_of(&input_text(call), role_named))
}

/// `kept_table_in(cstring)`: the table of this name.
#[pg_extern(sql = false)]
fn kept_table_in(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| value_of(&input_text(call), table_named))
}

/// `kept_role_recv(internal)`: likewise, from the binary protocol, which has the same text.
#[pg_extern(sql = false)]
fn kept_role_recv(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| value_of(&call.received_text(), role_named))
}

/// `kept_table_recv(internal)`: likewise.
#[pg_extern(sql = false)]
fn kept_table_recv(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| value_of(&call.received_text(), table_named))
}

/// The only argument of a type's input function, which is strict.
fn input_text(call: SqlCall<'_>) -> CString {
    call.first_argument().to_c_string().expect("a C string")
}

/// The value of a text: what `find` finds by its names, or nobody's.
fn value_of(text: &CStr, find: fn(&[CString]) -> Option<pg_sys::Oid>) -> SqlResult {
    let bytes = text.to_bytes();
    if bytes.first() == Some(&b'(') {
        return SqlResult::content(bytes);
    }
    match names_of(text).and_then(|names| find(&names)) {
        Some(oid) => SqlResult::content(&bytes_of(oid)),
        None => SqlResult::content(&nobodys(bytes)),
    }
}

/// A text that is to be nobody's.
fn nobodys(text: &[u8]) -> Vec<u8> {
    if text.first() == Some(&b'(') {
        return text.to_vec();
    }
    [b"(", text, b")"].concat()
}

/// The role of this name, if the current user has its privileges.
fn role_named(names: &[CString]) -> Option<pg_sys::Oid> {
    let [name] = names else { return None };
    role_oid(name).filter(|role| has_privileges_of(*role))
}

/// The table of this name, if the current user may SELECT and UPDATE it.
fn table_named(names: &[CString]) -> Option<pg_sys::Oid> {
    let table = match names {
        [schema, name] => relation_oid(schema_oid(schema)?, name),
        [name] => visible_relation_oid(name),
        _ => None,
    };
    table.filter(|table| may_select_and_update(*table))
}

/// The names that a text consists of, by core's own rules; None if there are none. A number
/// is no name: the name would be quoted.
fn names_of(text: &CStr) -> Option<Vec<CString>> {
    if text.to_bytes().iter().all(u8::is_ascii_digit) {
        return None;
    }
    split_qualified(text).filter(|names| !names.is_empty())
}

/// `kept_role_out(kept_role)`: the role's name as of now.
#[pg_extern(sql = false)]
fn kept_role_out(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| SqlResult::output_text(&role_text(&KeptValue::of(call))))
}

/// `kept_table_out(kept_table)`: the table's name as of now, with its schema.
#[pg_extern(sql = false)]
fn kept_table_out(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| SqlResult::output_text(&table_text(&KeptValue::of(call))))
}

/// `kept_role_send(kept_role)`: likewise, for the binary protocol.
#[pg_extern(sql = false)]
fn kept_role_send(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| SqlResult::sent_text(&role_text(&KeptValue::of(call))))
}

/// `kept_table_send(kept_table)`: likewise.
#[pg_extern(sql = false)]
fn kept_table_send(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| SqlResult::sent_text(&table_text(&KeptValue::of(call))))
}

fn role_text(role: &KeptValue) -> CString {
    text_of(role, "", quoted_role_name)
}

fn table_text(table: &KeptValue) -> CString {
    text_of(table, &this_database(), quoted_relation_name)
}

/// The text of a value: the name that `name` gives, or what was dropped, and where: in this
/// cluster, and in this part of it.
fn text_of(value: &KeptValue, part: &str, name: fn(pg_sys::Oid) -> Option<CString>) -> CString {
    match value {
        KeptValue::Unresolved(text) => CString::new(text.as_slice()).unwrap_or_default(),
        KeptValue::Present(oid) => name(*oid).unwrap_or_else(|| {
            let (oid, cluster) = (oid.to_u32(), system_identifier());
            text::to_server(&format!("(dropped {oid} of {cluster}{part})"))
        }),
    }
}

/// What table oids are unique in, within the cluster.
fn this_database() -> String {
    format!("/{}", current_database().to_u32())
}

/// `kept_oid(kept_role)`, `kept_oid(kept_table)`: the oid; 0 if it is nobody's.
#[pg_extern(sql = false)]
fn kept_oid(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        SqlResult::oid(match KeptValue::of(call) {
            KeptValue::Present(oid) => oid,
            KeptValue::Unresolved(_) => pg_sys::InvalidOid,
        })
    })
}

/// `own_role()`: the current user.
#[pg_extern(sql = false)]
fn own_role(_call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| SqlResult::content(&bytes_of(current_user())))
}
