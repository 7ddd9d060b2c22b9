//! Replaces and deletes rows of a distributed table, by SQL that Citus plans.
//!
//! Such a row has no place and no version that could be trusted. So a statement finds a stored row by its key and by
//! all values that were judged, and passes over a row that has other values by now. It returns the numbers of
//! the rows that it has written, so that nothing depends on row counts.
//!
//! A statement carries many rows as parameters. It has as many rows as the next power of two, so that few statements are
//! prepared; the last row is repeated. Updates and deletes are two statements here, because Citus does not plan a MERGE with
//! such rows.
//!
//! Citus lets sessions that write to several shards by one statement take turns, and locks these shards in order. So
//! the first statement names the keys of all rows that are sent, also of those that the second one writes: where it has locked the
//! shards, no other session comes between.
use super::context::WriteContext;
use super::distributed::{is_core, transmission, unused_name};
use super::portion::{BYTES_AT_ONCE, rows_at_once};
use crate::payload::row::RowLayout;
use crate::pg::rows::{ReceivedRows, RowBuilder, Slot, TupleStore};
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::value::sql_value::{ArrayBuilder, SqlValue};
use crate::target::{KeyColumn, PerTarget, StoredRow, Target, UniqueIndex, is_equal, is_null};
use crate::text;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::iter;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// Beyond this many statements a table's cache starts anew.
const MAX_STATEMENTS: usize = 32;

/// What a working row has behind the target's own columns.
const EXTRAS: [pg_sys::Oid; 3] = [pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::INT8OID];

/// The prepared statements of one target.
type Statements = HashMap<Form, Rc<SpiPlan>>;

thread_local! {
    static STATEMENTS: ManuallyDrop<PerTarget<RefCell<Statements>>> = PerTarget::new();
}

/// The columns that statements name, by position.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Columns {
    /// Those of the stored rows that were judged.
    judged: Vec<usize>,
    /// Those that an update sets.
    updated: Vec<usize>,
    /// Those of the latter that some payload leaves out: there the stored value stays.
    left_out: Vec<usize>,
}

/// How a statement is written.
#[derive(PartialEq, Eq, Hash)]
struct Form {
    arbiter: pg_sys::Oid,
    columns: Columns,
    deletes: bool,
    /// How many rows it has.
    rows: usize,
}

/// Working rows that are to replace stored ones, or to delete them. Behind their own columns are the values of the stored
/// rows that were judged.
pub struct Replacements {
    rows: TupleStore,
    builder: RowBuilder,
    columns: Columns,
    deletes: u64,
}

/// What became of such rows.
#[derive(Default)]
pub struct Replaced {
    pub updated: i64,
    pub deleted: i64,
    /// Those that have updated a stored row, where they are asked for.
    pub updates: Option<TupleStore>,
    /// Those that met no stored row with the values that were judged.
    pub left: Option<TupleStore>,
}

impl Replacements {
    /// None yet. An update sets the columns `updated`, as far as the payload names them.
    pub fn new(context: &WriteContext<'_>, updated: &[usize]) -> Self {
        let target = context.target;
        let judged = context.judged_columns();
        let is_left_out = |c: &usize| context.shapes.iter().any(|shape| !shape.named.contains(c));
        let types = judged.iter().map(|c| target.columns[*c].typid);
        let extras: Vec<pg_sys::Oid> = EXTRAS.into_iter().chain(types).collect();
        let desc = target.row_desc_with(&extras);
        Self {
            rows: TupleStore::new(&desc),
            builder: RowBuilder::new(&desc),
            columns: Columns {
                judged,
                updated: updated.to_vec(),
                left_out: updated.iter().copied().filter(is_left_out).collect(),
            },
            deletes: 0,
        }
    }

    /// Adds a working row, and what it is to replace.
    pub fn put(&mut self, context: &WriteContext<'_>, row: &Slot, stored: &StoredRow<'_>) {
        let layout = RowLayout::of(context.target);
        self.deletes += u64::from(layout.deletes(row));
        let mut replacement = self.builder.start();
        replacement.copy_first(row, layout.first_unstored());
        for (i, c) in self.columns.judged.iter().enumerate() {
            replacement.set(layout.first_unstored() + i, stored.value(*c));
        }
        self.rows.put(replacement.finish());
    }

    /// How many of them delete the stored row.
    pub fn deletes(&self) -> u64 {
        self.deletes
    }

    /// Gives every row as a working row of the target.
    pub fn each(&mut self, context: &WriteContext<'_>, mut take: impl FnMut(&Slot)) {
        let mut working = WorkingRows::of(context);
        self.rows.rewind();
        self.rows.each(|row| working.hand_on(row, &mut take));
    }

    /// Writes them in their order, as far as the stored rows still have the values that were judged.
    /// `wants_updates` asks for those that have updated one.
    pub fn write(&mut self, context: &WriteContext<'_>, wants_updates: bool) -> Replaced {
        let columns = &self.columns;
        let mut sender = Sender {
            context,
            columns,
            wants_updates,
            working: WorkingRows::of(context),
            most: rows_at_once(columns.parameters(context)),
            rows: Vec::new(),
            bytes: 0,
            replaced: Replaced::default(),
        };
        self.rows.rewind();
        self.rows.each(|row| sender.take(row));
        sender.send_all();
        sender.replaced
    }
}

impl Columns {
    /// How many parameters a row has.
    fn parameters(&self, context: &WriteContext<'_>) -> usize {
        context.arbiter.keys.len() + self.judged.len() + self.updated.len() + self.left_out.len()
    }
}

/// Takes the judged values off replacements.
struct WorkingRows {
    columns: usize,
    builder: RowBuilder,
}

impl WorkingRows {
    fn of(context: &WriteContext<'_>) -> Self {
        let target = context.target;
        Self {
            columns: RowLayout::of(target).first_unstored(),
            builder: RowBuilder::new(target.row_desc()),
        }
    }

    fn hand_on(&mut self, replacement: &Slot, mut take: impl FnMut(&Slot)) {
        let mut working = self.builder.start();
        working.copy_first(replacement, self.columns);
        take(working.finish());
    }
}

/// Collects rows, and sends them.
struct Sender<'s, 'a> {
    context: &'s WriteContext<'a>,
    columns: &'s Columns,
    wants_updates: bool,
    working: WorkingRows,
    /// So many rows are sent at once.
    most: usize,
    rows: Vec<Slot>,
    /// About how many bytes they have.
    bytes: usize,
    replaced: Replaced,
}

impl Sender<'_, '_> {
    fn take(&mut self, row: &Slot) {
        pgrx::check_for_interrupts!();
        let row = row.to_stored();
        row.deform();
        let values = 0..row.desc().types().len();
        self.bytes += values.map(|c| row.value(c).size()).sum::<usize>();
        self.rows.push(row);
        if self.rows.len() >= self.most || self.bytes > BYTES_AT_ONCE {
            self.send_all();
        }
    }

    /// Sends what was collected: what deletes first, so that its other unique values are free.
    fn send_all(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let layout = RowLayout::of(self.context.target);
        let mut is_written = vec![false; rows.len()];
        for deletes in [true, false] {
            let of_kind = |i: &usize| layout.deletes(&rows[*i]) == deletes;
            let numbers: Vec<usize> = (0..rows.len()).filter(of_kind).collect();
            for written in self.send(&rows, &numbers, deletes) {
                is_written[numbers[written]] = true;
            }
        }
        for (row, is_written) in rows.iter().zip(is_written) {
            self.count(row, layout.deletes(row), is_written);
        }
    }

    fn count(&mut self, row: &Slot, deletes: bool, is_written: bool) {
        let store = match (is_written, deletes) {
            (true, true) => {
                self.replaced.deleted += 1;
                return;
            }
            (true, false) => {
                self.replaced.updated += 1;
                if !self.wants_updates {
                    return;
                }
                &mut self.replaced.updates
            }
            (false, _) => &mut self.replaced.left,
        };
        let desc = self.context.target.row_desc();
        let store = store.get_or_insert_with(|| TupleStore::new(desc));
        self.working.hand_on(row, |row| store.put(row));
    }

    /// Sends those of the rows that have these numbers, with one statement. Gives the places among these numbers of
    /// those that it has written.
    fn send(&self, rows: &[Slot], numbers: &[usize], deletes: bool) -> Vec<usize> {
        pgrx::check_for_interrupts!();
        let Some(last) = numbers.last() else {
            return Vec::new();
        };
        let context = self.context;
        let arrays = arrays_of_keys(context, rows);
        let size = numbers.len().next_power_of_two();
        let repeated = iter::repeat_n(last, size - numbers.len());
        let mut parameters: Vec<Parameter<'_>> = Vec::new();
        for row in numbers.iter().chain(repeated).map(|i| &rows[*i]) {
            self.add_values(&mut parameters, row, deletes);
        }
        parameters.extend(arrays.iter().map(ArrayBuilder::value));
        let mut received = ReceivedRows::new();
        {
            let _settings = transmission(context.target);
            let connection = Connection::open();
            let plan = self.plan(&connection, &parameters, size, deletes);
            let code = connection.receive(&plan, &parameters, false, &mut received);
            assert!(code >= 0, "SPI code {code}");
            context.target.check_still_named(&plan);
        }
        let mut written = Vec::with_capacity(numbers.len());
        if let Some(mut returned) = received.into_rows() {
            let last = numbers.len() - 1;
            returned.each(|row| {
                let number = row.get(0).map(|n| n.value() as i32 as usize);
                written.extend(number.map(|n| n.min(last)));
            });
        }
        written
    }

    /// Adds the values of a row, in the order of [`write_sql`].
    fn add_values<'v>(&self, parameters: &mut Vec<Parameter<'v>>, row: &'v Slot, deletes: bool) {
        let Columns { judged, .. } = self.columns;
        let layout = RowLayout::of(self.context.target);
        let keys = self.context.arbiter.keys.iter();
        parameters.extend(keys.map(|key| row.value(key.column)));
        let judged = 0..judged.len();
        parameters.extend(judged.map(|i| row.value(layout.first_unstored() + i)));
        if deletes {
            return;
        }
        parameters.extend(self.columns.updated.iter().map(|c| row.value(*c)));
        let named = &self.context.shapes[layout.shape(row)].named;
        let left_out = self.columns.left_out.iter();
        parameters.extend(left_out.map(|c| SqlValue::boolean(!named.contains(c))));
    }

    fn plan(
        &self,
        connection: &Connection,
        parameters: &[Parameter<'_>],
        rows: usize,
        deletes: bool,
    ) -> Rc<SpiPlan> {
        let context = self.context;
        let form = Form {
            arbiter: context.arbiter.oid,
            columns: self.columns.clone(),
            deletes,
            rows,
        };
        let statements = STATEMENTS.with(|statements| statements.of(context.target.id));
        if let Some(plan) = statements.borrow().get(&form) {
            return Rc::clone(plan);
        }
        let types: Vec<pg_sys::Oid> = parameters.iter().map(Parameter::typid).collect();
        let sql = write_sql(context, &form);
        let plan = Rc::new(SpiPlan::prepare_with(connection, &sql, &types));
        let mut statements = statements.borrow_mut();
        if statements.len() >= MAX_STATEMENTS {
            statements.clear();
        }
        statements.insert(form, Rc::clone(&plan));
        plan
    }
}

/// The keys of all these rows: arrays of the columns by which Citus may find the shards.
fn arrays_of_keys(context: &WriteContext<'_>, rows: &[Slot]) -> Vec<ArrayBuilder> {
    let array = |key: &KeyColumn| {
        let array = ArrayBuilder::new(context.target.column(key.column).typid);
        let mut array = array.expect("its type has arrays, as was checked");
        rows.iter()
            .for_each(|row| array.push(row.value(key.column)));
        array
    };
    finding_shards(context).map(array).collect()
}

/// Of the key, what may be compared with an array.
fn finding_shards<'a>(context: &WriteContext<'a>) -> impl Iterator<Item = &'a KeyColumn> {
    let WriteContext {
        target, arbiter, ..
    } = *context;
    let keys = arbiter.keys.iter();
    keys.filter(move |key| is_core(key) && !is_nullable(target, arbiter, key))
}

/// Whether a part of the key may be NULL, and is then a part like others.
fn is_nullable(target: &Target, arbiter: &UniqueIndex, key: &KeyColumn) -> bool {
    let may_be_null = || key.expression.is_some() || target.columns[key.column].may_be_null();
    arbiter.nulls_equal && may_be_null()
}

/// How a statement names things. An expression of the key names columns alone, and may name the table: it has no
/// alias, and what else is named begins like no column.
struct Names<'a> {
    target: &'a Target,
    table: String,
    /// The rows; names of their columns begin so, too.
    rows: String,
}

impl<'a> Names<'a> {
    fn of(target: &'a Target) -> Self {
        Self {
            target,
            table: text::quote_identifier(&target.name),
            rows: unused_name(target, 'r'),
        }
    }

    /// A column of the table.
    fn stored(&self, column: usize) -> String {
        format!("{}.{}", self.table, self.target.column_list([column]))
    }

    /// A column of the key, or an expression.
    fn key(&self, key: &KeyColumn) -> String {
        match &key.expression {
            Some(expression) => format!("({})", expression.sql),
            None => self.stored(key.column),
        }
    }

    /// A column of the rows: a letter for what it is, and a number.
    fn sent(&self, letter: char, number: usize) -> String {
        format!("{}.{}", self.rows, self.declared(letter, number))
    }

    fn declared(&self, letter: char, number: usize) -> String {
        format!("{}{letter}{number}", self.rows)
    }
}

/// `UPDATE ONLY shop.orders SET amount = r.rn0 FROM (VALUES (0, $1, $2, $3), (1, $4, $5, $6)) AS r (r, rk0, rj0, rn0)
/// WHERE orders.order_id = ANY ($7) AND orders.order_id = r.rk0 AND orders.amount = r.rj0 RETURNING r.r`; or a DELETE,
/// likewise.
///
/// Citus finds the shards by `= ANY`.
fn write_sql(context: &WriteContext<'_>, form: &Form) -> String {
    let target = context.target;
    let Form {
        columns, deletes, ..
    } = form;
    let names = Names::of(target);
    let mut parts = vec![
        ('k', context.arbiter.keys.len()),
        ('j', columns.judged.len()),
    ];
    if !deletes {
        parts.extend([('n', columns.updated.len()), ('l', columns.left_out.len())]);
    }
    let declared = parts.iter().flat_map(|(letter, count)| {
        let declared = |number| names.declared(*letter, number);
        (0..*count).map(declared).collect::<Vec<_>>()
    });
    let declared: Vec<String> = declared.collect();
    let row = |i: usize| {
        let first = i * declared.len() + 1;
        let values = first..first + declared.len();
        let values: String = values.map(|number| format!(", ${number}")).collect();
        format!("({i}{values})")
    };
    let values: Vec<String> = (0..form.rows).map(row).collect();
    let rows = format!(
        "(VALUES {}) AS {r} ({r}, {})",
        values.join(", "),
        declared.join(", "),
        r = names.rows
    );
    // Rows of tables that inherit from it have no keys.
    let table = target.own_rows();
    let same = conditions(context, &names, columns, form.rows * declared.len());
    let returning = format!("RETURNING {r}.{r}", r = names.rows);
    if *deletes {
        return format!("DELETE FROM {table} USING {rows} WHERE {same} {returning}");
    }
    let set = assignments(&names, columns);
    format!("UPDATE {table} SET {set} FROM {rows} WHERE {same} {returning}")
}

/// What an update sets.
fn assignments(names: &Names<'_>, columns: &Columns) -> String {
    let set = columns.updated.iter().enumerate().map(|(i, c)| {
        let (name, new) = (names.target.column_list([*c]), names.sent('n', i));
        match columns.left_out.iter().position(|other| other == c) {
            None => format!("{name} = {new}"),
            Some(l) => {
                let (is_left_out, stored) = (names.sent('l', l), names.stored(*c));
                format!("{name} = CASE WHEN {is_left_out} THEN {stored} ELSE {new} END")
            }
        }
    });
    set.collect::<Vec<_>>().join(", ")
}

/// The conditions that a stored row is one that was judged. The arrays of keys are the parameters behind the first
/// `before`. The arbiter's condition comes first: an expression may fail for a row outside of it.
fn conditions(
    context: &WriteContext<'_>,
    names: &Names<'_>,
    columns: &Columns,
    before: usize,
) -> String {
    let (target, arbiter) = (context.target, context.arbiter);
    let or_null = |equal: String, may_be_null: bool, stored: &str, sent: &str| match may_be_null {
        false => equal,
        true => format!("({equal} OR {} AND {})", is_null(stored), is_null(sent)),
    };
    let has_key = arbiter.condition_sql().map(|sql| format!("({sql})"));
    let in_shards = finding_shards(context).enumerate().map(|(i, key)| {
        let array = format!("ANY (${})", before + i + 1);
        key.equals(&names.key(key), &array)
    });
    let keys = arbiter.keys.iter().enumerate().map(|(i, key)| {
        let (stored, sent) = (names.key(key), names.sent('k', i));
        let equal = key.equals(&stored, &sent);
        or_null(equal, is_nullable(target, arbiter, key), &stored, &sent)
    });
    let judged = columns.judged.iter().enumerate().map(|(i, c)| {
        let (stored, sent, column) = (names.stored(*c), names.sent('j', i), &target.columns[*c]);
        let equal = is_equal(column.equality_operator(), &stored, &sent);
        or_null(equal, column.may_be_null(), &stored, &sent)
    });
    let all = has_key
        .into_iter()
        .chain(in_shards)
        .chain(keys)
        .chain(judged);
    all.collect::<Vec<_>>().join(" AND ")
}
