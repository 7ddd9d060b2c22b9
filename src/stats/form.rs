//! What is counted, and by which forms.
use serde::Serialize;

/// The form in which rows come, in the words of the functions; or what is counted for a whole database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `idempotent_insert`
    Insert,
    /// `idempotent_insert_many`
    InsertMany,
    /// `idempotent_insert_each`
    InsertEach,
    /// `idempotent_insert_from`
    InsertFrom,
    /// `idempotent_load`
    Load,
    /// A guard that verifies.
    Guard,
    /// A guard that only observes.
    Observe,
    /// An INSERT into a view that `idempotent_view` made.
    View,
    /// `idempotent_merge`
    Merge,
    /// `idempotent_merge_many`
    MergeMany,
    /// `idempotent_overwrite`
    Overwrite,
    /// `idempotent_overwrite_each`
    OverwriteEach,
    /// `idempotent_repair`
    Repair,
    /// Requests.
    Requests,
    /// Runs.
    Runs,
}

impl Form {
    /// All, by number.
    pub const ALL: [Self; 15] = [
        Self::Insert,
        Self::InsertMany,
        Self::InsertEach,
        Self::InsertFrom,
        Self::Load,
        Self::Guard,
        Self::Observe,
        Self::View,
        Self::Merge,
        Self::MergeMany,
        Self::Overwrite,
        Self::OverwriteEach,
        Self::Repair,
        Self::Requests,
        Self::Runs,
    ];
}

/// What is counted. Rows, requests and runs have the same places for their counters.
pub trait Counter: Copy {
    /// Its place.
    fn place(self) -> usize;
}

/// Of the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// It went in.
    Inserted,
    /// A stored row was given its values.
    Updated,
    /// A stored row was deleted.
    Deleted,
    /// It was stored already.
    Duplicates,
    /// A merge preferred a later one.
    Superseded,
    /// It differs from what is stored.
    Conflicts,
    /// The server refused it, and the others went in.
    Rejected,
    /// The session found its key in another session's hands.
    Waits,
}

/// Of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// A new attempt.
    Started,
    /// A lease ran out, and the request was taken over.
    Resumed,
    /// It had its answer.
    Replayed,
    /// An attempt stored its answer.
    Finished,
    /// An attempt was given up.
    Abandoned,
    /// 55I01
    InProgress,
    /// 23I02
    Mismatched,
}

/// Of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// A run was begun,
    Started,
    /// and so the one before, whose lease ran out, was taken over.
    TakenOver,
    /// The partition was made for that input already.
    Skipped,
    /// A run was published.
    Published,
    /// A run failed.
    Failed,
    /// 55I01
    InProgress,
}

macro_rules! counters {
    ($($counter:ident),*) => {
        $(impl Counter for $counter {
            #[inline(always)]
            fn place(self) -> usize {
                self as usize
            }
        })*
    };
}

counters!(Rows, Requests, Runs);

/// The place of what is counted of all forms, also of requests and runs.
pub const WAITS: usize = Rows::Waits as usize;

/// Whether what is at a place counts although its transaction, or subtransaction, was rolled back. What was
/// written is gone then, and so is a duplicate, whose answer was given for nothing. That another session was met,
/// that a payload was refused, is what happened.
pub fn survives_rollback(form: Form, place: usize) -> bool {
    let is_of = |survivors: &[usize]| place == WAITS || survivors.contains(&place);
    match form {
        Form::Requests => is_of(&[Requests::InProgress.place(), Requests::Mismatched.place()]),
        Form::Runs => is_of(&[Runs::InProgress.place()]),
        // The row of a duplicate goes on, to 23505 mostly.
        Form::Observe => place != Rows::Inserted.place(),
        _ => is_of(&[Rows::Conflicts.place(), Rows::Rejected.place()]),
    }
}
