//! Dates and times in the form of ISO 8601 in which `to_jsonb` writes them.
//!
//! Core's input functions take apart many notations, and need half a microsecond for a time. But this form
//! they read alike under every DateStyle: a year of four digits comes first, whatever the order of day and
//! month is, and an offset of digits is no zone that a setting could change. What is not quite of
//! this form, or no day or time of the clock, is left to them.

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsoDate {
    /// From 1 to 9999.
    pub year: i32,
    /// From 1 to 12.
    pub month: i32,
    /// From 1, in that month.
    pub day: i32,
}

/// A day and a time of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsoTimestamp {
    /// The day.
    pub date: IsoDate,
    /// From 0 to 23.
    pub hour: i32,
    /// From 0 to 59.
    pub minute: i32,
    /// From 0 to 59.
    pub second: i32,
    /// From 0 to 999,999.
    pub microsecond: i32,
    /// How many seconds the clock is before UTC, if that is said.
    pub offset: Option<i32>,
}

/// `MAX_TZDISP_HOUR`: the hours in the greatest offset that core reads.
const MAX_OFFSET_HOURS: i32 = 15;

/// `2026-01-31`
pub fn date(text: &[u8]) -> Option<IsoDate> {
    let (date, rest) = split_date(text)?;
    rest.is_empty().then_some(date)
}

/// `2026-01-31T23:59:59`, with a space instead of the T, up to six digits of a fraction, and an
/// offset such as `+05:30` or `-03`.
pub fn timestamp(text: &[u8]) -> Option<IsoTimestamp> {
    let (date, rest) = split_date(text)?;
    let &[
        b'T' | b' ',
        h1,
        h2,
        b':',
        m1,
        m2,
        b':',
        s1,
        s2,
        ref rest @ ..,
    ] = rest
    else {
        return None;
    };
    let (hour, minute, second) = (pair(h1, h2)?, pair(m1, m2)?, pair(s1, s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (microsecond, rest) = split_fraction(rest)?;
    Some(IsoTimestamp {
        date,
        hour,
        minute,
        second,
        microsecond,
        offset: offset(rest)?,
    })
}

fn split_date(text: &[u8]) -> Option<(IsoDate, &[u8])> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, ref rest @ ..] = text else {
        return None;
    };
    let (year, month, day) = (
        100 * pair(y1, y2)? + pair(y3, y4)?,
        pair(m1, m2)?,
        pair(d1, d2)?,
    );
    let exists = year > 0 && (1..=days_of_month(year, month)?).contains(&day);
    exists.then_some((IsoDate { year, month, day }, rest))
}

fn days_of_month(year: i32, month: i32) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

/// The microseconds in the fraction that a text begins with, if it does, and what is behind it.
fn split_fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let [b'.', text @ ..] = text else {
        return Some((0, text));
    };
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    if !(1..=6).contains(&digits) {
        return None;
    }
    let (fraction, rest) = text.split_at(digits);
    let value = fraction
        .iter()
        .fold(0, |value, c| 10 * value + i32::from(c - b'0'));
    Some((value * 10_i32.pow(6 - digits as u32), rest))
}

/// The offset that is all of a text; None in it for an empty text.
fn offset(text: &[u8]) -> Option<Option<i32>> {
    let (sign, hours, minutes) = match *text {
        [] => return Some(None),
        [sign, h1, h2] => (sign, pair(h1, h2)?, 0),
        [sign, h1, h2, b':', m1, m2] => (sign, pair(h1, h2)?, pair(m1, m2)?),
        _ => return None,
    };
    if hours > MAX_OFFSET_HOURS || minutes > 59 {
        return None;
    }
    let seconds = 60 * (60 * hours + minutes);
    match sign {
        b'+' => Some(Some(seconds)),
        b'-' => Some(Some(-seconds)),
        _ => None,
    }
}

/// The number of two digits.
fn pair(tens: u8, ones: u8) -> Option<i32> {
    let is_number = tens.is_ascii_digit() && ones.is_ascii_digit();
    is_number.then(|| 10 * i32::from(tens - b'0') + i32::from(ones - b'0'))
}
