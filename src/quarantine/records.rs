//! Recording the conflicts of a call.
use super::record_writer::RecordWriter;
use crate::compare::{Arriving, Differences};
use crate::error::{Report, SqlState, redact_errors};
use crate::id_sequence::IdSequence;
use crate::pg::hash::sha256::sha256;
use crate::pg::rows::{RowBuilder, RowColumn, RowDesc, TupleStore};
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::value_type::JsonForm;
use crate::remember::RowFingerprint;
use crate::state::StateTable;
use crate::target::{StoredRow, Target, UniqueIndex, VisibleColumns};
use pgrx::pg_sys;

/// A conflict that arrives again while its record is unresolved is not recorded twice: a retry
/// stays a retry.
const WRITER: RecordWriter = RecordWriter {
    table: StateTable::Conflicts,
    rows: c"pg_idempotent_conflicts",
    record: "
    INSERT INTO idempotent.conflict_records
           (target, key, payload, stored, differences, digest, arrived_by)
    SELECT $1, conflict.key, conflict.payload, conflict.stored, conflict.differences,
           conflict.digest, $2
      FROM pg_idempotent_conflicts AS conflict
    ON CONFLICT DO NOTHING",
    missing: "
    SELECT FROM pg_idempotent_conflicts AS conflict
     WHERE NOT EXISTS (
           SELECT FROM idempotent.conflict_records AS record
            WHERE record.target OPERATOR(idempotent.=) $1
              AND record.digest OPERATOR(pg_catalog.=) conflict.digest
              AND record.resolution IS NULL)
     LIMIT 1",
    numbers: IdSequence {
        table: "idempotent.conflict_records",
        column: "id",
        sequence: "idempotent.conflict_records_id_seq",
    },
};

/// The conflicts of one call. They wait in a tuplestore until the call is done,
/// so that nothing is written while rows are being looked up.
pub struct ConflictRecorder {
    store: TupleStore,
    /// How values are digested, once there is a conflict.
    digest: Option<RowFingerprint>,
}

impl ConflictRecorder {
    /// None yet; they live in the current memory.
    pub fn new() -> Self {
        let desc = RowDesc::of(&[
            RowColumn::of_type(c"key", pg_sys::JSONBOID),
            RowColumn::of_type(c"payload", pg_sys::JSONBOID),
            RowColumn::of_type(c"stored", pg_sys::JSONBOID),
            RowColumn::of_type(c"differences", pg_sys::JSONBOID),
            RowColumn::of_type(c"digest", pg_sys::BYTEAOID),
        ]);
        Self {
            store: TupleStore::new(&desc),
            digest: None,
        }
    }

    /// Adds a conflict with the stored row (the differences may be those to the original payload);
    /// `named` are the columns that the payload names. The record holds all stored values: who may
    /// see them is decided when it is read.
    pub fn add<'v, P: Fn(usize) -> SqlValue<'v>>(
        &mut self,
        target: &Target,
        arbiter: &UniqueIndex,
        stored: &StoredRow<'_>,
        differences: &Differences<'_, P>,
        named: &[usize],
    ) {
        let _fixed = LocalSettings::fixed_output();
        let everything = VisibleColumns::everything();
        let complete = Differences {
            target,
            arbiter,
            stored: differences.stored,
            payload: &differences.payload,
            columns: differences.columns,
            against_original: differences.against_original,
            readable: &everything,
            sent: &everything,
        };
        let readable = differences.readable;
        let documents = [
            differences.payload_object(arbiter.keys.iter().map(|key| key.column)),
            differences.payload_object(named.iter().copied()),
            with_redacted_errors(target, readable, || stored_row(target, stored)),
            with_redacted_errors(target, readable, || complete.to_jsonb(Arriving::Payload)),
        ];
        let digest = self.digest(target, stored, differences, named);
        let mut builder = RowBuilder::new(self.store.desc());
        let mut row = builder.start();
        for (i, document) in documents.into_iter().enumerate() {
            row.set(i, SqlValue::jsonb(document));
        }
        row.set(documents.len(), SqlValue::bytea(&digest));
        self.store.put(row.finish());
    }

    /// What makes two conflicts the same: the stored row, with its key, and what differs, by the
    /// equality of the types, as the conflict itself was found: 2 and 2.0 are one. Columns
    /// that are not compared (an arrival time that the server fills in, say) may differ with
    /// every retry. Where only a digest tells the difference, it is the payload.
    ///
    /// The key is not taken from the payload: the stored row has it in one spelling, and a type may
    /// have several of which no digest tells that they are equal (see `part_without_canonical_form`).
    /// What of such a type differs enters as it is written. So two spellings of it are two conflicts:
    /// one is recorded once too often, rather than another one not at all.
    fn digest<'v, P: Fn(usize) -> SqlValue<'v>>(
        &mut self,
        target: &Target,
        stored: &StoredRow<'_>,
        differences: &Differences<'_, P>,
        named: &[usize],
    ) -> [u8; 32] {
        let all = || RowFingerprint::new(target, &(0..target.columns.len()).collect::<Vec<_>>());
        let digest = self.digest.get_or_insert_with(all);
        let payload = |c| (differences.payload)(c);
        let differs = match differences.columns {
            [] => named,
            columns => columns,
        };
        let stored = |c| stored.value(c);
        let first = |c| differences.stored.value(c);
        let names = differs
            .iter()
            .map(|c| target.columns[*c].c_name.to_bytes_with_nul());
        let all: Vec<usize> = (0..target.columns.len()).collect();
        let parts = [
            digest.hash_of(target, &all, stored),
            sha256(&names.collect::<Vec<_>>().concat()),
            digest.hash_of(target, differs, payload),
            digest.hash_of(target, differences.columns, first),
        ];
        sha256(parts.as_flattened())
    }

    /// Writes them, in the caller's transaction.
    pub fn write(self, target: &Target) {
        WRITER.write(&self.store, target);
    }
}

/// Writes stored values down, of which the caller may not see all: core's error about one
/// that JSON cannot hold (a json with the character 0 in an array, say) would quote it.
///
/// # Errors
/// 55000
fn with_redacted_errors<R>(
    target: &Target,
    readable: &VisibleColumns,
    work: impl FnOnce() -> R,
) -> R {
    redact_errors(work, || {
        (!readable.shows_all()).then(|| {
            Report::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!(
                    "cannot record a conflict with a stored row in table \"{}\"",
                    target.name
                ),
            )
            .detail("A stored value cannot be written as JSON.")
            .table(&target.schema, &target.name)
        })
    })
}

/// The whole stored row, in a form that can be read again.
fn stored_row(target: &Target, stored: &StoredRow<'_>) -> JsonbDatum {
    let columns = target.columns.iter().enumerate();
    let columns = columns.filter(|(_, column)| !column.virtual_generated());
    let columns = columns.map(|(c, _)| c);
    target.object(columns, JsonForm::Recorded, |c| stored.value(c))
}
