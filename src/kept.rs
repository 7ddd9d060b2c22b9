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
//! and a table for who may SELECT and UPDATE it: rows that are said to be another's are
//! nobody's. There is no other way to make a value.
//!
//! # What is stored
//! The types are laid out as bytea, and compared as that: a byte and the oid, or the text in
//! parentheses. A comparison looks nothing up.
use crate::error::with_error_capture;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::result::SqlResult;
use crate::pg::hash::sha256::to_bytea;
use crate::pg::statement::spi::Parameter;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::prelude::*;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// The byte before an oid. A text in parentheses begins with another one.
const PRESENT: u8 = 1;

/// A role, as tables of state have it.
pub fn role(oid: pg_sys::Oid) -> pg_sys::Datum {
    present(oid)
}

/// A role, as a parameter of a statement on tables of state.
pub fn role_parameter(oid: pg_sys::Oid) -> Parameter<'static> {
    optional_role_parameter(Some(oid))
}

/// A role, or NULL, as a parameter.
pub fn optional_role_parameter(oid: Option<pg_sys::Oid>) -> Parameter<'static> {
    let typid = role_type();
    // SAFETY: the type is laid out as a bytea of such bytes.
    oid.map_or(SqlValue::null(typid), |oid| unsafe {
        SqlValue::of_bytes(typid, bytes_of(oid))
    })
}

/// A table, as a parameter.
pub fn table_parameter(oid: pg_sys::Oid) -> Parameter<'static> {
    // SAFETY: the type is laid out as a bytea of such bytes.
    unsafe { SqlValue::of_bytes(type_named(c"kept_table"), bytes_of(oid)) }
}

/// The type of a role; invalid without the extension.
pub fn role_type() -> pg_sys::Oid {
    type_named(c"kept_role")
}

fn type_named(name: &CStr) -> pg_sys::Oid {
    let none = pg_sys::Datum::null();
    // SAFETY: look-ups by constant names.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"idempotent".as_ptr(), true);
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as i32,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(schema),
            none,
            none,
        )
    }
}

fn present(oid: pg_sys::Oid) -> pg_sys::Datum {
    to_bytea(&bytes_of(oid))
}

fn bytes_of(oid: pg_sys::Oid) -> [u8; 5] {
    let [a, b, c, d] = oid.to_u32().to_be_bytes();
    [PRESENT, a, b, c, d]
}

/// A value.
enum KeptValue<'v> {
    /// With this oid, whether or not it has been dropped since.
    Present(pg_sys::Oid),
    /// The text in parentheses.
    Unresolved(&'v [u8]),
}

impl<'v> KeptValue<'v> {
    /// The only argument of a strict function.
    ///
    /// # Safety
    /// It is a value of one of the two types.
    unsafe fn of(arguments: &Arguments<'v>) -> Self {
        // SAFETY: the caller's promise; both are laid out as bytea.
        match unsafe { arguments.bytes_unchecked(0, "value") } {
            [PRESENT, a, b, c, d] => {
                Self::Present(pg_sys::Oid::from(u32::from_be_bytes([*a, *b, *c, *d])))
            }
            text => Self::Unresolved(text),
        }
    }
}

/// `kept_role_in(cstring)`: the role of this name.
#[pg_extern(sql = false)]
fn kept_role_in(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    // SAFETY: the running call's; a strict function of a cstring.
    with_error_capture(|| value_of(unsafe { cstring(fcinfo) }, role_named))
}

/// `kept_table_in(cstring)`: the table of this name.
#[pg_extern(sql = false)]
fn kept_table_in(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    // SAFETY: the running call's; a strict function of a cstring.
    with_error_capture(|| value_of(unsafe { cstring(fcinfo) }, table_named))
}

/// `kept_role_recv(internal)`: likewise, from the binary protocol, which has the same text.
#[pg_extern(sql = false)]
fn kept_role_recv(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    // SAFETY: the running call's; a strict function of a message.
    with_error_capture(|| value_of(unsafe { message(fcinfo) }, role_named))
}

/// `kept_table_recv(internal)`: likewise.
#[pg_extern(sql = false)]
fn kept_table_recv(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    // SAFETY: the running call's; a strict function of a message.
    with_error_capture(|| value_of(unsafe { message(fcinfo) }, table_named))
}

/// # Safety
/// The call has a cstring for argument, which outlives it.
unsafe fn cstring<'t>(fcinfo: pg_sys::FunctionCallInfo) -> &'t CStr {
    // SAFETY: the caller's promise.
    unsafe {
        let text = Arguments::new(fcinfo).required(0, "value");
        CStr::from_ptr(text.cast_mut_ptr::<c_char>())
    }
}

/// # Safety
/// The call has the rest of a message for argument; what is read of it outlives the call.
unsafe fn message<'t>(fcinfo: pg_sys::FunctionCallInfo) -> &'t CStr {
    // SAFETY: the caller's promise; core gives a C string in the server's encoding.
    unsafe {
        let buffer = Arguments::new(fcinfo).required(0, "value");
        let buffer = buffer.cast_mut_ptr::<pg_sys::StringInfoData>();
        let (length, mut read) = ((*buffer).len - (*buffer).cursor, 0);
        CStr::from_ptr(pg_sys::pq_getmsgtext(buffer, length, &raw mut read))
    }
}

/// The value of a text: what `find` finds by its names, or nobody's.
fn value_of(text: &CStr, find: fn(&[CString]) -> Option<pg_sys::Oid>) -> SqlResult {
    let bytes = text.to_bytes();
    if bytes.first() == Some(&b'(') {
        // SAFETY: the type is laid out as bytea.
        return unsafe { SqlResult::datum(to_bytea(bytes)) };
    }
    let value = match names_of(text).and_then(|names| find(&names)) {
        Some(oid) => present(oid),
        None => to_bytea(&[b"(", bytes, b")"].concat()),
    };
    // SAFETY: a value of the type that the function returns, laid out as bytea.
    unsafe { SqlResult::datum(value) }
}

/// The role of this name, if the current user has its privileges.
fn role_named(names: &[CString]) -> Option<pg_sys::Oid> {
    let [name] = names else { return None };
    // SAFETY: look-ups by a C string.
    unsafe {
        let role = pg_sys::get_role_oid(name.as_ptr(), true);
        let may_be = |role| pg_sys::has_privs_of_role(pg_sys::GetUserId(), role);
        (role != pg_sys::InvalidOid && may_be(role)).then_some(role)
    }
}

/// The table of this name, if the current user may SELECT and UPDATE it.
fn table_named(names: &[CString]) -> Option<pg_sys::Oid> {
    // SAFETY: look-ups by C strings.
    unsafe {
        let table = match names {
            [schema, name] => {
                let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
                pg_sys::get_relname_relid(name.as_ptr(), schema)
            }
            [name] => pg_sys::RelnameGetRelid(name.as_ptr()),
            _ => return None,
        };
        let may = |right: u32| {
            let right = right as pg_sys::AclMode;
            pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), right)
                == pg_sys::AclResult::ACLCHECK_OK
        };
        let found = table != pg_sys::InvalidOid;
        (found && may(pg_sys::ACL_SELECT) && may(pg_sys::ACL_UPDATE)).then_some(table)
    }
}

/// The names that a text consists of, by core's own rules; None if there are none. A number
/// is no name: the name would be quoted.
fn names_of(text: &CStr) -> Option<Vec<CString>> {
    if text.to_bytes().iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut list = ptr::null_mut();
    // SAFETY: core writes into a copy of the text; the names are C strings in it.
    unsafe {
        let copy = pg_sys::pstrdup(text.as_ptr());
        if !pg_sys::SplitIdentifierString(copy, b'.' as c_char, &raw mut list) || list.is_null() {
            return None;
        }
        let name = |i: usize| CStr::from_ptr((*(*list).elements.add(i)).ptr_value.cast());
        Some(
            (0..(*list).length as usize)
                .map(|i| name(i).to_owned())
                .collect(),
        )
    }
}

/// `kept_role_out(kept_role)`: the role's name as of now.
#[pg_extern(sql = false)]
fn kept_role_out(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| to_cstring(&text_of(fcinfo, "", name_of_role)))
}

/// `kept_table_out(kept_table)`: the table's name as of now, with its schema.
#[pg_extern(sql = false)]
fn kept_table_out(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| to_cstring(&text_of(fcinfo, &this_database(), name_of_table)))
}

/// `kept_role_send(kept_role)`: likewise, for the binary protocol.
#[pg_extern(sql = false)]
fn kept_role_send(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| to_message(&text_of(fcinfo, "", name_of_role)))
}

/// `kept_table_send(kept_table)`: likewise.
#[pg_extern(sql = false)]
fn kept_table_send(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| to_message(&text_of(fcinfo, &this_database(), name_of_table)))
}

fn to_cstring(text: &CStr) -> SqlResult {
    // SAFETY: a cstring, which the output functions return, copied into the caller's memory.
    unsafe { SqlResult::datum(pg_sys::Datum::from(pg_sys::pstrdup(text.as_ptr()))) }
}

fn to_message(text: &CStr) -> SqlResult {
    let mut buffer = pg_sys::StringInfoData::default();
    // SAFETY: core's way to make a message of a text, in the caller's memory; a bytea, which
    // the send functions return.
    unsafe {
        pg_sys::pq_begintypsend(&raw mut buffer);
        pg_sys::pq_sendtext(&raw mut buffer, text.as_ptr(), text.count_bytes() as i32);
        SqlResult::datum(pg_sys::Datum::from(pg_sys::pq_endtypsend(&raw mut buffer)))
    }
}

/// The text of a value: the name that `name` gives, or what was dropped, and where: in this
/// cluster, and in this part of it.
fn text_of(
    fcinfo: pg_sys::FunctionCallInfo,
    part: &str,
    name: fn(pg_sys::Oid) -> Option<CString>,
) -> CString {
    // SAFETY: the running call's; a strict function of a value.
    let arguments = unsafe { Arguments::new(fcinfo) };
    // SAFETY: the argument of the types' output and send functions.
    match unsafe { KeptValue::of(&arguments) } {
        KeptValue::Unresolved(text) => CString::new(text).unwrap_or_default(),
        KeptValue::Present(oid) => name(oid).unwrap_or_else(|| {
            // SAFETY: reads what does not change.
            let cluster = unsafe { pg_sys::GetSystemIdentifier() };
            let oid = oid.to_u32();
            text::to_server(&format!("(dropped {oid} of {cluster}{part})"))
        }),
    }
}

fn name_of_role(role: pg_sys::Oid) -> Option<CString> {
    // SAFETY: names in the catalog are C strings.
    unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        (!name.is_null()).then(|| CStr::from_ptr(pg_sys::quote_identifier(name)).to_owned())
    }
}

fn name_of_table(table: pg_sys::Oid) -> Option<CString> {
    // SAFETY: names in the catalog are C strings.
    unsafe {
        let name = pg_sys::get_rel_name(table);
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(table));
        let found = !name.is_null() && !schema.is_null();
        found.then(|| CStr::from_ptr(pg_sys::quote_qualified_identifier(schema, name)).to_owned())
    }
}

/// What table oids are unique in, within the cluster.
fn this_database() -> String {
    // SAFETY: reads a backend-local variable.
    format!("/{}", unsafe { pg_sys::MyDatabaseId.to_u32() })
}

/// `kept_oid(kept_role)`, `kept_oid(kept_table)`: the oid; 0 if it is nobody's.
#[pg_extern(sql = false)]
fn kept_oid(fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: the running call's; a strict function of a value.
        let arguments = unsafe { Arguments::new(fcinfo) };
        // SAFETY: both functions take one of the types.
        SqlResult::oid(match unsafe { KeptValue::of(&arguments) } {
            KeptValue::Present(oid) => oid,
            KeptValue::Unresolved(_) => pg_sys::InvalidOid,
        })
    })
}

/// `own_role()`: the current user.
#[pg_extern(sql = false)]
fn own_role(_fcinfo: pg_sys::FunctionCallInfo) -> SqlResult {
    // SAFETY: reads a backend-local variable; a value of the type that is returned.
    with_error_capture(|| unsafe { SqlResult::datum(role(pg_sys::GetUserId())) })
}
