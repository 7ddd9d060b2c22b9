//! What an INSERT into a table of state may hand out: the trigger on each of them.
//!
//! # Why a trigger
//! The types' input functions judge texts: what restores and replication bring. A value that is
//! copied (`INSERT … SELECT role …`) meets none of them. Nothing else than a trigger can make
//! nobody's what the inserter may not hand out: a CHECK or a policy could only refuse the row, and a
//! restore would lose it, with all that come in the same COPY; and dumps of tables with policies
//! fail.
//!
//! # When it fires
//! It is ENABLE ALWAYS: a role that may set `session_replication_role` is not past it. A worker of
//! logical replication applies rows as the tables' owner, or with the rights of the subscription's;
//! the first passes at once. `ALTER TABLE … ENABLE TRIGGER ALL`, which a restore with
//! `--disable-triggers` ends with, leaves a plain trigger, which is as good for everybody who may
//! not set that.
//!
//! The extension writes its rows as the tables' owner, or past triggers. Nothing is looked up for
//! the owner.
//!
//! # What it changes
//! - A role whose privileges the inserter does not have, or a table of which they may not SELECT and
//!   UPDATE every row, becomes nobody's: whoever resolves a conflict applies its payload with their
//!   own rights, and so it must not come from somebody who could not have applied it.
//! - The name of whoever sent a payload (`arrived_by`) is in parentheses if it is not that of such a
//!   role.
use super::{
    KeptValue, kept_role_out_wrapper, kept_table_out_wrapper, nobodys, role_text, table_text,
    type_named,
};
use crate::error::{Report, SqlState, with_error_capture};
use crate::pg::backend::{current_user, is_superuser};
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::call::trigger::FiredTrigger;
use crate::pg::catalog::name::{quoted_relation_name, role_oid};
use crate::pg::catalog::privilege::{has_privileges_of, may_select_and_update};
use crate::pg::value::sql_value::{BytesType, SqlValue};
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// `kept_trigger()`: a row that is about to go in, with what its inserter may hand out.
///
/// # Errors
/// 39P01 if it is not called BEFORE INSERT FOR EACH ROW.
#[pg_extern(sql = false)]
fn kept_trigger(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let trigger = FiredTrigger::of(call).filter(FiredTrigger::is_before_insert_row);
        let Some((trigger, row)) = trigger.and_then(|trigger| Some((trigger, trigger.row()?)))
        else {
            Report::new(
                SqlState::TriggerProtocolViolated,
                "kept_trigger must be called as a trigger BEFORE INSERT FOR EACH ROW",
            )
            .raise()
        };
        if current_user() == trigger.table_owner() || is_superuser() {
            return trigger.unchanged();
        }
        let role = type_named(c"kept_role", Some(kept_role_out_wrapper));
        let table = type_named(c"kept_table", Some(kept_table_out_wrapper));
        let values = row.values();
        let replace = |value: &SqlValue<'_>| match value.typid() {
            typid if typid == role.oid() => role_for_inserter(&value.to_content()?)
                .map(|content| Replacement::Content(role, content)),
            typid if typid == table.oid() => table_for_inserter(&value.to_content()?)
                .map(|content| Replacement::Content(table, content)),
            pg_sys::NAMEOID => name_for_inserter(&value.to_c_string()?).map(Replacement::Name),
            _ => None,
        };
        let replaced: Vec<_> = values.iter().map(replace).collect();
        if replaced.iter().all(Option::is_none) {
            return trigger.unchanged();
        }
        let values = values.iter().zip(&replaced);
        let values: Vec<_> = values
            .map(|(value, other)| other.as_ref().map_or(*value, Replacement::value))
            .collect();
        trigger.with_row(&values)
    })
}

/// What comes in the place of a value.
enum Replacement {
    Content(BytesType, Vec<u8>),
    /// In the server's encoding.
    Name(CString),
}

impl Replacement {
    fn value(&self) -> SqlValue<'_> {
        match self {
            Self::Content(typed, content) => SqlValue::of_content(*typed, content),
            Self::Name(name) => SqlValue::server_name(name),
        }
    }
}

/// What a role is replaced by; None if the inserter may hand it out, or it is nobody's already.
fn role_for_inserter(content: &[u8]) -> Option<Vec<u8>> {
    let value = KeptValue::of_content(content.to_vec());
    match value {
        KeptValue::Present(role) if !has_privileges_of(role) => {
            Some(nobodys(role_text(&value).to_bytes()))
        }
        _ => None,
    }
}

/// Likewise of a table.
fn table_for_inserter(content: &[u8]) -> Option<Vec<u8>> {
    let value = KeptValue::of_content(content.to_vec());
    match value {
        KeptValue::Present(table)
            if quoted_relation_name(table).is_none() || !may_select_and_update(table) =>
        {
            Some(nobodys(table_text(&value).to_bytes()))
        }
        _ => None,
    }
}

/// Likewise of a role's name.
fn name_for_inserter(name: &CStr) -> Option<CString> {
    let bytes = name.to_bytes();
    if bytes.first() == Some(&b'(') || role_oid(name).is_some_and(has_privileges_of) {
        return None;
    }
    CString::new(nobodys(bytes)).ok()
}
