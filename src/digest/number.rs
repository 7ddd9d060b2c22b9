//! Canonical bytes of numeric.
use super::decimal::Decimal;
use super::writer::{Writer, tag};

/// Writes a numeric, given as the content of its varlena.
pub fn write(content: &[u8], writer: &mut Writer) {
    let (negative, weight, digits) = match Decimal::read(content) {
        Decimal::NotANumber => return writer.tag(tag::NOT_A_NUMBER),
        Decimal::Infinite => return writer.tag(tag::INFINITE),
        Decimal::MinusInfinite => return writer.tag(tag::MINUS_INFINITE),
        Decimal::Zero => {
            writer.tag(tag::NUMERIC);
            return writer.length(0);
        }
        Decimal::Finite {
            negative,
            weight,
            digits,
        } => (negative, weight, digits),
    };
    writer.tag(if negative {
        tag::MINUS_NUMERIC
    } else {
        tag::NUMERIC
    });
    writer.length(digits.len());
    writer.raw(&weight.to_be_bytes());
    for digit in digits {
        writer.raw(&u16::from_ne_bytes(*digit).to_be_bytes());
    }
}
