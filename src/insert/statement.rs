//! The one statement that writes: `INSERT … ON CONFLICT (key) DO NOTHING`.
//!
//! It is prepared once per table, arbiter and set of named columns, and reads
//! working rows from a tuplestore in the order in which they lie there.
use super::round::Job;
use crate::error::{Report, SqlState};
use crate::payload::row::{Layout, Mark};
use crate::payload::shape::Shape;
use crate::pg::rows::{NamedStore, Slot, Store};
use crate::pg::spi::{Connection, Plan};
use crate::pg::text;
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
pub struct Statements(HashMap<(pg_sys::Oid, Vec<usize>, bool), Rc<Plan>>);

/// What the statement says of the rows that it was given.
pub enum WentIn {
    /// So many went in.
    Count(u64),
    /// The keys of those that went in, in order.
    Keys(Store),
}

/// Inserts the plain rows in their order, those of each shape with the columns
/// that it names.
///
/// The keys of those that went in are given where the caller `wants_keys`, and
/// always where BEFORE triggers run: there the number does not tell, since they
/// may change a key, or insert it themselves.
pub fn insert(job: &Job<'_>, rows: &mut Store, wants_keys: bool) -> WentIn {
    let keys = (wants_keys || job.target.before_insert_triggers).then(Store::new);
    let connection = Connection::open();
    let count = match job.shapes {
        [shape] => insert_run(&connection, job, shape, rows, keys.as_ref()),
        _ => insert_runs(&connection, job, rows, keys.as_ref()),
    };
    drop(connection);
    keys.map_or(WentIn::Count(count), WentIn::Keys)
}

/// One statement for each run of rows of one shape, so that keys go in in order
/// whatever their shapes.
fn insert_runs(
    connection: &Connection,
    job: &Job<'_>,
    rows: &mut Store,
    keys: Option<&Store>,
) -> u64 {
    let layout = Layout::of(job.target);
    let mut row = Slot::for_stored(job.target.row_desc());
    let mut run = Store::new();
    let mut run_shape = None;
    let mut inserted = 0;
    while rows.next(&mut row) {
        if layout.mark(&row) != Mark::Plain {
            continue;
        }
        let shape = layout.shape(&row);
        if let Some(previous) = run_shape.replace(shape)
            && previous != shape
        {
            inserted += insert_run(connection, job, &job.shapes[previous], &run, keys);
            run = Store::new();
        }
        run.put(&row);
    }
    if let Some(shape) = run_shape {
        inserted += insert_run(connection, job, &job.shapes[shape], &run, keys);
    }
    inserted
}

fn insert_run(
    connection: &Connection,
    job: &Job<'_>,
    shape: &Shape,
    rows: &Store,
    keys: Option<&Store>,
) -> u64 {
    let _named = NamedStore::register(ROWS, rows, job.target.row_desc());
    let plan = plan(
        connection,
        job.target,
        job.arbiter,
        &shape.named,
        keys.is_some(),
    );
    connection.insert(&plan, keys).unwrap_or_else(|| {
        Report::new(
            SqlState::FeatureNotSupported,
            format!(
                "cannot insert or verify rows in table \"{}\"",
                job.target.name
            ),
        )
        .detail("The table has a rule that rewrites INSERT.")
        .table(&job.target.schema, &job.target.name)
        .raise()
    })
}

fn plan(
    connection: &Connection,
    target: &Target,
    arbiter: &UniqueIndex,
    named: &[usize],
    returning: bool,
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
/// `RETURNING order_id` on demand.
fn insert_sql(target: &Target, arbiter: &UniqueIndex, named: &[usize], returning: bool) -> String {
    let names = |columns: &mut dyn Iterator<Item = usize>| {
        columns
            .map(|c| text::quote_identifier(&target.columns[c].name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let columns = names(&mut named.iter().copied());
    let values = named
        .iter()
        .map(|c| format!("a{c}"))
        .collect::<Vec<_>>()
        .join(", ");
    let key = names(&mut arbiter.columns());
    let returning = if returning {
        format!(" RETURNING {key}")
    } else {
        String::new()
    };
    format!(
        "INSERT INTO {} ({columns}) SELECT {values} FROM {} WHERE a{} IS NULL \
         ON CONFLICT ({key}) DO NOTHING{returning}",
        target.qualified(),
        ROWS.to_str().expect("ASCII"),
        Layout::of(target).mark_column(),
    )
}
