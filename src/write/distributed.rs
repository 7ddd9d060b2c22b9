//! The rows of a distributed table, found and written by SQL that Citus plans. Foreign tables are
//! read and written in the same way.
//!
//! A distributed table and its indexes are empty. Its rows are in shards, which only statements reach.
//! So one SELECT looks up many keys, and INSERT … VALUES sends the new rows; Citus sends both to the
//! shards that they concern. The rows cannot come from a tuplestore, because Citus would not find it.
//! They cannot come from INSERT … SELECT, because Citus then counts the rows that it has sent, not those
//! that went in. Each INSERT returns the keys of the rows that went in, wherever the rows are.
//!
//! The protocol is that of [`write`](super): the same rounds, and the same reasons why no interleaving
//! goes wrong. What differs:
//! - A statement has a snapshot of its own on each server that it reaches. The next look comes after the
//!   INSERT has ended, and so sees what made ON CONFLICT skip a row, as on one server.
//! - Each statement has its keys in the arbiter's order, but Citus writes to several shards at a time.
//!   So two calls may wait for each other. Citus detects this, and one of them fails with 40P01.
//! - The caller needs the right to SELECT, and policies apply to this SELECT.
//! - Expressions in the key, and its condition, are part of the SELECT. So they run with the caller's rights there,
//!   as in the INSERT, and as functions of SQL without the caller's `search_path`.
use super::context::WriteContext;
use super::input::SortedRows;
use super::portion::Portion;
use super::returned_keys::ReturnedKeys;
use super::statement::ValuesPlan;
use super::terms::Returning;
use crate::error::{Report, SqlState};
use crate::guard::OwnInsert;
use crate::payload::row::{Mark, RowLayout, order_of_keys, same_key};
use crate::pg::catalog::operator::Operator;
use crate::pg::rows::{ReceivedRows, RowBuilder, Slot, TupleSort, TupleStore};
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::value::sql_value::ArrayBuilder;
use crate::target::{
    KeyColumn, PerTarget, StoredRow, Target, UniqueIndex, VisibleColumns, is_null,
};
use crate::text;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::mem::{self, ManuallyDrop};
use std::rc::Rc;

/// So many keys are looked up at once.
const KEYS_AT_ONCE: u64 = 1000;

/// Beyond this many statements a table's cache starts anew.
const MAX_STATEMENTS: usize = 16;

/// The prepared look-ups of one target, by arbiter and the columns that are read.
type LookUps = HashMap<(pg_sys::Oid, Vec<usize>), Rc<SpiPlan>>;

thread_local! {
    static LOOK_UPS: ManuallyDrop<PerTarget<RefCell<LookUps>>> = PerTarget::new();
}

/// Looks many keys up with one statement.
pub struct DistributedLookup<'a> {
    context: &'a WriteContext<'a>,
    /// The columns and expressions that are read, by position in a working row.
    columns: Vec<usize>,
    /// What was found, in the arbiter's order.
    rows: Option<TupleSort>,
    /// How many of the next working rows were looked up.
    prepared: u64,
    /// The first row of `rows` that is not before the key that was looked for last.
    row: Slot,
    /// Whether there is such a row.
    some: bool,
    /// The row after it,
    ahead: Slot,
    /// and whether there is one.
    some_ahead: bool,
    /// Whether it has that key.
    found: bool,
    numbers: Vec<pg_sys::AttrNumber>,
}

impl<'a> DistributedLookup<'a> {
    /// Nothing is looked up yet.
    pub fn new(context: &'a WriteContext<'a>) -> Self {
        let target = context.target;
        Self {
            context,
            columns: columns(context),
            rows: None,
            prepared: 0,
            row: Slot::for_stored(target.row_desc()),
            some: false,
            ahead: Slot::for_stored(target.row_desc()),
            some_ahead: false,
            found: false,
            numbers: target.attnums_in_order(),
        }
    }

    /// Looks up the keys of the rows that come next, unless the key of the next one was looked up already. Rows
    /// with the same key need the same look: each look has a snapshot of its own on another server.
    pub fn prepare_for_next(&mut self, rows: &mut SortedRows) {
        if self.prepared == 0 {
            let mut arrays = self.arrays();
            let (target, arbiter) = (self.context.target, self.context.arbiter);
            let layout = RowLayout::of(target);
            let mut previous: Option<Slot> = None;
            let mut keys = 0;
            self.prepared = rows.peek(|row| {
                let has_key = layout.mark(row) != Mark::Outside;
                let is_new = |previous: &Slot| !same_key(arbiter, previous, row);
                if has_key && previous.as_ref().is_none_or(is_new) {
                    if keys == KEYS_AT_ONCE {
                        return false;
                    }
                    keys += 1;
                    for (key, array) in arbiter.keys.iter().zip(&mut arrays) {
                        array.push(row.value(key.column));
                    }
                    let copy = row.to_stored();
                    copy.deform();
                    previous = Some(copy);
                }
                true
            });
            if keys > 0 {
                self.look_up(&arrays);
            }
        }
        self.prepared = self.prepared.saturating_sub(1);
    }

    fn arrays(&self) -> Vec<ArrayBuilder> {
        let keys = self.context.arbiter.keys.iter();
        let array = |key: &KeyColumn| {
            let column = self.context.target.column(key.column);
            ArrayBuilder::new(column.typid).expect("its type has arrays, as was checked")
        };
        keys.map(array).collect()
    }

    fn look_up(&mut self, keys: &[ArrayBuilder]) {
        let (target, arbiter) = (self.context.target, self.context.arbiter);
        let mut sort = TupleSort::new(target.row_desc(), &arbiter.sort_columns());
        let mut received = ReceivedRows::new();
        {
            let _settings = transmission(target);
            let computed = arbiter.is_computed();
            let _names = computed.then(LocalSettings::read_fixed_names);
            let connection = Connection::open();
            let plan = look_up_plan(&connection, target, arbiter, &self.columns, keys);
            let parameters: Vec<Parameter<'_>> = keys.iter().map(ArrayBuilder::value).collect();
            let code = connection.receive(&plan, &parameters, true, &mut received);
            assert!(code >= 0, "SPI code {code}");
            target.check_still_named(&plan);
        }
        let mut builder = RowBuilder::new(target.row_desc());
        if let Some(mut rows) = received.into_rows() {
            rows.each(|found| {
                let mut row = builder.start();
                for (i, column) in self.columns.iter().enumerate() {
                    row.set(*column, found.value(i));
                }
                sort.put(row.finish());
            });
        }
        sort.sort();
        self.some_ahead = sort.next(&mut self.ahead);
        self.rows = Some(sort);
        self.next();
    }

    fn next(&mut self) {
        mem::swap(&mut self.row, &mut self.ahead);
        self.some = self.some_ahead;
        let (rows, ahead) = (&mut self.rows, &mut self.ahead);
        self.some_ahead = rows.as_mut().is_some_and(|rows| rows.next(ahead));
    }

    /// Looks for what was found under the key of a row. Keys come in the arbiter's order.
    ///
    /// # Errors
    /// 21000 if several rows of a foreign table have the key: which of them to judge by, nothing says.
    pub fn find(&mut self, row: &Slot) {
        self.found = false;
        while self.some {
            match order_of_keys(self.context.arbiter, &self.row, row) {
                Ordering::Less => self.next(),
                order => {
                    self.found = order == Ordering::Equal;
                    if self.found && self.some_ahead && self.context.target.foreign {
                        self.refuse_several(row);
                    }
                    return;
                }
            }
        }
    }

    fn refuse_several(&self, row: &Slot) {
        let WriteContext {
            target, arbiter, ..
        } = self.context;
        if !same_key(arbiter, &self.row, &self.ahead) {
            return;
        }
        let ordinal = RowLayout::of(target).ordinal(row);
        let whose = self.context.origin.numbered(ordinal);
        Report::new(
            SqlState::CardinalityViolation,
            format!(
                "several rows of table \"{}\" have the key of {whose}",
                target.name
            ),
        )
        .detail(format!(
            "Key ({}) is not unique on the other server.",
            target.key_list(arbiter)
        ))
        .hint("Remove all but one of them, and create a unique index on the key where they are stored.")
        .table(&target.schema, &target.name)
        .raise()
    }

    /// The row that the last look found.
    pub fn stored(&self) -> Option<StoredRow<'_>> {
        let row = || StoredRow::returned(&self.row, &self.numbers);
        self.found.then(row)
    }
}

/// What is read of stored rows: the key, the columns that are compared, and others that the caller may see.
fn columns(context: &WriteContext<'_>) -> Vec<usize> {
    let target = context.target;
    let visible = VisibleColumns::by_caller(target);
    let is_read = |c: &usize| {
        let compared = || {
            context
                .shapes
                .iter()
                .any(|shape| shape.compared.contains(c))
        };
        let remembered = || {
            context
                .remember()
                .is_some_and(|remember| remember.column == *c)
        };
        !target.columns[*c].virtual_generated()
            && (context.arbiter.has_column(*c)
                || compared()
                || context.judged.contains(c)
                || remembered()
                || visible.shows(*c))
    };
    let computed = context.arbiter.keys.iter();
    let computed = computed.filter(|key| key.expression.is_some());
    let columns = (0..target.columns.len()).filter(is_read);
    columns.chain(computed.map(|key| key.column)).collect()
}

fn look_up_plan(
    connection: &Connection,
    target: &Target,
    arbiter: &UniqueIndex,
    columns: &[usize],
    keys: &[ArrayBuilder],
) -> Rc<SpiPlan> {
    let look_ups = LOOK_UPS.with(|look_ups| look_ups.of(target.id));
    let known_as = (arbiter.oid, columns.to_vec());
    if let Some(plan) = look_ups.borrow().get(&known_as) {
        return Rc::clone(plan);
    }
    let types: Vec<pg_sys::Oid> = keys.iter().map(ArrayBuilder::typid).collect();
    let sql = look_up_sql(target, arbiter, columns);
    let plan = Rc::new(SpiPlan::prepare_with(connection, &sql, &types));
    let mut look_ups = look_ups.borrow_mut();
    if look_ups.len() >= MAX_STATEMENTS {
        look_ups.clear();
    }
    look_ups.insert(known_as, Rc::clone(&plan));
    plan
}

/// `SELECT orders.order_id, orders.amount FROM ONLY shop.orders WHERE orders.order_id = ANY ($1)`. If the key has
/// several columns, or NULL equals NULL in it, the statement also joins with the keys.
///
/// Citus finds the shards by `= ANY`. With several columns, these conditions also find rows that have none of
/// the keys; the join removes them. The table has no alias, because an expression may name it.
fn look_up_sql(target: &Target, arbiter: &UniqueIndex, columns: &[usize]) -> String {
    let table = text::quote_identifier(&target.name);
    let named = |c: usize| {
        let expression = arbiter.keys.iter().find(|key| key.column == c);
        match expression.and_then(|key| key.expression.as_ref()) {
            Some(expression) => format!("({})", expression.sql),
            None => format!("{table}.{}", target.column_list([c])),
        }
    };
    let list: Vec<String> = columns.iter().map(|c| named(*c)).collect();
    let unnested: Vec<String> = (1..=arbiter.keys.len())
        .map(|i| format!("pg_catalog.unnest(${i})"))
        .collect();
    let nullable = |key: &KeyColumn| arbiter.nulls_equal && may_be_null(target, key);
    // First, because an expression may fail for a row outside of the condition. The server keeps the order
    // of what costs it the same.
    let condition = arbiter.condition_sql();
    let condition = condition.map(|condition| format!("({condition})"));
    let mut conditions: Vec<String> = condition.into_iter().collect();
    let mut joined = arbiter.keys.len() > 1;
    for (i, key) in arbiter.keys.iter().enumerate() {
        if is_core(key) && !nullable(key) {
            conditions.push(key.equals(&named(key.column), &format!("ANY (${})", i + 1)));
        } else {
            joined = true;
        }
    }
    // As in the arbiter, rows of tables that inherit from it have no keys.
    let mut from = target.own_rows();
    if joined {
        let keys = unused_name(target, 'k');
        let names: Vec<String> = (0..arbiter.keys.len())
            .map(|i| format!("{keys}{i}"))
            .collect();
        from.push_str(&format!(
            ", ROWS FROM ({}) AS {keys} ({})",
            unnested.join(", "),
            names.join(", ")
        ));
        for (key, name) in arbiter.keys.iter().zip(&names) {
            let (stored, sent) = (named(key.column), format!("{keys}.{name}"));
            let equal = key.equals(&stored, &sent);
            conditions.push(match nullable(key) {
                false => equal,
                true => format!("({equal} OR {} AND {})", is_null(&stored), is_null(&sent)),
            });
        }
    }
    format!(
        "SELECT {} FROM {from} WHERE {}",
        list.join(", "),
        conditions.join(" AND ")
    )
}

/// Whether a part of the key may be NULL.
fn may_be_null(target: &Target, key: &KeyColumn) -> bool {
    key.expression.is_some() || target.columns[key.column].may_be_null()
}

/// A name of this letter with which neither the table's name nor that of a column begins: an expression names columns
/// alone.
pub(super) fn unused_name(target: &Target, letter: char) -> String {
    let mut name = letter.to_string();
    let is_used = |name: &String| {
        let columns = target.columns.iter().map(|column| &column.name);
        columns
            .chain([&target.name])
            .any(|used| used.starts_with(name))
    };
    while is_used(&name) {
        name.push(letter);
    }
    name
}

/// Whether the key is compared by an operator of the server's own, which needs no casts.
pub(super) fn is_core(key: &KeyColumn) -> bool {
    let operator = Operator::find(key.operators.equality_operator);
    operator.is_some_and(|operator| operator.schema.to_u32() == pg_sys::PG_CATALOG_NAMESPACE)
}

/// Sends the plain rows of a store, from the next one on, and gives the number of those that went in. What the
/// statements return goes into `returned`, in the order of the rows.
pub fn insert(
    context: &WriteContext<'_>,
    rows: &mut TupleStore,
    returning: Returning,
    returned: &mut TupleStore,
) -> u64 {
    let layout = RowLayout::of(context.target);
    let mut sender = Sender {
        context,
        returning,
        returned,
        returned_keys: ReturnedKeys::new(context, returning),
        shape: 0,
        portion: Portion::default(),
        count: 0,
    };
    rows.each(|row| {
        if matches!(layout.mark(row), Mark::Pending | Mark::Outside) {
            sender.take(layout.shape(row), row);
        }
    });
    sender.send_all();
    sender.count
}

/// Collects rows of one shape, and sends them.
struct Sender<'s, 'a> {
    context: &'s WriteContext<'a>,
    returning: Returning,
    returned: &'s mut TupleStore,
    returned_keys: ReturnedKeys<'a>,
    /// The shape of the rows.
    shape: usize,
    portion: Portion,
    /// How many rows went in.
    count: u64,
}

impl Sender<'_, '_> {
    fn take(&mut self, shape: usize, row: &Slot) {
        // No key would tell which of the rows that are returned is this one.
        let alone = self.returning == Returning::Rows && self.context.is_outside(row);
        if shape != self.shape || alone {
            self.send_all();
            self.shape = shape;
        }
        let full = self.portion.put(row, &self.context.shapes[shape].named);
        if full || alone {
            self.send_all();
        }
    }

    fn send_all(&mut self) {
        let mut portion = mem::take(&mut self.portion);
        portion.send(|rows| self.send(rows));
    }

    /// Sends these rows with one statement.
    fn send(&mut self, rows: &[Slot]) {
        pgrx::check_for_interrupts!();
        let context = self.context;
        let mut received = ReceivedRows::new();
        {
            let _settings = transmission(context.target);
            let connection = Connection::open();
            let ValuesPlan { plan, columns } = ValuesPlan::of(
                &connection,
                context,
                &context.shapes[self.shape].named,
                self.returning,
                rows.len(),
            );
            let values = rows
                .iter()
                .flat_map(|row| columns.iter().map(|c| row.value(*c)));
            let parameters: Vec<Parameter<'_>> = values.collect();
            let _own_insert = OwnInsert::for_next_statement(context.arbiter.oid);
            let code = connection.receive(&plan, &parameters, false, &mut received);
            assert!(code >= 0, "SPI code {code}");
            context.target.check_still_named(&plan);
        }
        let Some(mut went_in) = received.into_rows() else {
            return;
        };
        self.count += went_in.len();
        // They come in the order in which the shards have answered.
        self.returned_keys
            .put_in_order_of(rows, &mut went_in, self.returned);
    }
}

/// The settings under which Citus sends values to the shards: it writes them as text under the settings of the
/// session, and the other server reads them under its own. Foreign data wrappers look after that themselves.
pub fn transmission(target: &Target) -> Option<LocalSettings> {
    target
        .is_in_shards()
        .then(LocalSettings::fixed_transmission)
}
