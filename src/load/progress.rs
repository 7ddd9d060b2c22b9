//! NOTICEs on how far a load has come, at a human pace.
use super::record::LoadCounts;
use crate::error::{Line, notice};
use crate::pg::backend::clock;
use crate::pg::value::text;
use crate::target::Target;
use std::cell::Cell;
use std::ffi::CString;
use std::fmt::Write;

const SECOND: i64 = 1_000_000;
/// Who waits no longer than this needs no news;
const FIRST_NOTICE_AFTER: i64 = 2 * SECOND;
/// then some every few seconds.
const NOTICE_INTERVAL: i64 = 5 * SECOND;

/// Says how far a load has come.
pub struct Progress {
    name: String,
    server_name: CString,
    started: i64,
    /// When rows began to go in.
    loading_since: Cell<i64>,
    /// When there will be news.
    due: Cell<i64>,
}

impl Progress {
    /// Of a load that begins now.
    pub fn start(target: &Target) -> Self {
        let started = clock();
        Self {
            name: target.name.clone(),
            server_name: text::to_server(&target.name),
            started,
            loading_since: Cell::new(started),
            due: Cell::new(started + FIRST_NOTICE_AFTER),
        }
    }

    /// The name of the target.
    pub fn target(&self) -> &str {
        &self.name
    }

    /// So many rows of the source are read.
    pub fn reading(&self, rows: i64) {
        let Some(now) = self.is_due() else { return };
        let mut line = self.line("reading rows for");
        let speed = per_second(rows, now - self.started);
        let _ = write!(line, "{rows} rows, {speed} rows/s");
        notice(&line);
    }

    /// Rows begin to go in.
    pub fn start_loading(&self) {
        self.loading_since.set(clock());
    }

    /// Another batch is committed, of so many rows in all.
    pub fn loading(&self, counts: &LoadCounts, total: i64) {
        let Some(now) = self.is_due() else { return };
        let mut line = self.line("loading");
        let (done, speed) = (
            counts.rows,
            per_second(counts.rows, now - self.loading_since.get()),
        );
        let share = done * 100 / total.max(1);
        let left = (total - done) / speed.max(1);
        let _ = write!(
            line,
            "{done} of {total} rows ({share} %), {speed} rows/s, {left} s left"
        );
        notice(&line);
    }

    /// All is done.
    pub fn loaded(&self, counts: &LoadCounts) {
        let seconds = (clock() - self.started) as f64 / SECOND as f64;
        self.ended(counts, &format!("in {seconds:.1} s"));
    }

    /// An earlier load with this token has done it.
    pub fn replayed(&self, counts: &LoadCounts) {
        self.ended(counts, "by an earlier load with this token");
    }

    fn ended(&self, counts: &LoadCounts, how: &str) {
        let mut line = self.line("loaded");
        let LoadCounts {
            rows,
            inserted,
            duplicates,
            conflicts,
            rejected,
            ..
        } = counts;
        let _ = write!(
            line,
            "{} {how}: {inserted} inserted, {}, {}",
            counted(*rows, "row"),
            counted(*duplicates, "duplicate"),
            counted(*conflicts, "conflict")
        );
        if *rejected > 0 {
            let _ = write!(line, ", {rejected} rejected");
        }
        notice(&line);
    }

    /// The time, if there is to be news.
    fn is_due(&self) -> Option<i64> {
        let now = clock();
        (now >= self.due.get()).then(|| {
            self.due.set(now + NOTICE_INTERVAL);
            now
        })
    }

    /// `loading "flights": `
    fn line(&self, what: &str) -> Line {
        let mut line = Line::new();
        line.push(what.as_bytes());
        line.push(b" \"");
        line.push(self.server_name.as_bytes());
        line.push(b"\": ");
        line
    }
}

/// So many of something.
fn counted(count: i64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

fn per_second(rows: i64, microseconds: i64) -> i64 {
    (i128::from(rows) * i128::from(SECOND) / i128::from(microseconds.max(1))) as i64
}
