//! Names: of the target, of its columns, and what is said of one that does not exist.
use super::Target;
use super::closest::closest;
use crate::error::{Report, SqlState};
use crate::pg::catalog::name::qualified_name;
use crate::pg::catalog::relation::partition_root;
use crate::pg::statement::spi::SpiPlan;
use crate::pg::value::text;
use pgrx::pg_sys;

impl Target {
    /// The position in [`Target::columns`] of the column with this name, given
    /// in the server's encoding.
    pub fn column_by_bytes(&self, name: &[u8]) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The position of the column with this name; a name that is no column is error 42703.
    pub fn column_by_name(&self, name: &str) -> usize {
        let column = self.column_by_bytes(text::to_server(name).to_bytes());
        column.unwrap_or_else(|| self.no_such_column(name).raise())
    }

    /// The position of the column that an option names.
    ///
    /// # Errors
    /// 42703
    pub fn column_in(&self, name: &str, option: &str) -> Result<usize, Box<Report>> {
        self.column_by_bytes(text::to_server(name).to_bytes())
            .ok_or_else(|| Box::new(self.no_such_column_in(name, option)))
    }

    /// 42703 for a name in an option.
    pub fn no_such_column_in(&self, name: &str, option: &str) -> Report {
        self.no_such_column(name)
            .detail(format!("It is named in \"{option}\"."))
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
        match closest_name(name, self.columns.iter().map(|c| c.name.as_str())) {
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

    /// Checks that a statement that names it means it.
    ///
    /// # Errors
    /// 55000, see [`Target::renamed_meanwhile`].
    pub fn check_still_named(&self, plan: &SpiPlan) {
        if !plan.concerns(self.oid) {
            self.renamed_meanwhile().raise()
        }
    }

    /// Its own rows, or its partitions': as a statement names it without the tables that inherit from it.
    pub fn own_rows(&self) -> String {
        let only = if self.partitioned { "" } else { "ONLY " };
        format!("{only}{}", self.qualified())
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
        let root = partition_root(self.oid);
        if root == self.oid {
            return self.qualified();
        }
        // One that is gone meanwhile has no name.
        qualified_name(root).unwrap_or_else(|| self.qualified())
    }

    /// The names of columns, by position, quoted and separated by commas.
    pub fn column_list(&self, columns: impl IntoIterator<Item = usize>) -> String {
        let names = columns
            .into_iter()
            .map(|c| text::quote_identifier(&self.columns[c].name));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The name that is closest to `name`, if one is close.
fn closest_name<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // As core's, which compares characters of the server's encoding.
    let comparable = |name: &str| text::server_is_utf8() || name.is_ascii();
    if name.len() > pg_sys::NAMEDATALEN as usize * 2 || !comparable(name) {
        return None;
    }
    closest(name, candidates.filter(|candidate| comparable(candidate)))
}
