//! Whether to look before sending.
use super::round::Job;
use crate::payload::shape::Shape;
use crate::pg::rows::Slot;
use pgrx::pg_sys;

/// So many keys are looked up before the others are guessed.
const SAMPLE: u32 = 64;

/// Where at least three in five of the sample are new, sending all and verifying
/// what did not go in is cheaper than looking first: a row that is skipped
/// costs less than a new one that is looked up twice.
const NEW_IN_FIVE: u32 = 3;

/// Guesses that keys are new, to save looking them up twice: INSERT … ON
/// CONFLICT looks, too. A wrong guess costs time, never correctness: the row is
/// skipped there and verified in the next round.
///
/// Nothing is guessed where a row that is skipped in the end could have had an
/// effect, see `Target::skips_in_silence`.
pub struct Guess<'a> {
    job: &'a Job<'a>,
    /// By shape: whether its rows can be sent unseen.
    shapes: Vec<bool>,
    /// Whether the keys of the last call on this table were all new, which makes
    /// a sample superfluous.
    expects_new: bool,
    /// How many keys were looked up,
    looked: u32,
    /// and how many of those were new.
    new: u32,
}

impl<'a> Guess<'a> {
    /// Nothing is learnt yet. Only the first round of a portion guesses, and not where
    /// rows that were looked up are inserted at less cost.
    pub fn new(job: &'a Job<'a>, guesses: bool) -> Self {
        let omits_in_silence = |shape: &Shape| {
            pgrx::check_for_interrupts!();
            let mut columns = job.target.columns.iter().zip(shape.mask(job.target));
            columns.all(|(column, named)| {
                if named {
                    column.may_be_named
                } else {
                    column.may_be_omitted
                }
            })
        };
        // A pure retry in a READ ONLY transaction must not come to an INSERT.
        // SAFETY: reads a backend-local variable.
        let writable = unsafe { !pg_sys::XactReadOnly };
        let possible = guesses && writable && job.target.skips_in_silence;
        let shapes = if possible {
            job.shapes.iter().map(omits_in_silence).collect()
        } else {
            Vec::new()
        };
        let expects_new = possible && job.target.expects_new.get();
        Self {
            job,
            shapes,
            expects_new,
            looked: 0,
            new: 0,
        }
    }

    /// Whether to send the row without looking.
    pub fn is_new(&self, row: &Slot, shape: usize) -> bool {
        let mostly_new = self.looked >= SAMPLE && self.new * 5 >= self.looked * NEW_IN_FIVE;
        (self.expects_new || mostly_new)
            && self.shapes.get(shape).is_some_and(|silent| *silent)
            && self.job.shapes[shape]
                .named
                .iter()
                .all(|c| !self.job.target.columns[*c].not_null || row.get(*c).is_some())
    }

    /// The key of a row was looked up.
    pub fn learn(&mut self, new: bool) {
        self.looked += 1;
        self.new += u32::from(new);
    }

    /// Whether no key was found.
    pub fn all_new(&self) -> bool {
        self.new == self.looked
    }

    /// Whether rows may have been sent that are stored already.
    pub fn expects_skips(&self) -> bool {
        self.looked >= SAMPLE && self.new < self.looked && !self.shapes.is_empty()
    }
}
