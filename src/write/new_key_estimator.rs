//! Whether to look keys up before the INSERT.
use super::context::WriteContext;
use crate::payload::shape::Shape;
use crate::pg::backend::transaction_is_read_only;
use crate::pg::rows::Slot;
use crate::pg::schedule;
use crate::target::{PerTarget, Target};
use std::cell::Cell;
use std::mem::ManuallyDrop;

/// So many keys are looked up before it is estimated how many of the others are new.
const SAMPLE_SIZE: u32 = 64;

/// Where at least three in five of the sample are new, sending all and verifying
/// what did not go in is cheaper than looking first: a row that is skipped
/// costs less than a new one that is looked up twice.
const NEW_IN_FIVE: u32 = 3;

thread_local! {
    /// Whether the keys of the last call on a target were all new.
    static WERE_NEW: ManuallyDrop<PerTarget<Cell<bool>>> = PerTarget::new();
}

fn last_keys_were_new(target: &Target) -> bool {
    WERE_NEW.with(|targets| targets.of(target.id)).get()
}

/// Notes whether all keys of a call on the target were new, for the next call.
pub fn note_whether_new(target: &Target, new: bool) {
    WERE_NEW.with(|targets| targets.of(target.id)).set(new);
}

/// Estimates whether keys are new, to save looking them up twice: INSERT … ON CONFLICT looks them
/// up, too. A wrong estimate costs time, never correctness: the row is skipped there and verified
/// in the next round.
///
/// No key is assumed to be new where a row that is skipped in the end could have had an
/// effect, see `Target::skip_has_no_effect`.
pub struct NewKeyEstimator<'a> {
    context: &'a WriteContext<'a>,
    /// By shape: whether its rows can be inserted without a look-up.
    shapes: Vec<bool>,
    /// Whether the keys of the last call on this table were all new, which makes
    /// a sample superfluous.
    expects_new: bool,
    /// How many keys were looked up,
    looked: u32,
    /// and how many of those were new.
    new: u32,
}

impl<'a> NewKeyEstimator<'a> {
    /// No key was looked up yet. Only the first round of a chunk estimates, and not where
    /// rows that were looked up are inserted at less cost.
    pub fn new(context: &'a WriteContext<'a>, estimates: bool) -> Self {
        let omission_has_no_effect = |shape: &Shape| {
            pgrx::check_for_interrupts!();
            let mut columns = context
                .target
                .columns
                .iter()
                .zip(shape.mask(context.target));
            columns.all(|(column, named)| {
                if named {
                    context.identity.allows(column) && !context.identity.ignores(column)
                } else {
                    column.may_be_omitted
                }
            })
        };
        // A pure retry in a READ ONLY transaction must not come to an INSERT.
        let writable = !transaction_is_read_only();
        let possible = estimates && writable && context.target.skip_has_no_effect;
        let shapes = if possible {
            context.shapes.iter().map(omission_has_no_effect).collect()
        } else {
            Vec::new()
        };
        let were_new = || last_keys_were_new(context.target);
        let expects_new = possible && schedule::expects_new().unwrap_or_else(were_new);
        Self {
            context,
            shapes,
            expects_new,
            looked: 0,
            new: 0,
        }
    }

    /// Whether to insert the row without looking its key up.
    pub fn predicts_new(&self, row: &Slot, shape: usize) -> bool {
        let mostly_new = self.looked >= SAMPLE_SIZE && self.new * 5 >= self.looked * NEW_IN_FIVE;
        (self.expects_new || mostly_new)
            && self.shapes.get(shape).is_some_and(|silent| *silent)
            && self.context.shapes[shape]
                .named
                .iter()
                .all(|c| !self.context.target.columns[*c].not_null || row.get(*c).is_some())
    }

    /// The key of a row was looked up.
    pub fn record(&mut self, new: bool) {
        self.looked += 1;
        self.new += u32::from(new);
    }

    /// Whether no key was found.
    pub fn all_new(&self) -> bool {
        self.new == self.looked
    }

    /// Whether rows that are stored already may have been inserted.
    pub fn expects_skips(&self) -> bool {
        self.looked >= SAMPLE_SIZE && self.new < self.looked && !self.shapes.is_empty()
    }
}
