//! Runs: a job that was done for its input is not done again.
//!
//! A run makes one partition of a dataset, for the role that began it, and has a row in
//! `idempotent.pipeline_run_records` that stays. `idempotent_run_begin` says whether the
//! partition is to be made, by its latest run; `_heartbeat` renews the lease of a run,
//! `_publish` and `_fail` end it.
//!
//! # Why no interleaving goes wrong
//! - *Two begin at once.* What is decided by a committed row and writes nothing (skip, or
//!   55I01 while a lease is live) needs no lock. Who is to write takes the partition's lock
//!   (see [`partition`]), which lasts until the transaction ends, and decides once more by
//!   what is committed then. So one begins, and the other finds the lock taken: 55I01.
//! - *A lease runs out while the run is being published.* Both take the lock, and the
//!   second sees what the first has committed: the run was published, and nothing is taken
//!   over; or it was taken over, and cannot be published. If the first rolls back, it
//!   never was.
//! - *A holder dies.* Its transaction is rolled back, and its lock is gone. The row of a run
//!   that was committed stays, and the lease runs out.
//! - *REPEATABLE READ, SERIALIZABLE.* What the transaction's snapshot shows is compared with
//!   what is committed. If that is not the same, 40001: never a skip or a run by what is
//!   not so any more.
mod decision;
mod partition;
mod reason;
mod record;

use crate::enum_text;
use crate::error::{Report, SqlState, with_error_capture};
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::{RowType, SqlResult};
use crate::pg::schedule::{leaves_out, wait_at};
use crate::pg::value::sql_value::SqlValue;
use crate::stats::{Recorder, Runs};
use decision::{Decision, RunDecision};
use partition::Partition;
use pgrx::prelude::*;
use reason::Reason;
use record::{Run, RunStatus};

/// `idempotent_run_begin(dataset, partition, input_version, force, lease)`: begins a run
/// of a partition, unless its latest run has published that input.
///
/// Gives `run_id bigint, decision text` (`run`, `skip`) and `reason text`, a word of [`Reason`].
///
/// # Errors
/// 55I01 while a run holds the partition, or another transaction works on it; 22004 and
/// 22023 for arguments that do not fit, 40001, 25006.
#[pg_extern(sql = false)]
fn idempotent_run_begin(call: SqlCall<'_>) -> SqlResult {
    let arguments = call.arguments();
    with_error_capture(|| {
        let counts = Recorder::of_runs();
        let partition = Partition::of_arguments(&arguments, 0, 1);
        let input_version = arguments.optional_text(2);
        let force = arguments.required(3, "force").value() != 0;
        let lease = arguments.interval(4, "lease");
        let decide = || RunDecision::of(Run::latest(&partition), input_version.as_deref(), force);
        let mut decision = decide();
        let mut lock = None;
        if matches!(decision, RunDecision::Run { .. }) {
            wait_at!("run: lock");
            lock = Some(partition.lock_to_begin());
            wait_at!("run: locked");
            decision = decide();
        }
        let (run, told, reason) = match decision {
            RunDecision::InProgress(run) => run.in_progress().raise(),
            RunDecision::Skip(run) => {
                counts.count(Runs::Skipped);
                (run.id, Decision::Skip, Reason::AlreadyPublished)
            }
            RunDecision::Run { reason, latest } => {
                if let Some(lock) = lock.take() {
                    lock.keep();
                }
                wait_at!("run: begin");
                let takes_over = latest
                    .as_ref()
                    .is_some_and(|latest| latest.status == RunStatus::Running);
                let run = record::begin(
                    &partition,
                    latest.as_ref(),
                    reason,
                    input_version.as_deref(),
                    lease,
                );
                counts.count(Runs::Started);
                if takes_over {
                    counts.count(Runs::TakenOver);
                }
                (run, Decision::Run, reason)
            }
        };
        SqlResult::row(
            RowType::Run,
            &[
                SqlValue::bigint(run),
                SqlValue::text(enum_text::name(told)),
                SqlValue::text(enum_text::name(reason)),
            ],
        )
    })
}

/// `idempotent_run_heartbeat(run_id)`: renews the lease.
///
/// # Errors
/// 42704 if the caller has no such run, 55000 if it is not running, 55I01 if another
/// transaction works on its partition for `lock_timeout`, 22004, 40001, 25006.
#[pg_extern(sql = false)]
fn idempotent_run_heartbeat(call: SqlCall<'_>) {
    let arguments = call.arguments();
    with_error_capture(|| {
        let run = lock_run(arguments.bigint(0, "run_id"));
        if run.status != RunStatus::Running {
            not_running(&run)
        }
        record::renew(run.id);
    });
}

/// `idempotent_run_publish(run_id, row_count, output_version)`: ends a run whose
/// partition is made. Once more with the same values, it does nothing.
///
/// # Errors
/// As [`idempotent_run_heartbeat`]; 22023 for a negative count.
#[pg_extern(sql = false)]
fn idempotent_run_publish(call: SqlCall<'_>) {
    let arguments = call.arguments();
    with_error_capture(|| {
        let id = arguments.bigint(0, "run_id");
        let row_count = arguments.datum(1).map(|count| count.value() as i64);
        let output_version = arguments.optional_text(2);
        if row_count.is_some_and(|count| count < 0) {
            Report::new(
                SqlState::InvalidParameterValue,
                "argument \"row_count\" must not be negative",
            )
            .raise()
        }
        let counts = Recorder::of_runs();
        let run = lock_run(id);
        match run.status {
            RunStatus::Running => {
                record::publish(id, row_count, output_version.as_deref());
                counts.count(Runs::Published);
            }
            RunStatus::Published
                if run.row_count == row_count && run.output_version == output_version => {}
            _ => not_running(&run),
        }
    });
}

/// `idempotent_run_fail(run_id, error)`: ends a run that failed. Once more with the same
/// text, it does nothing.
///
/// # Errors
/// As [`idempotent_run_heartbeat`].
#[pg_extern(sql = false)]
fn idempotent_run_fail(call: SqlCall<'_>) {
    let arguments = call.arguments();
    with_error_capture(|| {
        let id = arguments.bigint(0, "run_id");
        let error = arguments.text(1, "error");
        let counts = Recorder::of_runs();
        let run = lock_run(id);
        match run.status {
            RunStatus::Running => {
                record::fail(id, &error);
                counts.count(Runs::Failed);
            }
            RunStatus::Failed if run.error.as_ref() == Some(&error) => {}
            _ => not_running(&run),
        }
    });
}

/// A run of the caller's, with the lock on its partition.
fn lock_run(id: i64) -> Run {
    let found = || Run::find(id).unwrap_or_else(|| no_such_run(id));
    let partition = found().partition();
    wait_at!("run: lock");
    if !leaves_out!("run_lock") {
        partition.lock_to_write().keep();
    }
    wait_at!("run: locked");
    found()
}

/// 42704, also for a run of another role's.
fn no_such_run(id: i64) -> ! {
    Report::new(
        SqlState::UndefinedObject,
        format!("run {id} does not exist"),
    )
    .raise()
}

/// 55000
fn not_running(run: &Run) -> ! {
    let detail = match run.status {
        // Asked for running ones only.
        RunStatus::Running => "It is running.".to_owned(),
        RunStatus::Published => "It was published.".to_owned(),
        RunStatus::Failed => "It failed.".to_owned(),
        RunStatus::TakenOver => match run.successor() {
            Some(successor) => format!("It was taken over by run {successor}."),
            None => "It was taken over.".to_owned(),
        },
    };
    Report::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("run {} is not running", run.id),
    )
    .detail(detail)
    .hint("Begin a run of the partition to learn what to do.")
    .table("idempotent", "pipeline_run_records")
    .raise()
}
