//! What a rule has found.
use serde::Serialize;

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Retries go in twice or fail, today.
    Error,
    /// There are cases in which they do.
    Warning,
    /// Something is to be decided, or could not be seen.
    Info,
}

/// What is told, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    NoBusinessKey,
    PartitionIndex,
    KeyElsewhere,
    UnusableIndex,
    MachineMadeKey,
    ClockKey,
    NullableKey,
    LocalTimeKey,
    FloatKey,
    StaleCollation,
    AmbiguousKey,
    PartialKey,
    GuardProblem,
    GuardDisabled,
    GuardObserves,
    TriggerAfterGuard,
    SmallSequence,
    ClockColumn,
    ChangedOnUpdate,
    BeforeTrigger,
    #[serde(rename = "rewrite_rule")]
    Rewrites,
    Unlogged,
    Inheritance,
}

/// One row of the answer.
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What found it.
    pub rule: Rule,
    /// The index, column or trigger that it is about, for the order.
    pub object: String,
    /// What goes wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// `column "a"`, `columns "a" and "b"`, for messages.
pub fn column_words(kind: &str, names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.as_slice() {
        [only] => format!("{kind} {only}"),
        [most @ .., last] => format!("{kind}s {} and {last}", most.join(", ")),
        [] => kind.to_owned(),
    }
}
