//! What takes the values of a row in their canonical form: bytes that are written, or a hash.
use super::tag;

/// Takes one value after the other. Those that are equal come alike.
pub trait Sink {
    /// A value that its tag says all about.
    fn tag(&mut self, tag: u8);

    /// An integer, whatever its type.
    fn integer(&mut self, value: i64);

    /// A tag, and bytes whose number goes with it.
    fn fixed<const N: usize>(&mut self, tag: u8, bytes: [u8; N]);

    /// A tag, and bytes, however many.
    fn bytes(&mut self, tag: u8, bytes: &[u8]);

    /// A float: zeros are one, and so are those that are no number.
    #[inline]
    fn float(&mut self, value: f64) {
        let value = if value == 0.0 {
            0.0
        } else if value.is_nan() {
            f64::NAN
        } else {
            value
        };
        self.fixed(tag::FLOAT, value.to_bits().to_be_bytes());
    }

    /// A numeric: a tag, the power of the first digit, and digits in the machine's byte order.
    fn digits(&mut self, tag: u8, weight: i16, digits: &[[u8; 2]]);
}
