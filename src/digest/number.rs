//! Canonical bytes of numeric.
//!
//! Read from the stored form, which `numeric.c` documents and every data directory has:
//! a header with sign, weight and display scale, and digits of base 10000. The display
//! scale is left out, so 1.0 and 1.00 are one.
use super::writer::{Writer, tag};

// From `numeric.c`.
const SIGN_MASK: u16 = 0xC000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xC000;
const SPECIAL_MASK: u16 = 0xF000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_WEIGHT_NEGATIVE: u16 = 0x0040;
const SHORT_WEIGHT_MASK: u16 = 0x003F;

/// Writes a numeric, given as the content of its varlena.
pub fn write(content: &[u8], writer: &mut Writer) {
    let word = |i: usize| match content.get(2 * i..2 * i + 2) {
        Some(&[a, b]) => u16::from_ne_bytes([a, b]),
        _ => 0,
    };
    let header = word(0);
    if header & SIGN_MASK == SPECIAL {
        return writer.tag(match header & SPECIAL_MASK {
            POSITIVE_INFINITY => tag::INFINITE,
            NEGATIVE_INFINITY => tag::MINUS_INFINITE,
            _ => tag::NOT_A_NUMBER,
        });
    }
    let (negative, mut weight, digits) = if header & SHORT != 0 {
        let low = header & SHORT_WEIGHT_MASK;
        let weight = if header & SHORT_WEIGHT_NEGATIVE == 0 {
            low
        } else {
            low | !SHORT_WEIGHT_MASK
        };
        (header & SHORT_NEGATIVE != 0, weight as i16, 1)
    } else {
        (header & SIGN_MASK == NEGATIVE, word(1) as i16, 2)
    };
    let (mut first, mut end) = (digits, content.len() / 2);
    while first < end && word(first) == 0 {
        first += 1;
        weight = weight.wrapping_sub(1);
    }
    while end > first && word(end - 1) == 0 {
        end -= 1;
    }
    if first >= end {
        writer.tag(tag::NUMERIC);
        return writer.length(0);
    }
    writer.tag(if negative {
        tag::MINUS_NUMERIC
    } else {
        tag::NUMERIC
    });
    writer.length(end - first);
    writer.raw(&weight.to_be_bytes());
    for digit in first..end {
        writer.raw(&word(digit).to_be_bytes());
    }
}
