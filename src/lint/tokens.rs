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
    let is = |i: usize, wanted: &str| {
        wanted
            .chars()
            .enumerate()
            .all(|(n, c)| chars.get(i + n) == Some(&c))
    };
    let in_name = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    while let Some(&c) = chars.get(i) {
        interrupt::check();
        if c.is_whitespace() {
            i += 1;
        } else if is(i, "--") {
            while chars.get(i).is_some_and(|c| *c != '\n') {
                i += 1;
            }
        } else if is(i, "/*") {
            let mut depth = 0_usize;
            while i < chars.len() {
                interrupt::check();
                if is(i, "/*") {
                    depth += 1;
                    i += 2;
                } else if is(i, "*/") {
                    depth -= 1;
                    i += 2;
                    if depth == 0 {
                        break;
                    }
                } else {
                    i += 1;
                }
            }
        } else if c == '\'' || c == '"' {
            let escapes = c == '\''
                && i > 0
                && matches!(chars[i - 1], 'e' | 'E')
                && !(i > 1 && in_name(chars[i - 2]));
            let (text, next) = quoted(&chars, i, c, escapes);
            found.push(if c == '"' {
                Token::Name(text)
            } else {
                Token::Text(text)
            });
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
            while chars.get(i).is_some_and(|c| in_name(*c)) {
                i += 1;
            }
            let name: String = chars[first..i].iter().collect();
            found.push(Token::Name(name.to_lowercase()));
        } else if c.is_ascii_digit() {
            while chars.get(i).is_some_and(|c| in_name(*c)) {
                i += 1;
            }
            found.push(Token::Other);
        } else {
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
            match SIGNS.iter().find(|(sign, _)| is(i, sign)) {
                Some((sign, same)) => {
                    found.push(Token::Sign(same));
                    i += sign.len();
                }
                None => {
                    found.push(Token::Other);
                    i += 1;
                }
            }
        }
    }
    found
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
