//! `idempotent.sketch`: a table as the sums of its rows' hashes, by cell; and
//! `idempotent.in_sketch`: whether a row is in cells in which two tables differ.
//!
//! [`sketch_plan`](super::sketch_plan) says what the cells are, and `reconcile` what for. A row is
//! hashed as the canonical bytes that its digest has, so that rows that count as equal have one hash
//! on every server. The aggregate is declared under `sql/`; its state is of type `internal`.
use super::argument::{CallState, Columns};
use super::encoding::ValueEncoding;
use super::row_encoder::RowEncoders;
use super::row_hash::RowHash;
use super::sink::Sink;
use super::sketch_plan::{MAX_CELLS, SketchPlan, Suspects};
use super::tag;
use super::writer::Writer;
use crate::error::{Report, SqlState, with_error_capture};
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::SqlResult;
use crate::pg::ffi;
use crate::pg::value::by_reference::bytes_of_datum;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// The sums of a sketch.
struct Sketch {
    /// How many of the cells are used.
    used: usize,
    sums: [u64; MAX_CELLS],
}

/// What stays with a calling expression.
struct Prepared<P> {
    columns: Columns,
    plan: P,
}

/// Adds a row to a sketch: the state, the plan, and the columns, those of the key first.
#[pg_extern(sql = false)]
fn idempotent_sketch_add(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: as in `combine` below.
        let state = unsafe { call.state::<Sketch>(0) };
        let look_up = |memory| {
            let bytes = bytes_at(call, 1)?;
            let (plan, rest) = SketchPlan::of_bytes(&bytes)?;
            let shared = plan.clone();
            rest.is_empty()
                .then(|| Prepared::new(call, 2, memory, plan, &shared))
        };
        let state = state.unwrap_or_else(|| call.new_state(Sketch::NONE));
        let found = row_of(call, 2, look_up, |plan| plan);
        if let Some((prepared, row)) = found {
            state.used = prepared.plan.cells();
            let Row { key, position, all } = row;
            for cell in prepared.plan.cells_of(key, position) {
                // There are never more cells than sums.
                if let Some(sum) = state.sums.get_mut(cell) {
                    *sum = sum.wrapping_add(all);
                }
            }
        }
        SqlResult::state(state)
    })
}

/// Whether a row may deviate: the suspects, and the columns of its key.
#[pg_extern(sql = false)]
fn idempotent_in_sketch(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let look_up = |memory| {
            let suspects = Suspects::of_bytes(&bytes_at(call, 0)?)?;
            let plan = suspects.plan.clone();
            Some(Prepared::new(call, 1, memory, suspects, &plan))
        };
        let found = row_of(call, 1, look_up, |suspects| &suspects.plan);
        // A row whose key equals no other deviates.
        SqlResult::boolean(found.is_none_or(|(prepared, Row { key, position, .. })| {
            let suspects = &prepared.plan;
            let cells = suspects.plan.cells_of(key, position);
            suspects.contain(cells)
        }))
    })
}

/// Adds the second state to the first.
#[pg_extern(sql = false)]
fn idempotent_sketch_combine(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: the arguments are declared as `internal`, which only the executor can hand over: it
        // is what a function here has returned for this aggregate, and they are two states.
        let (one, other) = unsafe { (call.state::<Sketch>(0), call.state::<Sketch>(1)) };
        let sketch = one.unwrap_or_else(|| call.new_state(Sketch::NONE));
        if let Some(other) = other {
            sketch.used = sketch.used.max(other.used);
            for (sum, more) in sketch.sums.iter_mut().zip(other.sums) {
                *sum = sum.wrapping_add(more);
            }
        }
        SqlResult::state(sketch)
    })
}

/// The sums as a bytea: the state for another process, and the sketch. The function is strict.
#[pg_extern(sql = false)]
fn idempotent_sketch_bytes(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        // SAFETY: as in `combine`.
        let sketch = unsafe { call.state::<Sketch>(0) };
        let used = sketch.as_ref().map_or(&[][..], |sketch| sketch.used());
        let bytes: Vec<u8> = used.iter().flat_map(|sum| sum.to_be_bytes()).collect();
        SqlResult::content(&bytes)
    })
}

/// The state of another process. The function is strict.
#[pg_extern(sql = false)]
fn idempotent_sketch_deserialize(call: SqlCall<'_>) -> SqlResult {
    with_error_capture(|| {
        let content = call.first_argument().to_content().unwrap_or_default();
        let (sums, rest) = content.as_chunks::<8>();
        if !rest.is_empty() || sums.len() > MAX_CELLS {
            invalid("invalid state of a sketch").raise()
        }
        let mut sketch = Sketch::NONE;
        sketch.used = sums.len();
        for (sum, bytes) in sketch.sums.iter_mut().zip(sums) {
            *sum = u64::from_be_bytes(*bytes);
        }
        SqlResult::new_state(sketch)
    })
}

impl Sketch {
    /// Of no rows.
    const NONE: Self = Self {
        used: 0,
        sums: [0; MAX_CELLS],
    };

    fn used(&self) -> &[u64] {
        self.sums.get(..self.used).unwrap_or_default()
    }
}

impl<P> Prepared<P> {
    /// For columns of the call from argument `first` on.
    ///
    /// # Errors
    /// 22023 if they are fewer than the key has.
    fn new(
        call: SqlCall<'_>,
        first: usize,
        memory: pg_sys::MemoryContext,
        plan: P,
        shared: &SketchPlan,
    ) -> Self {
        // SAFETY: the memory of the expression, which outlives what is kept with it.
        let columns = unsafe { Columns::of_call(call, first, memory) };
        if columns.in_array || columns.forms.len() < usize::from(shared.keys) {
            invalid("a sketch takes the columns of the key, and others after them").raise()
        }
        Self { columns, plan }
    }
}

/// What a sketch knows of a row.
struct Row {
    /// The hash of its key.
    key: u64,
    /// Where the first column of the key is in its order, if it has one.
    position: Option<i64>,
    /// The hash of all columns.
    all: u64,
}

/// The row that arguments of the running function are from `first` on, and what is kept for it; None
/// if it is in no cell.
fn row_of<'c, P: 'static>(
    call: SqlCall<'c>,
    first: usize,
    look_up: impl FnOnce(pg_sys::MemoryContext) -> Option<Prepared<P>>,
    plan: impl Fn(&P) -> &SketchPlan,
) -> Option<(&'c mut Prepared<P>, Row)> {
    let look_up = |memory| look_up(memory).unwrap_or_else(|| invalid("invalid sketch").raise());
    // SAFETY: ours, and used by one call at a time, as in `argument`. The values are of the types that
    // were looked up for the first call, which are those of the expression.
    unsafe {
        let state = &mut *CallState::of_call(call, look_up);
        let CallState {
            rows,
            writer,
            columns: prepared,
            ..
        } = state;
        let shared = plan(&prepared.plan);
        let keys = usize::from(shared.keys);
        let values = call.values().get(first..)?;
        if !shared.nulls_equal && values.iter().take(keys).any(|key| key.isnull) {
            return None;
        }
        let foreign = writer.is_foreign();
        let mut hash = RowHash::new(shared.seed);
        let mut key = None;
        for (i, (value, form)) in values.iter().zip(&prepared.columns.forms).enumerate() {
            if i == keys {
                key = Some(hash.so_far());
            }
            if value.isnull {
                hash.tag(tag::NULL);
            } else if !form.write_plain(value.value, foreign, &mut hash) {
                hash_rare(form, value.value, rows, writer, &mut hash);
            }
        }
        let key = key.unwrap_or_else(|| hash.so_far());
        let all = hash.finish();
        let position = match (values.first(), prepared.columns.forms.first()) {
            (Some(value), Some(form)) if !value.isnull => position(form, value.value),
            _ => None,
        };
        Some((prepared, Row { key, position, all }))
    }
}

/// Adds a value to a hash that the server is needed for: to fetch it, to convert it, or to show it.
///
/// # Safety
/// `value` is a non-null value of the type.
unsafe fn hash_rare(
    form: &ValueEncoding,
    value: pg_sys::Datum,
    rows: &mut RowEncoders,
    writer: &mut Writer,
    hash: &mut RowHash,
) {
    // SAFETY: the caller's promise; the closures own nothing, and do not panic.
    unsafe {
        if let Some(content) = ffi::guard(|| form.content_unguarded(value)) {
            if !form.write_content(content, writer.is_foreign(), hash) {
                form.write_content(&writer.in_utf8(content), false, hash);
            }
        } else {
            rows.written(writer, |rows, writer| form.write(value, rows, writer));
            writer.with_written(|bytes| hash.written(bytes));
        }
    }
}

/// Where a value is in the order of its type, for types that have few bytes: the greater value has
/// the greater number, or the same.
///
/// # Safety
/// A non-null value that is written so.
unsafe fn position(form: &ValueEncoding, value: pg_sys::Datum) -> Option<i64> {
    let word = value.value();
    Some(match form {
        ValueEncoding::Int2 => i64::from(word as i16),
        ValueEncoding::Int4 | ValueEncoding::Date => i64::from(word as i32),
        ValueEncoding::Int8 | ValueEncoding::Timestamp | ValueEncoding::Timestamptz => word as i64,
        ValueEncoding::Fixed(tag::UUID, 16) => {
            // SAFETY: the caller's promise: 16 bytes.
            let first = unsafe { value.cast_mut_ptr::<[u8; 8]>().read() };
            // They are ordered as unsigned numbers are.
            (u64::from_be_bytes(first) ^ 1 << 63) as i64
        }
        _ => return None,
    })
}

/// The bytea that an argument is; None if it is NULL.
///
/// # Panics
/// If it is declared with another type.
fn bytes_at(call: SqlCall<'_>, i: usize) -> Option<Vec<u8>> {
    assert_eq!(call.argument_type(i), Some(pg_sys::BYTEAOID));
    // SAFETY: a bytea, as the declaration says.
    let bytes = |value| unsafe { bytes_of_datum(value) };
    call.arguments().datum(i).map(bytes)
}

fn invalid(what: &str) -> Report {
    Report::new(SqlState::InvalidParameterValue, what)
}
