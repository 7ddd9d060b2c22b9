//! Which of two versions of the extension is the earlier one.
use std::cmp::Ordering;

/// The order of two versions such as `0.1.0` and `0.2.0-dev`: by their numbers, and with the same numbers a
/// version with a suffix is before the one without.
pub fn compare(one: &str, other: &str) -> Ordering {
    let (numbers, suffix) = parts(one);
    let (other_numbers, other_suffix) = parts(other);
    numbers
        .cmp(&other_numbers)
        .then(suffix.is_none().cmp(&other_suffix.is_none()))
        .then(suffix.cmp(&other_suffix))
}

/// The numbers, and what is behind the first hyphen. What is no number counts as none.
fn parts(version: &str) -> (Vec<u64>, Option<&str>) {
    let (numbers, suffix) = match version.split_once('-') {
        Some((numbers, suffix)) => (numbers, Some(suffix)),
        None => (version, None),
    };
    let numbers = numbers.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.collect(), suffix)
}
