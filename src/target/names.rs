//! Names: of the target, of its columns, and what is said of one that does not exist.
use super::Target;
use crate::error::{Report, SqlState};
use crate::pg::ffi;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::c_int;

impl Target {
    /// The position in [`Target::columns`] of the column with this name, given
    /// in the server's encoding.
    pub fn column_by_bytes(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The position of the column with this name; a name that is no column is error 42703.
    pub fn column_by_name(&self, name: &str) -> usize {
        self.column_by_bytes(text::to_server(name).to_bytes())
            .unwrap_or_else(|| self.no_such_column(name).raise())
    }

    /// 42703, with a hint when a column's name is close.
    pub fn no_such_column(&self, name: &str) -> Report {
        let report = Report::new(
            SqlState::UndefinedColumn,
            format!(
                "column \"{}\" of relation \"{}\" does not exist",
                text::abbreviated(name),
                self.name
            ),
        )
        .table(&self.schema, &self.name);
        match closest(name, self.columns.iter().map(|c| c.name.as_str())) {
            Some(close) => report.hint(format!(
                "Perhaps you meant to reference the column \"{}.{close}\".",
                self.name
            )),
            None => report,
        }
    }

    /// 22023 for a column that an option must not name, and why.
    pub fn cannot_be_in(&self, column: usize, what: &str, option: &str) -> Report {
        let name = &self.columns[column].name;
        Report::new(
            SqlState::InvalidParameterValue,
            format!("column \"{name}\" {what} and cannot be in \"{option}\""),
        )
        .table(&self.schema, &self.name)
        .column(name.clone())
    }

    /// 55000: the name that a statement used is that of another table now.
    pub fn renamed_meanwhile(&self) -> Report {
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!(
                "table \"{}\" or its schema was renamed while the call ran",
                self.name
            ),
        )
        .hint("Call it again.")
        .table(&self.schema, &self.name)
    }

    /// The quoted, schema-qualified name.
    pub fn qualified(&self) -> String {
        format!(
            "{}.{}",
            text::quote_identifier(&self.schema),
            text::quote_identifier(&self.name)
        )
    }

    /// That of the partitioned table that it is a partition of, for what is done to columns
    /// of all partitions at once; else its own.
    pub fn qualified_root(&self) -> String {
        // SAFETY: look-ups in catalogs, which give null for what is gone, and copies that the
        // current memory keeps; a table that is no partition is its own root.
        unsafe {
            let root = ffi::partition_root(self.oid);
            let (schema, name) = (pg_sys::get_rel_namespace(root), pg_sys::get_rel_name(root));
            let schema = pg_sys::get_namespace_name(schema);
            if root == self.oid || name.is_null() || schema.is_null() {
                return self.qualified();
            }
            format!(
                "{}.{}",
                text::quote_identifier(&text::from_server(schema)),
                text::quote_identifier(&text::from_server(name))
            )
        }
    }

    /// The names of columns, by position, quoted and separated by commas.
    pub fn column_list(&self, columns: impl IntoIterator<Item = usize>) -> String {
        let names = columns
            .into_iter()
            .map(|c| text::quote_identifier(&self.columns[c].name));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The name that is closest to `name`, if one is close: the same but for case,
/// or at most three edits away and no more than half of its letters, as core
/// has it for columns in queries.
pub fn closest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Core's distance reads characters of the server's encoding.
    let comparable = |name: &str| text::server_is_utf8() || name.is_ascii();
    if name.len() > pg_sys::NAMEDATALEN as usize * 2 || !comparable(name) {
        return None;
    }
    let candidates = candidates.filter(|candidate| comparable(candidate));
    let name = name.to_lowercase();
    let limit = (name.chars().count() / 2).min(3) as c_int;
    let distance = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // SAFETY: pointers with their lengths; «trusted» lifts the limit of
        // 255 bytes, which names of columns keep to anyway.
        unsafe {
            pg_sys::varstr_levenshtein_less_equal(
                name.as_ptr().cast(),
                name.len() as c_int,
                candidate.as_ptr().cast(),
                candidate.len() as c_int,
                1,
                1,
                1,
                limit,
                true,
            )
        }
    };
    candidates
        .map(|candidate| (distance(candidate), candidate))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, candidate)| candidate)
}
