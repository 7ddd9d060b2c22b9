use super::order::compare;
use std::cmp::Ordering::{Equal, Greater, Less};

#[test]
fn versions_go_by_their_numbers() {
    assert_eq!(compare("0.1.0", "0.1.0"), Equal);
    assert_eq!(compare("0.2.0", "0.10.0"), Less);
    assert_eq!(compare("1.0.0", "0.10.12"), Greater);
    assert_eq!(compare("0.1.0", "0.1.0.1"), Less);
}

#[test]
fn a_suffix_comes_before_the_version_itself() {
    assert_eq!(compare("0.1.0-dev", "0.1.0"), Less);
    assert_eq!(compare("0.1.0", "0.1.0-rc1"), Greater);
    assert_eq!(compare("0.1.0-dev", "0.1.0-rc1"), Less);
    assert_eq!(compare("0.2.0-dev", "0.1.0"), Greater);
}

#[test]
fn what_is_no_version_is_before_all() {
    assert_eq!(compare("", "0.1.0"), Less);
    assert_eq!(compare("x.y", "0.1.0-dev"), Less);
}
