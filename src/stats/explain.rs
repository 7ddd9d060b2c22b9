//! `EXPLAIN (ANALYZE, IDEMPOTENT)`: what one statement has counted.
//!
//! The counts are those of the statement and of what it calls, for each table and form, whether shared counters
//! get them or not. PostgreSQL 18 is the first to take in options of extensions.
use super::form::{Form, Rows};
use super::pending::{Explained, begin_explained, end_explained};
use super::table::Counts;
use crate::enum_text;
use crate::pg::catalog::name::qualified_name;
use crate::pg::explain::{self, ExplainLine, ExplainOption};
use crate::text;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::{CStr, CString};

thread_local! {
    static BEFORE: RefCell<Option<Explained>> = const { RefCell::new(None) };
}

/// What is shown, with its label, its word in a line, and whether a line has it even if it is 0.
const SHOWN: [(Rows, &CStr, &str, bool); 8] = [
    (Rows::Inserted, c"Inserted", "inserted", true),
    (Rows::Updated, c"Updated", "updated", false),
    (Rows::Deleted, c"Deleted", "deleted", false),
    (Rows::Duplicates, c"Duplicates", "duplicates", true),
    (Rows::Superseded, c"Superseded", "superseded", false),
    (Rows::Conflicts, c"Conflicts", "conflicts", true),
    (Rows::Rejected, c"Rejected", "rejected", false),
    (Rows::Waits, c"Waits", "waits", true),
];

/// Makes the option known to the server.
pub fn register() {
    explain::register(ExplainOption {
        name: c"idempotent",
        begin: || BEFORE.set(Some(begin_explained())),
        end,
    });
}

fn end() -> Vec<ExplainLine> {
    let before = BEFORE.take();
    end_explained();
    let counted = before.map(|before| before.since()).unwrap_or_default();
    // For the next statement that a rule has made.
    BEFORE.set(Some(begin_explained()));
    let of_rows = |one: &&(pg_sys::Oid, Form, Counts)| one.0 != pg_sys::InvalidOid;
    counted.iter().filter(of_rows).map(line).collect()
}

fn line((relation, form, counts): &(pg_sys::Oid, Form, Counts)) -> ExplainLine {
    let name = qualified_name(*relation).unwrap_or_else(|| relation.to_u32().to_string());
    let form = enum_text::name(*form);
    let number = |counter: Rows| counts[counter as usize];
    let words = SHOWN.iter().filter(|one| one.3 || number(one.0) > 0);
    let words: Vec<String> = words
        .map(|(counter, _, word, _)| format!("{word}={}", number(*counter)))
        .collect();
    let text = format!("{form} on {name}: {}", words.join(" "));
    ExplainLine {
        texts: vec![
            (c"Form", CString::new(form).unwrap_or_default()),
            (c"Relation", text::to_server(&name)),
        ],
        numbers: SHOWN
            .iter()
            .map(|(counter, label, ..)| (*label, number(*counter)))
            .collect(),
        line: text::to_server(&text),
    }
}
