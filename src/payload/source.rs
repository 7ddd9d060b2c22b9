//! Rows of a source table or view, or of the target itself.
//!
//! The source is read by a plain SELECT with the caller's rights, so that a view's
//! functions, policies and conditions of indexes run as in a SELECT of theirs; each value is
//! coerced to its column of the target as `INSERT … SELECT` would (assignment
//! casts, type modifiers, domains), by core's own expressions. What becomes of the
//! rows is up to a [`RowSink`].
use super::coercion::Coercions;
use super::fill::{Deletion, KeyedRows, RowSink, SelectedColumns};
use super::generated::GeneratedColumns;
use super::key_defaults::KeyDefaults;
use super::latest_by::Decider;
use super::refused::{RefusedRow, RefusedTypes};
use super::row::RowLayout;
use super::shape::{KeyPlace, Shape, key_violation};
use crate::error::{Report, RowError, RowOrigin, SqlState, catch_row_error};
use crate::pg::catalog::types;
use crate::pg::memory::Scratch;
use crate::pg::rows::{RowDesc, Slot, TupleSort, TupleStore};
use crate::pg::statement::spi::{Parameter, SpiPlan};
use crate::pg::transaction::transactions::in_subtransaction;
use crate::pg::value::text;
use crate::target::{ColumnDefault, OpenRelation, Target, UniqueIndex, attribute_name};
use pgrx::pg_sys;
use std::panic::resume_unwind;

/// A source whose columns were matched with the target's by name.
pub struct Source<'t> {
    target: &'t Target,
    relation: OpenRelation,
    /// Its columns, by position in the target.
    columns: Vec<usize>,
    /// The same, by their numbers in the source.
    numbers: Vec<pg_sys::AttrNumber>,
    /// Those of them that the source fills by itself: the rows may have been written
    /// without them.
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
    /// What says which of its rows delete.
    deletion: Option<Deletion>,
    /// What decides which of its rows is the latest.
    latest_by: Vec<Decider>,
    /// The columns of that which only the source has.
    unstored: Vec<pg_sys::FormData_pg_attribute>,
    /// The descriptor of the working rows.
    row_desc: RowDesc,
}

/// A column that a source fills by itself with another value every time.
struct FilledColumn {
    /// By position in the target.
    column: usize,
    default: ColumnDefault,
}

impl<'t> Source<'t> {
    /// Matches the columns.
    ///
    /// # Errors
    /// 42703 for a column of the source that is none of the target; 42809 for a
    /// source that cannot be selected from.
    pub fn open(target: &'t Target, oid: pg_sys::Oid) -> Self {
        Self::open_to_merge(target, oid, None, None)
    }

    /// Matches the columns. The one that `delete_when` names says which rows delete, and those of
    /// `latest_by` which is the latest: the target need not have them.
    ///
    /// # Errors
    /// As [`Source::open`] and [`Decider::all`]; 42703 and 42804 for a `delete_when` that is no
    /// boolean column of the source; 42701 for a column that is in the source, and that another one
    /// is stored as.
    pub fn open_to_merge(
        target: &'t Target,
        oid: pg_sys::Oid,
        delete_when: Option<&str>,
        latest_by: Option<&[String]>,
    ) -> Self {
        let relation = OpenRelation::open(oid);
        refuse_unreadable_kind(&relation);
        let number = |name: &str| relation.column_number(&text::to_server(name));
        let latest_by = latest_by.unwrap_or_default();
        let latest_by = Decider::all(target, latest_by, |name| number(name).is_some());
        let deletion = delete_when.map(|name| deletion(target, &relation, name));
        let (attributes, unstored) =
            match_columns(target, &relation, &latest_by, deletion.as_ref());
        let (columns, attributes): (Vec<usize>, Vec<_>) = attributes.into_iter().unzip();
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
            deletion,
            row_desc: target.row_desc_and(&unstored),
            unstored,
            latest_by,
        }
    }

    /// Of a row that deletes, only these columns are read: what the others hold need not be such
    /// as could be stored.
    pub fn read_of_deletes(&mut self, columns: impl IntoIterator<Item = usize>) {
        if let Some(deletion) = &mut self.deletion {
            columns.into_iter().for_each(|c| deletion.read[c] = true);
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
            deletion: None,
            row_desc: self.target.row_desc().clone(),
            unstored: Vec::new(),
            latest_by: Vec::new(),
        }
    }

    /// Of the target itself: with these columns, too.
    pub fn with_columns(mut self, columns: &[usize]) -> Self {
        for c in columns {
            if !self.columns.contains(c) {
                self.columns.push(*c);
                self.numbers.push(self.target.columns[*c].attnum);
            }
        }
        self
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

    /// What decides which of its rows is the latest.
    pub fn latest_by(&self) -> &[Decider] {
        &self.latest_by
    }

    /// The columns of that which only the source has, in the order in which they are behind a
    /// working row's own.
    pub fn unstored(&self) -> &[pg_sys::FormData_pg_attribute] {
        &self.unstored
    }

    /// The descriptor of the working rows that it gives.
    pub fn row_desc(&self) -> &RowDesc {
        &self.row_desc
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

    /// Says of a report that no key was found which columns of a key the source does not have. Or
    /// which columns would have been one if the source did not fill them by itself, and how they are
    /// taken all the same.
    pub fn explain_no_key(&self, report: Report) -> Report {
        let usable = self.target.default_indexes();
        let counts = |c: usize| self.names(c) || self.target.columns[c].has_repeatable_default();
        let is_named = |index: &&UniqueIndex| index.deciding_columns().iter().all(|c| counts(*c));
        if usable.iter().any(is_named) {
            // There are several.
            return report;
        }
        let whole = usable
            .iter()
            .filter(|index| self.lacks(index).is_empty() && self.filled_of(index).count() > 0)
            .max_by_key(|index| index.primary);
        match (whole, usable.as_slice()) {
            (Some(index), _) => self.explain_filled(report, index).hint(format!(
                "If the source does carry the key in this column, name it with key => {}. \
                 Otherwise create a unique index on the columns that identify the business event.",
                self.target.key_argument(index)
            )),
            (None, [index]) => self.explain_filled(self.explain_lacking(report, index), index),
            (None, _) => report,
        }
    }

    /// The columns that decide on a key, and that the source does not have; without those whose
    /// default is the same in every attempt.
    fn lacks(&self, index: &UniqueIndex) -> Vec<usize> {
        let deciding = index.deciding_columns().iter().copied();
        let has =
            |c: usize| self.columns.contains(&c) || self.target.columns[c].has_repeatable_default();
        deciding.filter(|c| !has(*c)).collect()
    }

    /// The columns that decide on a key, and that the source fills by itself.
    fn filled_of<'s>(&'s self, index: &UniqueIndex) -> impl Iterator<Item = &'s FilledColumn> {
        let deciding = index.deciding_columns();
        self.filled.iter().filter(|f| deciding.contains(&f.column))
    }

    fn explain_lacking(&self, report: Report, index: &UniqueIndex) -> Report {
        let what = match self.lacks(index).as_slice() {
            [] => return report,
            [column] => format!("no column \"{}\"", self.target.columns[*column].name),
            several => {
                let several = several.iter().copied();
                format!("none of the columns {}", self.target.column_list(several))
            }
        };
        report.more_detail(&format!("Source \"{}\" has {what}.", self.name()))
    }

    fn explain_filled(&self, report: Report, index: &UniqueIndex) -> Report {
        self.filled_of(index).fold(report, |report, filled| {
            let by = match &filled.default.expression {
                Some(expression) => format!("its default is {expression}"),
                None => "it is an identity column".to_owned(),
            };
            report.more_detail(&format!(
                "Column \"{}\" of source \"{}\" does not count as named, because the source \
                 fills it itself: {by}.",
                self.target.columns[filled.column].name,
                self.name(),
            ))
        })
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
        self.read_with_progress(arbiter, generated, sort, &|_| {})
    }

    /// Reads the source as [`Source::read`] does; `on_progress` is called now and then with the
    /// number of rows so far.
    ///
    /// # Errors
    /// As [`Source::read`], and what `on_progress` raises.
    pub fn read_with_progress(
        &self,
        arbiter: &UniqueIndex,
        generated: Option<GeneratedColumns<'_>>,
        sort: &mut TupleSort,
        on_progress: &dyn Fn(i64),
    ) -> i64 {
        let mut sink = KeyedRows::new(self.target, arbiter, generated, sort, on_progress);
        sink.deletes = self.deletion.as_ref().map(|_| RowLayout::of(self.target));
        let rows = self.stream(&mut sink);
        if let Some(failure) = sink.failure {
            resume_unwind(failure)
        }
        if let (Some(generated), Some(column)) = (&sink.generated, sink.mismatch) {
            let row = RowOrigin::Source.numbered(rows);
            generated.differs(column, row).raise()
        }
        if let Some(column) = sink.null_key {
            let place = KeyPlace::Row(RowOrigin::Source.numbered(rows));
            key_violation(self.target, arbiter, column, place, "null in").raise()
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
        let selected = self.selected_columns();
        let (rows, plan) = selected.stream(
            &self.select(),
            &self.parameters,
            self.under_active_snapshot,
            sink,
        );
        self.check_read_by(&plan);
        rows
    }

    fn selected_columns(&self) -> SelectedColumns<'_> {
        let coercions = Coercions::new(self.target, &self.relation, &self.numbers, &self.columns);
        SelectedColumns {
            target: self.target,
            columns: &self.columns,
            unstored: self.unstored.len(),
            row_desc: &self.row_desc,
            deletion: self.deletion.as_ref(),
            coercions,
            detached: self.detached,
            key_defaults: &self.key_defaults,
        }
    }

    fn check_read_by(&self, plan: &SpiPlan) {
        if !plan.concerns(self.relation.oid()) {
            self.target.renamed_meanwhile().raise()
        }
    }

    /// Reads the source as [`Source::read_with_progress`] does, but hands a row with an error that
    /// rejects it to `reject`, and goes on. What the SELECT raises itself is about no row.
    ///
    /// Rows are coerced in a subtransaction that goes on until one is refused. So they are kept as the
    /// SELECT gives them, and those that were coerced are kept until all are: the sort may use files,
    /// which would go with the subtransaction.
    pub fn read_rejecting(
        &self,
        arbiter: &UniqueIndex,
        generated: Option<GeneratedColumns<'_>>,
        sort: &mut TupleSort,
        on_progress: &dyn Fn(i64),
        reject: &mut dyn FnMut(&RefusedRow<'_>, &RowError),
    ) -> i64 {
        let (mut rows, mut maker, plan) = self
            .selected_columns()
            .keep(&self.select(), &self.parameters);
        self.check_read_by(&plan);
        let mut row = Slot::for_stored(rows.desc());
        let mut coerced = TupleStore::new(&self.row_desc);
        let mut sink = KeyedRows::new(self.target, arbiter, generated, &mut coerced, on_progress);
        let types = RefusedTypes::new(&self.relation, &self.numbers);
        // Where an error leaves its texts.
        let scratch = Scratch::in_current(c"pg_idempotent coercion");
        loop {
            let read = || {
                while rows.next(&mut row) {
                    pgrx::check_for_interrupts!();
                    if !scratch.scope(|| maker.make(&row, &mut sink)) {
                        return false;
                    }
                }
                true
            };
            let error = match catch_row_error(|| in_subtransaction(read)) {
                Ok(true) => break,
                Ok(false) => self.refusal(&mut sink, maker.ordinal),
                Err(error) => error.or_column(maker.position.column_at_hand()),
            };
            scratch.reset();
            reject(&RefusedRow::new(maker.ordinal, &row, &types), &error);
        }
        coerced.each(|row| sort.put(row));
        maker.ordinal
    }

    /// Why the sink has refused the row with this ordinal.
    ///
    /// # Errors
    /// What ends the reading.
    fn refusal<S>(&self, sink: &mut KeyedRows<'_, '_, S>, ordinal: i64) -> RowError {
        if let Some(failure) = sink.failure.take() {
            resume_unwind(failure)
        }
        if let (Some(generated), Some(column)) = (&sink.generated, sink.mismatch) {
            let row = RowOrigin::Source.numbered(ordinal);
            generated.differs(column, row).raise()
        }
        let column = sink.null_key.take().expect("the row has no key");
        let place = KeyPlace::Row(RowOrigin::Source.numbered(ordinal));
        RowError::of_report(key_violation(
            self.target,
            sink.arbiter,
            column,
            place,
            "null in",
        ))
    }

    fn select(&self) -> String {
        let name = |number: pg_sys::AttrNumber| {
            let name = attribute_name(self.relation.attribute(number));
            text::quote_identifier(&text::from_server_bytes(name.to_bytes()))
        };
        let unstored = self.unstored.iter().map(|attribute| attribute.attnum);
        let flag = self.deletion.as_ref().map(|deletion| deletion.number);
        let numbers = self.numbers.iter().copied().chain(unstored).chain(flag);
        let columns: Vec<String> = numbers.map(name).collect();
        let columns = columns.join(", ");
        let select = format!("SELECT {columns} {} {}", self.from(), self.condition);
        select.trim_end().to_owned()
    }

    /// The clause that names it in a SELECT.
    pub fn from(&self) -> String {
        let only = if self.only { "ONLY " } else { "" };
        format!("FROM {only}{}", self.qualified())
    }

    /// The rows of it that meet a condition (`WHERE …`).
    pub fn set_condition(&mut self, condition: String) {
        self.condition = condition;
    }

    /// The relation, open.
    pub fn relation(&self) -> &OpenRelation {
        &self.relation
    }

    /// What kind of relation it is.
    pub fn kind(&self) -> u8 {
        self.relation.kind()
    }

    /// Its oid.
    pub fn oid(&self) -> pg_sys::Oid {
        self.relation.oid()
    }

    /// How many bytes it had when it was analyzed last; 0 if it never was.
    pub fn bytes_analyzed(&self) -> i64 {
        i64::from(self.relation.pages_analyzed()) * i64::from(pg_sys::BLCKSZ)
    }

    /// Whether a sample of its rows can be read.
    pub fn can_be_sampled(&self) -> bool {
        let sampled = [
            pg_sys::RELKIND_RELATION,
            pg_sys::RELKIND_PARTITIONED_TABLE,
            pg_sys::RELKIND_MATVIEW,
        ];
        sampled.contains(&self.kind())
    }

    /// The type that it has of a column, by position in the target, and the type modifier; None if it
    /// does not have the column.
    pub fn type_of(&self, column: usize) -> Option<(pg_sys::Oid, i32)> {
        let attribute = self.relation.attribute(self.number_of(column)?);
        Some((attribute.atttypid, attribute.atttypmod))
    }

    /// Whether it may have a NULL in a column, by position in the target.
    pub fn may_be_null(&self, column: usize) -> bool {
        let number = self.number_of(column);
        number.is_none_or(|number| !self.relation.attribute(number).attnotnull)
    }

    fn number_of(&self, column: usize) -> Option<pg_sys::AttrNumber> {
        let place = self.columns.iter().position(|c| *c == column)?;
        self.numbers.get(place).copied()
    }

    /// Its name.
    pub fn name(&self) -> String {
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

type Attribute = pg_sys::FormData_pg_attribute;

/// The columns of a source with their positions in the target, by name or as `latest_by` stores
/// them; and those of `latest_by` that only the source has.
///
/// # Errors
/// 42703 for any other column; 42701 for two that become one.
fn match_columns(
    target: &Target,
    relation: &OpenRelation,
    latest_by: &[Decider],
    deletion: Option<&Deletion>,
) -> (Vec<(usize, Attribute)>, Vec<Attribute>) {
    let attributes = relation.attribute_rows();
    let named = |name: &str| {
        let number = relation.column_number(&text::to_server(name));
        let mut attributes = attributes.iter();
        attributes.find(|attribute| Some(attribute.attnum) == number)
    };
    let (mut renamed, mut unstored) = (Vec::new(), Vec::new());
    for decider in latest_by {
        match decider {
            Decider::Stored(_) => {}
            Decider::StoredAs(column, name) => {
                renamed.extend(named(name).map(|attribute| (*column, *attribute)));
            }
            Decider::Unstored(name) => unstored.extend(named(name).copied()),
        }
    }
    let has_place = |attribute: &Attribute| {
        let mut others = renamed.iter().map(|(_, other)| other).chain(&unstored);
        others.any(|other| other.attnum == attribute.attnum)
            || deletion.is_some_and(|deletion| deletion.number == attribute.attnum)
    };
    let position = |attribute: &Attribute| {
        let name = attribute_name(attribute);
        let column = target.column_by_bytes(name.to_bytes());
        if column.is_none() && !has_place(attribute) {
            let name = text::from_server_bytes(name.to_bytes());
            let source = relation.name();
            target
                .no_such_column(&name)
                .detail(format!("Source \"{source}\" has a column of that name."))
                .raise()
        }
        column.map(|column| (column, *attribute))
    };
    let mut columns: Vec<(usize, Attribute)> = attributes.iter().filter_map(position).collect();
    if let Some((column, _)) = renamed
        .iter()
        .find(|(c, _)| columns.iter().any(|(d, _)| c == d))
    {
        two_columns_for(target, *column, relation).raise()
    }
    columns.extend(renamed);
    (columns, unstored)
}

/// 42701 for a source that has a column itself, and another one that is stored as that column.
fn two_columns_for(target: &Target, column: usize, relation: &OpenRelation) -> Report {
    let name = &target.columns[column].name;
    let source = relation.name();
    Report::new(
        SqlState::DuplicateColumn,
        format!("source \"{source}\" has two columns for \"{name}\""),
    )
    .detail(format!(
        "It has a column of that name, and another one that \"latest_by\" stores as \"{name}\"."
    ))
    .hint("Use a view of the source without one of them.")
    .table(&target.schema, &target.name)
    .column(name.clone())
}

/// The column of a source that says which rows delete.
///
/// # Errors
/// 42703 if it is none; 42804 if it is no boolean.
fn deletion(target: &Target, relation: &OpenRelation, name: &str) -> Deletion {
    let refuse = |state: SqlState, what: String| -> ! {
        Report::new(state, what)
            .table(&target.schema, &target.name)
            .column(name)
            .raise()
    };
    let Some(number) = relation.column_number(&text::to_server(name)) else {
        let what = format!("column \"{name}\" of \"delete_when\" is not in the source");
        refuse(SqlState::UndefinedColumn, what)
    };
    let typid = relation.attribute(number).atttypid;
    if types::base(typid) != pg_sys::BOOLOID {
        let what = format!(
            "column \"{name}\" of \"delete_when\" is of type {} instead of boolean",
            types::name(typid)
        );
        refuse(SqlState::DatatypeMismatch, what)
    }
    Deletion {
        number,
        typid,
        read: vec![false; target.columns.len()],
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
