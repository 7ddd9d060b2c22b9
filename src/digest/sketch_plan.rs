//! How the rows of a table are spread over the cells of a sketch, and which cells differ.
//!
//! A sketch has three tables of cells. In two of them a row's cell follows from the hash of its
//! key, in the third from the range in which the first column of the key lies. Each cell is the
//! sum of the hashes of its rows. A row that only one side has, or has otherwise, is in three
//! cells that differ; one that both have alike is in three cells that differ only by chance: so
//! few rows are suspected besides those that deviate, and the ranges let an index find them.
//!
//! All hashes are keyed with seeds that are drawn for each comparison: who chose the rows did not
//! know them.
use super::bounds::Bounds;

/// The form of the bytes below.
const VERSION: u8 = 1;

/// What stands before the bounds of the ranges.
const HEAD: usize = 4 + 16 + 2;

/// How many cells of one table there are at most, as a power of two.
pub const MAX_POWER: u8 = 13;

/// How many ranges there are at most.
pub const MAX_RANGES: usize = 4096;

/// How many cells a sketch has at most.
pub const MAX_CELLS: usize = (2 << MAX_POWER) + MAX_RANGES;

/// What both sides of a comparison have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SketchPlan {
    /// The key of the hashes.
    pub seed: [u64; 2],
    /// Whether NULL equals NULL in the key. Else a row with a NULL in it equals no other, and is in
    /// no cell.
    pub nulls_equal: bool,
    /// How many of the columns, the first ones, are the key.
    pub keys: u8,
    /// Each of the first two tables has two to this power of cells.
    pub power: u8,
    /// Where the ranges of the third table begin.
    pub bounds: Bounds,
}

impl SketchPlan {
    /// The plan as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, u8::from(self.nulls_equal), self.keys, self.power];
        bytes.extend(self.seed.iter().flat_map(|word| word.to_be_bytes()));
        let starts = self.bounds.starts();
        bytes.extend((starts.len() as u16).to_be_bytes());
        bytes.extend(starts.iter().flat_map(|start| start.to_be_bytes()));
        bytes
    }

    /// The plan, and what follows it; None if the bytes are none.
    pub fn of_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_at_checked(HEAD)?;
        let &[VERSION, nulls_equal, keys, power, ref head @ ..] = head else {
            return None;
        };
        let (seed, count) = head.split_at_checked(16)?;
        let count = usize::from(u16::from_be_bytes(count.try_into().ok()?));
        let (bounds, rest) = rest.split_at_checked(count * 8)?;
        let (&[first, second], []) = seed.as_chunks::<8>() else {
            return None;
        };
        let (starts, _) = bounds.as_chunks::<8>();
        let starts: Vec<i64> = starts
            .iter()
            .map(|start| i64::from_be_bytes(*start))
            .collect();
        let sound = nulls_equal <= 1
            && keys > 0
            && power <= MAX_POWER
            && starts.len() < MAX_RANGES
            && starts.is_sorted();
        let plan = Self {
            seed: [u64::from_be_bytes(first), u64::from_be_bytes(second)],
            nulls_equal: nulls_equal == 1,
            keys,
            power,
            bounds: Bounds::new(starts),
        };
        sound.then_some((plan, rest))
    }

    /// How many cells there are.
    pub fn cells(&self) -> usize {
        self.first_range() + self.bounds.starts().len() + 1
    }

    /// The first cell of the third table.
    pub fn first_range(&self) -> usize {
        2 << self.power
    }

    /// The cells of a row with this hash of its key, and this position of the key's first column, if
    /// it has one.
    #[inline]
    pub fn cells_of(&self, key: u64, position: Option<i64>) -> [usize; 3] {
        let size = 1 << self.power;
        let low = key as usize & (size - 1);
        let high = (key >> 32) as usize & (size - 1);
        let range = match position {
            Some(position) => self.bounds.range_of(position),
            None => self.bounds.starts().len(),
        };
        [low, size + high, 2 * size + range]
    }
}

/// The rows in cells in which two sketches differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspects {
    /// What both sides have in common.
    pub plan: SketchPlan,
    /// By cell, whether it differs.
    differs: Vec<bool>,
}

impl Suspects {
    /// The cells in which two sketches of the plan differ, which are one behind the other. One of no
    /// rows is empty. None if they are no sketches of the plan.
    pub fn between(plan: SketchPlan, sketches: &[u8]) -> Option<Self> {
        let (sums, rest) = sketches.as_chunks::<8>();
        let cells = plan.cells();
        if !rest.is_empty() || ![0, cells, 2 * cells].contains(&sums.len()) {
            return None;
        }
        let (one, other) = sums.split_at(cells.min(sums.len()));
        let nothing = [0; 8];
        let differs = (0..cells).map(|cell| {
            let [one, other] = [one, other].map(|sums| sums.get(cell).unwrap_or(&nothing));
            one != other
        });
        Some(Self {
            differs: differs.collect(),
            plan,
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        !self.differs.contains(&true)
    }

    /// Which part of the rows is suspected.
    pub fn share(&self) -> f64 {
        let size = 1 << self.plan.power;
        let share = |cells: &[bool]| {
            let differing = cells.iter().filter(|differs| **differs).count();
            differing as f64 / cells.len() as f64
        };
        let (tables, ranges) = self.differs.split_at(2 * size);
        let (low, high) = tables.split_at(size);
        share(low) * share(high) * share(ranges)
    }

    /// The runs of ranges that differ: of each the first range, and the one after its last.
    pub fn runs(&self) -> Vec<(usize, usize)> {
        let ranges = self.differs.get(self.plan.first_range()..);
        let ranges = ranges.unwrap_or_default();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (range, _) in ranges.iter().enumerate().filter(|(_, differs)| **differs) {
            match runs.last_mut() {
                Some((_, end)) if *end == range => *end += 1,
                _ => runs.push((range, range + 1)),
            }
        }
        runs
    }

    /// Whether a row in these cells is suspected.
    #[inline]
    pub fn contain(&self, cells: [usize; 3]) -> bool {
        cells
            .iter()
            .all(|cell| self.differs.get(*cell).is_some_and(|differs| *differs))
    }

    /// The suspects as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.plan.to_bytes();
        let bits = |cells: &[bool]| {
            let bits = cells.iter().zip(0..);
            bits.fold(0, |byte, (differs, bit)| byte | u8::from(*differs) << bit)
        };
        bytes.extend(self.differs.chunks(8).map(bits));
        bytes
    }

    /// The suspects; None if the bytes are none.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (plan, bits) = SketchPlan::of_bytes(bytes)?;
        let cells = plan.cells();
        let differs = bits
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1))
            .take(cells)
            .collect();
        (bits.len() == cells.div_ceil(8)).then_some(Self { plan, differs })
    }
}
