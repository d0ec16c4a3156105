//! Role names as text.
//!
//! PostgreSQL keeps a role's name as bytes: it is in the encoding of the database where the role was made, and nobody
//! knows which that was. A client sends bytes, too. Here such a name is text in which each byte that is not UTF-8 is
//! one character of a block that is nobody's (the end of plane 16, private use), so that no two names become the same
//! text, and the bytes can be had back.

/// Length at which PostgreSQL cuts names: `NAMEDATALEN - 1`.
pub const MAX_NAME_BYTES: usize = 63;

/// The character that represents byte 0; those for 128 to 255 follow, and no others are used.
const FIRST: u32 = 0x10_ff00;

/// A name as text.
pub fn from_bytes(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match raw_byte(c) {
                // A genuine character of the block: its own bytes, so that it cannot mean another name.
                Some(_) => text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(raw_char)),
                None => text.push(c),
            }
        }
        text.extend(chunk.invalid().iter().copied().map(raw_char));
    }
    text
}

/// The bytes of a name that [`from_bytes`] made text of.
pub fn to_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match raw_byte(c) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// The byte that a character represents, if it represents one.
pub fn raw_byte(c: char) -> Option<u8> {
    u32::from(c).checked_sub(FIRST).and_then(|byte| u8::try_from(byte).ok()).filter(|byte| !byte.is_ascii())
}

/// The character that represents a byte above 127.
pub fn raw_char(byte: u8) -> char {
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_had_back_from_its_text() {
        let all: Vec<u8> = (0..=255).collect();
        let names: [&[u8]; 7] = [
            b"ann",
            "jürgen@example.com".as_bytes(),
            b"j\xfcrgen@example.com",
            b"\xc3",
            b"\xf0\x9f\x98",
            "\u{10fffc}\u{10ffff}\u{10ff00}".as_bytes(),
            &all,
        ];
        for name in names {
            assert_eq!(to_bytes(&from_bytes(name)), name, "{name:?}");
        }
    }

    #[test]
    fn no_two_names_become_the_same_text() {
        assert_eq!(from_bytes("jürgen".as_bytes()), "jürgen");
        assert_ne!(from_bytes(b"j\xfcrgen"), from_bytes("j\u{10fffc}rgen".as_bytes()));
    }
}
