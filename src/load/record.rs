//! The row of a load in `idempotent.load_records`.
use crate::enum_text;
use crate::id_sequence::IdSequence;
use crate::kept;
use crate::outcome::{OnConflict, OnError};
use crate::pg::backend;
use crate::pg::statement::spi::{Connection, Parameter};
use crate::pg::value::sql_value::SqlValue;
use crate::state::StateTable;
use crate::user_context::UserContext;
use crate::write::OutcomeCollector;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// $1 role, $2 target, $3 source, $4 on_conflict, $5 batch size, $6 pid, $7 on_error, $8 token
const BEGIN: &str = "
    INSERT INTO idempotent.load_records (role, target, source, on_conflict, batch_size, pid, on_error, token)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (load_id) DO NOTHING
    RETURNING load_id::pg_catalog.int8";

const NUMBERS: IdSequence = IdSequence {
    table: "idempotent.load_records",
    column: "load_id",
    sequence: "idempotent.load_records_load_id_seq",
};

/// $1 number, $2 rows, $3 how many of those are rejected
const READ: &str = "
    UPDATE idempotent.load_records AS record
       SET rows_total = $2, rows_done = $3, rejected = $3, updated_at = pg_catalog.clock_timestamp()
     WHERE record.load_id OPERATOR(pg_catalog.=) $1";

/// $1 number, $2 rows, $3 inserted, $4 duplicates, $5 conflicts, $6 batches, $7 the status if
/// these are all, $8 rejected
const ADVANCE: &str = "
    UPDATE idempotent.load_records AS record
       SET rows_done = $2, inserted = $3, duplicates = $4, conflicts = $5, batches = $6, rejected = $8,
           status = COALESCE($7, record.status),
           completed_at = CASE WHEN $7 IS NOT NULL THEN moment END,
           updated_at = moment
      FROM pg_catalog.clock_timestamp() AS moment
     WHERE record.load_id OPERATOR(pg_catalog.=) $1";

/// $1 number
const REPLAYED: &str = "
    UPDATE idempotent.load_records AS record SET replayed = true
     WHERE record.load_id OPERATOR(pg_catalog.=) $1";

/// $1 number, $2 status, $3 error
const FAIL: &str = "
    UPDATE idempotent.load_records AS record
       SET status = $2, error = $3, completed_at = moment, updated_at = moment
      FROM pg_catalog.clock_timestamp() AS moment
     WHERE record.load_id OPERATOR(pg_catalog.=) $1";

/// The outcomes so far.
#[derive(Clone, Copy, Default)]
pub struct LoadCounts {
    /// Rows that have their outcome.
    pub rows: i64,
    /// How many went in.
    pub inserted: i64,
    /// How many were stored already.
    pub duplicates: i64,
    /// How many differ from what is stored.
    pub conflicts: i64,
    /// How many the server refused.
    pub rejected: i64,
    batches: i64,
}

impl LoadCounts {
    /// So many rows were refused when they were read.
    pub fn rejected(rows: i64) -> Self {
        Self {
            rows,
            rejected: rows,
            ..Self::default()
        }
    }

    /// As the record of a batch names them.
    pub const NAMES: [&str; 5] = [
        "received",
        "inserted",
        "duplicates",
        "conflicts",
        "rejected",
    ];

    /// Those of these names.
    pub fn of_names(&self) -> [i64; 5] {
        [
            self.rows,
            self.inserted,
            self.duplicates,
            self.conflicts,
            self.rejected,
        ]
    }

    /// Those of a batch that was recorded.
    pub fn of_batch([rows, inserted, duplicates, conflicts, rejected]: [i64; 5]) -> Self {
        Self {
            rows,
            inserted,
            duplicates,
            conflicts,
            rejected,
            batches: 0,
        }
    }

    /// With those of another batch, of so many rows.
    pub fn and(&self, rows: u64, batch: &OutcomeCollector) -> Self {
        Self {
            rows: self.rows + rows as i64,
            inserted: self.inserted + batch.inserted,
            duplicates: self.duplicates + batch.duplicates,
            conflicts: self.conflicts + batch.conflicts,
            rejected: self.rejected + batch.rejections.count,
            batches: self.batches + i64::from(rows > 0),
        }
    }
}

/// How a load has ended. While it runs, its row has the column's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum LoadStatus {
    /// Every row has its outcome.
    Finished,
    /// An error has ended it.
    Failed,
}

/// What the statement that begins a load returns.
#[derive(Deserialize)]
struct BegunLoad {
    load_id: i64,
}

/// The row, by its number.
pub struct LoadRecord(i64);

impl LoadRecord {
    /// Makes the row of a load that begins.
    pub fn begin(
        target: &str,
        source: &str,
        on_conflict: OnConflict,
        on_error: OnError,
        batch_size: u64,
        token: Option<&str>,
    ) -> Self {
        // The caller, not the owner of the table.
        let role = kept::role_parameter(backend::current_user());
        let _owner = UserContext::owner_of(StateTable::Loads);
        let connection = Connection::open();
        let parameters = [
            role,
            SqlValue::text(target),
            SqlValue::text(source),
            SqlValue::text(enum_text::name(on_conflict)),
            SqlValue::int(batch_size as i32),
            SqlValue::int(backend::process_id()),
            SqlValue::text(enum_text::name(on_error)),
            SqlValue::optional_text(token),
        ];
        let begun = Cell::new(None);
        NUMBERS.insert_with_new_id(&connection, || {
            let row: Option<BegunLoad> = connection.execute_returning(BEGIN, &parameters);
            begun.set(row.map(|row| row.load_id));
            begun.get().is_some()
        });
        Self(begun.get().expect("the row was inserted"))
    }

    pub fn number(&self) -> u64 {
        self.0 as u64
    }

    /// The source is read, and has so many rows, of which some are rejected.
    pub fn read(&self, rows: i64, rejected: i64) {
        self.write(READ, &[SqlValue::bigint(rows), SqlValue::bigint(rejected)]);
    }

    /// A batch is done; the last one, maybe.
    pub fn advance(&self, counts: &LoadCounts, last: bool) {
        self.write(
            ADVANCE,
            &[
                SqlValue::bigint(counts.rows),
                SqlValue::bigint(counts.inserted),
                SqlValue::bigint(counts.duplicates),
                SqlValue::bigint(counts.conflicts),
                SqlValue::bigint(counts.batches),
                SqlValue::optional_text(last.then(|| enum_text::name(LoadStatus::Finished))),
                SqlValue::bigint(counts.rejected),
            ],
        );
    }

    /// An earlier load with its token has done it.
    pub fn replayed(&self, counts: &LoadCounts) {
        self.read(counts.rows, counts.rejected);
        self.advance(counts, true);
        self.write(REPLAYED, &[]);
    }

    /// The load has failed.
    pub fn fail(&self, error: &str) {
        let status = SqlValue::text(enum_text::name(LoadStatus::Failed));
        self.write(FAIL, &[status, SqlValue::text(error)]);
    }

    fn write(&self, sql: &str, values: &[Parameter<'_>]) {
        let mut parameters = vec![SqlValue::bigint(self.0)];
        parameters.extend_from_slice(values);
        let _owner = UserContext::owner_of(StateTable::Loads);
        Connection::open().execute(sql, &parameters);
    }
}
