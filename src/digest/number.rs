//! Canonical bytes of numeric.
use super::decimal::Decimal;
use super::sink::Sink;
use super::tag;

/// Hands a numeric over, given as the content of its varlena.
pub fn write(content: &[u8], sink: &mut impl Sink) {
    match Decimal::read(content) {
        Decimal::NotANumber => sink.tag(tag::NOT_A_NUMBER),
        Decimal::Infinite => sink.tag(tag::INFINITE),
        Decimal::MinusInfinite => sink.tag(tag::MINUS_INFINITE),
        Decimal::Zero => sink.digits(tag::NUMERIC, 0, &[]),
        Decimal::Finite {
            negative,
            weight,
            digits,
        } => {
            let tag = if negative {
                tag::MINUS_NUMERIC
            } else {
                tag::NUMERIC
            };
            sink.digits(tag, weight, digits);
        }
    }
}
