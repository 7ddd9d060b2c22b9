use super::time_part::{ColumnKind, TimePart, local_parts};

fn parts(columns: &[(ColumnKind, &str)]) -> Vec<TimePart> {
    columns
        .iter()
        .map(|(kind, name)| TimePart::of(*kind, name))
        .collect()
}

#[test]
fn the_type_decides_where_it_says_enough() {
    assert_eq!(
        TimePart::of(ColumnKind::Timestamp, "x"),
        TimePart::Timestamp
    );
    assert_eq!(TimePart::of(ColumnKind::Date, "hour"), TimePart::Day);
    assert_eq!(TimePart::of(ColumnKind::Time, "x"), TimePart::Hour);
    assert_eq!(
        TimePart::of(ColumnKind::Resolved, "hour"),
        TimePart::Resolved
    );
    assert_eq!(TimePart::of(ColumnKind::Other, "day"), TimePart::Other);
}

#[test]
fn the_name_decides_for_numbers_and_text() {
    for (kind, name, part) in [
        (ColumnKind::Number, "day", TimePart::Day),
        (ColumnKind::Number, "time_hour", TimePart::Hour),
        (ColumnKind::Number, "month", TimePart::Calendar),
        (ColumnKind::Number, "minute", TimePart::Finer),
        (ColumnKind::Number, "flight", TimePart::Other),
        (ColumnKind::Number, "date_id", TimePart::Day),
        (ColumnKind::Text, "flight_date", TimePart::Day),
        (ColumnKind::Text, "hour", TimePart::Other),
        // On a timetable.
        (ColumnKind::Number, "week_day", TimePart::Calendar),
    ] {
        assert_eq!(TimePart::of(kind, name), part, "{name}");
    }
}

#[test]
fn a_name_that_says_utc_tells_hours_apart_whatever_the_type() {
    for kind in [ColumnKind::Timestamp, ColumnKind::Number, ColumnKind::Other] {
        assert_eq!(TimePart::of(kind, "hour_utc"), TimePart::Resolved);
    }
}

#[test]
fn a_timestamp_without_zone_is_local_time() {
    let key = parts(&[
        (ColumnKind::Number, "sensor"),
        (ColumnKind::Timestamp, "at"),
    ]);
    assert_eq!(local_parts(&key), [TimePart::Timestamp]);
}

#[test]
fn an_hour_is_local_time_only_beside_a_day() {
    let day = (ColumnKind::Date, "day");
    let hour = (ColumnKind::Number, "hour");
    assert!(local_parts(&parts(&[hour])).is_empty());
    assert!(local_parts(&parts(&[day])).is_empty());
    assert!(local_parts(&parts(&[(ColumnKind::Number, "weekday"), hour])).is_empty());
    assert!(local_parts(&parts(&[day, hour])).contains(&TimePart::Hour));
}

#[test]
fn an_instant_in_the_key_makes_it_safe() {
    let key = [
        (ColumnKind::Timestamp, "at"),
        (ColumnKind::Resolved, "received_at"),
    ];
    assert!(local_parts(&parts(&key)).is_empty());
}
