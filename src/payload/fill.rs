//! Fills working rows: the inner loops over the fields of a JSON object, and over the rows of a
//! SELECT; and compares the generated columns in a row with what the server computes.
//!
//! They run inside one guard, out of which an ERROR jumps straight: so nothing here owns anything
//! while it calls the server, and nothing panics.
use super::coercion::Coercions;
use super::generated::GeneratedColumns;
use super::key_defaults::KeyDefaults;
use super::row::{Mark, RowLayout, null_in_key};
use crate::error::{PayloadPosition, RowOrigin};
use crate::pg::ffi;
use crate::pg::rows::{NewRow, ReceivedRows, RowBuilder, RowDesc, Slot, TupleSort, TupleStore};
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::value::jsonb::Container;
use crate::target::{Column, Target, UniqueIndex};
use pgrx::pg_sys;
use std::any::Any;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// So often the number of rows is told.
const PROGRESS_INTERVAL: i64 = 1024;

/// Reads the fields of a document, which name these columns, but for nested columns. What is no
/// position of a column is passed over.
///
/// # Errors
/// What the input functions raise, with the column in CONTEXT.
pub fn fill_from_json<'t, 'd>(
    target: &'t Target,
    row: &mut NewRow<'d>,
    named: &[usize],
    document: Container<'d>,
    position: &PayloadPosition<'t>,
) {
    row.desc().check_begins_with(target.row_desc());
    let columns = target.columns.as_slice();
    // SAFETY: inside, nothing is owned and nothing panics: iterators over the document and over
    // borrowed slices, and plain writes to a working row of the target, which has the columns in
    // their order. What is read is of the column's type, and the document outlives the row.
    unsafe {
        ffi::guard(|| {
            for (c, value) in named.iter().zip(document.values()) {
                let Some(column) = columns.get(*c) else {
                    continue;
                };
                if !column.nested {
                    position.column(&column.c_name);
                    row.set_unguarded(*c, column.values.read(value));
                }
            }
        });
    }
}

/// Takes working rows as they are read.
///
/// # Safety
/// [`RowSink::take`] runs inside `ffi::guard`: an ERROR jumps straight out of it, so nothing in
/// an implementation owns anything, and nothing panics.
pub unsafe trait RowSink {
    /// Takes a row, whose values go when it returns; false ends the reading. The current memory
    /// is reset for every row.
    ///
    /// # Safety
    /// The row is a working row of the source's target. Runs inside `ffi::guard`.
    unsafe fn take(&mut self, row: &Slot) -> bool;
}

// SAFETY: a call of the server, with nothing owned around it. What is checked of the row holds of
// every working row.
unsafe impl RowSink for TupleSort {
    unsafe fn take(&mut self, row: &Slot) -> bool {
        // SAFETY: as the function's.
        unsafe { self.put_unguarded(row) };
        true
    }
}

// SAFETY: likewise.
unsafe impl RowSink for TupleStore {
    unsafe fn take(&mut self, row: &Slot) -> bool {
        // SAFETY: as the function's.
        unsafe { self.put_unguarded(row) };
        true
    }
}

/// A sort that passes rows over that are outside of the arbiter's condition.
pub struct RowsWithKey<'a> {
    pub target: &'a Target,
    pub sort: &'a mut TupleSort,
}

// SAFETY: it owns nothing, and a working row has a mark.
unsafe impl RowSink for RowsWithKey<'_> {
    unsafe fn take(&mut self, row: &Slot) -> bool {
        if RowLayout::of(self.target).mark(row) != Mark::Outside {
            // SAFETY: the sort is one of working rows, and this runs inside the guard.
            unsafe { self.sort.put_unguarded(row) };
        }
        true
    }
}

/// Hands rows on, and refuses those with a NULL in the key, or with a generated column that is not
/// what the server computes.
pub struct KeyedRows<'a, 'g, S> {
    pub target: &'a Target,
    pub arbiter: &'a UniqueIndex,
    pub generated: Option<GeneratedColumns<'g>>,
    /// Where rows say that they delete, if some may.
    pub deletes: Option<RowLayout>,
    pub sink: &'a mut S,
    /// Is told how many rows there were so far, now and then.
    pub on_progress: &'a dyn Fn(i64),
    pub rows: i64,
    /// The key column that was NULL, which ended the reading.
    pub null_key: Option<usize>,
    /// The generated column with another value than the server computes, which ended the reading.
    pub mismatch: Option<usize>,
    /// With what telling the progress failed, which ended the reading.
    pub failure: Option<Box<dyn Any + Send>>,
}

impl<'a, 'g, S> KeyedRows<'a, 'g, S> {
    /// No row was read yet.
    pub fn new(
        target: &'a Target,
        arbiter: &'a UniqueIndex,
        generated: Option<GeneratedColumns<'g>>,
        sink: &'a mut S,
        on_progress: &'a dyn Fn(i64),
    ) -> Self {
        Self {
            target,
            arbiter,
            generated,
            deletes: None,
            sink,
            on_progress,
            rows: 0,
            null_key: None,
            mismatch: None,
            failure: None,
        }
    }

    /// Tells how many rows there were; false if that fails. What is told runs under guards of
    /// its own, and its panic does not leave it.
    fn tell(&mut self) -> bool {
        let told = catch_unwind(AssertUnwindSafe(|| (self.on_progress)(self.rows)));
        self.failure = told.err();
        self.failure.is_none()
    }
}

// SAFETY: it owns nothing while it calls the server without a guard, and does not panic: columns
// of the key are columns of a working row. The sink that it hands rows to keeps the same promise.
unsafe impl<S: RowSink> RowSink for KeyedRows<'_, '_, S> {
    unsafe fn take(&mut self, row: &Slot) -> bool {
        self.null_key = null_in_key(self.target, self.arbiter, row);
        // What a row that deletes has beside its key is not stored.
        let stored = self.deletes.is_none_or(|layout| !layout.deletes(row));
        if let (None, true, Some(generated)) = (self.null_key, stored, &mut self.generated) {
            // SAFETY: the caller's promise: a working row, inside the guard. Rows of a source have
            // one shape, the first.
            self.mismatch = unsafe { generated.mismatch(row, 0) };
        }
        let taken = self.null_key.is_none() && self.mismatch.is_none();
        if taken {
            // SAFETY: the caller's promise.
            unsafe { self.sink.take(row) };
        }
        self.rows += 1;
        taken && (self.rows % PROGRESS_INTERVAL != 0 || self.tell())
    }
}

/// The column of a source that says which of its rows delete, the last one of the SELECT.
pub struct Deletion {
    pub number: pg_sys::AttrNumber,
    /// Its type, boolean or a domain over it.
    pub typid: pg_sys::Oid,
    /// By column of the target: whether it is read of a row that deletes.
    pub read: Vec<bool>,
}

/// The columns of a SELECT, and what becomes of them.
pub struct SelectedColumns<'a> {
    pub target: &'a Target,
    /// By column of the SELECT, the position in the target.
    pub columns: &'a [usize],
    /// How many columns behind these are not stored, but go into the working row.
    pub unstored: usize,
    /// What says which rows delete; None if none does. Its column is the last one.
    pub deletion: Option<&'a Deletion>,
    /// That of the working rows.
    pub row_desc: &'a RowDesc,
    pub coercions: Coercions,
    /// Whether values out of line are fetched.
    pub detached: bool,
    pub key_defaults: &'a KeyDefaults,
}

impl<'a> SelectedColumns<'a> {
    /// Runs the SELECT, and keeps its rows as they come, for what makes working rows of them. Gives
    /// the plan, too.
    ///
    /// # Errors
    /// What core raises while it selects.
    pub fn keep(
        self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> (TupleStore, RowMaker<'a>, SpiPlan) {
        // In the memory of the call, not the connection's.
        let mut rows = ReceivedRows::new();
        let connection = Connection::open();
        let types: Vec<pg_sys::Oid> = parameters.iter().map(Parameter::typid).collect();
        let plan = SpiPlan::prepare_with(&connection, sql, &types);
        let code = connection.receive(&plan, parameters, false, &mut rows);
        assert!(code >= 0, "SPI code {code}");
        drop(connection);
        let rows = rows.into_rows().expect("a SELECT returns rows");
        (rows, RowMaker::new(self), plan)
    }

    /// Runs the SELECT, and hands every row to the sink as a working row. Gives the number of
    /// rows, and the plan.
    ///
    /// # Errors
    /// What core raises while it selects and coerces, with the row's ordinal in CONTEXT for the
    /// latter.
    pub fn stream(
        self,
        sql: &str,
        parameters: &[Parameter<'_>],
        read_only: bool,
        sink: &mut dyn RowSink,
    ) -> (i64, SpiPlan) {
        let mut receiver = SourceReceiver {
            dest: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(startup),
                rShutdown: Some(shutdown),
                rDestroy: Some(shutdown),
                mydest: pg_sys::CommandDest::DestNone,
            },
            maker: RowMaker::new(self),
            fits: false,
            sink,
        };
        let connection = Connection::open();
        let types: Vec<pg_sys::Oid> = parameters.iter().map(Parameter::typid).collect();
        let plan = SpiPlan::prepare_with(&connection, sql, &types);
        // SAFETY: the receiver outlives the execution and stays where it is; the plan was
        // prepared with these parameters.
        unsafe {
            let receiver = (&raw mut receiver).cast();
            connection.stream(&plan, parameters, read_only, receiver);
        }
        (receiver.maker.ordinal, plan)
    }

    /// Whether rows of this descriptor have the columns that are selected. Of the others, whose
    /// values are coerced, core's expressions know the types.
    ///
    /// # Safety
    /// The descriptor is valid.
    unsafe fn fit(&self, desc: pg_sys::TupleDesc) -> bool {
        let expressions = &self.coercions.expressions;
        let places = (0..).zip(expressions).zip(self.columns);
        // SAFETY: the caller's promise; as many columns as the descriptor has.
        unsafe {
            let natts = (*desc).natts as usize;
            let first = RowLayout::of(self.target).first_unstored();
            natts == expressions.len() + self.unstored + usize::from(self.deletion.is_some())
                && self.row_desc.types().len() == first + self.unstored
                && (0..self.unstored).all(|i| {
                    let column = ffi::attribute(desc, (expressions.len() + i) as c_int);
                    column.atttypid == self.row_desc.types()[first + i]
                })
                && self.deletion.is_none_or(|deletion| {
                    ffi::attribute(desc, natts as c_int - 1).atttypid == deletion.typid
                })
                && expressions.len() == self.columns.len()
                && places.into_iter().all(|((i, expression), c)| {
                    let column = self.target.columns.get(*c);
                    column.is_some_and(|column| {
                        expression.is_some() || ffi::attribute(desc, i).atttypid == column.typid
                    })
                })
        }
    }
}

impl SelectedColumns<'_> {
    /// Puts the columns that are not stored behind a working row's own.
    ///
    /// # Safety
    /// A row of the SELECT, which fits, with all columns deformed; a working row with as many columns
    /// behind its own. The values outlive that.
    unsafe fn copy_unstored(&self, row: &pg_sys::TupleTableSlot, working: &mut NewRow<'_>) {
        let first = RowLayout::of(self.target).first_unstored();
        for i in 0..self.unstored {
            let from = self.columns.len() + i;
            // SAFETY: the caller's promise.
            unsafe {
                let value = (!*row.tts_isnull.add(from)).then_some(*row.tts_values.add(from));
                working.set_unguarded(first + i, value);
            }
        }
    }
}

/// Takes the rows of the SELECT as the executor makes them.
#[repr(C)]
struct SourceReceiver<'a> {
    /// First, so that a pointer to it is a pointer to this.
    dest: pg_sys::DestReceiver,
    maker: RowMaker<'a>,
    /// Whether the rows are those that were to be selected: a table may have been renamed.
    fits: bool,
    sink: &'a mut dyn RowSink,
}

/// Makes working rows of the rows of a SELECT.
pub struct RowMaker<'a> {
    selected: SelectedColumns<'a>,
    row: RowBuilder,
    /// That of the last row, from 1.
    pub ordinal: i64,
    /// Which row and column is at hand.
    pub position: PayloadPosition<'a>,
}

unsafe extern "C-unwind" fn startup(
    dest: *mut pg_sys::DestReceiver,
    _operation: c_int,
    desc: pg_sys::TupleDesc,
) {
    // SAFETY: the executor hands back the receiver that it was given, with the descriptor of the
    // rows.
    unsafe {
        let receiver = &mut *dest.cast::<SourceReceiver<'_>>();
        receiver.fits = receiver.maker.selected.fit(desc);
    }
}

unsafe extern "C-unwind" fn shutdown(_dest: *mut pg_sys::DestReceiver) {}

/// Called by the executor with each row; false ends the reading.
///
/// It runs inside the guard of the call into SPI, so an ERROR jumps straight out of it: nothing
/// here owns anything, and nothing panics.
unsafe extern "C-unwind" fn receive(
    row: *mut pg_sys::TupleTableSlot,
    dest: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: the executor hands back the receiver that it was given.
    unsafe {
        let receiver = &mut *dest.cast::<SourceReceiver<'_>>();
        receiver.fits && receiver.maker.hand_on(row, receiver.sink)
    }
}

impl<'a> RowMaker<'a> {
    fn new(selected: SelectedColumns<'a>) -> Self {
        Self {
            row: RowBuilder::new(selected.row_desc),
            selected,
            ordinal: 0,
            position: PayloadPosition::watch(RowOrigin::Source),
        }
    }

    /// Hands a row of the SELECT, which was kept as it came, on to a sink as a working row; false
    /// ends the reading.
    ///
    /// # Errors
    /// What core raises while it coerces, with the row's ordinal in CONTEXT.
    ///
    /// # Panics
    /// If it has other columns than were to be selected.
    pub fn make(&mut self, row: &Slot, sink: &mut dyn RowSink) -> bool {
        row.check_row();
        // SAFETY: a row that is there and has the columns of the SELECT, as is checked; the guard
        // holds nothing.
        unsafe {
            assert!(
                self.selected.fit(row.desc().raw()),
                "a kept row has other columns than were selected"
            );
            ffi::guard(|| self.hand_on(row.raw(), sink))
        }
    }

    /// # Safety
    /// `row` holds a row of the SELECT, which fits. Runs inside `ffi::guard`.
    unsafe fn hand_on(&mut self, row: *mut pg_sys::TupleTableSlot, sink: &mut dyn RowSink) -> bool {
        self.ordinal += 1;
        self.position.payload(self.ordinal);
        let selected = &self.selected;
        let mut working = self.row.start();
        // SAFETY: the row's values are read before it goes; coerced values live
        // in the per-row memory until the next row. There are as many places as
        // columns of the SELECT. The source's columns are positions in the target's, for whose
        // working rows the slot is. The current memory is switched back.
        unsafe {
            let evaluator = &selected.coercions.evaluator;
            let per_row = evaluator.row_memory();
            evaluator.begin_row(row);
            let row = &mut *row;
            let natts = (*row.tts_tupleDescriptor).natts;
            ffi::slot_getsomeattrs_unguarded(row, natts);
            let deletion = selected.deletion.filter(|_| {
                let flag = natts as usize - 1;
                !*row.tts_isnull.add(flag) && (*row.tts_values.add(flag)).value() != 0
            });
            let expressions = selected.coercions.expressions.iter().zip(selected.columns);
            for (i, (expression, c)) in expressions.enumerate() {
                if deletion.is_some_and(|deletion| !deletion.read.get_unchecked(*c)) {
                    continue;
                }
                let mut value = (!*row.tts_isnull.add(i)).then_some(*row.tts_values.add(i));
                let column = selected.target.columns.get_unchecked(*c);
                if let Some(expression) = expression {
                    self.position.column(&column.c_name);
                    value = evaluator.evaluate_unguarded(*expression);
                }
                if let Some(outside) =
                    value.filter(|value| selected.detached && is_external(column, *value))
                {
                    value = Some(inline_in(per_row, outside));
                }
                working.set_unguarded(*c, value);
            }
            selected.copy_unstored(row, &mut working);
            selected
                .key_defaults
                .complete(selected.columns, &mut working);
            self.position.no_column();
            let mark = match selected.key_defaults.values() {
                Some(values) if !values.values().complete_unguarded(&mut working) => Mark::Outside,
                _ => Mark::Pending,
            };
            let mark = match deletion {
                Some(_) => mark.of_delete(),
                None => mark,
            };
            RowLayout::of(selected.target).set(&mut working, self.ordinal, 0, mark);
            let caller = pg_sys::MemoryContextSwitchTo(per_row);
            let more = sink.take(working.finish());
            pg_sys::MemoryContextSwitchTo(caller);
            self.position.payload(0);
            more
        }
    }
}

/// A value that is kept out of line, brought into a memory context.
///
/// # Safety
/// Such a value, and a context that is alive. Runs inside `ffi::guard`.
unsafe fn inline_in(memory: pg_sys::MemoryContext, outside: pg_sys::Datum) -> pg_sys::Datum {
    // SAFETY: the caller's promise; the current memory is switched back.
    unsafe {
        let caller = pg_sys::MemoryContextSwitchTo(memory);
        let inline = ffi::unguarded::detoast_external_attr(outside.cast_mut_ptr());
        pg_sys::MemoryContextSwitchTo(caller);
        pg_sys::Datum::from(inline)
    }
}

/// Whether a value is kept out of line.
///
/// # Safety
/// A non-null value of the column.
unsafe fn is_external(column: &Column, value: pg_sys::Datum) -> bool {
    let (_, length) = column.values.storage;
    // SAFETY: the caller's promise; a varlena begins with a header that tells.
    length == -1 && unsafe { pgrx::varlena::varatt_is_1b_e(value.cast_mut_ptr()) }
}

impl GeneratedColumns<'_> {
    /// The first generated column in which a working row of a shape has another value than
    /// the server computes.
    pub fn mismatch_in(&mut self, row: &Slot, shape: usize) -> Option<usize> {
        row.check_whole();
        row.desc().check_begins_with(self.target.row_desc());
        assert!(shape < self.shapes.len(), "a payload has an unknown shape");
        // SAFETY: a working row of the target, as was checked; the guard holds nothing.
        unsafe { ffi::guard(|| self.mismatch(row, shape)) }
    }

    /// Likewise, inside a guard.
    ///
    /// # Safety
    /// Runs inside `ffi::guard`; the row is one of the target's, and of this shape.
    pub unsafe fn mismatch(&mut self, row: &Slot, shape: usize) -> Option<usize> {
        // SAFETY: the caller's promise; the expressions were prepared in the context's
        // state, for rows of the relation, in which the columns have their numbers.
        unsafe {
            let shape = self.shapes.get_unchecked(shape);
            if shape.columns.is_empty() {
                return None;
            }
            let mut own = self.row.start();
            for (c, column) in self.target.columns.iter().enumerate() {
                let value = if *shape.named.get_unchecked(c) {
                    row.get_unguarded(c)
                } else {
                    *self.defaults.get_unchecked(c)
                };
                own.set_unguarded(column.attnum as usize - 1, value);
            }
            self.evaluator.begin_row(own.finish().raw());
            for (c, expression) in &shape.columns {
                let value = self.evaluator.evaluate_unguarded(*expression);
                let column = self.target.columns.get_unchecked(*c);
                if !column.values.equal(value, row.get_unguarded(*c)) {
                    return Some(*c);
                }
                *self.computed.get_unchecked_mut(*c) = value;
            }
            None
        }
    }

    /// Puts what the server computes for the generated columns into a working row of the first shape,
    /// whose other columns are set. It lives until the next row.
    pub fn complete(&mut self, working: &mut NewRow<'_>) {
        working.desc().check_same(self.target.row_desc());
        // SAFETY: a working row of the target, as was checked, which has the columns in their order;
        // the guard holds nothing. The expressions were prepared in the context's state, for rows of
        // the relation, in which the columns have their numbers.
        unsafe {
            ffi::guard(|| {
                let mut own = self.row.start();
                for (c, column) in self.target.columns.iter().enumerate() {
                    own.set_unguarded(column.attnum as usize - 1, working.get_unguarded(c));
                }
                self.evaluator.begin_row(own.finish().raw());
                let columns = self.shapes.first().map(|shape| &shape.columns);
                for (c, expression) in columns.into_iter().flatten() {
                    working.set_unguarded(*c, self.evaluator.evaluate_unguarded(*expression));
                }
            });
        }
    }
}
