//! How the rounds look up what is stored: in the arbiter, or by SQL.
use super::context::WriteContext;
use super::distributed::DistributedLookup;
use super::input::SortedRows;
use crate::pg::rows::Slot;
use crate::target::{KeyLookup, StoredRow, may_change_updates};

/// Looks keys up, in the arbiter's order.
pub enum Lookup<'a> {
    /// In the arbiter itself.
    Local(KeyLookup<'a>),
    /// By SQL, many keys at once.
    Distributed(DistributedLookup<'a>),
}

impl<'a> Lookup<'a> {
    /// Looks under the active snapshot, which must stay active while it lives.
    pub fn new(context: &'a WriteContext<'a>) -> Self {
        if context.distributed {
            return Self::Distributed(DistributedLookup::new(context));
        }
        let (target, relation) = (context.target, context.relation);
        Self::Local(KeyLookup::new(target, relation, context.arbiter))
    }

    /// The next working row, whose key may then be looked for.
    pub fn next_row(
        &mut self,
        context: &WriteContext<'_>,
        rows: &mut SortedRows,
        free: Option<Slot>,
    ) -> Option<Slot> {
        if let Self::Distributed(lookup) = self {
            lookup.prepare_for_next(rows);
        }
        rows.next(context.target, free)
    }

    /// Looks for what is stored under the key of a row, which [`Lookup::stored`] then gives.
    pub fn find(&mut self, row: &Slot) {
        match self {
            Self::Local(lookup) => lookup.find(|c| row.value(c)),
            Self::Distributed(lookup) => lookup.find(row),
        }
    }

    /// Whether the last look, which found nothing, may have met an entry of the key in the arbiter.
    pub fn met_entry(&self) -> bool {
        match self {
            Self::Local(lookup) => lookup.met_entry(),
            Self::Distributed(_) => true,
        }
    }

    /// Passes over a key, as if it had not been found.
    pub fn skip(&mut self) {
        if let Self::Local(lookup) = self {
            lookup.skip();
        }
    }

    /// Whether triggers may change what an UPDATE writes to rows that were looked for.
    pub fn triggers_may_change_updates(&self, context: &WriteContext<'_>) -> bool {
        match self {
            Self::Local(lookup) => lookup.triggers_may_change_updates(),
            // Partitions may have triggers of their own, and the table on another server.
            Self::Distributed(_) => {
                let target = context.target;
                target.partitioned || target.foreign || may_change_updates(context.relation)
            }
        }
    }

    /// The row that the last look found.
    pub fn stored(&self) -> Option<StoredRow<'_>> {
        match self {
            Self::Local(lookup) => lookup.stored(),
            Self::Distributed(lookup) => lookup.stored(),
        }
    }
}
