//! Lists of SQL identifiers, parted as core parts them (`SplitIdentifierString`, `SplitGUCList`).
//!
//! Core's functions move the rest of the list for every quote that is doubled, and look for no
//! interrupt: a list of a megabyte, which anybody may write into the arguments of a trigger, keeps them busy
//! for a minute. So the lists are parted here, in one pass.

/// A name of a list, not yet in lower case or cut.
#[derive(Debug, PartialEq, Eq)]
pub struct ListedName {
    /// Whether it is in double quotes.
    pub quoted: bool,
    /// Its bytes, without quotes around them.
    pub bytes: Vec<u8>,
}

/// What the scanner takes for a blank.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

/// The names of a list in an encoding of a server's, in which ASCII is part of no other character; None
/// if it is none. `next` is called before each of them.
pub fn listed_names(list: &[u8], separator: u8, mut next: impl FnMut()) -> Option<Vec<ListedName>> {
    let mut names = Vec::new();
    let mut rest = list.without_leading_blanks();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        next();
        let name;
        (name, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => quoted_name(quoted)?,
            None => plain_name(rest, separator)?,
        };
        names.push(name);
        rest = rest.without_leading_blanks();
        rest = match rest.split_first() {
            None => return Some(names),
            Some((first, behind)) if *first == separator => behind.without_leading_blanks(),
            Some(_) => return None,
        };
    }
}

/// A name whose first quote has been read, and what is behind the last.
fn quoted_name(mut rest: &[u8]) -> Option<(ListedName, &[u8])> {
    let mut bytes = Vec::new();
    loop {
        let quote = rest.iter().position(|byte| *byte == b'"')?;
        let (part, behind) = rest.split_at(quote);
        bytes.extend_from_slice(part);
        match behind.strip_prefix(b"\"\"") {
            Some(behind) => {
                bytes.push(b'"');
                rest = behind;
            }
            None => {
                let name = ListedName {
                    quoted: true,
                    bytes,
                };
                return Some((name, behind.strip_prefix(b"\"")?));
            }
        }
    }
}

/// A name without quotes, up to a blank or the separator, and the rest.
fn plain_name(rest: &[u8], separator: u8) -> Option<(ListedName, &[u8])> {
    let ends = |byte: &u8| *byte == separator || is_blank(*byte);
    let end = rest.iter().position(ends).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let name = ListedName {
        quoted: false,
        bytes: name.to_vec(),
    };
    (end > 0).then_some((name, rest))
}

trait Blanks {
    fn without_leading_blanks(&self) -> &Self;
}

impl Blanks for [u8] {
    fn without_leading_blanks(&self) -> &Self {
        let begin = self.iter().position(|byte| !is_blank(*byte));
        self.get(begin.unwrap_or(self.len())..).unwrap_or_default()
    }
}
