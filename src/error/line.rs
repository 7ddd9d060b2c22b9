//! A line of text without memory of its own.
use std::ffi::CStr;
use std::fmt;

/// A line of text that is put together without allocating, so that it can be written from
/// inside an inner loop of the server, or while an error is under way. What does not fit is cut
/// off.
pub struct Line {
    bytes: [u8; Self::LENGTH],
    length: usize,
}

impl Line {
    const LENGTH: usize = 512;

    /// Empty.
    pub fn new() -> Self {
        Self {
            bytes: [0; Self::LENGTH],
            length: 0,
        }
    }

    /// Adds text in the server's encoding.
    pub fn push(&mut self, text: &[u8]) {
        // The last byte stays NUL.
        let free = &mut self.bytes[self.length..Self::LENGTH - 1];
        let length = text.len().min(free.len());
        free[..length].copy_from_slice(&text[..length]);
        self.length += length;
    }

    /// As a C string.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
