//! The counters of all sessions, as they lie in shared memory.
//!
//! A table of fixed size: an entry for each subject, found by its hash. Every field is atomic, so that reading
//! and adding need no more than a lock in shared mode; entries are made and given back by one process at a
//! time, which [`super::shared`] sees to. All zeros are the empty table.
//!
//! Nothing here allocates, fails or panics: counts are added while transactions end.
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

/// How many counters an entry has.
pub const COUNTERS: usize = 8;

/// The counts of one subject, by counter.
pub type Counts = [u64; COUNTERS];

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The oid of the database.
    pub database: u32,
    /// The oid of the table; 0 for what belongs to no table.
    pub relation: u32,
    /// The number of the form.
    pub form: u32,
}

impl Subject {
    /// A number that differs for subjects that differ, mostly.
    fn hash(self) -> u32 {
        let mut hash = u64::from(self.relation) << 32 | u64::from(self.database);
        hash ^= u64::from(self.form).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        (hash >> 32) as u32
    }
}

/// The counters of a subject.
struct Entry {
    database: AtomicU32,
    relation: AtomicU32,
    form: AtomicU32,
    /// The next entry of the same bucket, or of those that were given back; from 1, 0 for none.
    next: AtomicU32,
    /// Since when it counts.
    since: AtomicI64,
    counts: [AtomicU64; COUNTERS],
}

impl Entry {
    fn subject(&self) -> Subject {
        Subject {
            database: self.database.load(Relaxed),
            relation: self.relation.load(Relaxed),
            form: self.form.load(Relaxed),
        }
    }

    fn begin(&self, subject: Subject, since: i64) {
        self.database.store(subject.database, Relaxed);
        self.relation.store(subject.relation, Relaxed);
        self.form.store(subject.form, Relaxed);
        self.restart(since);
    }

    fn restart(&self, since: i64) {
        self.since.store(since, Relaxed);
        for count in &self.counts {
            count.store(0, Relaxed);
        }
    }

    fn add(&self, counts: &Counts) {
        for (count, more) in self.counts.iter().zip(counts) {
            if *more != 0 {
                count.fetch_add(*more, Relaxed);
            }
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = [0; COUNTERS];
        for (to, count) in counts.iter_mut().zip(&self.counts) {
            *to = count.load(Relaxed);
        }
        counts
    }
}

/// The counters of up to `SIZE` subjects.
pub struct CounterTable<const SIZE: usize> {
    /// So many entries were taken at some time.
    used: AtomicU32,
    /// The first of the entries that were given back; from 1.
    free: AtomicU32,
    /// What was counted for subjects that found no entry.
    uncounted: AtomicU64,
    /// The first entry of each bucket; from 1.
    buckets: [AtomicU32; SIZE],
    entries: [Entry; SIZE],
}

impl<const SIZE: usize> CounterTable<SIZE> {
    /// An empty one, for tests/pure: all zeros, as shared memory begins.
    #[cfg(test)]
    #[allow(dead_code, reason = "the tests are in another crate")]
    pub fn new() -> Box<Self> {
        Box::new(Self {
            used: AtomicU32::new(0),
            free: AtomicU32::new(0),
            uncounted: AtomicU64::new(0),
            buckets: [const { AtomicU32::new(0) }; SIZE],
            entries: std::array::from_fn(|_| Entry {
                database: AtomicU32::new(0),
                relation: AtomicU32::new(0),
                form: AtomicU32::new(0),
                next: AtomicU32::new(0),
                since: AtomicI64::new(0),
                counts: [const { AtomicU64::new(0) }; COUNTERS],
            }),
        })
    }
}

/// Adding and reading, beside others.
impl<const SIZE: usize> CounterTable<SIZE> {
    /// Adds to the counters of a subject; false, with nothing done, if it has no entry.
    pub fn add(&self, subject: Subject, counts: &Counts) -> bool {
        let entry = self.find(subject);
        if let Some(entry) = entry {
            entry.add(counts);
        }
        entry.is_some()
    }

    /// Shows every subject with its counts, and since when it counts.
    pub fn for_each(&self, mut show: impl FnMut(Subject, Counts, i64)) {
        for bucket in &self.buckets {
            for entry in self.chain(bucket.load(Relaxed)) {
                show(entry.subject(), entry.counts(), entry.since.load(Relaxed));
            }
        }
    }

    /// What was counted for subjects that found no entry, all counters together.
    pub fn uncounted(&self) -> u64 {
        self.uncounted.load(Relaxed)
    }

    fn find(&self, subject: Subject) -> Option<&Entry> {
        let first = self.bucket(subject)?.load(Relaxed);
        self.chain(first).find(|entry| entry.subject() == subject)
    }

    fn bucket(&self, subject: Subject) -> Option<&AtomicU32> {
        self.buckets.get(subject.hash() as usize % SIZE)
    }

    /// The entries from one on; no more than there are, whatever the links say.
    fn chain(&self, first: u32) -> impl Iterator<Item = &Entry> {
        let mut next = first;
        let entries = std::iter::from_fn(move || {
            let entry = self.entry(next)?;
            next = entry.next.load(Relaxed);
            Some(entry)
        });
        entries.take(SIZE)
    }

    /// An entry by its number from 1.
    fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get((number as usize).checked_sub(1)?)
    }
}

/// What one process does at a time.
impl<const SIZE: usize> CounterTable<SIZE> {
    /// Adds to the counters of a subject, which gets an entry if it has none; false if there is no room
    /// for one.
    pub fn add_or_begin(&self, subject: Subject, counts: &Counts, now: i64) -> bool {
        let entry = self.find(subject).or_else(|| self.begin(subject, now));
        match entry {
            Some(entry) => entry.add(counts),
            None => {
                let more = counts
                    .iter()
                    .fold(0, |sum: u64, count| sum.wrapping_add(*count));
                self.uncounted.fetch_add(more, Relaxed);
            }
        }
        entry.is_some()
    }

    fn begin(&self, subject: Subject, now: i64) -> Option<&Entry> {
        let bucket = self.bucket(subject)?;
        let free = self.free.load(Relaxed);
        let number = if free != 0 {
            self.free
                .store(self.entry(free)?.next.load(Relaxed), Relaxed);
            free
        } else {
            let used = self.used.load(Relaxed);
            if used as usize >= SIZE {
                return None;
            }
            self.used.store(used + 1, Relaxed);
            used + 1
        };
        let entry = self.entry(number)?;
        entry.begin(subject, now);
        entry.next.store(bucket.load(Relaxed), Relaxed);
        bucket.store(number, Relaxed);
        Some(entry)
    }

    /// Gives the entry of a subject back.
    pub fn remove(&self, subject: Subject) {
        let Some(bucket) = self.bucket(subject) else {
            return;
        };
        let mut link = bucket;
        // No more steps than there are entries.
        for _ in 0..SIZE {
            let number = link.load(Relaxed);
            let Some(entry) = self.entry(number) else {
                return;
            };
            if entry.subject() == subject {
                link.store(entry.next.load(Relaxed), Relaxed);
                entry.next.store(self.free.load(Relaxed), Relaxed);
                self.free.store(number, Relaxed);
                return;
            }
            link = &entry.next;
        }
    }

    /// Begins to count anew for the subjects of which `which` is true.
    pub fn restart(&self, now: i64, which: impl Fn(Subject) -> bool) {
        for bucket in &self.buckets {
            for entry in self.chain(bucket.load(Relaxed)) {
                if which(entry.subject()) {
                    entry.restart(now);
                }
            }
        }
    }
}
