//! Recording the payloads of a call that the server refused.
use super::record_writer::RecordWriter;
use crate::error::RowError;
use crate::id_sequence::IdSequence;
use crate::pg::hash::sha256::sha256;
use crate::pg::rows::{RowBuilder, RowColumn, RowDesc, TupleStore};
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::sql_value::SqlValue;
use crate::state::StateTable;
use crate::target::Target;
use pgrx::pg_sys;

/// A payload that is refused again with the same error is not recorded twice. Two sessions that
/// record the same rejections do so in the same order.
const WRITER: RecordWriter = RecordWriter {
    table: StateTable::Rejections,
    rows: c"pg_idempotent_rejections",
    record: "
    INSERT INTO idempotent.rejection_records (target, payload, error, digest, arrived_by)
    SELECT $1, rejection.payload, rejection.error, rejection.digest, $2
      FROM pg_idempotent_rejections AS rejection
     ORDER BY rejection.digest USING OPERATOR(pg_catalog.<)
    ON CONFLICT DO NOTHING",
    missing: "
    SELECT FROM pg_idempotent_rejections AS rejection
     WHERE NOT EXISTS (
           SELECT FROM idempotent.rejection_records AS record
            WHERE record.target OPERATOR(idempotent.=) $1
              AND record.digest OPERATOR(pg_catalog.=) rejection.digest)
     LIMIT 1",
    numbers: IdSequence {
        table: "idempotent.rejection_records",
        column: "id",
        sequence: "idempotent.rejection_records_id_seq",
    },
};

/// The rejections of one call, which wait until the call is done.
pub struct RejectionRecorder(TupleStore);

impl RejectionRecorder {
    /// None yet; they live in the current memory.
    pub fn new() -> Self {
        Self(TupleStore::new(&RowDesc::of(&[
            RowColumn::of_type(c"payload", pg_sys::JSONBOID),
            RowColumn::of_type(c"error", pg_sys::JSONBOID),
            RowColumn::of_type(c"digest", pg_sys::BYTEAOID),
        ])))
    }

    /// Adds one: the payload, and the server's error, which is `document` too.
    pub fn add(&mut self, payload: JsonbDatum, error: &RowError, document: JsonbDatum) {
        let digest = digest(payload, error);
        let mut builder = RowBuilder::new(self.0.desc());
        let mut row = builder.start();
        row.set(0, SqlValue::jsonb(payload));
        row.set(1, SqlValue::jsonb(document));
        row.set(2, SqlValue::bytea(&digest));
        self.0.put(row.finish());
    }

    /// Writes them, in the caller's transaction.
    pub fn write(self, target: &Target) {
        WRITER.write(&self.0, target);
    }
}

/// What makes two rejections of a table the same: the payload, and what kind of error it was. Its
/// message is in the session's language.
fn digest(payload: JsonbDatum, error: &RowError) -> [u8; 32] {
    let payload = sha256(payload.container().to_text().to_bytes());
    let [sqlstate, column, constraint] = error.identity();
    sha256(&[&payload[..], sqlstate, column, constraint].concat())
}
