//! Rows of a source table or view, or of the target itself.
//!
//! The source is read by a plain SELECT with the caller's rights, so that a view's
//! functions, policies and conditions of indexes run as in a SELECT of theirs; each value is
//! coerced to its column of the target as `INSERT … SELECT` would (assignment
//! casts, type modifiers, domains), by core's own expressions. What becomes of the
//! rows is up to a [`RowSink`].
use super::coercion::Coercions;
use super::generated::GeneratedColumns;
use super::key_defaults::KeyDefaults;
use super::row::{Mark, RowLayout};
use super::shape::{Shape, key_violation};
use crate::error::{PayloadPosition, Report, SqlState};
use crate::pg::ffi;
use crate::pg::rows::{Slot, TupleSort};
use crate::pg::statement::expression::evaluate;
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::value::text;
use crate::target::{Column, ColumnDefault, OpenRelation, Target, UniqueIndex, attribute_name};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::pin::Pin;

/// So often the number of rows is told.
const PROGRESS_INTERVAL: i64 = 1024;

/// A source whose columns were matched with the target's by name.
pub struct Source<'t> {
    target: &'t Target,
    relation: OpenRelation,
    /// Its columns, by position in the target.
    columns: Vec<usize>,
    /// The same, by their numbers in the source.
    numbers: Vec<pg_sys::AttrNumber>,
    /// Those of them that the source fills by itself: whoever wrote the rows may not have
    /// known them.
    filled: Vec<FilledColumn>,
    /// Which rows are read: SQL behind the name of the table, or nothing.
    condition: String,
    /// The parameters of that.
    parameters: Vec<Parameter<'t>>,
    /// Whether the rows of tables that inherit from it are left out.
    only: bool,
    /// Whether it is read under the active snapshot. Else each reading takes its own, as
    /// any statement does, and a view may lock the rows that it shows.
    under_active_snapshot: bool,
    /// Whether values out of line are fetched.
    detached: bool,
    /// The key columns that it does not have.
    key_defaults: KeyDefaults,
}

/// A column that a source fills by itself with another value every time.
struct FilledColumn {
    /// By position in the target.
    column: usize,
    default: ColumnDefault,
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

impl<'t> Source<'t> {
    /// Matches the columns.
    ///
    /// # Errors
    /// 42703 for a column of the source that is none of the target; 42809 for a
    /// source that cannot be selected from.
    pub fn open(target: &'t Target, oid: pg_sys::Oid) -> Self {
        let relation = OpenRelation::open(oid);
        refuse_unreadable_kind(&relation);
        let attributes: Vec<&pg_sys::FormData_pg_attribute> = relation.attribute_rows().collect();
        let position = |attribute: &&pg_sys::FormData_pg_attribute| {
            let name = attribute_name(attribute);
            target.column_by_bytes(name.to_bytes()).unwrap_or_else(|| {
                target
                    .no_such_column(&text::from_server_bytes(name.to_bytes()))
                    .detail(format!(
                        "Source \"{}\" has a column of that name.",
                        relation.name()
                    ))
                    .raise()
            })
        };
        let columns: Vec<usize> = attributes.iter().map(position).collect();
        let filled = columns
            .iter()
            .zip(&attributes)
            .filter(|(_, attribute)| attribute.attgenerated == 0)
            .filter_map(|(column, attribute)| {
                let default = ColumnDefault::of_number(&relation, attribute.attnum)?;
                let column = *column;
                default
                    .kind
                    .differs_in_retry()
                    .then_some(FilledColumn { column, default })
            })
            .collect();
        let numbers = attributes
            .iter()
            .map(|attribute| attribute.attnum)
            .collect();
        Self {
            target,
            relation,
            columns,
            filled,
            numbers,
            condition: String::new(),
            parameters: Vec::new(),
            only: false,
            under_active_snapshot: false,
            detached: false,
            key_defaults: KeyDefaults::none(),
        }
    }

    /// Completes the keys of its rows with what defaults of the target (open as `relation`)
    /// tell alike in every attempt.
    ///
    /// # Errors
    /// As [`KeyDefaults::of`].
    pub fn complete_keys(&mut self, relation: &OpenRelation, arbiter: &UniqueIndex) {
        self.key_defaults = KeyDefaults::of(self.target, relation, arbiter, &[self.shape()]);
    }

    /// The rows of the target itself that meet a condition (`WHERE …`, with parameters), with the
    /// columns of another source and its whole key, under the snapshot that is active when they are
    /// read.
    pub fn stored(
        &self,
        relation: &OpenRelation,
        condition: String,
        parameters: Vec<Parameter<'t>>,
    ) -> Self {
        let mut columns = self.columns.clone();
        columns.extend(self.key_defaults.columns());
        Self {
            target: self.target,
            relation: relation.reopen(),
            numbers: columns
                .iter()
                .map(|c| self.target.columns[*c].attnum)
                .collect(),
            columns,
            filled: Vec::new(),
            condition,
            parameters,
            only: false,
            under_active_snapshot: true,
            detached: false,
            key_defaults: KeyDefaults::none(),
        }
    }

    /// The table whose working rows it gives.
    pub fn target(&self) -> &'t Target {
        self.target
    }

    /// Without the rows of tables that inherit from it.
    pub fn only(mut self) -> Self {
        self.only = true;
        self
    }

    /// Read under the active snapshot: as of the start of the caller's statement.
    pub fn under_active_snapshot(mut self) -> Self {
        self.under_active_snapshot = true;
        self
    }

    /// Rows hold their values themselves, and need nothing of the source any more: large
    /// values are fetched from where it keeps them out of line.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Its columns, by position in the target.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Whether its rows name this column, as far as a key is looked for: what the source
    /// fills by itself is another value when the same rows come again.
    pub fn names(&self, column: usize) -> bool {
        self.columns.contains(&column) && self.filled.iter().all(|f| f.column != column)
    }

    /// The columns that both sides number or draw by themselves, the source for its own
    /// rows and the target (open as `relation`) for its own: two rows that are the same
    /// event differ in them.
    pub fn surrogates(&self, relation: &OpenRelation) -> Vec<usize> {
        let made = |c: &usize| {
            let column = &self.target.columns[*c];
            ColumnDefault::of(relation, column).is_some_and(|default| default.is_volatile)
        };
        let drawn = self.filled.iter().filter(|f| f.default.is_volatile);
        drawn.map(|f| f.column).filter(made).collect()
    }

    /// Says of a report that no key was found which columns would have been one if the
    /// source did not fill them by itself, and how they are taken all the same.
    pub fn explain_no_key(&self, report: Report) -> Report {
        let filled = |index: &UniqueIndex| {
            let filled = self.filled.iter();
            let filled: Vec<_> = filled.filter(|f| index.has_column(f.column)).collect();
            (!filled.is_empty()).then_some(filled)
        };
        let usable = || {
            self.target
                .indexes
                .iter()
                .filter(|i| i.unusable_reason.is_none())
        };
        if usable().any(|index| index.columns().all(|c| self.names(c))) {
            // There are several.
            return report;
        }
        let found = usable()
            .filter(|index| index.columns().all(|c| self.columns.contains(&c)))
            .filter_map(|index| Some((index, filled(index)?)))
            .max_by_key(|(index, _)| index.primary);
        let Some((index, filled)) = found else {
            return report;
        };
        let name = |c: usize| self.target.columns[c].name.clone();
        let key: Vec<String> = index.columns().map(name).collect();
        let explain = |report: Report, filled: &FilledColumn| {
            let by = match &filled.default.expression {
                Some(expression) => format!("its default is {expression}"),
                None => "it is an identity column".to_owned(),
            };
            report.more_detail(&format!(
                "Column \"{}\" of source \"{}\" does not count as named, because the source \
                 fills it itself: {by}.",
                name(filled.column),
                self.name(),
            ))
        };
        filled.into_iter().fold(report, explain).hint(format!(
            "If the source does carry the key in this column, name it with key => {}. \
             Otherwise create a \
             unique index on the columns that identify the business event.",
            text::quote_array(&key)
        ))
    }

    /// The one shape of all its rows.
    pub fn shape(&self) -> Shape {
        Shape {
            named: self.columns.clone(),
            compared: Vec::new(),
            first: 1,
        }
    }

    /// Reads the source to its end, and puts every row into `sort` as a working
    /// row. Gives the number of rows.
    ///
    /// # Errors
    /// As [`Source::stream`]; 23502 for a NULL in the key; 428C9 for a generated column with
    /// another value than the server computes.
    pub fn read(
        &self,
        arbiter: &UniqueIndex,
        generated: Option<GeneratedColumns<'_>>,
        sort: &mut TupleSort,
    ) -> i64 {
        // SAFETY: a function that does nothing neither owns anything nor panics.
        unsafe { self.read_with_progress(arbiter, generated, sort, &|_| {}) }
    }

    /// Reads the source as [`Source::read`] does; `on_progress` is called now and then with the
    /// number of rows so far.
    ///
    /// # Safety
    /// `on_progress` runs inside `ffi::guard`.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub unsafe fn read_with_progress(
        &self,
        arbiter: &UniqueIndex,
        generated: Option<GeneratedColumns<'_>>,
        sort: &mut TupleSort,
        on_progress: &dyn Fn(i64),
    ) -> i64 {
        let mut sink = KeyedSort {
            arbiter,
            generated,
            sort,
            on_progress,
            rows: 0,
            null_key: None,
            mismatch: None,
        };
        let rows = self.stream(&mut sink);
        if let (Some(generated), Some(column)) = (&sink.generated, sink.mismatch) {
            generated.source_differs(column, rows).raise()
        }
        if let Some(column) = sink.null_key {
            key_violation(self.target, arbiter, column, Some(rows), "null in").raise()
        }
        rows
    }

    /// Reads the source, and hands every row to the sink as a working row. Gives the
    /// number of rows.
    ///
    /// # Errors
    /// Whatever core raises while it selects and coerces, with the row's
    /// ordinal in CONTEXT for the latter.
    pub fn stream(&self, sink: &mut dyn RowSink) -> i64 {
        let coercions = Coercions::new(self.target, &self.relation, &self.numbers, &self.columns);
        let mut receiver = SourceReceiver {
            dest: pg_sys::DestReceiver {
                receiveSlot: Some(receive),
                rStartup: Some(startup),
                rShutdown: Some(shutdown),
                rDestroy: Some(shutdown),
                mydest: pg_sys::CommandDest::DestNone,
            },
            source: self,
            coercions,
            // SAFETY: the target's descriptor, which lives as long as the target, which is borrowed.
            slot: unsafe { Slot::for_values(self.target.row_desc()) },
            sink,
            ordinal: 0,
            position: PayloadPosition::watch(),
        };
        let connection = Connection::open();
        let types: Vec<pg_sys::Oid> = self.parameters.iter().map(Parameter::typid).collect();
        let plan = SpiPlan::prepare_with(&connection, &self.select(), &types);
        // SAFETY: the receiver outlives the execution and stays where it is.
        unsafe {
            let receiver = (&raw mut receiver).cast();
            connection.stream(
                &plan,
                &self.parameters,
                self.under_active_snapshot,
                receiver,
            );
        }
        if !plan.concerns(self.relation.oid()) {
            self.target.renamed_meanwhile().raise()
        }
        drop(connection);
        receiver.ordinal
    }

    fn select(&self) -> String {
        let columns = self.target.column_list(self.columns.iter().copied());
        let only = if self.only { "ONLY " } else { "" };
        let select = format!(
            "SELECT {columns} FROM {only}{} {}",
            self.qualified(),
            self.condition
        );
        select.trim_end().to_owned()
    }

    fn name(&self) -> String {
        self.relation.name()
    }

    /// The quoted, schema-qualified name.
    pub fn qualified(&self) -> String {
        format!(
            "{}.{}",
            text::quote_identifier(&self.relation.schema()),
            text::quote_identifier(&self.name())
        )
    }
}

/// Refuses a relation that cannot be selected from.
///
/// # Errors
/// 42809
fn refuse_unreadable_kind(relation: &OpenRelation) {
    let readable = [
        pg_sys::RELKIND_RELATION,
        pg_sys::RELKIND_PARTITIONED_TABLE,
        pg_sys::RELKIND_VIEW,
        pg_sys::RELKIND_MATVIEW,
        pg_sys::RELKIND_FOREIGN_TABLE,
    ];
    if !readable.contains(&relation.kind()) {
        Report::new(
            SqlState::WrongObjectType,
            format!("cannot read rows from \"{}\"", relation.name()),
        )
        .detail("The source must be a table or a view.")
        .raise()
    }
}

/// A sort that refuses rows with a NULL in the key, or with a generated column that is not
/// what the server computes.
struct KeyedSort<'a, 'g> {
    arbiter: &'a UniqueIndex,
    generated: Option<GeneratedColumns<'g>>,
    sort: &'a mut TupleSort,
    /// Is told how many rows there were so far, now and then.
    on_progress: &'a dyn Fn(i64),
    rows: i64,
    /// The key column that was NULL, which ended the reading.
    null_key: Option<usize>,
    /// The generated column with another value than the server computes, which ended the reading.
    mismatch: Option<usize>,
}

// SAFETY: it owns nothing while it calls the server, and does not panic: columns of the key are
// columns of a working row, and the progress is told by a function with the same promise.
unsafe impl RowSink for KeyedSort<'_, '_> {
    unsafe fn take(&mut self, row: &Slot) -> bool {
        if !self.arbiter.nulls_equal {
            self.null_key = self.arbiter.columns().find(|c| row.get(*c).is_none());
        }
        if let (None, Some(generated)) = (self.null_key, &mut self.generated) {
            // SAFETY: the caller's promise: a working row, inside the guard. Rows of a source have
            // one shape, the first.
            self.mismatch = unsafe { generated.mismatch(row, 0) };
        }
        let taken = self.null_key.is_none() && self.mismatch.is_none();
        if taken {
            // SAFETY: the sort is one of working rows, and this runs inside the guard.
            unsafe { self.sort.put_unguarded(row) };
        }
        self.rows += 1;
        if self.rows % PROGRESS_INTERVAL == 0 {
            (self.on_progress)(self.rows);
        }
        taken
    }
}

/// Takes the rows of the SELECT as the executor makes them.
#[repr(C)]
struct SourceReceiver<'a, 't> {
    /// First, so that a pointer to it is a pointer to this.
    dest: pg_sys::DestReceiver,
    source: &'a Source<'t>,
    coercions: Coercions,
    slot: Slot,
    sink: &'a mut dyn RowSink,
    ordinal: i64,
    position: Pin<Box<PayloadPosition<'a>>>,
}

unsafe extern "C-unwind" fn startup(
    _dest: *mut pg_sys::DestReceiver,
    _operation: c_int,
    _desc: pg_sys::TupleDesc,
) {
}

unsafe extern "C-unwind" fn shutdown(_dest: *mut pg_sys::DestReceiver) {}

/// Called by the executor with each row; false ends the reading.
///
/// It runs inside the guard of [`Source::read`]'s call into SPI, so an ERROR
/// jumps straight out of it: nothing here owns anything, and nothing panics.
unsafe extern "C-unwind" fn receive(
    row: *mut pg_sys::TupleTableSlot,
    dest: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: the executor hands back the receiver that it was given.
    unsafe { (*dest.cast::<SourceReceiver<'_, '_>>()).take_row(row) }
}

impl SourceReceiver<'_, '_> {
    /// # Safety
    /// `row` holds a row of the SELECT. Runs inside `ffi::guard`.
    unsafe fn take_row(&mut self, row: *mut pg_sys::TupleTableSlot) -> bool {
        self.ordinal += 1;
        self.position.payload(self.ordinal);
        self.slot.clear();
        // SAFETY: the row's values are read before it goes; coerced values live
        // in the per-row memory until the next row. There are as many states as
        // columns of the SELECT. The source's columns are positions in the target's, for whose
        // working rows the slot is.
        unsafe {
            let context = &mut *self.coercions.context;
            context.ecxt_scantuple = row;
            ffi::unguarded::MemoryContextReset(context.ecxt_per_tuple_memory);
            let row = &mut *row;
            let natts = (*row.tts_tupleDescriptor).natts;
            ffi::slot_getsomeattrs_unguarded(row, natts);
            let states = self.coercions.states.iter().zip(&self.source.columns);
            for (i, (state, c)) in states.enumerate() {
                let (mut value, mut null) = (*row.tts_values.add(i), *row.tts_isnull.add(i));
                if let Some(state) = state.as_mut() {
                    let column = self.source.target.columns.get_unchecked(*c);
                    self.position.column(&column.c_name);
                    value = evaluate(state, context, &mut null);
                }
                if self.source.detached
                    && !null
                    && is_external(&self.source.target.columns, *c, value)
                {
                    let caller = pg_sys::MemoryContextSwitchTo(context.ecxt_per_tuple_memory);
                    let inline = ffi::unguarded::detoast_external_attr(value.cast_mut_ptr());
                    value = pg_sys::Datum::from(inline);
                    pg_sys::MemoryContextSwitchTo(caller);
                }
                self.slot.set_unguarded(*c, (!null).then_some(value));
            }
        }
        self.source
            .key_defaults
            .complete(&self.source.columns, &mut self.slot);
        RowLayout::of(self.source.target).set(&mut self.slot, self.ordinal, 0, Mark::Pending);
        self.slot.store();
        // SAFETY: the current memory is the one that is reset for every row, and is switched back;
        // the slot has been stored as a working row of the target, and this runs inside the guard.
        unsafe {
            let per_row = (*self.coercions.context).ecxt_per_tuple_memory;
            let caller = pg_sys::MemoryContextSwitchTo(per_row);
            let more = self.sink.take(&self.slot);
            pg_sys::MemoryContextSwitchTo(caller);
            self.position.payload(0);
            more
        }
    }
}

/// Whether a value is kept out of line.
///
/// # Safety
/// A non-null value of the column at this position.
unsafe fn is_external(columns: &[Column], c: usize, value: pg_sys::Datum) -> bool {
    // SAFETY: the caller's promise; a varlena begins with a header that tells.
    unsafe {
        let (_, length) = columns.get_unchecked(c).storage();
        length == -1 && pgrx::varlena::varatt_is_1b_e(value.cast_mut_ptr())
    }
}
