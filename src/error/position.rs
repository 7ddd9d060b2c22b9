//! Which payload, or row of a source, is being worked on, and which column, for the CONTEXT of an
//! error.
use super::context_stack::{ErrorAtHand, ErrorWatcher, Watched};
use super::fields::{ContextLine, ErrorFields};
use super::line::Line;
use super::row_origin::RowOrigin;
use std::cell::Cell;
use std::ffi::CStr;
use std::fmt::Write;

/// While it lives, an error gets a CONTEXT line such as
/// `payload 700, column "amount"`, or `row 700 of the source, column "amount"`, as COPY names its
/// line. The message of the error stays core's own.
pub struct PayloadPosition<'n>(Watched<Position<'n>>);

/// Names are in the server's encoding.
struct Position<'n> {
    origin: RowOrigin,
    /// 1-based; 0 means that the call has one payload only, or that no row is at hand.
    ordinal: Cell<i64>,
    column: Cell<Option<&'n CStr>>,
    /// The column that remembers, if what it remembers is being read.
    remembered: Cell<Option<&'n CStr>>,
}

impl<'n> PayloadPosition<'n> {
    /// Puts the position on the error context stack until it is dropped.
    pub fn watch(origin: RowOrigin) -> Self {
        Self(Watched::by(Position {
            origin,
            ordinal: Cell::default(),
            column: Cell::default(),
            remembered: Cell::default(),
        }))
    }

    /// The payload with this ordinal is next; 0 if it is the only one.
    pub fn payload(&self, ordinal: i64) {
        self.0.ordinal.set(ordinal);
        self.0.column.set(None);
    }

    /// The column whose value is being read.
    pub fn column(&self, name: &'n CStr) {
        self.0.column.set(Some(name));
    }

    /// What is being read is not the payload, but what this column remembers.
    pub fn remembered(&self, name: &'n CStr) {
        self.0.remembered.set(Some(name));
    }

    /// The column whose value was being read last.
    pub fn column_at_hand(&self) -> Option<&'n CStr> {
        self.0.column.get()
    }

    /// No single column is being read.
    pub fn no_column(&self) {
        self.0.column.set(None);
    }
}

impl ErrorWatcher for Position<'_> {
    fn fields(&self, _error: &ErrorAtHand<'_>) -> ErrorFields<'_> {
        let (ordinal, column) = (self.ordinal.get(), self.column.get());
        let mut line = Line::new();
        if let Some(remembered) = self.remembered.get() {
            line.push(b"what column \"");
            line.push(remembered.to_bytes());
            line.push(b"\" remembers, column \"");
            line.push(column.unwrap_or(c"?").to_bytes());
            line.push(b"\"");
            return ErrorFields::line(line);
        }
        if ordinal == 0 && column.is_none() {
            return ErrorFields::default();
        }
        if ordinal == 0 {
            line.push(self.origin.noun().as_bytes());
        } else {
            // A line takes what fits.
            let _ = write!(line, "{}", self.origin.numbered(ordinal));
        }
        if let Some(column) = column {
            line.push(b", column \"");
            line.push(column.to_bytes());
            line.push(b"\"");
        }
        ErrorFields::line(line)
    }
}

/// While it lives, an error in a statement of the user's that is being parsed points
/// into that statement, not into the one that called us. As SPI does it.
pub struct StatementPosition<'s> {
    _watched: Watched<Statement<'s>>,
}

struct Statement<'s>(&'s CStr);

impl<'s> StatementPosition<'s> {
    /// Puts the statement on the error context stack until it is dropped.
    pub fn watch(statement: &'s CStr) -> Self {
        Self {
            _watched: Watched::by(Statement(statement)),
        }
    }
}

impl ErrorWatcher for Statement<'_> {
    fn fields(&self, error: &ErrorAtHand<'_>) -> ErrorFields<'_> {
        let position = error.position();
        if position > 0 {
            ErrorFields {
                position: Some(0),
                internal: Some((self.0, position)),
                ..ErrorFields::default()
            }
        } else {
            ErrorFields {
                context: Some(ContextLine::Statement(self.0)),
                ..ErrorFields::default()
            }
        }
    }
}
