use super::words::{has_word, words};

#[test]
fn a_name_is_split_where_a_reader_splits_it() {
    assert_eq!(words("time_hour"), ["time", "hour"]);
    assert_eq!(words("timeHour"), ["time", "hour"]);
    assert_eq!(words("Time-Hour"), ["time", "hour"]);
    assert_eq!(words("UTCOffset"), ["utcoffset"]);
    assert_eq!(words("dayÄnderung"), ["day", "änderung"]);
    assert_eq!(words("__"), Vec::<String>::new());
}

#[test]
fn a_word_is_a_whole_word() {
    assert!(has_word("load_hour", &["hour", "day"]));
    assert!(!has_word("hourly_rate", &["hour", "day"]));
    assert!(!has_word("", &["hour"]));
}
