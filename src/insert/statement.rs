//! The one statement that writes: `INSERT … ON CONFLICT (key) DO NOTHING`.
//!
//! It is prepared once per table, arbiter and set of named columns, and reads
//! working rows from a tuplestore in the order in which they lie there.
use super::round::Job;
use crate::guard::StepAside;
use crate::payload::row::{Layout, Mark};
use crate::payload::shape::Shape;
use crate::pg::rows::{NamedStore, Slot, Store};
use crate::pg::spi::{Connection, OneStatement, Plan};
use crate::target::{Target, UniqueIndex};
use pgrx::pg_sys;
use std::collections::HashMap;
use std::ffi::CStr;
use std::rc::Rc;

/// The name under which the statement sees the rows. A name of a tuplestore
/// goes before any table's.
const ROWS: &CStr = c"pg_idempotent_rows";

/// Beyond this many statements a table's cache starts anew: payloads with ever
/// new sets of columns keep flat memory.
const MOST: usize = 64;

/// The prepared statements of one target.
#[derive(Default)]
pub struct Statements(HashMap<(pg_sys::Oid, Vec<usize>, Returning), Rc<Plan>>);

/// What the statement is to say of the rows that went in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Returning {
    /// How many.
    Count,
    /// Their keys, rows of `UniqueIndex::key_desc`, in order.
    Keys,
    /// All their columns, as in a working row, in order.
    Rows,
}

/// Inserts the plain rows in their order, those of each shape with the columns
/// that it names. Gives the number of those that went in, and what they return.
pub fn insert(job: &Job<'_>, rows: &mut Store, returning: Returning) -> (u64, Option<Store>) {
    let returned = (returning != Returning::Count).then(Store::new);
    let connection = Connection::open();
    let count = match job.shapes {
        [shape] => {
            let run = |plan: &Plan| connection.insert(plan, returned.as_ref());
            insert_run(&connection, job, shape, rows, returning, &run)
        }
        _ => {
            // What looks at a whole statement is to see the whole call.
            let one = OneStatement::begin(&connection);
            let run = |plan: &Plan| one.insert(plan, returned.as_ref());
            let count = insert_runs(&connection, job, rows, returning, &run);
            one.end();
            count
        }
    };
    drop(connection);
    (count, returned)
}

/// One statement for each run of rows of one shape, so that keys go in in order
/// whatever their shapes.
fn insert_runs(
    connection: &Connection,
    job: &Job<'_>,
    rows: &mut Store,
    returning: Returning,
    run: &dyn Fn(&Plan) -> u64,
) -> u64 {
    let layout = Layout::of(job.target);
    let mut row = Slot::for_stored(job.target.row_desc());
    let mut part = Store::new();
    let mut part_shape = None;
    let mut inserted = 0;
    while rows.next(&mut row) {
        if layout.mark(&row) != Mark::Plain {
            continue;
        }
        let shape = layout.shape(&row);
        if let Some(previous) = part_shape.replace(shape)
            && previous != shape
        {
            inserted += insert_run(
                connection,
                job,
                &job.shapes[previous],
                &part,
                returning,
                run,
            );
            part = Store::new();
        }
        part.put(&row);
    }
    if let Some(shape) = part_shape {
        inserted += insert_run(connection, job, &job.shapes[shape], &part, returning, run);
    }
    inserted
}

fn insert_run(
    connection: &Connection,
    job: &Job<'_>,
    shape: &Shape,
    rows: &Store,
    returning: Returning,
    run: &dyn Fn(&Plan) -> u64,
) -> u64 {
    let _named = NamedStore::register(ROWS, rows, job.target.row_desc());
    let plan = plan(connection, job.target, job.arbiter, &shape.named, returning);
    let _aside = StepAside::for_next_statement(job.arbiter.oid);
    let count = run(&plan);
    if !plan.concerns(job.target.oid) {
        job.target.renamed_meanwhile().raise()
    }
    count
}

fn plan(
    connection: &Connection,
    target: &Target,
    arbiter: &UniqueIndex,
    named: &[usize],
    returning: Returning,
) -> Rc<Plan> {
    let key = (arbiter.oid, named.to_vec(), returning);
    if let Some(plan) = target.statements.borrow().0.get(&key) {
        return Rc::clone(plan);
    }
    let plan = Rc::new(Plan::prepare(
        connection,
        &insert_sql(target, arbiter, named, returning),
    ));
    let statements = &mut target.statements.borrow_mut().0;
    if statements.len() >= MOST {
        statements.clear();
    }
    statements.insert(key, Rc::clone(&plan));
    plan
}

/// `INSERT INTO shop.orders (order_id, amount) SELECT a0, a1 FROM
/// pg_idempotent_rows WHERE a6 IS NULL ON CONFLICT (order_id) DO NOTHING`, and
/// what it is to return.
fn insert_sql(
    target: &Target,
    arbiter: &UniqueIndex,
    named: &[usize],
    returning: Returning,
) -> String {
    let columns = target.column_list(named.iter().copied());
    let values = named
        .iter()
        .map(|c| format!("a{c}"))
        .collect::<Vec<_>>()
        .join(", ");
    let key = target.column_list(arbiter.columns());
    let returning = match returning {
        Returning::Count => String::new(),
        Returning::Keys => format!(" RETURNING {key}"),
        Returning::Rows => format!(" RETURNING {}", target.column_list(0..target.columns.len())),
    };
    let arbiter = arbiter
        .own_name
        .clone()
        .unwrap_or_else(|| format!("({key})"));
    format!(
        "INSERT INTO {} ({columns}) SELECT {values} FROM {} WHERE a{} IS NULL \
         ON CONFLICT {arbiter} DO NOTHING{returning}",
        target.qualified(),
        ROWS.to_str().expect("ASCII"),
        Layout::of(target).mark_column(),
    )
}
