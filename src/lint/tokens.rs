//! The tokens of a PL/pgSQL source.
use crate::pg::interrupt;

/// A token; names are folded as the server folds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name, or a word.
    Name(String),
    /// A string, without its quotes.
    Text(String),
    /// An operator or a separator.
    Sign(&'static str),
    /// A number, or a character that matters nowhere.
    Other,
}

impl Token {
    /// Whether it is this name, or word.
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if own == name)
    }

    /// Whether it is this operator or separator.
    pub fn is_sign(&self, sign: &str) -> bool {
        matches!(self, Self::Sign(own) if *own == sign)
    }
}

/// The tokens of a source, without comments.
pub fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let mut i = 0;
    while let Some(&c) = chars.get(i) {
        interrupt::check();
        if c.is_whitespace() {
            i += 1;
        } else if is(&chars, i, "--") {
            i = end_of(&chars, i, |c| c != '\n');
        } else if is(&chars, i, "/*") {
            i = end_of_comment(&chars, i);
        } else if c == '"' {
            let (name, next) = quoted(&chars, i, c, false);
            found.push(Token::Name(name));
            i = next;
        } else if c == '\'' {
            let (text, next) = quoted(&chars, i, c, has_escapes(&chars, i));
            found.push(Token::Text(text));
            i = next;
        } else if let Some(tag) = dollar_tag(&chars, i) {
            let first = i + tag.len();
            let end = (first..chars.len())
                .find(|j| chars[*j..].starts_with(&tag))
                .unwrap_or(chars.len());
            found.push(Token::Text(chars[first.min(end)..end].iter().collect()));
            i = end + tag.len();
        } else if c.is_alphabetic() || c == '_' {
            let first = i;
            i = end_of(&chars, i, in_name);
            let name: String = chars[first..i].iter().collect();
            found.push(Token::Name(name.to_lowercase()));
        } else if c.is_ascii_digit() {
            i = end_of(&chars, i, in_name);
            found.push(Token::Other);
        } else {
            let (sign, length) = sign(&chars, i);
            found.push(sign);
            i += length;
        }
    }
    found
}

/// Whether these characters are at this place.
fn is(chars: &[char], i: usize, wanted: &str) -> bool {
    let mut wanted = wanted.chars().enumerate();
    wanted.all(|(n, c)| chars.get(i + n) == Some(&c))
}

/// Where the characters end that go on from this place.
fn end_of(chars: &[char], i: usize, goes_on: impl Fn(char) -> bool) -> usize {
    let rest = chars.get(i..).unwrap_or_default();
    i + rest.iter().take_while(|c| goes_on(**c)).count()
}

/// Whether a character goes on with a name or a number.
fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Where the comment ends that begins at this place. Comments may be in it.
fn end_of_comment(chars: &[char], begin: usize) -> usize {
    let (mut i, mut depth) = (begin, 0_usize);
    while i < chars.len() {
        interrupt::check();
        if is(chars, i, "/*") {
            depth += 1;
            i += 2;
        } else if is(chars, i, "*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                break;
            }
        } else {
            i += 1;
        }
    }
    i
}

/// Whether the text that begins at this place comes after an E.
fn has_escapes(chars: &[char], begin: usize) -> bool {
    match chars.get(..begin) {
        Some([.., before, 'e' | 'E']) => !in_name(*before),
        Some(['e' | 'E']) => true,
        _ => false,
    }
}

/// The operator or separator at this place, and how long it is.
fn sign(chars: &[char], i: usize) -> (Token, usize) {
    const SIGNS: [(&str, &str); 12] = [
        ("<<", "<<"),
        ("#", "#"),
        (":=", ":="),
        ("<>", "<>"),
        ("!=", "<>"),
        ("=>", "=>"),
        (";", ";"),
        (".", "."),
        (",", ","),
        ("=", "="),
        ("(", "("),
        (")", ")"),
    ];
    match SIGNS.iter().find(|(sign, _)| is(chars, i, sign)) {
        Some((sign, same)) => (Token::Sign(same), sign.len()),
        None => (Token::Other, 1),
    }
}

/// What is between quotes that begin at `first`, and where it goes on behind them.
fn quoted(chars: &[char], first: usize, quote: char, escapes: bool) -> (String, usize) {
    let mut text = String::new();
    let mut i = first + 1;
    while let Some(&c) = chars.get(i) {
        interrupt::check();
        if escapes && c == '\\' {
            text.extend(chars.get(i + 1));
            i += 2;
        } else if c == quote {
            if chars.get(i + 1) != Some(&quote) {
                return (text, i + 1);
            }
            text.push(quote);
            i += 2;
        } else {
            text.push(c);
            i += 1;
        }
    }
    (text, i)
}

/// `$$` or `$tag$` at `first`, if that is there.
fn dollar_tag(chars: &[char], first: usize) -> Option<Vec<char>> {
    if chars.get(first) != Some(&'$') {
        return None;
    }
    let length = chars[first + 1..].iter().position(|c| *c == '$')?;
    let tag = &chars[first + 1..first + 1 + length];
    let is_name = tag.iter().all(|c| c.is_alphanumeric() || *c == '_')
        && !tag.first().is_some_and(char::is_ascii_digit);
    is_name.then(|| chars[first..=first + 1 + length].to_vec())
}
