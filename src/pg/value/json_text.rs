//! What jsonb refuses of a json.
//!
//! A json is kept as its text, which is well-formed but may hold what no jsonb can: the
//! character 0, half a surrogate pair, a number beyond every numeric. Core's conversion
//! says so in an error that quotes the text. Whoever is told may not be allowed to read it.
//! So it is asked here first, of texts that are known to be json.
//!
//! Not all is found: in an encoding other than UTF-8, characters that it lacks; numbers that
//! are too large by their digits, which the error does not quote.

/// The numbers that numeric holds: powers of ten.
const EXPONENTS: std::ops::RangeInclusive<i64> = -16383..=131071;

/// Whether jsonb refuses it, for what is in its strings and numbers.
pub fn is_refused(json: &[u8]) -> bool {
    let mut rest = 0;
    while let Some(c) = json.get(rest) {
        rest += 1;
        match c {
            b'"' => match end_of_string(json, rest) {
                Some(end) => rest = end,
                None => return true,
            },
            b'e' | b'E'
                if is_exponent(json, rest) && !EXPONENTS.contains(&exponent(&json[rest..])) =>
            {
                return true;
            }
            _ => {}
        }
    }
    false
}

/// Behind the string whose text begins here; None if jsonb refuses it.
fn end_of_string(json: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin;
    let mut after_high = false;
    loop {
        let code = match json.get(at)? {
            b'\\' if json.get(at + 1)? == &b'u' => {
                let digits = std::str::from_utf8(json.get(at + 2..at + 6)?).ok()?;
                at += 6;
                u32::from_str_radix(digits, 16).ok()?
            }
            b'\\' => {
                at += 2;
                1
            }
            b'"' if after_high => return None,
            b'"' => return Some(at + 1),
            _ => {
                at += 1;
                1
            }
        };
        let low = (0xDC00..0xE000).contains(&code);
        if code == 0 || low != after_high {
            return None;
        }
        after_high = (0xD800..0xDC00).contains(&code);
    }
}

/// Whether the letter before this place is part of a number, not of a word.
fn is_exponent(json: &[u8], behind: usize) -> bool {
    behind > 1 && (json[behind - 2].is_ascii_digit() || json[behind - 2] == b'.')
}

/// The exponent that begins here, as far as it matters.
fn exponent(json: &[u8]) -> i64 {
    let (negative, digits) = match json {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let digits = digits.iter().take_while(|c| c.is_ascii_digit());
    let value = digits.fold(0_i64, |value, c| {
        value.saturating_mul(10).saturating_add(i64::from(c - b'0'))
    });
    if negative { -value } else { value }
}
