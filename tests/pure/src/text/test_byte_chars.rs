use super::byte_chars::{byte_of, from_bytes, from_utf8_or_bytes, may_hold_bytes, to_bytes};
use crate::random::Random;

fn back(text: &str) -> Vec<u8> {
    to_bytes(text, |piece, bytes| {
        bytes.extend_from_slice(piece.as_bytes())
    })
}

#[test]
fn text_stays_text() {
    for text in ["", "plain", "größe", "日本語", "😀"] {
        assert_eq!(from_utf8_or_bytes(text.as_bytes()), text);
        assert_eq!(back(text), text.as_bytes());
    }
}

#[test]
fn bytes_that_are_no_text_become_characters_of_their_own() {
    assert_eq!(from_utf8_or_bytes(b"a\xFFb"), "a\u{10FFFF}b");
    assert_eq!(from_bytes(b"a\x80"), "a\u{10FF80}");
    // Half of a character.
    assert_eq!(from_utf8_or_bytes(b"\xC3"), "\u{10FFC3}");
}

#[test]
fn only_these_characters_stand_for_bytes() {
    assert_eq!(byte_of('\u{10FF80}'), Some(0x80));
    assert_eq!(byte_of('\u{10FFFF}'), Some(0xFF));
    assert_eq!(byte_of('\u{10FF7F}'), None);
    assert_eq!(byte_of('\u{10FF00}'), None);
    assert_eq!(byte_of('a'), None);
    for byte in 0x80..=0xFF {
        assert!(may_hold_bytes(from_bytes(&[byte]).as_bytes()));
    }
}

#[test]
fn text_that_holds_such_a_character_is_not_mistaken_for_the_byte() {
    let text = "a\u{10FF80}";
    let image = from_utf8_or_bytes(text.as_bytes());
    assert_ne!(image, from_utf8_or_bytes(b"a\x80"));
    assert_eq!(back(&image), text.as_bytes());
}

/// Pieces of UTF-8, pieces of it that are cut, and any bytes.
fn some_bytes(random: &mut Random) -> Vec<u8> {
    let pieces = random.several(6, |random| {
        let texts = [
            "a",
            "ü",
            "日",
            "😀",
            "\u{10FF80}",
            "\u{10FFFF}",
            "\u{10FF7F}",
        ];
        let text = random.one_of(&texts).as_bytes();
        match random.below(3) {
            0 => text.to_vec(),
            1 => text[..random.below(text.len() + 1)].to_vec(),
            _ => random.several(3, |random| random.word() as u8),
        }
    });
    pieces.concat()
}

#[test]
fn both_directions_together_change_no_byte() {
    let mut random = Random::new(2);
    for _ in 0..2_000 {
        let bytes = some_bytes(&mut random);
        assert_eq!(back(&from_utf8_or_bytes(&bytes)), bytes);
        assert_eq!(back(&from_bytes(&bytes)), bytes);
    }
}

#[test]
fn only_pieces_between_them_are_encoded() {
    let upper = |piece: &str, bytes: &mut Vec<u8>| bytes.extend(piece.to_uppercase().bytes());
    assert_eq!(to_bytes("ab\u{10FF80}\u{10FF81}c", upper), b"AB\x80\x81C");
}
