use super::decimal::Decimal;
use crate::random::Random;

/// The content of a varlena of these words.
fn stored(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// The long form: sign and display scale, weight, digits.
fn long(negative: bool, scale: u16, weight: i16, digits: &[u16]) -> Vec<u8> {
    let sign = if negative { 0x4000 } else { 0 };
    stored(&[&[sign | scale, weight as u16], digits].concat())
}

/// The short form: sign, display scale of 6 bits and weight of 7 bits in one word, digits.
fn short(negative: bool, scale: u16, weight: i16, digits: &[u16]) -> Vec<u8> {
    let sign = if negative { 0x2000 } else { 0 };
    stored(
        &[
            &[0x8000 | sign | scale << 7 | (weight as u16 & 0x7F)],
            digits,
        ]
        .concat(),
    )
}

/// A number by its parts, for comparison.
fn parts(content: &[u8]) -> (bool, i16, Vec<u16>) {
    match Decimal::read(content) {
        Decimal::Finite {
            negative,
            weight,
            digits,
        } => (
            negative,
            weight,
            digits
                .iter()
                .map(|digit| u16::from_ne_bytes(*digit))
                .collect(),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_that_are_not_finite() {
    assert_eq!(Decimal::read(&stored(&[0xC000])), Decimal::NotANumber);
    assert_eq!(Decimal::read(&stored(&[0xD000])), Decimal::Infinite);
    assert_eq!(Decimal::read(&stored(&[0xF000])), Decimal::MinusInfinite);
}

#[test]
fn zero_has_one_form() {
    for content in [
        short(false, 0, 0, &[]),
        short(false, 2, 0, &[]),
        long(false, 30, 0, &[]),
        short(true, 0, 3, &[0, 0]),
    ] {
        assert_eq!(Decimal::read(&content), Decimal::Zero);
    }
}

#[test]
fn both_stored_forms_are_one_number() {
    // -12345.67
    let expected = (true, 1, vec![1, 2345, 6700]);
    assert_eq!(parts(&short(true, 2, 1, &[1, 2345, 6700])), expected);
    assert_eq!(parts(&long(true, 2, 1, &[1, 2345, 6700])), expected);
    // 0.0001, whose weight is below zero.
    assert_eq!(parts(&short(false, 4, -1, &[1])), (false, -1, vec![1]));
    assert_eq!(parts(&long(false, 4, -1, &[1])), (false, -1, vec![1]));
    assert_eq!(parts(&short(false, 4, -64, &[1])), (false, -64, vec![1]));
}

#[test]
fn a_content_that_is_cut_is_read_without_a_panic() {
    for length in 0..4 {
        Decimal::read(&long(false, 0, 1, &[1])[..length]);
    }
}

/// Digits of 0 at either end, the display scale and the form change nothing.
#[test]
fn equal_numbers_are_read_as_one() {
    let mut random = Random::new(10);
    for _ in 0..2_000 {
        let negative = random.below(2) == 1;
        let weight = random.below(40) as i16 - 20;
        let mut digits = random.several(4, |random| random.below(10_000) as u16);
        digits.insert(0, 1 + random.below(9_999) as u16);
        digits.push(1 + random.below(9_999) as u16);
        let expected = (negative, weight, digits.clone());
        let before = random.below(3);
        let padded = [vec![0; before], digits, vec![0; random.below(3)]].concat();
        let weight = weight + before as i16;
        let scale = random.below(64) as u16;
        assert_eq!(parts(&short(negative, scale, weight, &padded)), expected);
        assert_eq!(parts(&long(negative, scale, weight, &padded)), expected);
    }
}
