//! Rows that are to replace stored ones, or to delete them, wherever the rows of the target are.
use super::write::ChangedRows;
use crate::pg::rows::Slot;
use crate::target::StoredRow;
use crate::write::{Replacements, WriteContext};

/// Such rows, in key order.
pub enum Changes {
    /// Of a local table: stored rows are found by their place and version.
    ByPlace(ChangedRows),
    /// Of a distributed table: they are found by their values.
    ByValue(Replacements),
}

impl Changes {
    /// None yet, for updates of these columns; for the memory of the call.
    pub fn new(context: &WriteContext<'_>, updated: &[usize]) -> Self {
        if context.distributed {
            return Self::ByValue(Replacements::new(context, updated));
        }
        let (target, shapes) = (context.target, context.shapes);
        Self::ByPlace(ChangedRows::new(target, shapes, updated))
    }

    /// Adds a working row of the target, and what it is to replace.
    pub fn put(&mut self, context: &WriteContext<'_>, row: &Slot, stored: &StoredRow<'_>) {
        match self {
            Self::ByPlace(rows) => rows.put(context.target, row, stored),
            Self::ByValue(rows) => rows.put(context, row, stored),
        }
    }

    /// How many of them delete the stored row.
    pub fn deletes(&self) -> u64 {
        match self {
            Self::ByPlace(rows) => rows.deletes(),
            Self::ByValue(rows) => rows.deletes(),
        }
    }

    /// Gives every row as a working row of the target.
    pub fn each(&mut self, context: &WriteContext<'_>, take: impl FnMut(&Slot)) {
        match self {
            Self::ByPlace(rows) => rows.each(context.target, take),
            Self::ByValue(rows) => rows.each(context, take),
        }
    }
}
