//! A partition of a dataset, and the lock on it.
//!
//! Who writes a run of a partition holds its lock until the transaction ends: that a run
//! is being begun or ended is nothing that a row could tell before the commit.
use crate::error::{Report, SqlState, map_lock_timeout};
use crate::pg::backend;
use crate::pg::call::arguments::Arguments;
use crate::pg::transaction::hash_lock::HashLock;
use crate::pg::transaction::locks;
use crate::secret;
use crate::stats::{Recorder, Runs};
use pgrx::pg_sys;

/// A dataset and a partition may have so many characters.
const MAX_CHARACTERS: usize = 255;

/// What runs are runs of.
pub struct Partition {
    /// The role that runs it.
    pub role: pg_sys::Oid,
    /// The dataset.
    pub dataset: String,
    /// The partition; empty if it is all of the dataset.
    pub partition: String,
}

impl Partition {
    /// That in the arguments with these positions, of the current user.
    ///
    /// # Errors
    /// 22004 for a NULL, 22023 for a name that is too short or too long.
    pub fn of_arguments(arguments: &Arguments, dataset: usize, partition: usize) -> Self {
        let dataset = arguments.text(dataset, "dataset");
        let partition = arguments.text(partition, "partition");
        if dataset.is_empty() {
            Report::new(
                SqlState::InvalidParameterValue,
                "argument \"dataset\" must not be empty",
            )
            .raise()
        }
        for (name, value) in [("dataset", &dataset), ("partition", &partition)] {
            let characters = value.chars().count();
            if characters > MAX_CHARACTERS {
                Report::new(
                    SqlState::InvalidParameterValue,
                    format!("argument \"{name}\" must have at most {MAX_CHARACTERS} characters"),
                )
                .detail(format!("This one has {characters}."))
                .raise()
            }
        }
        Self {
            role: backend::current_user(),
            dataset,
            partition,
        }
    }

    /// Takes the lock to begin a run.
    ///
    /// # Errors
    /// 55I01 if another transaction has it, at once or after `lock_timeout`.
    pub fn lock_to_begin(&self) -> HashLock {
        if backend::lock_timeout() > 0 {
            return self.lock_to_write();
        }
        HashLock::try_acquire(self.tag()).unwrap_or_else(|| self.in_progress().raise())
    }

    /// Takes the lock to write a run that has begun, and waits for it: a worker that
    /// publishes must not fail because its own heartbeat is being written.
    ///
    /// # Errors
    /// 55I01 after `lock_timeout`.
    pub fn lock_to_write(&self) -> HashLock {
        map_lock_timeout(|| HashLock::acquire(self.tag()), || self.in_progress())
    }

    fn tag(&self) -> pg_sys::LOCKTAG {
        let subject = locks::LockSubject::Partition;
        let hash = secret::hash(subject)
            .word(u64::from(self.role.to_u32()))
            .bytes(self.dataset.as_bytes())
            .bytes(self.partition.as_bytes());
        locks::tag(subject, hash.finish())
    }

    /// 55I01, which is counted: what is told is raised.
    pub(super) fn in_progress(&self) -> Report {
        Recorder::of_runs().count(Runs::InProgress);
        let what = if self.partition.is_empty() {
            format!("dataset \"{}\"", self.dataset)
        } else {
            format!(
                "partition \"{}\" of dataset \"{}\"",
                self.partition, self.dataset
            )
        };
        Report::new(SqlState::KeyInProgress, format!("{what} is in progress"))
            .detail("Another transaction is working on it.")
            .hint("Begin the run again later.")
            .table("idempotent", "pipeline_run_records")
            .constraint("pipeline_run_records_running")
    }
}
