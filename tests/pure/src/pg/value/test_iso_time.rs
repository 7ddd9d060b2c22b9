//! Dates and times as core reads them, or left to it.
use super::iso_time::{IsoDate, IsoTimestamp, date, timestamp};

fn day(year: i32, month: i32, day: i32) -> IsoDate {
    IsoDate { year, month, day }
}

#[test]
fn what_to_jsonb_writes_is_read() {
    assert_eq!(date(b"2026-01-31"), Some(day(2026, 1, 31)));
    let at = |offset| {
        Some(IsoTimestamp {
            date: day(2026, 1, 31),
            hour: 23,
            minute: 59,
            second: 58,
            microsecond: 0,
            offset,
        })
    };
    assert_eq!(timestamp(b"2026-01-31T23:59:58"), at(None));
    assert_eq!(timestamp(b"2026-01-31 23:59:58"), at(None));
    assert_eq!(timestamp(b"2026-01-31T23:59:58+00:00"), at(Some(0)));
    assert_eq!(timestamp(b"2026-01-31T23:59:58-03"), at(Some(-10_800)));
    assert_eq!(timestamp(b"2026-01-31T23:59:58+05:30"), at(Some(19_800)));
}

#[test]
fn a_fraction_has_up_to_six_digits() {
    let micros = |text: &str| timestamp(text.as_bytes()).map(|at| at.microsecond);
    assert_eq!(micros("2026-01-31T00:00:00.5"), Some(500_000));
    assert_eq!(micros("2026-01-31T00:00:00.000001+00:00"), Some(1));
    assert_eq!(micros("2026-01-31T00:00:00.999999-03"), Some(999_999));
    assert_eq!(micros("2026-01-31T00:00:00.1234567"), None);
    assert_eq!(micros("2026-01-31T00:00:00."), None);
}

#[test]
fn only_days_that_exist_are_read() {
    assert_eq!(date(b"2024-02-29"), Some(day(2024, 2, 29)));
    assert_eq!(date(b"2000-02-29"), Some(day(2000, 2, 29)));
    for none in [
        "2026-02-29",
        "1900-02-29",
        "2026-04-31",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "0000-01-01",
    ] {
        assert_eq!(date(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn other_notations_are_left_to_core() {
    let others = [
        "",
        "now",
        "infinity",
        "2026-01-31",
        "26-01-31T00:00:00",
        "2026-1-31T00:00:00",
        "2026-01-31T24:00:00",
        "2026-01-31T23:60:00",
        "2026-01-31T23:59:60",
        "2026-01-31T23:59",
        "2026-01-31T23:59:58Z",
        "2026-01-31T23:59:58+16",
        "2026-01-31T23:59:58+05:60",
        "2026-01-31T23:59:58+0530",
        "2026-01-31T23:59:58+5",
        "2026-01-31T23:59:58 +05",
        "2026-01-31T23:59:58+05:30 BC",
        "2026-01-31t23:59:58",
        "2026-01-31T23:59:58\u{d7}05",
        " 2026-01-31T23:59:58",
    ];
    for other in others {
        assert_eq!(timestamp(other.as_bytes()), None, "{other}");
    }
    for other in [
        "2026-01-31 ",
        "2026-01-31T00:00:00",
        "12026-01-31",
        "2026/01/31",
        "31-01-2026",
    ] {
        assert_eq!(date(other.as_bytes()), None, "{other}");
    }
}
