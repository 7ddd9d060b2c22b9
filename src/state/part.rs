//! What is said of a table of state.
use super::expected::ExpectedPart;

/// One thing that is said of a table: of which kind, of what, and how it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TablePart {
    pub kind: String,
    pub name: String,
    pub how: String,
}

impl TablePart {
    /// One.
    pub fn new(kind: &str, name: &str, how: &str) -> Self {
        let line = |text: &str| text.replace(['\n', '\r', '\t'], " ");
        Self {
            kind: kind.to_owned(),
            name: line(name),
            how: line(how),
        }
    }

    /// A line of what [`query`](super::definition::query) gives.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, '\t').map(str::to_owned);
        Some(Self {
            kind: fields.next()?,
            name: fields.next()?,
            how: fields.next()?,
        })
    }

    /// Whether it is as it has to be.
    pub fn is(&self, expected: &ExpectedPart) -> bool {
        (self.kind.as_str(), self.name.as_str(), self.how.as_str()) == *expected
    }

    /// Whether it is of the same thing.
    pub fn is_of(&self, expected: &ExpectedPart) -> bool {
        (self.kind.as_str(), self.name.as_str()) == (expected.0, expected.1)
    }
}
