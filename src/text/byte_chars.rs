//! Characters that stand for bytes which are no text: U+10FF80 to U+10FFFF, which Unicode
//! leaves to private use. See [`super`] for where they occur.

/// The character that stands for byte 0 would be this one; used from 0x80 on.
const BYTE: u32 = 0x10_FF00;

/// The byte that a character stands for, if it is one of these.
pub fn byte_of(character: char) -> Option<u8> {
    let byte = u32::from(character).checked_sub(BYTE)?;
    u8::try_from(byte).ok().filter(|byte| !byte.is_ascii())
}

/// Whether one of these characters may be in a text: their UTF-8 begins so.
pub fn may_hold_bytes(text: &[u8]) -> bool {
    text.contains(&0xF4)
}

/// A character for each byte, which is that of ASCII or stands for it.
pub fn from_bytes(bytes: &[u8]) -> String {
    let character = |byte: &u8| {
        let byte = u32::from(*byte);
        char::from_u32(if byte < 0x80 { byte } else { BYTE + byte })
    };
    bytes.iter().filter_map(character).collect()
}

/// UTF-8 as far as it is, and a character for each byte that is none.
pub fn from_utf8_or_bytes(bytes: &[u8]) -> String {
    if !may_hold_bytes(bytes)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return text.to_owned();
    }
    let mut image = String::with_capacity(2 * bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if byte_of(character).is_some() {
                image += &from_bytes(character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                image.push(character);
            }
        }
        image += &from_bytes(chunk.invalid());
    }
    image
}

/// The bytes of a text: those that characters stand for, and between them what `encode`
/// appends for a piece without such characters.
pub fn to_bytes(text: &str, encode: impl Fn(&str, &mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut begin = 0;
    for (at, character) in text.char_indices() {
        if let Some(byte) = byte_of(character) {
            encode(&text[begin..at], &mut bytes);
            bytes.push(byte);
            begin = at + character.len_utf8();
        }
    }
    encode(&text[begin..], &mut bytes);
    bytes
}
