//! The kinds of expressions that are not immutable, by the functions that they call.
use crate::pg::statement::expression::CalledFunctions;

/// The kind of a default that is not immutable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultKind {
    /// The time.
    Clock,
    /// What the transaction or the connection is: its number, its process. The next attempt has
    /// another one.
    Transaction,
    /// A sequence, or an identity.
    Sequence,
    /// Anything else that is volatile: a random value, a function of the user's.
    Volatile,
    /// What the session is: its user, a setting. A retry from a session like the first
    /// one gets the same.
    Session,
}

impl DefaultKind {
    /// Whether a retry gets another value.
    pub fn differs_in_retry(self) -> bool {
        self != Self::Session
    }

    /// That of a default that calls these.
    pub fn of(called: &CalledFunctions) -> Self {
        if called.clock {
            Self::Clock
        } else if called.sequence {
            Self::Sequence
        } else if called.volatile {
            Self::Volatile
        } else if called.transaction {
            Self::Transaction
        } else {
            Self::Session
        }
    }
}
