//! What can be done where no unique index decides: SQL that runs, or why none does.
use super::partition::{PartitionKeyColumns, partition_key_columns};
use super::{Column, Target, UniqueIndex};
use crate::pg::value::text;
use pgrx::pg_sys;

/// A unique index that can be made.
struct PossibleIndex {
    /// Its columns, by position.
    columns: Vec<usize>,
    /// Those that the table is partitioned by, and were not asked for.
    added: Vec<usize>,
}

impl Target {
    /// How to get a unique index on exactly these columns, where there is none that decides;
    /// or, where the server can make none, what to do instead. `refused` is one on these
    /// columns that does not decide.
    pub fn index_hint(&self, columns: &[usize], refused: Option<&UniqueIndex>) -> String {
        match refused {
            Some(index) if !index.valid && !self.partitioned => format!(
                "Unless it is still being built: REINDEX INDEX CONCURRENTLY {}.{};",
                text::quote_identifier(&self.schema),
                text::quote_identifier(&index.name)
            ),
            // ON CONFLICT (columns) would name the deferrable one, too.
            Some(index) if index.deferrable => format!(
                "Add one that is checked immediately: ALTER TABLE {} ADD UNIQUE ({});",
                self.qualified(),
                self.column_list(columns.iter().copied())
            ),
            _ => {
                let indexes = self.indexes.iter();
                let mut usable = indexes.filter(|index| index.unusable_reason.is_none());
                match usable.find(|index| index.is_about(columns)) {
                    Some(index) => format!(
                        "Name what the index is on: key => {}.",
                        self.key_argument(index)
                    ),
                    None => self.create_index("Create one with", columns),
                }
            }
        }
    }

    /// `lead: CREATE UNIQUE INDEX …;` on these columns, and on those by which the table is
    /// partitioned; or why there can be none.
    pub fn create_index(&self, lead: &str, columns: &[usize]) -> String {
        let possible = match self.possible_index(columns) {
            Ok(possible) => possible,
            Err(why) => return why,
        };
        let create = format!(
            "CREATE UNIQUE INDEX ON {} ({});",
            self.qualified(),
            self.column_list(possible.columns.iter().copied())
        );
        if possible.added.is_empty() {
            return format!("{lead}: {create}");
        }
        let names = |columns: &[usize]| -> Vec<String> {
            let names = columns.iter().map(|c| self.columns[*c].name.clone());
            names.collect()
        };
        let has_index = self
            .indexes
            .iter()
            .any(|index| index.unusable_reason.is_none() && index.same_columns(&possible.columns));
        format!(
            "A unique index must contain the columns by which the table is partitioned. Name \
             these in the key, too, as in key => {}, and send the same {} in every retry{}",
            text::quote_array(&names(&possible.columns)),
            names(&possible.added).join(", "),
            if has_index {
                ".".to_owned()
            } else {
                format!(": {create}")
            }
        )
    }

    /// The index on these columns that the server can make; or a sentence that says why it
    /// can make none.
    fn possible_index(&self, columns: &[usize]) -> Result<PossibleIndex, String> {
        let find = |unfit: &dyn Fn(&Column) -> bool| {
            let mut columns = columns.iter().map(|c| &self.columns[*c]);
            columns.find(|column| unfit(column))
        };
        if let Some(column) = find(&|column| column.generated != 0) {
            return Err(format!(
                "Name other key columns: \"{}\" is generated, and computed after the guard has \
                 verified the row.",
                column.name
            ));
        }
        if let Some(column) = find(&|column| !column.can_be_indexed()) {
            return Err(format!(
                "Name other key columns: the type of \"{}\" has no order, so no unique index \
                 can be on it.",
                column.name
            ));
        }
        let by = match partition_key_columns(self) {
            PartitionKeyColumns::Unindexable(why) => return Err(why.to_owned()),
            PartitionKeyColumns::None => Vec::new(),
            PartitionKeyColumns::By(by) => by,
        };
        let added: Vec<usize> = by.into_iter().filter(|c| !columns.contains(c)).collect();
        let columns = [columns, &added].concat();
        if columns.len() > pg_sys::INDEX_MAX_KEYS as usize {
            return Err(format!(
                "Name fewer key columns: an index has at most {}.",
                pg_sys::INDEX_MAX_KEYS
            ));
        }
        Ok(PossibleIndex { columns, added })
    }
}
