//! The server's own check of permissions, for what is read and written without a statement.
//!
//! What a call looks up in the arbiter it reads without the executor, so only the extension can
//! check permissions there. The check is core's (`ExecCheckPermissions`): the table is handed
//! over as a statement would name it in its range table, with the columns that are read,
//! inserted and updated. So an extension that hooks into that check, an auditor or a security
//! module, sees every table that is read.
use super::Target;
use crate::pg::relation::permission_check::TableAccess;
use pgrx::pg_sys;

/// What a call does with a target.
pub struct Access(TableAccess);

/// What a statement does that inserts rows, and verifies nothing.
pub fn insert_access(target: &Target) -> TableAccess {
    Access::to(target).insert(target, []).0
}

impl Access {
    /// To a target, with nothing done yet.
    pub fn to(target: &Target) -> Self {
        Self(TableAccess {
            table: target.oid,
            kind: match (target.partitioned, target.foreign) {
                (true, _) => pg_sys::RELKIND_PARTITIONED_TABLE,
                (_, true) => pg_sys::RELKIND_FOREIGN_TABLE,
                _ => pg_sys::RELKIND_RELATION,
            },
            required: 0,
            selected: Vec::new(),
            inserted: Vec::new(),
            updated: Vec::new(),
        })
    }

    /// Reads columns.
    pub fn select(mut self, target: &Target, columns: impl IntoIterator<Item = usize>) -> Self {
        self.0.required |= pg_sys::ACL_SELECT;
        self.0.selected.extend(numbers(target, columns));
        self
    }

    /// Addresses rows by their place, which takes SELECT on the whole table.
    pub fn select_by_ctid(mut self) -> Self {
        self.0.required |= pg_sys::ACL_SELECT;
        let place = [
            pg_sys::TableOidAttributeNumber,
            pg_sys::SelfItemPointerAttributeNumber,
        ];
        let place = place.map(|number| number as pg_sys::AttrNumber);
        self.0.selected.extend(place);
        self
    }

    /// Inserts columns, without those that the server generates.
    pub fn insert(mut self, target: &Target, columns: impl IntoIterator<Item = usize>) -> Self {
        self.0.required |= pg_sys::ACL_INSERT;
        let inserted = |c: &usize| target.columns[*c].generated == 0;
        let columns = columns.into_iter().filter(inserted);
        self.0.inserted.extend(numbers(target, columns));
        self
    }

    /// Updates columns.
    pub fn update(mut self, target: &Target, columns: impl IntoIterator<Item = usize>) -> Self {
        self.0.required |= pg_sys::ACL_UPDATE;
        self.0.updated.extend(numbers(target, columns));
        self
    }

    /// Deletes rows.
    pub fn delete(mut self) -> Self {
        self.0.required |= pg_sys::ACL_DELETE;
        self
    }

    /// Checks the rights that this takes; hooks see it.
    ///
    /// # Errors
    /// 42501 in core's own words; and what a hook raises.
    pub fn check(self) {
        self.0.check();
    }

    /// Checks the rights that this takes. Hooks do not see it: they see the statements that do it
    /// later.
    ///
    /// # Errors
    /// 42501 in core's own words.
    pub fn check_without_hooks(&self) {
        self.0.check_without_hooks();
    }
}

fn numbers(
    target: &Target,
    columns: impl IntoIterator<Item = usize>,
) -> impl Iterator<Item = pg_sys::AttrNumber> {
    columns.into_iter().map(|c| target.columns[c].attnum)
}
