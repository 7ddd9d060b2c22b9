//! A numeric as it is stored.
//!
//! `numeric.c` documents the stored form, which every data directory has: a header with sign,
//! weight and display scale, and digits of base 10000. The display scale is left out, so 1.0
//! and 1.00 are one.

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

/// A numeric, in one form for all equal ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimal<'n> {
    /// NaN.
    NotANumber,
    /// Infinity.
    Infinite,
    /// -Infinity.
    MinusInfinite,
    /// 0.
    Zero,
    /// Any other number.
    Finite {
        /// Whether it is below zero.
        negative: bool,
        /// The first digit counts as many times 10000 to this power.
        weight: i16,
        /// Digits of base 10000, the highest first, each in the machine's byte order. The first
        /// and the last are not 0.
        digits: &'n [[u8; 2]],
    },
}

impl<'n> Decimal<'n> {
    /// Reads a numeric, given as the content of its varlena.
    pub fn read(content: &'n [u8]) -> Self {
        let (words, _) = content.as_chunks::<2>();
        let word = |i: usize| words.get(i).map_or(0, |word| u16::from_ne_bytes(*word));
        let header = word(0);
        if header & SIGN_MASK == SPECIAL {
            return match header & SPECIAL_MASK {
                POSITIVE_INFINITY => Self::Infinite,
                NEGATIVE_INFINITY => Self::MinusInfinite,
                _ => Self::NotANumber,
            };
        }
        let (negative, mut weight, header_words) = if header & SHORT != 0 {
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
        let mut digits = words.get(header_words..).unwrap_or_default();
        while let [[0, 0], rest @ ..] = digits {
            digits = rest;
            weight = weight.wrapping_sub(1);
        }
        while let [rest @ .., [0, 0]] = digits {
            digits = rest;
        }
        if digits.is_empty() {
            return Self::Zero;
        }
        Self::Finite {
            negative,
            weight,
            digits,
        }
    }
}
