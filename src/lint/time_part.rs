//! What the columns of a key say of the time, by their types and names.
use super::words::has_word;

/// What matters of a column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// An instant or a uuid: it tells two equal local times apart.
    Resolved,
    /// A timestamp, or a range of them, without time zone.
    Timestamp,
    /// A date.
    Date,
    /// A time of day without time zone.
    Time,
    /// An integer or a numeric.
    Number,
    /// Text.
    Text,
    /// Anything else.
    Other,
}

/// What a key column says of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimePart {
    /// A timestamp (or a range of them) without time zone.
    Timestamp,
    /// A day of the calendar, or of a month.
    Day,
    /// Year, month, week: part of a date.
    Calendar,
    /// An hour, or a time of day.
    Hour,
    /// Minutes and seconds.
    Finer,
    /// Something that tells two equal local times apart.
    Resolved,
    /// Nothing.
    Other,
}

impl TimePart {
    /// What a column of this kind and name says.
    pub fn of(kind: ColumnKind, name: &str) -> Self {
        let named = |wanted: &[&str]| has_word(name, wanted);
        if named(&["utc", "gmt", "zulu", "offset", "utcoffset", "dst", "fold"]) {
            return Self::Resolved;
        }
        match kind {
            ColumnKind::Resolved => Self::Resolved,
            ColumnKind::Timestamp => Self::Timestamp,
            ColumnKind::Date => Self::Day,
            ColumnKind::Time => Self::Hour,
            ColumnKind::Other => Self::Other,
            ColumnKind::Number | ColumnKind::Text if named(&["date", "yyyymmdd"]) => Self::Day,
            ColumnKind::Text => Self::Other,
            // A day of the week is none of the calendar: such an hour is on a timetable.
            ColumnKind::Number if named(&["week", "weekday", "dow"]) => Self::Calendar,
            ColumnKind::Number if named(&["hour", "hr", "hh", "hhmm"]) => Self::Hour,
            ColumnKind::Number if named(&["day", "dd", "yday", "doy"]) => Self::Day,
            ColumnKind::Number if named(&["year", "month", "quarter", "yyyy"]) => Self::Calendar,
            ColumnKind::Number if named(&["minute", "second"]) => Self::Finer,
            ColumnKind::Number => Self::Other,
        }
    }
}

/// The parts that are local time in a key of these parts; none if the key tells apart the
/// two hours that have one local time, or has no local time in it.
pub fn local_parts(key: &[TimePart]) -> &'static [TimePart] {
    let has = |part| key.contains(&part);
    if has(TimePart::Resolved) {
        &[]
    } else if has(TimePart::Timestamp) {
        &[TimePart::Timestamp]
    } else if has(TimePart::Day) && has(TimePart::Hour) {
        &[
            TimePart::Day,
            TimePart::Hour,
            TimePart::Calendar,
            TimePart::Finer,
        ]
    } else {
        &[]
    }
}
