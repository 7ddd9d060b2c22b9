//! The one statement that writes: `INSERT … ON CONFLICT (key) DO NOTHING`.
//!
//! It is prepared once per table, arbiter and set of named columns, and reads
//! working rows from a tuplestore in the order in which they lie there.
//!
//! It runs as the caller, and with it what the table's owner wrote: defaults, CHECKs,
//! generated columns, policies, triggers, expressions and conditions of indexes. The caller
//! inserts into that table, and a plain INSERT of theirs would run the same.
//!
//! ON CONFLICT costs half as much again as the INSERT alone. So many rows that are known
//! to be new are inserted without it, in a subtransaction: if another session was faster with
//! one of them, that is rolled back, and all are sent again with ON CONFLICT.
use super::context::WriteContext;
use super::direct;
use super::terms::{Returning, inserted_columns};
use crate::error::{RowPosition, is_server_error};
use crate::guard::OwnInsert;
use crate::payload::row::{Mark, RowLayout};
use crate::payload::shape::{IdentityValues, Shape, refuse_identity};
use crate::pg::backend;
use crate::pg::rows::{Slot, TupleStore};
use crate::pg::statement::spi::{AfterTriggerScope, Connection, SpiPlan};
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::transaction::transactions::in_subtransaction;
use crate::target::{PerTarget, Target};
use pgrx::{PgSqlErrorCode, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::panic::resume_unwind;
use std::rc::Rc;

/// The name under which the statement sees the rows. A name of a tuplestore
/// goes before any table's.
const ROWS: &CStr = c"pg_idempotent_rows";

/// Beyond this many statements a table's cache starts anew: payloads with ever
/// new sets of columns keep flat memory.
const MAX_STATEMENTS: usize = 64;

/// The prepared statements of one target, by arbiter, named columns, what becomes of identity
/// values, and form.
type Statements = HashMap<(pg_sys::Oid, Vec<usize>, IdentityValues, InsertForm), Rc<SpiPlan>>;

thread_local! {
    static STATEMENTS: ManuallyDrop<PerTarget<RefCell<Statements>>> = PerTarget::new();
}

/// How the statement is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum InsertForm {
    /// Without ON CONFLICT.
    Plain,
    /// With it, and what it returns.
    OnConflict(Returning),
    /// The same, of so many rows that are parameters.
    Values(Returning, usize),
}

/// A transaction has so many subtransactions of ours at most: from 64 on
/// (`PGPROC_MAX_CACHED_SUBXIDS`) others look them up on disk.
const MAX_SUBTRANSACTIONS: u32 = 32;

/// Inserts rows whose keys were not stored when they were looked up just now, without ON CONFLICT;
/// None, with nothing done, if they are few, or one of them is stored by now, or they name different
/// columns and cannot go in directly.
pub fn insert_plainly(context: &WriteContext<'_>, rows: &mut TupleStore) -> Option<u64> {
    let only_shape = match context.shapes {
        [shape] => Some(shape),
        _ => None,
    };
    let possible = only_shape.is_some() || direct::may_go_directly(context);
    if !possible || !context.can_insert_plainly(rows.len()) || !claim_subtransaction() {
        return None;
    }
    unless_key_is_taken(|| {
        let direct = direct::insert_plainly(context, rows);
        direct.or_else(|| Some(insert_run_plainly(context, only_shape?, rows)))
    })
    .flatten()
}

/// What `insert` gives, which runs in a subtransaction; None, with nothing done, if it raises 23505.
pub fn unless_key_is_taken<R>(insert: impl FnOnce() -> R) -> Option<R> {
    match in_subtransaction(insert) {
        Ok(result) => Some(result),
        Err(caught) if is_server_error(&caught, PgSqlErrorCode::ERRCODE_UNIQUE_VIOLATION) => None,
        Err(caught) => resume_unwind(caught),
    }
}

/// Inserts the plain rows of a table in their order, those of each shape with the columns that it names.
/// Gives the number of those that went in. What they return goes into `returned`.
pub fn insert(
    context: &WriteContext<'_>,
    rows: &mut TupleStore,
    returning: Returning,
    returned: Option<&TupleStore>,
) -> u64 {
    let form = InsertForm::OnConflict(returning);
    let connection = Connection::open();
    match context.shapes {
        [shape] => {
            let run = |plan: &SpiPlan| connection.insert(plan, returned);
            insert_run(&connection, context, shape, rows, form, &run)
        }
        _ => {
            // What looks at a whole statement is to see the whole call.
            let one = AfterTriggerScope::begin(&connection);
            let run = |plan: &SpiPlan| one.insert(plan, returned);
            let count = insert_runs(&connection, context, rows, form, &run);
            one.end();
            count
        }
    }
}

/// Whether the transaction may have one more subtransaction of ours; counts it.
fn claim_subtransaction() -> bool {
    thread_local! {
        static HAD: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    }
    if backend::transaction_is_read_only() {
        return false;
    }
    // A transaction that may write is about to, and gets its id now.
    let transaction = backend::transaction_id().into_inner();
    let (of, had) = HAD.get();
    let had = if of == transaction { had } else { 0 };
    HAD.set((transaction, had + 1));
    had < MAX_SUBTRANSACTIONS
}

fn insert_run_plainly(context: &WriteContext<'_>, shape: &Shape, rows: &TupleStore) -> u64 {
    let connection = Connection::open();
    let run = |plan: &SpiPlan| connection.insert(plan, None);
    insert_run(&connection, context, shape, rows, InsertForm::Plain, &run)
}

/// One statement for each run of rows of one shape, so that keys go in in order
/// whatever their shapes.
fn insert_runs(
    connection: &Connection,
    context: &WriteContext<'_>,
    rows: &mut TupleStore,
    form: InsertForm,
    run: &dyn Fn(&SpiPlan) -> u64,
) -> u64 {
    let layout = RowLayout::of(context.target);
    let mut row = Slot::for_stored(rows.desc());
    let mut part = TupleStore::new(rows.desc());
    let mut part_shape = None;
    let mut inserted = 0;
    while rows.next(&mut row) {
        pgrx::check_for_interrupts!();
        if !matches!(layout.mark(&row), Mark::Pending | Mark::Outside) {
            continue;
        }
        let shape = layout.shape(&row);
        if let Some(previous) = part_shape.replace(shape)
            && previous != shape
        {
            inserted += insert_run(
                connection,
                context,
                &context.shapes[previous],
                &part,
                form,
                run,
            );
            part = TupleStore::new(rows.desc());
        }
        part.put(&row);
    }
    if let Some(shape) = part_shape {
        inserted += insert_run(
            connection,
            context,
            &context.shapes[shape],
            &part,
            form,
            run,
        );
    }
    inserted
}

fn insert_run(
    connection: &Connection,
    context: &WriteContext<'_>,
    shape: &Shape,
    rows: &TupleStore,
    form: InsertForm,
    run: &dyn Fn(&SpiPlan) -> u64,
) -> u64 {
    let WriteContext {
        target, arbiter, ..
    } = context;
    rows.as_table(ROWS, || {
        let sql = || insert_sql(context, &shape.named, form);
        let plan = plan(connection, context, &shape.named, form, &[], sql);
        let _own_insert = OwnInsert::for_next_statement(arbiter.oid);
        let ordinal = RowLayout::of(target).ordinal_column();
        let position = context.origin.is_batch().then(|| {
            RowPosition::watch(context.origin, rows.raw(), ordinal, Some(&context.failing))
        });
        let count = run(&plan);
        drop(position);
        target.check_still_named(&plan);
        count
    })
}

/// A statement that inserts rows which are its parameters, column by column.
pub struct ValuesPlan {
    pub plan: Rc<SpiPlan>,
    /// The columns of each row, by position.
    pub columns: Vec<usize>,
}

impl ValuesPlan {
    /// For so many rows with these named columns.
    pub fn of(
        connection: &Connection,
        context: &WriteContext<'_>,
        named: &[usize],
        returning: Returning,
        rows: usize,
    ) -> Self {
        let columns: Vec<usize> = inserted_columns(context.target, named).collect();
        let of_row = columns.iter().map(|c| context.target.columns[*c].typid);
        let types: Vec<pg_sys::Oid> = (0..rows).flat_map(|_| of_row.clone()).collect();
        let form = InsertForm::Values(returning, rows);
        let sql = || values_sql(context, &columns, returning, rows);
        let plan = plan(connection, context, named, form, &types, sql);
        Self { plan, columns }
    }
}

fn plan(
    connection: &Connection,
    context: &WriteContext<'_>,
    named: &[usize],
    form: InsertForm,
    types: &[pg_sys::Oid],
    sql: impl FnOnce() -> String,
) -> Rc<SpiPlan> {
    let (target, identity) = (context.target, context.identity);
    let key = (context.arbiter.oid, named.to_vec(), identity, form);
    let statements = STATEMENTS.with(|statements| statements.of(target.id));
    if let Some(plan) = statements.borrow().get(&key) {
        return Rc::clone(plan);
    }
    refuse_identity(target, named, identity);
    let computed = context.arbiter.is_computed();
    let _literals = computed.then(LocalSettings::read_fixed_literals);
    let plan = Rc::new(SpiPlan::prepare_with(connection, &sql(), types));
    let mut statements = statements.borrow_mut();
    if statements.len() >= MAX_STATEMENTS {
        statements.clear();
    }
    statements.insert(key, Rc::clone(&plan));
    plan
}

/// ` ON CONFLICT (order_id) DO NOTHING`, and what is returned.
fn on_conflict(context: &WriteContext<'_>, returning: Returning) -> String {
    let WriteContext {
        target, arbiter, ..
    } = context;
    let key = target.column_list(arbiter.deciding_columns().iter().copied());
    // Of a foreign table, the other server knows the unique indexes.
    let arbiter = match (&arbiter.inference_clause, target.foreign) {
        (_, true) => String::new(),
        (Some(clause), _) => format!(" {clause}"),
        (None, _) => format!(" ({key})"),
    };
    let returning = match returning {
        Returning::Count => String::new(),
        Returning::Keys => format!(" RETURNING {key}"),
        Returning::Rows => {
            format!(" RETURNING {}", target.column_list(0..target.columns.len()))
        }
    };
    format!(" ON CONFLICT{arbiter} DO NOTHING{returning}")
}

/// `INSERT INTO shop.orders (order_id, amount) VALUES ($1, $2), ($3, $4) ON CONFLICT (order_id) DO
/// NOTHING`, and what it is to return.
fn values_sql(
    context: &WriteContext<'_>,
    columns: &[usize],
    returning: Returning,
    rows: usize,
) -> String {
    let insert = insert_values(context.target, columns, context.identity.clause(), rows);
    format!("{insert}{}", on_conflict(context, returning))
}

/// `INSERT INTO shop.orders (order_id, amount) VALUES ($1, $2), ($3, $4)`: so many rows of these columns. Without
/// columns, all have their defaults. The table has a column. `overriding` stands before VALUES.
pub fn insert_values(target: &Target, columns: &[usize], overriding: &str, rows: usize) -> String {
    let mut number = 0;
    let mut row = || {
        let parameter = |_| {
            number += 1;
            format!("${number}")
        };
        match columns {
            [] => "(DEFAULT)".to_owned(),
            _ => {
                let parameters: Vec<String> = columns.iter().map(parameter).collect();
                format!("({})", parameters.join(", "))
            }
        }
    };
    let rows: Vec<String> = (0..rows).map(|_| row()).collect();
    let columns = match columns {
        [] => target.column_list([0]),
        _ => target.column_list(columns.iter().copied()),
    };
    format!(
        "INSERT INTO {} ({columns}) {overriding}VALUES {}",
        target.qualified(),
        rows.join(", "),
    )
}

/// `INSERT INTO shop.orders (order_id, amount) SELECT a0, a1 FROM
/// pg_idempotent_rows WHERE a6 IS NULL ON CONFLICT (order_id) DO NOTHING`, and
/// what it is to return.
fn insert_sql(context: &WriteContext<'_>, named: &[usize], form: InsertForm) -> String {
    let WriteContext {
        target, arbiter, ..
    } = context;
    let columns = target.column_list(inserted_columns(target, named));
    let values = inserted_columns(target, named)
        .map(|c| format!("a{c}"))
        .collect::<Vec<_>>()
        .join(", ");
    let conflict = match form {
        InsertForm::Plain => String::new(),
        InsertForm::OnConflict(returning) | InsertForm::Values(returning, _) => {
            on_conflict(context, returning)
        }
    };
    // Nothing is inserted where payloads name generated columns only.
    let columns = if columns.is_empty() {
        columns
    } else {
        format!("({columns}) ")
    };
    let mark = RowLayout::of(target).mark_column();
    // Those outside of the condition are below 0.
    let outside = match arbiter.condition {
        Some(_) => format!(" OR a{mark} OPERATOR(pg_catalog.<) 0"),
        None => String::new(),
    };
    format!(
        "INSERT INTO {} {columns}{}SELECT {values} FROM {} WHERE a{mark} IS NULL{outside}{conflict}",
        target.qualified(),
        context.identity.clause(),
        ROWS.to_str().expect("ASCII"),
    )
}
