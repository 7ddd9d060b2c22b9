//! Which rows of two tables may deviate, found by sketches of both.
//!
//! Each side computes a [sketch](crate::digest::sketch_plan) of its rows where they are: a foreign
//! server computes its own and sends it, a local table is read by parallel workers. Only rows in
//! cells that differ are then read, and judged as before.
//!
//! # Why no deviation is missed
//! - A row that only one side has, or that the two sides have with other values, adds to three cells
//!   of one side what nothing on the other side adds. Two cells agree all the same with a probability
//!   of 2^-64, since the hashes are keyed with a number that is drawn for the call.
//! - A row that both sides have alike has the same cells on both: it is read from both or from
//!   neither. What counts as alike here (the canonical bytes of the digest) counts as equal for the
//!   comparison, which is why columns of some types are not compared this way, see [`has_same_values`].
//!   Compared values that are equal in other bytes (`citext`) only cause more rows to be read.
//! - Of rows with one key, all are read or none: a second row of the source under the key of a stored
//!   row is judged with that. This is why keys are compared this way only if equal ones have the same
//!   bytes, see [`has_same_keys`]; and why a range of the key is the same on both sides.
//! - A row with a NULL in the key, where that equals nothing, is in no cell and always read.
use super::ranges::Ranges;
use super::same_bytes::{has_same_keys, has_same_values};
use super::same_rows::have_same_rows;
use crate::digest::bounds::Bounds;
use crate::digest::sketch_plan::{MAX_POWER, SketchPlan, Suspects};
use crate::error::{Line, notice};
use crate::payload::source::Source;
use crate::pg::backend::unforeseeable_number;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::target::{Target, UniqueIndex, is_null};
use pgrx::pg_sys;
use std::fmt::Write;

/// A target smaller than this is read.
const MIN_BYTES: i64 = 1 << 19;

/// Two tables of which none is here are not taken for smaller.
const MIN_FOREIGN_BYTES: i64 = 1 << 26;

/// So many bytes of a table share a cell.
const CELL_BYTES: i64 = 1 << 14;

/// Beyond this share of rows that may deviate, all are read.
const MAX_SHARE: f64 = 0.5;

/// So many ranges are named in a statement.
const MAX_RUNS: usize = 64;

/// So many columns fit in a sketch: an aggregate takes its state besides the arguments, of which the
/// first is the plan.
const MAX_COLUMNS: usize = pg_sys::FUNC_MAX_ARGS as usize - 2;

/// What is compared.
pub struct Sides<'a, 't> {
    pub target: &'a Target,
    pub arbiter: &'a UniqueIndex,
    /// The compared columns.
    pub compared: &'a [usize],
    pub stored: &'a Source<'t>,
    pub source: &'a Source<'t>,
}

/// Which rows are read.
pub enum Reading {
    All,
    /// The two sides agree.
    None,
    Suspects(SuspectedRows),
}

/// Rows that may deviate.
pub struct SuspectedRows {
    suspects: Suspects,
    ranges: Ranges,
}

impl Sides<'_, '_> {
    /// Compares sketches of the two sides, where that is possible and pays.
    pub fn compare(&self, few_are_wanted: bool) -> Reading {
        if !self.comparable() {
            return Reading::All;
        }
        let connection = Connection::open();
        let local = [self.stored, self.source]
            .into_iter()
            .find(|side| side.can_be_sampled());
        let bytes = match local {
            Some(side) => size(&connection, side.oid()),
            // What ANALYZE has found of the foreign table.
            None => self.stored.bytes_analyzed().max(MIN_FOREIGN_BYTES),
        };
        if bytes < MIN_BYTES {
            return Reading::All;
        }
        if self.may_be_alike() && have_same_rows(self.stored, self.source) {
            return Reading::None;
        }
        let from = local.map(Source::from);
        let ranges = Ranges::of_sample(&connection, self.target, self.arbiter, bytes, from);
        let plan = SketchPlan {
            seed: [unforeseeable_number(), unforeseeable_number()],
            nulls_equal: self.arbiter.nulls_equal,
            keys: self.arbiter.keys.len() as u8,
            power: power(bytes),
            bounds: Bounds::new(ranges.positions()),
        };
        let sql = self.sketches(&plan);
        // Compiling the expressions takes longer than it saves.
        let _settings = LocalSettings::set(&[(c"jit", c"off")]);
        if !self.is_computed_there(&connection, &sql) {
            return Reading::All;
        }
        connection.query(&sql, &[]);
        let sketches = connection.first_bytes(1).unwrap_or_default();
        match Suspects::between(plan, &sketches) {
            Some(suspects) if suspects.is_empty() && !self.may_have_lone_keys() => Reading::None,
            Some(suspects) if few_are_wanted || suspects.share() <= MAX_SHARE => {
                Reading::Suspects(SuspectedRows { suspects, ranges })
            }
            _ => Reading::All,
        }
    }

    /// Whether two sides with the same rows agree: no row has a NULL in its key, which would equal no other.
    /// What one side cannot have, the other does not have either, if the rows are the same.
    fn may_be_alike(&self) -> bool {
        let nullable = |c| self.stored.may_be_null(c) && self.source.may_be_null(c);
        self.arbiter.nulls_equal || !self.arbiter.columns().any(nullable)
    }

    /// Whether a row of either side may have a NULL in its key, which makes it equal to no other.
    fn may_have_lone_keys(&self) -> bool {
        !self.arbiter.nulls_equal && self.may_have_null_keys()
    }

    /// Whether a row of either side may have a NULL in its key.
    fn may_have_null_keys(&self) -> bool {
        let nullable = |c| self.stored.may_be_null(c) || self.source.may_be_null(c);
        self.arbiter.columns().any(nullable)
    }

    /// Whether rows of one sketch on both sides are equal, and rows with one key are in the same cells.
    fn comparable(&self) -> bool {
        let columns = &self.target.columns;
        let mut compared = self.compared.iter();
        !self.arbiter.is_computed()
            && self.columns().count() <= MAX_COLUMNS
            && self.arbiter.keys.iter().all(|key| {
                let of = self.source.type_of(key.column);
                of.is_some_and(|of| has_same_keys(of, &columns[key.column], key))
            })
            && compared.all(|c| {
                let of = self.source.type_of(*c);
                of.is_some_and(|(of, _)| has_same_values(of, columns[*c].typid))
            })
    }

    /// The key, then the compared columns.
    fn columns(&self) -> impl Iterator<Item = usize> {
        self.arbiter.columns().chain(self.compared.iter().copied())
    }

    /// One statement for both sketches, one behind the other, in whatever order: so a foreign server
    /// can work at the same time.
    fn sketches(&self, plan: &SketchPlan) -> String {
        let columns = self.target.column_list(self.columns());
        let plan = literal(&plan.to_bytes());
        let sketch = |side: &Source<'_>| {
            let from = side.from();
            format!("SELECT idempotent.sketch({plan}, {columns}) AS sketch {from}")
        };
        format!(
            "SELECT pg_catalog.string_agg(sketch, '') FROM ({} UNION ALL {}) AS sides",
            sketch(self.stored),
            sketch(self.source),
        )
    }

    /// Whether no foreign server sends its rows instead of a sketch. A view is read twice only if it
    /// is computed by one.
    fn is_computed_there(&self, connection: &Connection, sql: &str) -> bool {
        connection.execute(&format!("EXPLAIN (VERBOSE, COSTS OFF) {sql}"), &[]);
        let plan = connection.all_texts();
        let scans = plan.iter().filter(|line| {
            let node = line.trim_start().trim_start_matches("->  ");
            node.trim_start_matches("Async ")
                .starts_with("Foreign Scan")
        });
        let sketches = plan.iter().filter(|line| {
            let line = line.trim_start();
            line.starts_with("Remote SQL: SELECT ") && line.contains("idempotent.sketch(")
        });
        let (scans, sketches) = (scans.count(), sketches.count());
        // A scan that sends a sketch names no table; an alias may follow the name of one.
        for side in [self.stored, self.source] {
            let scan = format!("Foreign Scan on {} ", side.qualified());
            let is_fetched = plan.iter().any(|line| format!("{line} ").contains(&scan));
            if is_fetched && side.kind() == pg_sys::RELKIND_FOREIGN_TABLE {
                tell_that_rows_are_fetched(&side.name());
            }
        }
        let of_target = usize::from(self.target.foreign);
        scans == sketches && (self.source.kind() != pg_sys::RELKIND_VIEW || sketches > of_target)
    }
}

impl SuspectedRows {
    /// The conditions for the target and for the source: of all suspected rows, or, where few are
    /// wanted, of one part of them after the other, in the order of the key.
    pub fn conditions(&self, sides: &Sides<'_, '_>, few_are_wanted: bool) -> Vec<[String; 2]> {
        let runs = self.suspects.runs();
        let both = |runs: &[(usize, usize)]| {
            [sides.stored, sides.source].map(|side| self.condition(sides, side, runs))
        };
        // A row with a NULL in its key would be in every part.
        if !few_are_wanted || self.ranges.bounds.is_empty() || sides.may_have_null_keys() {
            return vec![both(&runs)];
        }
        let ranges: Vec<(usize, usize)> = runs
            .into_iter()
            .flat_map(|(begin, end)| (begin..end).map(|range| (range, range + 1)))
            .collect();
        let mut parts = Vec::new();
        let mut rest = ranges.as_slice();
        let mut size = 1;
        while !rest.is_empty() {
            let (part, others) = rest.split_at(rest.len().min(size));
            parts.push(both(part));
            rest = others;
            size = (size * 2).min(MAX_RUNS);
        }
        parts
    }

    /// The condition for those of one side in some runs of ranges.
    fn condition(
        &self,
        sides: &Sides<'_, '_>,
        side: &Source<'_>,
        runs: &[(usize, usize)],
    ) -> String {
        let target = sides.target;
        let key = target.column_list(sides.arbiter.columns());
        let suspects = literal(&self.suspects.to_bytes());
        let suspected = format!("idempotent.in_sketch({suspects}, {key})");
        if self.ranges.bounds.is_empty() || runs.len() > MAX_RUNS {
            return format!("WHERE {suspected}");
        }
        // NULL is in no range.
        let nullable = sides.arbiter.columns().filter(|c| side.may_be_null(*c));
        let nulls = nullable.map(|c| is_null(&target.column_list([c])));
        let ranges = runs.iter().map(|run| self.ranges.condition(*run));
        let ranges: Vec<String> = ranges.chain(nulls).collect();
        if ranges.is_empty() {
            return "WHERE false".to_owned();
        }
        format!("WHERE ({}) AND {suspected}", ranges.join(" OR "))
    }
}

/// How many bytes the rows of a table take, its partitions' included.
fn size(connection: &Connection, table: pg_sys::Oid) -> i64 {
    let sql = "SELECT (pg_catalog.pg_relation_size($1) OPERATOR(pg_catalog.+) COALESCE(( \
                   SELECT pg_catalog.sum(pg_catalog.pg_relation_size(relid)) \
                   FROM pg_catalog.pg_partition_tree($1) WHERE isleaf), 0))::pg_catalog.int8";
    connection.query(sql, &[SqlValue::regclass(table)]);
    let size = connection.first_of(1, pg_sys::INT8OID);
    size.map_or(0, |size| size.value() as i64)
}

/// How many cells a table of so many bytes has, as a power of two.
fn power(bytes: i64) -> u8 {
    let cells = (bytes / CELL_BYTES).max(64) as u64;
    (cells.next_power_of_two().ilog2() as u8).min(MAX_POWER)
}

/// Bytes as an SQL expression that does not depend on a setting.
fn literal(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("pg_catalog.decode('{hex}', 'hex')")
}

fn tell_that_rows_are_fetched(name: &str) {
    let mut line = Line::new();
    line.push(b"all rows of foreign table \"");
    line.push(text::to_server(name).to_bytes());
    line.push(b"\" are fetched, because its server does not compare them");
    notice(&line);
}
