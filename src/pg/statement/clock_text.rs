//! Texts that are read as the time: `('now'::text)::timestamptz`, the notation of CURRENT_TIMESTAMP
//! in old dumps.
//!
//! What makes a date or time of a text when the statement runs is a clock if the text has one of the
//! words that mean the time of reading. A text that comes from somewhere else, such as a setting, is
//! not known, and what a function is told by a name is no time.
use pgrx::pg_sys;

/// The words that the input functions of dates and times read as the moment, or its day.
const WORDS: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];

/// Types whose texts may have these words.
const TIMES: [pg_sys::Oid; 16] = [
    pg_sys::DATEOID,
    pg_sys::TIMEOID,
    pg_sys::TIMETZOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::DATEARRAYOID,
    pg_sys::TIMEARRAYOID,
    pg_sys::TIMETZARRAYOID,
    pg_sys::TIMESTAMPARRAYOID,
    pg_sys::TIMESTAMPTZARRAYOID,
    pg_sys::DATERANGEOID,
    pg_sys::TSRANGEOID,
    pg_sys::TSTZRANGEOID,
    pg_sys::DATEMULTIRANGEOID,
    pg_sys::TSMULTIRANGEOID,
    pg_sys::TSTZMULTIRANGEOID,
];

/// Whether texts may be read as values of a type that say the moment.
pub fn is_time(typid: pg_sys::Oid) -> bool {
    TIMES.contains(&typid)
}

/// Whether it is the input function of a date or time.
pub fn is_input_function(function: pg_sys::Oid) -> bool {
    matches!(
        function.to_u32(),
        pg_sys::F_DATE_IN
            | pg_sys::F_TIME_IN
            | pg_sys::F_TIMETZ_IN
            | pg_sys::F_TIMESTAMP_IN
            | pg_sys::F_TIMESTAMPTZ_IN
    )
}

/// Whether one of the words is in a text, in whatever case.
pub fn says_the_moment(text: &[u8]) -> bool {
    text.split(|byte| !byte.is_ascii_alphabetic())
        .any(|word| WORDS.iter().any(|one| word.eq_ignore_ascii_case(one)))
}
