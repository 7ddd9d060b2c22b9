//! Where the ranges of a sketch begin, and which one a position is in.

/// So many buckets of positions are known by the ranges that they touch.
const BUCKETS: usize = 2048;

/// The bounds between ranges. A search among them would cost more than the hash of a small row, so
/// each of many equal stretches between the first bound and the last knows where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Where the second and each further range begins, in order.
    starts: Vec<i64>,
    /// A stretch has two to this power of positions.
    shift: u32,
    /// By stretch, how many bounds are before it; then how many there are.
    before: Vec<u32>,
}

impl Bounds {
    /// These bounds, which are put in order.
    pub fn new(mut starts: Vec<i64>) -> Self {
        starts.sort_unstable();
        let first = starts.first().copied().unwrap_or(0);
        let last = starts.last().copied().unwrap_or(0);
        let span = last.abs_diff(first);
        let bits = u64::BITS - span.leading_zeros();
        let shift = bits.saturating_sub(BUCKETS.ilog2());
        let stretches = (span >> shift) as usize + 1;
        let mut before = vec![0; stretches + 1];
        for start in &starts {
            let stretch = (start.abs_diff(first) >> shift) as usize;
            before[stretch + 1] += 1;
        }
        for i in 1..before.len() {
            before[i] += before[i - 1];
        }
        Self {
            starts,
            shift,
            before,
        }
    }

    /// The bounds, in order.
    pub fn starts(&self) -> &[i64] {
        &self.starts
    }

    /// The range of a position: how many bounds it has reached.
    #[inline]
    pub fn range_of(&self, position: i64) -> usize {
        let first = self.starts.first().copied();
        let Some(first) = first.filter(|first| *first <= position) else {
            return 0;
        };
        let stretch = (position.abs_diff(first) >> self.shift) as usize;
        let Some(&[low, high]) = self.before.get(stretch..stretch + 2) else {
            return self.starts.len();
        };
        let (low, high) = (low as usize, high as usize);
        let within = self.starts.get(low..high).unwrap_or_default();
        low + within.partition_point(|start| *start <= position)
    }
}
