//! `idempotent_resolve`.
//!
//! To keep what is stored runs nothing of the table's owner. To apply the
//! payload is an UPDATE of the caller's: input functions and CHECKs of domains, triggers,
//! policies and the rest run as the caller, as in an UPDATE that they write.
use super::row_by_values::RowByValues;
use crate::compare::differing;
use crate::enum_text;
use crate::error::{Report, SqlState, redact_errors};
use crate::payload::json::JsonPayloads;
use crate::payload::updated_key::UpdatedKey;
use crate::pg::backend;
use crate::pg::catalog;
use crate::pg::memory::Scratch;
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::pg::value::document::Document;
use crate::pg::value::jsonb::Container;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::state::StateTable;
use crate::target::{
    KeyLookup, OpenRelation, Role, StoredRow, Target, UniqueIndex, check_resolve_privileges,
    kept_by_policy, may_read, policies_show, row_security_is_active,
};
use crate::user_context::UserContext;
use pgrx::pg_sys;
use serde::{Deserialize, Serialize};
use std::ffi::CStr;

const ROWS: &CStr = c"pg_idempotent_rows";

/// How a conflict ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Resolution {
    KeepStored,
    ApplyPayload,
}

/// A record, as far as resolving needs it.
#[derive(Deserialize)]
struct ConflictRecord {
    target: pg_sys::Oid,
    key: Document,
    payload: Document,
    stored: Document,
    differences: Document,
    resolution: Option<Resolution>,
}

/// See [`super::idempotent_resolve`].
pub fn resolve(id: i64, resolution: &str) -> bool {
    let resolution = enum_text::parse_argument("resolution", "resolutions", resolution);
    let connection = Connection::open();
    let record = read(&connection, id).unwrap_or_else(|| no_such_conflict(id));
    if !catalog::relation_exists(record.target) {
        // Its readers are gone with the table; only a superuser sees it.
        if resolution == Resolution::KeepStored && backend::is_superuser() {
            return end(&connection, id, resolution, &record);
        }
        no_such_conflict(id)
    }
    // Before the table is locked, and before anything is said of it.
    if !may_read(record.target) {
        hidden(id).raise()
    }
    let (target, relation) = Target::open_wherever(record.target);
    if resolution == Resolution::ApplyPayload {
        refuse_foreign(&target);
        // Its statements say in which partition the row is, but are planned for all of them.
        target.lock_to_write();
    }
    let conflict = Conflict {
        id,
        by_policy: row_security_is_active(&target),
        target: &target,
        relation: &relation,
        record: &record,
    };
    conflict.check_row_visible();
    check_resolve_privileges(&target, conflict.differing_columns(resolution));
    let ended = end(&connection, id, resolution, &record);
    if ended && resolution == Resolution::ApplyPayload {
        conflict.apply(&connection);
    }
    ended
}

/// Refuses a foreign table.
///
/// # Errors
/// 0A000
fn refuse_foreign(target: &Target) {
    if target.foreign {
        target.refuse_rows_elsewhere(
            "apply payloads to",
            "Update the row with a statement of your own, and resolve the conflict with 'keep_stored'.",
        );
    }
}

/// 42501 for a conflict that the caller may not see, or whose stored row they may not see:
/// in the same words whatever became of the row.
fn hidden(id: i64) -> Report {
    Report::new(
        SqlState::InsufficientPrivilege,
        format!("permission denied for conflict {id}"),
    )
    .detail(
        "It takes USAGE on the schema of the table, SELECT on the table, and row-level security \
         policies that show the stored row.",
    )
}

/// Marks the record, whose row lock makes two calls take turns. False if it was
/// ended in the same way before.
fn end(connection: &Connection, id: i64, resolution: Resolution, record: &ConflictRecord) -> bool {
    if record.resolution.is_none() && close(connection, id, resolution) {
        return true;
    }
    // Ended before, or by another session just now.
    let read_again = || read(connection, id).and_then(|record| record.resolution);
    let earlier = record.resolution.or_else(read_again);
    if earlier == Some(resolution) {
        return false;
    }
    let earlier = earlier.map_or("", enum_text::name);
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("conflict {id} is already resolved"),
    )
    .detail(format!("It was resolved with \"{earlier}\"."))
    .raise()
}

fn no_such_conflict(id: i64) -> ! {
    Report::new(
        SqlState::UndefinedObject,
        format!("conflict {id} does not exist"),
    )
    .raise()
}

fn names(object: Container<'_>) -> impl Iterator<Item = String> {
    object.names().map(text::from_server_bytes)
}

fn read(connection: &Connection, id: i64) -> Option<ConflictRecord> {
    let _owner = UserContext::owner_of(StateTable::Conflicts);
    connection.execute_returning(
        "SELECT target::pg_catalog.oid, key, payload, stored, differences, resolution
           FROM idempotent.conflict_records
          WHERE id OPERATOR(pg_catalog.=) $1",
        &[SqlValue::bigint(id)],
    )
}

fn close(connection: &Connection, id: i64, resolution: Resolution) -> bool {
    let _owner = UserContext::owner_of(StateTable::Conflicts);
    let value = enum_text::name(resolution);
    connection.execute(
        "UPDATE idempotent.conflict_records
            SET resolution = $2, resolved_at = pg_catalog.clock_timestamp()
          WHERE id OPERATOR(pg_catalog.=) $1 AND resolution IS NULL",
        &[SqlValue::bigint(id), SqlValue::text(value)],
    ) > 0
}

/// A conflict of a table that is there.
struct Conflict<'a> {
    id: i64,
    /// Whether policies may hide the stored row from the caller. Then the view does not show
    /// them the values of the record, and errors may not either.
    by_policy: bool,
    target: &'a Target,
    relation: &'a OpenRelation,
    record: &'a ConflictRecord,
}

impl Conflict<'_> {
    /// Demands that the caller may see the row that is stored under the key now. One that is
    /// gone, one that the policies hide, and a key that is none any more are the same to them.
    ///
    /// # Errors
    /// 42501
    fn check_row_visible(&self) {
        if !self.by_policy {
            return;
        }
        let (arbiter, row) = self.with_redacted_errors(|| {
            let arbiter = self.arbiter();
            let _fixed = LocalSettings::fixed_output();
            // The stored row tells what an expression is of.
            let key = match arbiter.is_computed() {
                true => &self.record.stored,
                false => &self.record.key,
            };
            let key = self.payload_of(key, arbiter);
            (arbiter, working_row(&key, arbiter))
        });
        if let Some(rows) = RowByValues::of(self.target, arbiter) {
            if rows.find(&row).is_none() {
                hidden(self.id).raise()
            }
            return;
        }
        match self.find(arbiter, &row, &[]) {
            Some((table, tuple, _)) => self.check_policies_show(arbiter, &row, (table, tuple)),
            None => hidden(self.id).raise(),
        }
    }

    /// The columns in which the payload differs. To keep what is stored, one may be gone.
    ///
    /// # Errors
    /// 42703; 42501 where the names of the record's fields are hidden from the caller.
    fn differing_columns(&self, resolution: Resolution) -> Vec<usize> {
        let target = self.target;
        self.with_redacted_errors(|| {
            names(self.record.differences.container())
                .filter_map(|name| match resolution {
                    Resolution::KeepStored => {
                        target.column_by_bytes(text::to_server(&name).to_bytes())
                    }
                    Resolution::ApplyPayload => Some(target.column_by_name(&name)),
                })
                .collect()
        })
    }

    /// Demands that the policies, if there are any, show the row at this place.
    ///
    /// # Errors
    /// 42501
    fn check_policies_show(
        &self,
        arbiter: &UniqueIndex,
        row: &Slot,
        place: (pg_sys::Oid, pg_sys::ItemPointerData),
    ) {
        if !self.by_policy {
            return;
        }
        let _snapshot = FreshSnapshot::push();
        if !policies_show(self.target, Role::caller(), arbiter, place, |c| {
            row.value(c)
        }) {
            hidden(self.id).raise()
        }
    }

    /// Runs what coerces values of the record. Where the caller may not see them, its errors
    /// may not quote them.
    fn with_redacted_errors<R>(&self, work: impl FnOnce() -> R) -> R {
        redact_errors(work, || self.by_policy.then(|| hidden(self.id)))
    }

    /// A document of the record as a payload.
    fn payload_of<'d>(&'d self, document: &'d Document, arbiter: &UniqueIndex) -> JsonPayloads<'d> {
        let mut payload = JsonPayloads::one(self.target, document.container());
        if arbiter.is_computed() {
            payload.complete_keys(self.relation, arbiter);
        }
        payload
    }

    fn arbiter(&self) -> &UniqueIndex {
        let key: Vec<String> = names(self.record.key.container()).collect();
        self.target.arbiter_for_key(&key)
    }

    /// Updates the differing columns with the caller's rights, if the stored row is
    /// still what it was.
    fn apply(&self, connection: &Connection) {
        let record = self.record;
        let arbiter = self.arbiter();
        let fixed = LocalSettings::fixed_output();
        let stored = self.with_redacted_errors(|| self.payload_of(&record.stored, arbiter));
        let payload = self.with_redacted_errors(|| self.payload_of(&record.payload, arbiter));
        let stored_row = self.with_redacted_errors(|| working_row(&stored, arbiter));
        let payload_row = self.with_redacted_errors(|| working_row(&payload, arbiter));
        // The user's triggers run under the session's own settings.
        drop(fixed);
        let compared = &stored.shapes[0].named;
        if let Some(rows) = RowByValues::of(self.target, arbiter) {
            return self.apply_by_values(&rows, (arbiter, compared), &stored_row, &payload_row);
        }
        self.apply_in_place(connection, (arbiter, compared), &stored_row, &payload_row);
    }

    /// Does so where rows are found by their values. The update leaves a row alone that another session has
    /// changed since it was read.
    fn apply_by_values(
        &self,
        rows: &RowByValues<'_>,
        (arbiter, compared): (&UniqueIndex, &[usize]),
        stored_row: &Slot,
        payload_row: &Slot,
    ) {
        let read = self.read_unchanged(rows, stored_row, compared);
        // If there are none, only a digest told that the payload was another.
        if self.record.differences.container().len() == 0 {
            return;
        }
        if !self.is_key_kept(arbiter, stored_row, payload_row) {
            self.out_of_key(arbiter)
        }
        let columns = self.differing_columns(Resolution::ApplyPayload);
        if rows.update(stored_row, (&read, compared), payload_row, &columns) == 0 {
            self.read_unchanged(rows, stored_row, compared);
            self.not_updated()
        }
        if rows.find(stored_row).is_none() {
            self.out_of_key(arbiter)
        }
    }

    /// The stored row, if it is still what it was.
    ///
    /// # Errors
    /// 55000, 42501
    fn read_unchanged(&self, rows: &RowByValues<'_>, expected: &Slot, compared: &[usize]) -> Slot {
        let Some(read) = rows.find(expected) else {
            if self.by_policy {
                hidden(self.id).raise()
            }
            self.changed_since(true)
        };
        let numbers = self.target.attnums_in_order();
        let stored = StoredRow::returned(&read, &numbers);
        let columns = &self.target.columns;
        if !differing(columns, compared, &stored, |c| expected.value(c)).is_empty() {
            self.changed_since(false)
        }
        read
    }

    /// Does so where rows are found in the table itself.
    ///
    /// The row is locked before it is compared, so that it cannot change in
    /// between; it is addressed by table and tuple id, which needs no operator of
    /// the key's types. What became of it while the lock was waited for may be hidden.
    fn apply_in_place(
        &self,
        connection: &Connection,
        (arbiter, compared): (&UniqueIndex, &[usize]),
        stored_row: &Slot,
        payload_row: &Slot,
    ) {
        let (target, record) = (self.target, self.record);
        let before = self.find(arbiter, stored_row, &[]);
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
        let found = self.find(arbiter, stored_row, compared);
        match &found {
            Some((table, tuple, _)) => {
                self.check_policies_show(arbiter, stored_row, (*table, *tuple))
            }
            None if self.by_policy => hidden(self.id).raise(),
            None => {}
        }
        let Some((table, tuple, true)) = found else {
            self.changed_since(found.is_none())
        };

        // If there are none, only a digest told that the payload was another.
        if record.differences.container().len() > 0 {
            if !self.is_key_kept(arbiter, stored_row, payload_row) {
                self.out_of_key(arbiter)
            }
            self.update(connection, payload_row, (table, tuple));
            if self.find(arbiter, stored_row, &[]).is_none() {
                self.out_of_key(arbiter)
            }
        }
    }

    /// Whether the update leaves the row under its key, unless a trigger has a say. Told before it is
    /// made: the other key may be another row's.
    fn is_key_kept(&self, arbiter: &UniqueIndex, stored: &Slot, payload: &Slot) -> bool {
        let differing = self.differing_columns(Resolution::ApplyPayload);
        self.with_redacted_errors(|| {
            let key = UpdatedKey::of(self.target, self.relation, arbiter);
            key.is_none_or(|mut key| {
                key.is_kept(stored, |c| match differing.contains(&c) {
                    true => payload.value(c),
                    false => stored.value(c),
                })
            })
        })
    }

    /// Updates the differing columns of the row at this place.
    fn update(
        &self,
        connection: &Connection,
        payload: &Slot,
        (table, tuple): (pg_sys::Oid, pg_sys::ItemPointerData),
    ) {
        let target = self.target;
        let set = names(self.record.differences.container())
            .map(|name| {
                let column = target.column_by_name(&name);
                format!("{} = payload.a{column}", text::quote_identifier(&name))
            })
            .collect::<Vec<_>>()
            .join(", ");
        let mut rows = TupleStore::new(target.row_desc());
        rows.put(payload);
        let update = format!(
            "UPDATE {} AS stored SET {set} FROM pg_idempotent_rows AS payload
              WHERE stored.tableoid OPERATOR(pg_catalog.=) $1
                AND stored.ctid OPERATOR(pg_catalog.=) $2",
            target.qualified()
        );
        let place = place(table, &tuple);
        let updated = rows.as_table(ROWS, || connection.execute(&update, &place));
        if updated == 0 {
            self.not_updated()
        }
    }

    /// A policy or a trigger has suppressed the update.
    fn not_updated(&self) -> ! {
        if self.by_policy {
            kept_by_policy(self.target, "an update").raise()
        }
        self.changed_since(true)
    }

    /// The key, or the condition of its index, is computed from columns in which the payload
    /// differs and others, or a trigger has changed them.
    fn out_of_key(&self, arbiter: &UniqueIndex) -> ! {
        let (id, target) = (self.id, self.target);
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!(
                "the payload of conflict {id} would move the row in table \"{}\" out of its key",
                target.name
            ),
        )
        .detail(
            "With the payload's values, or what a trigger makes of them, its key would not lead to \
             the row.",
        )
        .hint("Update the row yourself, then resolve the conflict with 'keep_stored'.")
        .table(&target.schema, &target.name)
        .constraint(arbiter.name.clone())
        .raise()
    }

    fn changed_since(&self, gone: bool) -> ! {
        let (id, target) = (self.id, self.target);
        let detail = if gone {
            "The row no longer exists, or a trigger prevents the update."
        } else {
            "The row differs from the one that was recorded with the conflict."
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
            "Look at the row, then resolve the conflict with 'keep_stored', or send the payload again.",
        )
        .table(&target.schema, &target.name)
        .raise()
    }

    /// The stored row's table and tuple id, and whether it agrees with `expected`
    /// in the columns `compared`.
    fn find(
        &self,
        arbiter: &UniqueIndex,
        expected: &Slot,
        compared: &[usize],
    ) -> Option<(pg_sys::Oid, pg_sys::ItemPointerData, bool)> {
        let _snapshot = FreshSnapshot::push();
        let mut look = KeyLookup::new(self.target, self.relation, arbiter);
        look.find(|c| expected.value(c));
        let stored = look.stored()?;
        let columns = &self.target.columns;
        let same = differing(columns, compared, &stored, |c| expected.value(c)).is_empty();
        let (table, tuple) = stored.table_and_tid();
        Some((table, tuple, same))
    }
}

fn place(table: pg_sys::Oid, tuple: &pg_sys::ItemPointerData) -> [SqlValue<'_>; 2] {
    [SqlValue::oid(table), SqlValue::tid(tuple)]
}

fn working_row(payload: &JsonPayloads<'_>, arbiter: &UniqueIndex) -> Slot {
    let mut row = None;
    let values = Scratch::in_current(c"pg_idempotent payload");
    payload.read(Some(arbiter), None, &values, &mut |slot| {
        row = Some(slot.to_stored())
    });
    let row = row.expect("one payload gives one row");
    row.deform();
    row
}
