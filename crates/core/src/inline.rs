//! Short byte strings of fixed size, for data that lives in shared memory.

use std::fmt;

/// At most `N` bytes, stored in place: plain data without a pointer, so that a value can be
/// copied between processes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Inline<const N: usize> {
    length: usize,
    bytes: [u8; N],
}

impl<const N: usize> Inline<N> {
    /// The empty string.
    pub const EMPTY: Self = Self { length: 0, bytes: [0; N] };

    /// A copy of `bytes`, or `None` when they are more than `N`: nothing is ever cut.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut inline = Self::EMPTY;
        inline.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        inline.length = bytes.len();
        Some(inline)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// The bytes as text; empty when they are not UTF-8, which the makers of text rule out.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<const N: usize> Default for Inline<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> fmt::Debug for Inline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_fits_exactly_is_kept_whole() {
        assert_eq!(Inline::<3>::new(b"abc").unwrap().as_str(), "abc");
    }

    #[test]
    fn text_one_byte_too_long_is_no_value_rather_than_a_shorter_one() {
        assert!(Inline::<3>::new(b"abcd").is_none());
    }
}
