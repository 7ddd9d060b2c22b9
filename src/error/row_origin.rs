//! What the rows of a call are, and how an error names one of them.
use std::fmt;

/// What the rows of a call are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrigin {
    /// One payload, which needs no number.
    Payload,
    /// The payloads of a batch.
    Payloads,
    /// The rows of a source.
    Source,
    /// The object that names a slice. It is read as a payload is.
    Slice,
}

impl RowOrigin {
    /// Whether there may be several, so that their numbers mean something to the caller.
    pub fn is_batch(self) -> bool {
        matches!(self, Self::Payloads | Self::Source)
    }

    /// What one of them is.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Payload | Self::Payloads => "payload",
            Self::Source => "row",
            Self::Slice => "slice",
        }
    }

    /// Any one of them.
    pub fn any(self) -> &'static str {
        match self {
            Self::Payload | Self::Payloads => "a payload",
            Self::Source => "a row of the source",
            Self::Slice => "a slice",
        }
    }

    /// Several of them.
    pub fn several(self) -> &'static str {
        match self {
            Self::Payload | Self::Payloads => "payloads",
            Self::Source => "rows of the source",
            Self::Slice => "slices",
        }
    }

    /// The one with this number, from 1.
    pub fn numbered(self, number: i64) -> NumberedRow {
        NumberedRow {
            origin: self,
            number,
        }
    }
}

/// One row of a call: `the payload`, `payload 7`, or `row 7 of the source`.
#[derive(Clone, Copy)]
pub struct NumberedRow {
    origin: RowOrigin,
    number: i64,
}

impl NumberedRow {
    /// What the rows of its call are.
    pub fn origin(self) -> RowOrigin {
        self.origin
    }

    /// As the first word of a sentence.
    pub fn capitalized(self) -> String {
        let Self { origin, number } = self;
        match origin {
            RowOrigin::Payload => "The payload".to_owned(),
            RowOrigin::Payloads => format!("Payload {number}"),
            RowOrigin::Source => format!("Row {number} of the source"),
            RowOrigin::Slice => "The slice".to_owned(),
        }
    }
}

impl fmt::Display for NumberedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, number } = self;
        match origin {
            RowOrigin::Payload => f.write_str("the payload"),
            RowOrigin::Payloads => write!(f, "payload {number}"),
            RowOrigin::Source => write!(f, "row {number} of the source"),
            RowOrigin::Slice => f.write_str("the slice"),
        }
    }
}
