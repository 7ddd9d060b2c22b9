//! The rows of `idempotent.pipeline_run_records`.
use super::partition::Partition;
use super::reason::Reason;
use crate::enum_text;
use crate::error::{Report, SqlState};
use crate::id_sequence::IdSequence;
use crate::kept;
use crate::pg::backend;
use crate::pg::statement::spi::{Connection, Parameter};
use crate::pg::transaction::snapshot::{FreshSnapshot, LatestSnapshot, uses_transaction_snapshot};
use crate::pg::value::interval::Interval;
use crate::pg::value::sql_value::SqlValue;
use crate::state::StateTable;
use crate::user_context::UserContext;
use pgrx::pg_sys;
use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It holds the partition, until its lease runs out.
    Running,
    /// The partition is made.
    Published,
    /// It was not made.
    Failed,
    /// The lease ran out, and another run has taken over.
    #[serde(other)]
    TakenOver,
}

/// One run: the columns of its row.
#[derive(Deserialize)]
pub struct Run {
    /// Its number.
    #[serde(rename = "run_id")]
    pub id: i64,
    role: pg_sys::Oid,
    dataset: String,
    partition: String,
    /// Its number among the runs of its partition.
    attempt: i32,
    /// How far it is.
    pub status: RunStatus,
    /// What it reads.
    pub input_version: Option<String>,
    /// What it made.
    pub output_version: Option<String>,
    /// How many rows it made.
    pub row_count: Option<i64>,
    /// Why it failed.
    pub error: Option<String>,
    /// When another run may take over; None once it has ended.
    pub lease_until: Option<pg_sys::TimestampTz>,
    /// The transaction that wrote the row, which tells its versions apart.
    xmin: u32,
}

/// Cast to the types that they are read as, whatever the owner of the table may have done
/// to it.
const COLUMNS: &str = "run.run_id::pg_catalog.int8, run.role::pg_catalog.oid, \
                       run.dataset::pg_catalog.text, run.partition::pg_catalog.text, run.attempt::pg_catalog.int4, \
                       run.status::pg_catalog.text, run.input_version::pg_catalog.text, \
                       run.output_version::pg_catalog.text, run.row_count::pg_catalog.int8, \
                       run.error::pg_catalog.text, run.lease_until::pg_catalog.timestamptz, run.xmin";

/// $1 role, $2 dataset, $3 partition
const LATEST: &str = "
     WHERE run.role OPERATOR(idempotent.=) $1
       AND run.dataset OPERATOR(pg_catalog.=) $2
       AND run.partition OPERATOR(pg_catalog.=) $3
     ORDER BY run.attempt USING OPERATOR(pg_catalog.>)
     LIMIT 1";

/// $1 role, $2 dataset, $3 partition, $4 attempt
const BY_ATTEMPT: &str = "
     WHERE run.role OPERATOR(idempotent.=) $1
       AND run.dataset OPERATOR(pg_catalog.=) $2
       AND run.partition OPERATOR(pg_catalog.=) $3
       AND run.attempt OPERATOR(pg_catalog.=) $4";

/// $1 number, $2 role
const BY_NUMBER: &str = "
     WHERE run.run_id OPERATOR(pg_catalog.=) $1
       AND run.role OPERATOR(idempotent.=) $2";

/// $1 number, $2 status
const TAKE_OVER: &str = "
    UPDATE idempotent.pipeline_run_records AS run
       SET status = $2, completed_at = pg_catalog.clock_timestamp()
     WHERE run.run_id OPERATOR(pg_catalog.=) $1";

/// $1 role, $2 dataset, $3 partition, $4 attempt, $5 status, $6 reason, $7 input version, $8 lease
const BEGIN: &str = "
    INSERT INTO idempotent.pipeline_run_records
           (role, dataset, partition, attempt, status, reason, input_version, lease, lease_until,
            started_at, heartbeat_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, moment OPERATOR(pg_catalog.+) $8, moment, moment
      FROM pg_catalog.clock_timestamp() AS moment
    ON CONFLICT (run_id) DO NOTHING
    RETURNING run_id::pg_catalog.int8";

const NUMBERS: IdSequence = IdSequence {
    table: "idempotent.pipeline_run_records",
    column: "run_id",
    sequence: "idempotent.pipeline_run_records_run_id_seq",
};

/// $1 number
const RENEW: &str = "
    UPDATE idempotent.pipeline_run_records AS run
       SET heartbeat_at = moment, lease_until = moment OPERATOR(pg_catalog.+) run.lease
      FROM pg_catalog.clock_timestamp() AS moment
     WHERE run.run_id OPERATOR(pg_catalog.=) $1";

/// $1 number, $2 status, $3 row count, $4 output version
const PUBLISH: &str = "
    UPDATE idempotent.pipeline_run_records AS run
       SET status = $2, row_count = $3, output_version = $4, lease_until = NULL,
           heartbeat_at = moment, completed_at = moment
      FROM pg_catalog.clock_timestamp() AS moment
     WHERE run.run_id OPERATOR(pg_catalog.=) $1";

/// $1 number, $2 status, $3 error
const FAIL: &str = "
    UPDATE idempotent.pipeline_run_records AS run
       SET status = $2, error = $3, lease_until = NULL,
           heartbeat_at = moment, completed_at = moment
      FROM pg_catalog.clock_timestamp() AS moment
     WHERE run.run_id OPERATOR(pg_catalog.=) $1";

impl Run {
    /// The latest run of a partition.
    ///
    /// # Errors
    /// 40001 if the transaction's snapshot shows another than the committed one.
    pub fn latest(partition: &Partition) -> Option<Self> {
        look(LATEST, &of_partition(partition))
    }

    /// The run with this number, if it is the current user's.
    ///
    /// # Errors
    /// As [`Run::latest`].
    pub fn find(id: i64) -> Option<Self> {
        let role = kept::role_parameter(backend::current_user());
        look(BY_NUMBER, &[SqlValue::bigint(id), role])
    }

    /// The number of the next run of the partition.
    pub fn successor(&self) -> Option<i64> {
        let partition = self.partition();
        let [role, dataset, partition] = of_partition(&partition);
        let next = self.attempt.checked_add(1)?;
        look(BY_ATTEMPT, &[role, dataset, partition, SqlValue::int(next)]).map(|run| run.id)
    }

    /// 55I01 for a run that holds its partition by a lease.
    pub fn in_progress(&self) -> Report {
        let report = self.partition().in_progress();
        let Some(until) = self.lease_until else {
            return report;
        };
        let until = backend::timestamp_text(until);
        report.detail(format!(
            "Run {} holds it until {until}, unless it sends a heartbeat.",
            self.id
        ))
    }

    /// What it makes.
    pub fn partition(&self) -> Partition {
        Partition {
            role: self.role,
            dataset: self.dataset.clone(),
            partition: self.partition.clone(),
        }
    }
}

/// The one run that a condition selects, as it is committed and as the transaction may see
/// it.
///
/// # Errors
/// 40001 if those are not the same.
fn look(condition: &str, parameters: &[Parameter<'_>]) -> Option<Run> {
    let sql = format!("SELECT {COLUMNS} FROM idempotent.pipeline_run_records AS run {condition}");
    let look = || -> Option<Run> {
        let _owner = UserContext::owner_of(StateTable::PipelineRuns);
        Connection::open().query_record(&sql, parameters)
    };
    let seen = {
        let _snapshot = FreshSnapshot::push();
        look()
    };
    if uses_transaction_snapshot() {
        let _snapshot = LatestSnapshot::push();
        let version = |run: &Option<Run>| run.as_ref().map(|run| (run.id, run.xmin));
        if version(&look()) != version(&seen) {
            Report::could_not_serialize("idempotent", "pipeline_run_records").raise()
        }
    }
    seen
}

/// The number of the attempt after the latest one.
///
/// # Errors
/// 54000 if there is none: the owner of the database has restored a run with the last.
fn next_attempt(latest: Option<&Run>) -> i32 {
    let next = latest.map_or(0, |run| run.attempt).checked_add(1);
    next.unwrap_or_else(|| {
        Report::new(
            SqlState::ProgramLimitExceeded,
            "the partition has no number left for another run",
        )
        .detail(format!("The latest one has number {}.", i32::MAX))
        .table("idempotent", "pipeline_run_records")
        .raise()
    })
}

/// What the statement that begins a run returns.
#[derive(Deserialize)]
struct BegunRun {
    run_id: i64,
}

/// Begins a run after the latest one, which is taken over if it has not ended. The caller
/// has the lock of the partition. Gives the number of the run.
pub fn begin(
    partition: &Partition,
    latest: Option<&Run>,
    reason: Reason,
    input_version: Option<&str>,
    lease: Interval,
) -> i64 {
    let _owner = UserContext::owner_of(StateTable::PipelineRuns);
    let connection = Connection::open();
    if let Some(latest) = latest
        && latest.status == RunStatus::Running
    {
        connection.execute(
            TAKE_OVER,
            &[SqlValue::bigint(latest.id), status(RunStatus::TakenOver)],
        );
    }
    let [role, dataset, part] = of_partition(partition);
    let parameters = [
        role,
        dataset,
        part,
        SqlValue::int(next_attempt(latest)),
        status(RunStatus::Running),
        SqlValue::text(enum_text::name(reason)),
        SqlValue::optional_text(input_version),
        SqlValue::interval(lease),
    ];
    let begun = Cell::new(None);
    NUMBERS.insert_with_new_id(&connection, || {
        let row: Option<BegunRun> = connection.execute_returning(BEGIN, &parameters);
        begun.set(row.map(|row| row.run_id));
        begun.get().is_some()
    });
    begun.get().expect("the row was inserted")
}

/// Renews the lease of a run.
pub fn renew(id: i64) {
    write(RENEW, &[SqlValue::bigint(id)]);
}

/// Ends a run that made its partition.
pub fn publish(id: i64, row_count: Option<i64>, output_version: Option<&str>) {
    let parameters = [
        SqlValue::bigint(id),
        status(RunStatus::Published),
        bigint(row_count),
        SqlValue::optional_text(output_version),
    ];
    write(PUBLISH, &parameters);
}

/// Ends a run that did not.
pub fn fail(id: i64, error: &str) {
    let status = status(RunStatus::Failed);
    write(FAIL, &[SqlValue::bigint(id), status, SqlValue::text(error)]);
}

/// Writes a row, whose partition is locked.
fn write(sql: &str, parameters: &[Parameter<'_>]) {
    let _owner = UserContext::owner_of(StateTable::PipelineRuns);
    Connection::open().execute(sql, parameters);
}

fn of_partition(partition: &Partition) -> [Parameter<'_>; 3] {
    [
        kept::role_parameter(partition.role),
        SqlValue::optional_text(Some(&partition.dataset)),
        SqlValue::optional_text(Some(&partition.partition)),
    ]
}

fn status(status: RunStatus) -> Parameter<'static> {
    SqlValue::text(enum_text::name(status))
}

fn bigint(value: Option<i64>) -> Parameter<'static> {
    value.map_or(SqlValue::null(pg_sys::INT8OID), SqlValue::bigint)
}
