use super::closest::closest;
use crate::random::Random;

const COLUMNS: [&str; 3] = ["order_id", "amount", "status"];

#[test]
fn a_name_that_is_close_is_found() {
    assert_eq!(closest("amuont", COLUMNS.into_iter()), Some("amount"));
    assert_eq!(closest("ORDER_ID", COLUMNS.into_iter()), Some("order_id"));
    assert_eq!(closest("orderid", COLUMNS.into_iter()), Some("order_id"));
    assert_eq!(
        closest("größe", ["grösse", "grosse"].into_iter()),
        Some("grösse")
    );
}

#[test]
fn a_name_that_is_not_close_is_none() {
    assert_eq!(closest("customer", COLUMNS.into_iter()), None);
    assert_eq!(closest("", COLUMNS.into_iter()), None);
    assert_eq!(closest("amount", std::iter::empty()), None);
}

#[test]
fn at_most_three_edits_and_half_of_its_letters() {
    assert_eq!(
        closest("abcdefxyz", ["abcdefghi"].into_iter()),
        Some("abcdefghi")
    );
    assert_eq!(closest("abcdewxyz", ["abcdefghi"].into_iter()), None);
    assert_eq!(closest("ax", ["ab"].into_iter()), Some("ab"));
    assert_eq!(closest("xx", ["ab"].into_iter()), None);
    assert_eq!(closest("a", ["b"].into_iter()), None);
    assert_eq!(closest("a", ["A"].into_iter()), Some("A"));
}

#[test]
fn of_several_the_closest_and_then_the_first() {
    assert_eq!(
        closest("amount", ["amounts", "amount_", "amount"].into_iter()),
        Some("amount")
    );
    assert_eq!(
        closest("amoun", ["amounts", "amount", "amouns"].into_iter()),
        Some("amount")
    );
}

/// As many edits as were made are always enough, and a hint never takes more than it may.
#[test]
fn an_edited_name_is_found_again() {
    let mut random = Random::new(3);
    let letters: Vec<char> = ('a'..='h').collect();
    for _ in 0..1_000 {
        let original: String = (0..8).map(|_| *random.one_of(&letters)).collect();
        let mut edited: Vec<char> = original.chars().collect();
        let edits = random.below(4);
        for _ in 0..edits {
            let at = random.below(edited.len());
            match random.below(3) {
                0 => edited[at] = *random.one_of(&letters),
                1 => edited.insert(at, *random.one_of(&letters)),
                _ => drop(edited.remove(at)),
            }
        }
        let edited: String = edited.into_iter().collect();
        let half = edited.chars().count() / 2;
        let found = closest(&edited, [original.as_str()].into_iter());
        if edits <= half {
            assert_eq!(found, Some(original.as_str()), "{edited}");
        }
    }
}
