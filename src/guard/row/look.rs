//! The look at a row's key that is taken for every row: find it or lock it, and compare.
//!
//! This is the guard's inner loop. All of it runs inside one `ffi::guard`, so that a row costs one
//! of these, and nothing here owns anything, or panics. What the steps are for is said in the head
//! of [`guard`](crate::guard); what follows from a look is judged in [`super`] and
//! [`stored`](super::stored).
use super::Guard;
use super::probe::ProbeResult;
use crate::guard::key_lock::{KeyHashSeeds, KeyHasher};
use crate::pg::call::trigger::TriggerRow;
use crate::pg::ffi;
use crate::pg::schedule::{leaves_out, wait_at};
use crate::pg::statement::evaluator::IndexValues;
use crate::pg::value::sql_value::SqlValue;
use crate::target::{OpenRelation, StoredRow, Target, UniqueIndex, first_difference, same_tuple};
use pgrx::pg_sys;

impl Guard {
    /// Looks the row's key up, and locks it if it is free. The row is one of the guard's table.
    #[inline]
    pub(super) fn look(&mut self, row: TriggerRow<'_>) -> ProbeResult {
        // SAFETY: nothing is owned inside, and nothing panics.
        unsafe { ffi::guard(|| self.look_unguarded(row)) }
    }

    /// # Safety
    /// Runs inside `ffi::guard`.
    #[inline(always)]
    unsafe fn look_unguarded(&mut self, row: TriggerRow<'_>) -> ProbeResult {
        // SAFETY: the key's columns are among the table's, since the numbers are those of the
        // target's columns in it; the caller's promise.
        unsafe {
            let numbers = self.plan.numbers.as_slice();
            if let Some(key) = &mut self.computed_key
                && !key.compute_unguarded(row)
            {
                return ProbeResult::Outside;
            }
            let payload = StoredRow::fired_unguarded(row, self.plan.key_columns, numbers);
            let key = self.computed_key.as_ref();
            let arbiter = self.config.arbiter(&self.target);
            if !arbiter.nulls_equal {
                for part in &arbiter.keys {
                    if part_of_key(&payload, key, part.column).is_none() {
                        return ProbeResult::NullKey(part.column);
                    }
                }
            }
            if let Some(free) = self.find_or_lock_unguarded(row) {
                return free;
            }
            // Never wait, or judge, with a key lock in hand.
            self.statement.key_lock.release_unguarded();
            self.config.miss_rate.record_hit();
            if let Some(writer) = self.scan.writer() {
                self.scan.pause_unguarded();
                return ProbeResult::InProgress(writer);
            }
            if !self.simple || !self.is_duplicate_unguarded(row) {
                return ProbeResult::Stored;
            }
            self.scan.pause_unguarded();
            ProbeResult::Duplicate
        }
    }

    /// Finds the row under the key, of which the scan is at one then; or locks the key, and says
    /// what it is if there is still none.
    ///
    /// # Safety
    /// The key of the row is deformed. Runs inside `ffi::guard`.
    #[inline(always)]
    unsafe fn find_or_lock_unguarded(&mut self, row: TriggerRow<'_>) -> Option<ProbeResult> {
        // SAFETY: the arbiter's columns are positions in the target's, and are deformed; the
        // scan is one by equality, of the arbiter. The caller's promise.
        unsafe {
            let config = &*self.config;
            let payload = StoredRow::fired_unguarded(row, 0, &self.plan.numbers);
            let key = self.computed_key.as_ref();
            let value = |c| part_of_key(&payload, key, c);
            let lock = || {
                if leaves_out!("key_lock") {
                    return;
                }
                wait_at!("guard: key lock");
                let arbiter = config.arbiter(&self.target);
                let hash = hash_unguarded(&config.key_hasher, &self.seeds, arbiter, value);
                self.statement.key_lock.exchange_unguarded(hash);
                wait_at!("guard: key locked");
            };
            // Where misses are likely: with the lock in hand one look serves.
            let mut locked = false;
            if config.miss_rate.predicts_miss() {
                lock();
                locked = true;
            }
            loop {
                if self.scan.find_unguarded(value) {
                    return None;
                }
                if locked {
                    config.miss_rate.record_miss();
                    return Some(if self.scan.saw_entry() {
                        ProbeResult::MaybeNew
                    } else {
                        ProbeResult::New
                    });
                }
                lock();
                locked = true;
                if leaves_out!("second_look") {
                    return Some(ProbeResult::New);
                }
            }
        }
    }

    /// Whether the row that the scan is at has the row's values in all compared columns. A column
    /// that the row may have omitted agrees if it is known what it would be then.
    ///
    /// # Safety
    /// The scan has found a row. Runs inside `ffi::guard`.
    #[inline(always)]
    unsafe fn is_duplicate_unguarded(&self, row: TriggerRow<'_>) -> bool {
        // SAFETY: both rows are of the table at hand, which has the compared columns; those
        // are positions in the target's. The caller's promise.
        unsafe {
            let stored = self.scan.slot();
            if same_tuple(stored, row.tuple()) {
                return true;
            }
            let payload = StoredRow::fired_unguarded(row, self.plan.columns, &self.plan.numbers);
            ffi::slot_getsomeattrs_unguarded(stored, self.plan.columns);
            let stored = StoredRow::in_slot(stored, &self.plan.numbers);
            let columns = &self.target.columns;
            let value = |c| payload.get_unguarded(c);
            first_difference(columns, &self.config.always, &stored, value).is_none()
                && self.defaults.known().all(|(c, defaults)| {
                    let (column, value) = (&columns.get_unchecked(c).values, value(c));
                    column.equal(stored.get_unguarded(c), value)
                        || defaults
                            .iter()
                            .any(|default| column.equal(default.to_datum(), value))
                })
        }
    }
}

/// The hash of a key, for its lock.
///
/// # Safety
/// The hasher is one for the arbiter, and `key` gives values of its columns. Runs inside
/// `ffi::guard`.
#[inline]
unsafe fn hash_unguarded(
    hasher: &KeyHasher,
    seeds: &KeyHashSeeds,
    arbiter: &UniqueIndex,
    key: impl Fn(usize) -> Option<pg_sys::Datum>,
) -> u64 {
    let mut hash = seeds.start;
    let mut nulls = 0u64;
    for (i, (column, part)) in arbiter.keys.iter().zip(&hasher.parts).enumerate() {
        match key(column.column) {
            None => nulls |= 1 << i,
            // SAFETY: the caller's promise.
            Some(value) => unsafe {
                let collation = column.operators.collation;
                hash = part.add_unguarded(hash, value, collation, seeds.types);
            },
        }
    }
    if nulls != 0 {
        hash = hash.word(nulls);
    }
    hash.finish()
}

/// What a row's key is, where its arbiter is on more than columns: the expressions in it, and its
/// condition. With whose rights they are evaluated, [`IndexValues`] says.
pub struct ComputedKey {
    values: IndexValues,
    /// The position of the first expression in working rows of the target: those of an index are
    /// side by side.
    first: usize,
    /// The expressions' types,
    types: Vec<pg_sys::Oid>,
    /// and their values for the row at hand.
    computed: Vec<Option<pg_sys::Datum>>,
}

impl ComputedKey {
    /// For rows of a table, and its part of the target's arbiter. None if the arbiter is on columns
    /// alone, and on all rows.
    pub fn of(
        target: &Target,
        arbiter: &UniqueIndex,
        table: &OpenRelation,
        index: &OpenRelation,
    ) -> Option<Self> {
        if !arbiter.is_computed() {
            return None;
        }
        let values = IndexValues::of(table, index)?;
        let expressions = arbiter.keys.iter().filter(|key| key.expression.is_some());
        let positions: Vec<usize> = expressions.map(|key| key.column).collect();
        Some(Self {
            values,
            first: positions.first().copied().unwrap_or(usize::MAX),
            types: positions.iter().map(|c| target.column(*c).typid).collect(),
            computed: vec![None; positions.len()],
        })
    }

    /// Computes them for a row; false if it is outside of the condition.
    ///
    /// # Safety
    /// The row is one of the table. Runs inside `ffi::guard`.
    pub unsafe fn compute_unguarded(&mut self, row: TriggerRow<'_>) -> bool {
        let computed = &mut self.computed;
        // SAFETY: the caller's promise; the slot holds the row while its trigger runs, longer than
        // the values are used.
        unsafe {
            self.values.evaluate_unguarded(row.slot(), |i, value| {
                if let Some(place) = computed.get_mut(i) {
                    *place = value;
                }
            })
        }
    }

    /// Likewise, under a guard of its own.
    pub fn compute(&mut self, row: TriggerRow<'_>) -> bool {
        // SAFETY: a guard opens this for the table that its rows are of; the guard holds nothing.
        unsafe { ffi::guard(|| self.compute_unguarded(row)) }
    }

    /// The value of an expression, by its position in working rows; None for a column.
    pub fn value(&self, position: usize) -> Option<SqlValue<'_>> {
        let i = position.checked_sub(self.first)?;
        // SAFETY: what the expression of this type has given for the row at hand.
        Some(unsafe { SqlValue::of_datum(self.types[i], self.computed[i]) })
    }
}

/// The value of a part of a row's key, by its position.
///
/// # Safety
/// It is a position in the arbiter's key, whose columns the row has deformed.
#[inline(always)]
pub unsafe fn part_of_key(
    payload: &StoredRow<'_>,
    key: Option<&ComputedKey>,
    position: usize,
) -> Option<pg_sys::Datum> {
    match key {
        Some(key) if position >= key.first => *key.computed.get(position - key.first)?,
        // SAFETY: the caller's promise: a column.
        _ => unsafe { payload.get_unguarded(position) },
    }
}
