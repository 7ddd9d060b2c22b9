//! The ranges of a key by which a sketch cuts a table: where they begin, and how SQL names them.
//!
//! The bounds are quantiles of a sample of the target, or of the source if the target is a foreign
//! table. They say what belongs together, and nothing about what is equal: with bad bounds, more rows
//! are read than necessary.
use crate::digest::sketch_plan::MAX_RANGES;
use crate::pg::statement::spi::Connection;
use crate::target::{Column, Target, UniqueIndex};
use pgrx::pg_sys;

/// So many bytes of a table are a range.
const RANGE_BYTES: i64 = 1 << 18;

/// So many rows of the sample are a range, on average.
const ROWS_OF_SAMPLE: i64 = 16;

/// So many pages of a table are read for each range: with fewer, ranges would be of very different
/// sizes where rows that lie together have keys that do; of more, most rows would be thrown away.
const PAGES_OF_SAMPLE: i64 = 8;

/// So many pages are read in all.
const MAX_PAGES_OF_SAMPLE: i64 = 8192;

/// Where a range begins.
pub struct Bound {
    /// The place of this value in the order of its type, as the sketch knows it.
    pub position: i64,
    /// The value, as an SQL expression.
    literal: String,
}

/// The ranges of the first column of a key.
pub struct Ranges {
    /// Where the second and each further range begins; empty if there is but one.
    pub bounds: Vec<Bound>,
    /// The column, quoted.
    column: String,
}

impl Ranges {
    /// Ranges of the rows of one side, which take so many bytes; one range for keys of whose order the
    /// sketch knows nothing, and where no side can be sampled.
    pub fn of_sample(
        connection: &Connection,
        target: &Target,
        arbiter: &UniqueIndex,
        bytes: i64,
        from: Option<String>,
    ) -> Self {
        let first = arbiter.keys[0].column;
        let column = target.column_list([first]);
        let bounds = match KeyType::of(&target.columns[first]).zip(from) {
            Some((key_type, from)) => {
                let sql = sample(&column, key_type, bytes, &from);
                connection.query(&sql, &[]);
                let texts = connection.first_texts(1).unwrap_or_default();
                let bounds = texts.iter().flatten();
                bounds.filter_map(|text| key_type.bound(text)).collect()
            }
            None => Vec::new(),
        };
        Self {
            bounds: in_order(bounds),
            column,
        }
    }

    /// Where the second and each further range begins, as the sketch knows it.
    pub fn positions(&self) -> Vec<i64> {
        self.bounds.iter().map(|bound| bound.position).collect()
    }

    /// The condition for the rows from the range `begin` up to the range `end`.
    pub fn condition(&self, (begin, end): (usize, usize)) -> String {
        let bound = |i: usize| self.bounds.get(i).map(|bound| bound.literal.as_str());
        let from = begin.checked_sub(1).and_then(bound);
        let to = end.checked_sub(1).and_then(bound);
        let compare = |operator: &str, literal: Option<&str>| {
            let literal = literal?;
            Some(format!(
                "{} OPERATOR(pg_catalog.{operator}) {literal}",
                self.column
            ))
        };
        match (compare(">=", from), compare("<", to)) {
            (Some(from), Some(to)) => format!("({from} AND {to})"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "true".to_owned(),
        }
    }
}

/// Bounds in order, each once, and not too many.
fn in_order(mut bounds: Vec<Bound>) -> Vec<Bound> {
    bounds.sort_by_key(|bound| bound.position);
    bounds.dedup_by_key(|bound| bound.position);
    bounds.truncate(MAX_RANGES - 1);
    bounds
}

/// The query for bounds: `text[]`, each as [`KeyType::bound`] reads it.
///
/// It reads the pages of a sample, and of their rows so many that each range has some: rows that lie
/// together often have keys that do.
fn sample(column: &str, key_type: KeyType, bytes: i64, from: &str) -> String {
    let pages = (bytes / i64::from(pg_sys::BLCKSZ)).max(1);
    let ranges = (bytes / RANGE_BYTES).clamp(1, MAX_RANGES as i64);
    let sampled = pages.min((ranges * PAGES_OF_SAMPLE).min(MAX_PAGES_OF_SAMPLE));
    let percent = (100.0 * sampled as f64 / pages as f64).min(100.0);
    let share = ((ranges * ROWS_OF_SAMPLE) as f64 / (sampled * 64) as f64).min(1.0);
    let (base, text) = key_type.sql();
    format!(
        "SELECT pg_catalog.array_agg({text}) FROM (\
            SELECT pg_catalog.unnest(pg_catalog.percentile_disc((\
                SELECT pg_catalog.array_agg(i OPERATOR(pg_catalog./) {ranges}::pg_catalog.float8) \
                FROM pg_catalog.generate_series(1, {last}) AS i)) \
            WITHIN GROUP (ORDER BY {column}::{base})) AS bound \
            {from} TABLESAMPLE SYSTEM ({percent}) \
            WHERE pg_catalog.random() OPERATOR(pg_catalog.<) {share}::pg_catalog.float8) AS bounds",
        last = ranges - 1,
    )
}

/// A type of whose order the sketch knows something.
#[derive(Clone, Copy)]
enum KeyType {
    Integer,
    Date,
    Timestamp,
    Timestamptz,
    Uuid,
}

impl KeyType {
    fn of(column: &Column) -> Option<Self> {
        Some(match column.base_type() {
            pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => Self::Integer,
            pg_sys::DATEOID => Self::Date,
            pg_sys::TIMESTAMPOID => Self::Timestamp,
            pg_sys::TIMESTAMPTZOID => Self::Timestamptz,
            pg_sys::UUIDOID => Self::Uuid,
            _ => return None,
        })
    }

    /// The name of the type, and SQL that gives a bound as a text: the position, a blank, and the
    /// value as JSON has it, which every session reads alike; NULL for infinity.
    fn sql(self) -> (&'static str, String) {
        let shown = "pg_catalog.to_json(bound) OPERATOR(pg_catalog.#>>) '{}'";
        let at = |position: &str| {
            format!(
                "CASE WHEN pg_catalog.isfinite(bound) THEN ({position})::pg_catalog.int8 \
                 OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) ({shown}) END"
            )
        };
        let microseconds = "(pg_catalog.extract('epoch', bound) OPERATOR(pg_catalog.-) 946684800) \
                            OPERATOR(pg_catalog.*) 1000000";
        match self {
            Self::Integer => ("pg_catalog.int8", "bound::pg_catalog.text".to_owned()),
            Self::Uuid => ("pg_catalog.uuid", "bound::pg_catalog.text".to_owned()),
            Self::Date => (
                "pg_catalog.date",
                at("bound OPERATOR(pg_catalog.-) '2000-01-01'::pg_catalog.date"),
            ),
            Self::Timestamp => ("pg_catalog.timestamp", at(microseconds)),
            Self::Timestamptz => ("pg_catalog.timestamptz", at(microseconds)),
        }
    }

    /// A bound, as the query gives it.
    fn bound(self, text: &str) -> Option<Bound> {
        let (position, literal) = match self {
            Self::Integer => (text.parse().ok()?, format!("'{text}'::pg_catalog.int8")),
            Self::Uuid => {
                // The sketch looks at the first half.
                let digits: String = text.chars().filter(|c| *c != '-').take(16).collect();
                let first = u64::from_str_radix(&digits, 16).ok()?;
                let literal = format!("'{digits}{:016}'::pg_catalog.uuid", 0);
                ((first ^ 1 << 63) as i64, literal)
            }
            Self::Date | Self::Timestamp | Self::Timestamptz => {
                let (position, value) = text.split_once(' ')?;
                let (name, _) = self.sql();
                (position.parse().ok()?, format!("'{value}'::{name}"))
            }
        };
        Some(Bound { position, literal })
    }
}
