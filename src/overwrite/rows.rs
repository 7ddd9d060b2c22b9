//! Rows as multisets: what a slice holds, and what arrives for it.
//!
//! Two multisets are compared by their number of rows and the sum of the rows' hashes: 128
//! bits, under a seed that is drawn for every call, so that rows cannot be made to collide.
//! What is hashed is the image of the values: rows that are equal only to their types (1.0
//! and 1.00) are taken as different, and written anew. Generated columns follow from others,
//! and are not hashed; a row that arrives must have in them what the server computes. Those
//! that follow from columns which the source does not have are hashed, since these are not.
//! Columns that source and target both number or draw by themselves are not hashed either.
use super::slice::{RangeColumn, Slice};
use crate::compare::{differing, show_value};
use crate::error::{Report, RowOrigin, SqlState};
use crate::payload::fill::RowSink;
use crate::payload::generated::GeneratedColumns;
use crate::payload::row::RowLayout;
use crate::payload::source::Source;
use crate::pg::backend::unforeseeable_number;
use crate::pg::ffi;
use crate::pg::memory::Scratch;
use crate::pg::rows::{RowBuilder, Slot, TupleSort, TupleStore};
use crate::pg::value::comparison::{Storage, append_image};
use crate::settings;
use crate::target::{StoredRow, Target, first_difference};
use pgrx::pg_sys;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// How rows are hashed in a call.
pub struct Hashing {
    /// Drawn for this call.
    seed: u64,
    /// What is hashed: position, and how it is stored.
    columns: Vec<(usize, Storage)>,
}

impl Hashing {
    /// For the rows of a source, and those that are stored for it, without columns in which equal
    /// rows differ.
    pub fn of(
        source: &Source<'_>,
        generated: Option<&GeneratedColumns<'_>>,
        without: &[usize],
    ) -> Self {
        let all = &source.target().columns;
        let by_defaults = generated.map_or(&[][..], GeneratedColumns::by_defaults);
        let hashed = source.columns().iter().copied();
        let hashed = hashed.filter(|c| all[*c].generated == 0 || by_defaults.contains(c));
        let hashed = hashed.filter(|c| !without.contains(c));
        let columns = hashed.map(|c| (c, all[c].values.storage));
        Self {
            seed: unforeseeable_number(),
            columns: columns.collect(),
        }
    }
}

/// A multiset of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSetHash {
    /// How many rows.
    pub count: u64,
    /// The sum of their hashes.
    sum: u128,
}

impl RowSetHash {
    /// That of the rows that a SELECT gives now.
    pub fn of(hashing: &Hashing, rows: &Source<'_>) -> Self {
        let mut sum = HashSink::new(hashing);
        rows.stream(&mut sum);
        sum.set
    }

    /// That of the rows that arrive for a slice.
    ///
    /// # Errors
    /// 23514 if one of them is outside of it; 428C9 if a generated column has another value
    /// than the server computes.
    pub fn of_source(
        hashing: &Hashing,
        rows: &Source<'_>,
        slice: &Slice<'_>,
        generated: &mut Option<GeneratedColumns<'_>>,
    ) -> Self {
        let mut sum = HashSink::new(hashing);
        slice.stream_inside(rows, generated, &mut sum);
        sum.set
    }
}

/// The rows that arrive for a slice, kept.
///
/// # Errors
/// As [`RowSetHash::of_source`].
pub fn collect(
    rows: &Source<'_>,
    slice: &Slice<'_>,
    generated: &mut Option<GeneratedColumns<'_>>,
) -> TupleStore {
    let mut kept = TupleStore::new(slice.target.row_desc());
    slice.stream_inside(rows, generated, &mut kept);
    kept
}

/// Sums rows up.
struct HashSink<'h> {
    hashing: &'h Hashing,
    /// The row at hand.
    image: Vec<u8>,
    set: RowSetHash,
}

impl<'h> HashSink<'h> {
    fn new(hashing: &'h Hashing) -> Self {
        Self {
            hashing,
            image: Vec::new(),
            set: RowSetHash::default(),
        }
    }
}

// SAFETY: its buffer is borrowed from the caller; nothing is owned here, and nothing panics.
unsafe impl RowSink for HashSink<'_> {
    unsafe fn take(&mut self, row: &Slot) -> bool {
        self.image.clear();
        for (c, storage) in &self.hashing.columns {
            // SAFETY: a value of the column, whose storage this is; an ERROR while it is
            // detoasted leaves the buffer as it is, and the buffer has another owner.
            unsafe { append_image(&mut self.image, *storage, row.get(*c)) };
        }
        let hash = xxh3_128_with_seed(&self.image, self.hashing.seed);
        self.set.count += 1;
        self.set.sum = self.set.sum.wrapping_add(hash);
        true
    }
}

/// The rows that arrive for one slice of several, kept and summed up.
pub struct SliceRows<'h> {
    pub kept: TupleStore,
    sum: HashSink<'h>,
    per_row: Scratch,
}

impl<'h> SliceRows<'h> {
    /// None yet.
    pub fn new(target: &Target, hashing: &'h Hashing) -> Self {
        Self {
            kept: TupleStore::new(target.row_desc()),
            sum: HashSink::new(hashing),
            per_row: Scratch::in_current(c"pg_idempotent row"),
        }
    }

    /// Adds a copy of a row that is read whole.
    pub fn put(&mut self, row: &Slot) {
        row.check_whole();
        let (kept, sum) = (&mut self.kept, &mut self.sum);
        // SAFETY: a row with the columns of the store, which checks that, and so a working row of
        // the target; inside the guard nothing is owned.
        let put = || unsafe {
            ffi::guard(|| {
                kept.put_unguarded(row);
                sum.take(row)
            })
        };
        self.per_row.scope(put);
        self.per_row.reset();
    }

    pub fn hash(&self) -> RowSetHash {
        self.sum.set
    }
}

/// Puts all rows of a source into a sort, with what the server computes in generated columns.
///
/// # Errors
/// 428C9 if a generated column has another value than the server computes.
pub fn sort(rows: &Source<'_>, generated: &mut Option<GeneratedColumns<'_>>, sort: &mut TupleSort) {
    let mut checked = CheckedRows::new(rows.target(), generated, sort);
    let last = rows.stream(&mut checked);
    checked.finish(last);
}

/// Passes rows on, with what the server computes in generated columns. The first one in which it
/// computes another value ends the reading.
struct CheckedRows<'a, 'g> {
    generated: &'a mut Option<GeneratedColumns<'g>>,
    mismatch: Option<usize>,
    /// A row in which the generated columns that are hashed have the server's notation.
    computed: RowBuilder,
    next: &'a mut dyn RowSink,
}

impl<'a, 'g> CheckedRows<'a, 'g> {
    fn new(
        target: &Target,
        generated: &'a mut Option<GeneratedColumns<'g>>,
        next: &'a mut dyn RowSink,
    ) -> Self {
        Self {
            generated,
            mismatch: None,
            computed: RowBuilder::new(target.row_desc()),
            next,
        }
    }

    /// 428C9 if the reading ended with a value that the server computes otherwise, in the last row.
    fn finish(&self, last: i64) {
        if let (Some(generated), Some(column)) = (self.generated.as_ref(), self.mismatch) {
            generated
                .differs(column, RowOrigin::Source.numbered(last))
                .raise()
        }
    }
}

// SAFETY: calls of the server, of which none leaves something that is owned here; generated
// columns are columns of a working row, so nothing panics.
unsafe impl RowSink for CheckedRows<'_, '_> {
    unsafe fn take(&mut self, row: &Slot) -> bool {
        // SAFETY: as the function's.
        unsafe {
            let Some(generated) = self.generated.as_mut() else {
                return self.next.take(row);
            };
            // The rows of a source have one shape.
            self.mismatch = generated.mismatch(row, 0);
            if self.mismatch.is_some() {
                return false;
            }
            if generated.by_defaults().is_empty() {
                return self.next.take(row);
            }
            // The row outlives this call, which is the use of the slot; what was computed
            // for a column is of its type, until the next row.
            let mut computed = self.computed.start();
            computed.copy_all(row);
            for c in generated.by_defaults() {
                computed.set_unguarded(*c, generated.computed(*c));
            }
            self.next.take(computed.finish())
        }
    }
}

/// Passes on the rows of a slice. The first one that is outside of it ends the reading.
struct SliceFilter<'a, 'g> {
    slice: &'a Slice<'a>,
    values: StoredRow<'a>,
    outside: TupleStore,
    inside: CheckedRows<'a, 'g>,
}

// SAFETY: calls of the server, of which none leaves something that is owned here; columns of a
// slice are columns of a working row, so nothing panics.
unsafe impl RowSink for SliceFilter<'_, '_> {
    unsafe fn take(&mut self, row: &Slot) -> bool {
        let Slice {
            target, columns, ..
        } = self.slice;
        // SAFETY: positions of the target's columns; as the function's.
        unsafe {
            let differs = first_difference(&target.columns, columns, &self.values, |c| row.get(c));
            let in_ranges = |range: &RangeColumn| self.slice.holds(range, row.get(range.column));
            if differs.is_some() || !self.slice.ranges.iter().all(in_ranges) {
                self.outside.put_unguarded(row);
                return false;
            }
            self.inside.take(row)
        }
    }
}

impl Slice<'_> {
    /// Reads rows, all of which must be of this slice, with what the server computes in
    /// generated columns.
    fn stream_inside(
        &self,
        rows: &Source<'_>,
        generated: &mut Option<GeneratedColumns<'_>>,
        sink: &mut dyn RowSink,
    ) {
        let numbers = self.target.attnums_in_order();
        let mut filter = SliceFilter {
            slice: self,
            values: StoredRow::returned(&self.values, &numbers),
            outside: TupleStore::new(self.target.row_desc()),
            inside: CheckedRows::new(self.target, generated, sink),
        };
        let last = rows.stream(&mut filter);
        filter.inside.finish(last);
        let mut row = Slot::for_stored(self.target.row_desc());
        if filter.outside.next(&mut row) {
            self.refuse(&row)
        }
    }

    /// Whether a value lies in a range.
    ///
    /// # Safety
    /// A value of the range's column. Runs inside `ffi::guard`.
    unsafe fn holds(&self, range: &RangeColumn, value: Option<pg_sys::Datum>) -> bool {
        let Some(value) = value else { return false };
        let column = &self.target.columns[range.column];
        // SAFETY: the caller's promise; bounds are values of the column.
        let compare = |bound| unsafe {
            let order = range.order.of_values();
            column.values.compare_unguarded(order, value, bound)
        };
        let [from, to] = [&self.values, &self.ends].map(|row| row.get(range.column));
        from.is_none_or(|from| compare(from).is_ge()) && to.is_none_or(|to| compare(to).is_lt())
    }

    /// 23514 for a row outside of the slice.
    fn refuse(&self, row: &Slot) -> ! {
        let target = self.target;
        let named = self.named();
        let report = Report::new(
            SqlState::CheckViolation,
            format!(
                "row {} of the source is outside the slice of table \"{}\"",
                RowLayout::of(target).ordinal(row),
                target.name
            ),
        )
        .detail(if settings::show_values() {
            let value = |c: &usize| self.show_value(*c, row);
            let row = named.iter().map(value).collect::<Vec<_>>().join(", ");
            let slice = named.iter().map(|c| self.show(*c)).collect::<Vec<_>>();
            format!("The row has {row}; the slice is {}.", slice.join(", "))
        } else {
            let named = target.column_list(named.iter().copied());
            format!("The slice is defined by {named}.")
        })
        .hint("Restrict the source to the slice, or overwrite another slice.")
        .table(&target.schema, &target.name);
        match named.iter().find(|c| self.is_outside(**c, row)) {
            Some(c) => report.column(target.columns[*c].name.clone()).raise(),
            None => report.raise(),
        }
    }

    /// Whether a row, read whole, has the values of a slice without ranges.
    pub fn has_values_of(&self, row: &Slot) -> bool {
        let numbers = self.target.attnums_in_order();
        let values = StoredRow::returned(&self.values, &numbers);
        differing(&self.target.columns, &self.columns, &values, |c| {
            row.value(c)
        })
        .is_empty()
    }

    /// Whether a row has a column that the slice names outside of it.
    fn is_outside(&self, c: usize, row: &Slot) -> bool {
        if let Some(range) = self.ranges.iter().find(|range| range.column == c) {
            // SAFETY: a value of the column; the guard holds nothing.
            return unsafe { ffi::guard(|| !self.holds(range, row.get(c))) };
        }
        let numbers = self.target.attnums_in_order();
        let values = StoredRow::returned(&self.values, &numbers);
        !differing(&self.target.columns, &[c], &values, |c| row.value(c)).is_empty()
    }

    fn show_value(&self, c: usize, row: &Slot) -> String {
        let name = self.target.column_list([c]);
        format!(
            "{name}={}",
            show_value(&self.target.columns[c], row.value(c))
        )
    }

    /// What the slice says of a column.
    fn show(&self, c: usize) -> String {
        if self.columns.contains(&c) {
            return self.show_value(c, &self.values);
        }
        let column = &self.target.columns[c];
        let bound = |word, row: &Slot| {
            let bound = row.get(c).map(|_| show_value(column, row.value(c)));
            bound.map_or_else(String::new, |bound| format!(" {word} {bound}"))
        };
        let (from, to) = (bound("from", &self.values), bound("to", &self.ends));
        format!("{}{from}{to}", self.target.column_list([c]))
    }
}
