//! `idempotent_resolve`.
//!
//! To keep what is stored runs nothing of the table's owner, whoever resolves. To apply the
//! payload is an UPDATE of the caller's: input functions and CHECKs of domains, triggers,
//! policies and the rest run as the caller, as in an UPDATE that they write.
use crate::compare::differing;
use crate::error::{Report, SqlState};
use crate::owner::AsOwner;
use crate::payload::json::JsonPayloads;
use crate::pg::jsonb::Container;
use crate::pg::local_settings::LocalSettings;
use crate::pg::memory::Memory;
use crate::pg::rows::{NamedStore, Slot, Store};
use crate::pg::spi::Connection;
use crate::pg::text;
use crate::target::{Look, OpenRelation, Target, UniqueIndex, demand_update, may_select};
use pgrx::pg_sys;
use std::ffi::CStr;

const ROWS: &CStr = c"pg_idempotent_rows";

/// How a conflict ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    KeepStored,
    ApplyPayload,
}

impl Resolution {
    fn parse(value: &str) -> Self {
        match value {
            "keep stored" => Self::KeepStored,
            "apply payload" => Self::ApplyPayload,
            _ => Report::new(
                SqlState::InvalidParameterValue,
                format!("unrecognized resolution: \"{value}\""),
            )
            .hint("Available resolutions: keep stored, apply payload.")
            .raise(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::KeepStored => "keep stored",
            Self::ApplyPayload => "apply payload",
        }
    }
}

/// A record, as far as resolving needs it. The documents live in the
/// connection's memory.
struct Record<'c> {
    target: pg_sys::Oid,
    key: Container<'c>,
    payload: Container<'c>,
    stored: Container<'c>,
    differences: Container<'c>,
    resolution: Option<String>,
}

/// See [`super::idempotent_resolve`].
pub fn resolve(id: i64, resolution: &str) -> bool {
    let resolution = Resolution::parse(resolution);
    let connection = Connection::open();
    let record = read(&connection, id).unwrap_or_else(|| no_such_conflict(id));
    if is_gone(record.target) {
        // Its readers are gone with the table; only a superuser sees it.
        // SAFETY: asks about the current user.
        if resolution == Resolution::KeepStored && unsafe { pg_sys::superuser() } {
            return end(&connection, id, resolution, &record);
        }
        no_such_conflict(id)
    }
    let (target, relation) = Target::open(record.target);
    if !may_select(&target) {
        no_such_conflict(id)
    }
    // To keep what is stored, a column may be gone.
    let columns = names(record.differences).filter_map(|name| match resolution {
        Resolution::KeepStored => target.column_by_bytes(text::to_server(&name).to_bytes()),
        Resolution::ApplyPayload => Some(target.column_by_name(&name)),
    });
    demand_update(&target, columns.collect::<Vec<_>>());
    let ended = end(&connection, id, resolution, &record);
    if ended && resolution == Resolution::ApplyPayload {
        apply(&connection, id, &target, &relation, &record);
    }
    ended
}

/// Marks the record, whose row lock makes two calls take turns. False if it was
/// ended in the same way before.
fn end(connection: &Connection, id: i64, resolution: Resolution, record: &Record<'_>) -> bool {
    if record.resolution.is_none() && close(connection, id, resolution) {
        return true;
    }
    // Ended before, or by another session just now.
    let earlier = match &record.resolution {
        Some(earlier) => earlier.clone(),
        None => read(connection, id)
            .and_then(|record| record.resolution)
            .unwrap_or_default(),
    };
    if earlier == resolution.name() {
        return false;
    }
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("conflict {id} was resolved already"),
    )
    .detail(format!("It was resolved with \"{earlier}\"."))
    .raise()
}

fn is_gone(table: pg_sys::Oid) -> bool {
    // SAFETY: a look-up; null if there is no such table.
    unsafe { pg_sys::get_rel_name(table).is_null() }
}

fn no_such_conflict(id: i64) -> ! {
    Report::new(
        SqlState::UndefinedObject,
        format!("conflict {id} does not exist"),
    )
    .detail("There is no such record, or you may not read the table that it is about.")
    .raise()
}

fn names(object: Container<'_>) -> impl Iterator<Item = String> {
    object.names().map(text::from_server_bytes)
}

fn bigint(value: i64) -> (pg_sys::Oid, Option<pg_sys::Datum>) {
    (pg_sys::INT8OID, Some(pg_sys::Datum::from(value)))
}

fn read(connection: &Connection, id: i64) -> Option<Record<'_>> {
    let _owner = AsOwner::switch();
    let found = connection.execute(
        "SELECT target, key, payload, stored, differences, resolution
           FROM idempotent.conflict_records
          WHERE id OPERATOR(pg_catalog.=) $1",
        &[bigint(id)],
    );
    // SAFETY: the columns have these types, and only the last can be NULL.
    let document = |column| unsafe {
        Container::of_datum(connection.first(column).expect("declared NOT NULL"))
    };
    (found == 1).then(|| Record {
        target: pg_sys::Oid::from(connection.first(1).expect("NOT NULL").value() as u32),
        key: document(2),
        payload: document(3),
        stored: document(4),
        differences: document(5),
        // SAFETY: a text.
        resolution: connection.first(6).map(|datum| unsafe {
            text::from_server(pg_sys::text_to_cstring(datum.cast_mut_ptr()))
        }),
    })
}

fn close(connection: &Connection, id: i64, resolution: Resolution) -> bool {
    let _owner = AsOwner::switch();
    let value = text::to_server(resolution.name());
    // SAFETY: a C string; the text is made in the connection's memory.
    let value = unsafe { pg_sys::Datum::from(pg_sys::cstring_to_text(value.as_ptr())) };
    connection.execute(
        "UPDATE idempotent.conflict_records
            SET resolution = $2, resolved_at = pg_catalog.clock_timestamp()
          WHERE id OPERATOR(pg_catalog.=) $1 AND resolution IS NULL",
        &[bigint(id), (pg_sys::TEXTOID, Some(value))],
    ) > 0
}

/// Updates the differing columns with the caller's rights, if the stored row is
/// still what it was.
///
/// The row is locked before it is compared, so that it cannot change in
/// between; it is addressed by table and tuple id, which needs no operator of
/// the key's types.
fn apply(
    connection: &Connection,
    id: i64,
    target: &Target,
    relation: &OpenRelation,
    record: &Record<'_>,
) {
    let key: Vec<String> = names(record.key).collect();
    let arbiter = target.arbiter_for_key(&key);
    let fixed = LocalSettings::fixed_output();
    let stored = JsonPayloads::one(target, record.stored);
    let payload = JsonPayloads::one(target, record.payload);
    let stored_row = working_row(&stored, arbiter);
    let payload_row = working_row(&payload, arbiter);
    // The user's triggers run under the session's own settings.
    drop(fixed);

    let before = find(target, relation, arbiter, &stored_row, &[]);
    if let Some((table, tuple, _)) = before {
        connection.execute(
            &format!(
                "SELECT FROM {} WHERE tableoid OPERATOR(pg_catalog.=) $1
                    AND ctid OPERATOR(pg_catalog.=) $2 FOR UPDATE",
                target.qualified()
            ),
            &place(table, &tuple),
        );
    }
    let found = find(
        target,
        relation,
        arbiter,
        &stored_row,
        &stored.shapes[0].named,
    );
    let Some((table, tuple, true)) = found else {
        changed_since(id, target, found.is_none())
    };

    if record.differences.len() == 0 {
        // Only a digest told that the payload was another.
        return;
    }
    let set = names(record.differences)
        .map(|name| {
            let column = target.column_by_name(&name);
            format!("{} = payload.a{column}", text::quote_identifier(&name))
        })
        .collect::<Vec<_>>()
        .join(", ");
    let mut rows = Store::new();
    rows.put(&payload_row);
    let _named = NamedStore::register(ROWS, &rows, target.row_desc());
    let updated = connection.execute(
        &format!(
            "UPDATE {} AS stored SET {set} FROM pg_idempotent_rows AS payload
              WHERE stored.tableoid OPERATOR(pg_catalog.=) $1
                AND stored.ctid OPERATOR(pg_catalog.=) $2",
            target.qualified()
        ),
        &place(table, &tuple),
    );
    if updated == 0 {
        // Row-level security hides it, or a trigger suppressed the update.
        changed_since(id, target, true)
    }
}

fn place(
    table: pg_sys::Oid,
    tuple: &pg_sys::ItemPointerData,
) -> [(pg_sys::Oid, Option<pg_sys::Datum>); 2] {
    let tuple = pg_sys::Datum::from(std::ptr::from_ref(tuple));
    [
        (pg_sys::OIDOID, Some(pg_sys::Datum::from(table))),
        (pg_sys::TIDOID, Some(tuple)),
    ]
}

fn changed_since(id: i64, target: &Target, gone: bool) -> ! {
    let detail = if gone {
        "The row is gone, or not yours to update."
    } else {
        "The row differs from the one that the conflict was recorded with."
    };
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!(
            "the stored row in table \"{}\" has changed since conflict {id}",
            target.name
        ),
    )
    .detail(detail)
    .hint(
        "Look at the row, then resolve the conflict with 'keep stored', or send the payload again.",
    )
    .table(&target.schema, &target.name)
    .raise()
}

fn working_row(payload: &JsonPayloads<'_>, arbiter: &UniqueIndex) -> Slot {
    let mut row = None;
    let values = Memory::in_current(c"pg_idempotent payload");
    payload.read(Some(arbiter), &values, &mut |slot| {
        row = Some(slot.to_stored())
    });
    let row = row.expect("one payload gives one row");
    row.deform();
    row
}

/// The stored row's table and tuple id, and whether it agrees with `expected`
/// in the columns `compared`.
fn find(
    target: &Target,
    relation: &OpenRelation,
    arbiter: &UniqueIndex,
    expected: &Slot,
    compared: &[usize],
) -> Option<(pg_sys::Oid, pg_sys::ItemPointerData, bool)> {
    let _snapshot = crate::pg::snapshot::FreshSnapshot::push();
    let mut look = Look::new(target, relation, arbiter);
    look.find(|c| expected.get(c));
    let stored = look.stored()?;
    let same = differing(&target.columns, compared, &stored, |c| expected.get(c)).is_empty();
    let (table, tuple) = stored.place();
    Some((table, tuple, same))
}
