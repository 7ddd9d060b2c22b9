//! Rows that are sent as parameters of statements: how many at once.
use crate::pg::rows::Slot;

/// So many rows are sent by one statement, at most. Fewer are sent by statements for fewer rows, each a
/// quarter of the one before, so that few statements are prepared.
const ROWS_AT_ONCE: usize = 256;

/// Beyond so many bytes, rows are sent.
pub(super) const BYTES_AT_ONCE: usize = 1 << 20;

/// A statement has so many parameters at most.
const PARAMETERS: usize = 30_000;

/// How many rows of so many columns are sent at once.
pub(super) fn rows_at_once(columns: usize) -> usize {
    (PARAMETERS / columns.max(1)).clamp(1, ROWS_AT_ONCE)
}

/// Rows that wait to be sent.
#[derive(Default)]
pub struct Portion {
    rows: Vec<Slot>,
    /// About how many bytes they have.
    bytes: usize,
}

impl Portion {
    /// Adds a copy of a row, of which these columns are sent. True if the rows are to be sent now.
    pub fn put(&mut self, row: &Slot, columns: &[usize]) -> bool {
        let row = row.to_stored();
        row.deform();
        self.bytes += columns.iter().map(|c| row.value(*c).size()).sum::<usize>();
        self.rows.push(row);
        self.rows.len() >= rows_at_once(columns.len()) || self.bytes > BYTES_AT_ONCE
    }

    /// Hands the rows over in their order, as many at a time as a statement is to have. None is left.
    pub fn send(&mut self, mut send: impl FnMut(&[Slot])) {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let mut size = ROWS_AT_ONCE;
            while size > rest.len() {
                size /= 4;
            }
            let (part, others) = rest.split_at(size);
            send(part);
            rest = others;
        }
    }
}
