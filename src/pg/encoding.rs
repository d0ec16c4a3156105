//! The database's encoding, and UTF-8, which is what text is inside this library.
//!
//! The conversions are those of `pg_catalog`, whatever conversions of its own a session has put in its `search_path`.

use std::ffi::CStr;

use pgaad_core::role_name::{self, raw_byte, raw_char};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::pg_enc;
use pgrx::prelude::*;

use super::libpq;

/// Most bytes that one byte becomes by a conversion (pg_wchar.h, `MAX_CONVERSION_GROWTH`).
const MAX_GROWTH: usize = 4;

/// What the database's encoding is to UTF-8.
enum Encoding {
    /// The same, or SQL_ASCII, which takes all bytes as they are.
    Utf8,
    /// Another, with `pg_catalog`'s conversion in one direction.
    Other(Conversion),
    /// Another, and nothing that is not ASCII can be converted: there is no conversion (MULE_INTERNAL), or no
    /// transaction to look it up in.
    AsciiOnly,
}

/// A conversion between UTF-8 and the database's encoding.
struct Conversion {
    function: pg_sys::Oid,
    from: i32,
    to: i32,
}

#[derive(Clone, Copy)]
enum Direction {
    ToDatabase,
    ToUtf8,
}

/// The encoding of the session's database, SQL_ASCII before there is one.
fn database_encoding() -> i32 {
    // SAFETY: reads a variable of the process (mbutils.c).
    unsafe { pg_sys::GetDatabaseEncoding() }
}

fn encoding_id(id: pg_enc::Type) -> i32 {
    i32::try_from(id).unwrap_or(-1)
}

impl Encoding {
    fn of_database(direction: Direction) -> Self {
        let (database, utf8) = (database_encoding(), encoding_id(pg_enc::PG_UTF8));
        if database == utf8 || database == encoding_id(pg_enc::PG_SQL_ASCII) {
            return Self::Utf8;
        }
        let (from, to) = match direction {
            Direction::ToDatabase => (utf8, database),
            Direction::ToUtf8 => (database, utf8),
        };
        // SAFETY: reads a variable of the process (xact.c).
        if !unsafe { pg_sys::IsTransactionState() } {
            return Self::AsciiOnly;
        }
        // SAFETY: in a transaction; looks the catalog up (pg_conversion.c). The closure holds nothing with a
        // destructor.
        let function = unsafe {
            pg_guard_ffi_boundary(|| {
                let catalog = pg_sys::Oid::from(pg_sys::PG_CATALOG_NAMESPACE);
                libpq::FindDefaultConversion(catalog.to_u32(), from, to)
            })
        };
        if function == 0 {
            Self::AsciiOnly
        } else {
            Self::Other(Conversion { function: pg_sys::Oid::from(function), from, to })
        }
    }
}

impl Conversion {
    /// Converts as many bytes of `text` as can be: the result, and how many those were.
    fn convert(&self, text: &[u8]) -> (Vec<u8>, usize) {
        // One more than core wants, which else takes a shorter text (mbutils.c, `pg_do_encoding_conversion_buf`).
        let mut room = vec![0; text.len().saturating_add(1).saturating_mul(MAX_GROWTH).saturating_add(1)];
        let (Ok(length), Ok(size)) = (i32::try_from(text.len()), i32::try_from(room.len())) else {
            return (Vec::new(), 0);
        };
        // SAFETY: the function is one of pg_catalog's for these two encodings. It reads `length` bytes and no more, and
        // writes at most MAX_GROWTH for each and a NUL; `room` has space for these. With noError it raises nothing for
        // what it cannot convert (conversion functions of 14 and later).
        let taken = unsafe {
            pg_sys::pg_do_encoding_conversion_buf(
                self.function,
                self.from,
                self.to,
                text.as_ptr().cast_mut(),
                length,
                room.as_mut_ptr(),
                size,
                true,
            )
        };
        let end = room.iter().position(|byte| *byte == 0).unwrap_or(room.len());
        room.truncate(end);
        (room, usize::try_from(taken).unwrap_or_default().min(text.len()))
    }
}

/// Whether a character cannot be in any SQL text, or represents a byte that is not UTF-8.
fn is_unwritable(c: char) -> bool {
    c == '\0' || raw_byte(c).is_some()
}

/// What replaces a character that cannot be written.
fn replacement(c: char) -> String {
    match (c, raw_byte(c)) {
        ('…', _) => "...".to_owned(),
        (_, Some(byte)) => format!("\\x{byte:02x}"),
        (c, None) => c.escape_unicode().to_string(),
    }
}

/// Text in the database's encoding. What cannot be written in it is replaced visibly, as `\u{4e2d}`; a byte of a role
/// name that is not text, as `\xfc`.
pub(super) fn encode(text: &str) -> Vec<u8> {
    let mut readable = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unwritable(c) { readable.push_str(&replacement(c)) } else { readable.push(c) }
    }
    if readable.is_ascii() {
        return readable.into_bytes();
    }
    let conversion = match Encoding::of_database(Direction::ToDatabase) {
        Encoding::Utf8 => return readable.into_bytes(),
        Encoding::Other(conversion) => Some(conversion),
        Encoding::AsciiOnly => None,
    };
    let mut encoded = Vec::with_capacity(readable.len());
    let mut rest = readable.as_str();
    while !rest.is_empty() {
        let taken = match &conversion {
            Some(conversion) => {
                let (converted, taken) = conversion.convert(rest.as_bytes());
                encoded.extend(converted);
                taken
            }
            None => {
                let ascii = rest.find(|c: char| !c.is_ascii()).unwrap_or(rest.len());
                encoded.extend(rest.bytes().take(ascii));
                ascii
            }
        };
        // What was not taken begins with the character that cannot be converted.
        let mut left = rest.get(taken..).unwrap_or_default().chars();
        if let Some(c) = left.next() {
            encoded.extend(replacement(c).into_bytes());
        }
        rest = left.as_str();
    }
    encoded
}

/// Text in the database's encoding, if it can be written in it, all of it.
pub(super) fn encode_exactly(text: &str) -> Option<Vec<u8>> {
    if text.contains('\0') {
        return None;
    }
    if text.is_ascii() {
        return Some(text.as_bytes().to_vec());
    }
    match Encoding::of_database(Direction::ToDatabase) {
        Encoding::Utf8 => Some(text.as_bytes().to_vec()),
        Encoding::Other(conversion) => {
            let (converted, taken) = conversion.convert(text.as_bytes());
            (taken == text.len()).then_some(converted)
        }
        Encoding::AsciiOnly => None,
    }
}

/// Text from the database, as UTF-8. Bytes that are no text stand in it as those of a role name do.
pub(crate) fn decode(bytes: &[u8]) -> String {
    if bytes.is_ascii() {
        return role_name::from_bytes(bytes);
    }
    let conversion = match Encoding::of_database(Direction::ToUtf8) {
        Encoding::Utf8 => return role_name::from_bytes(bytes),
        Encoding::Other(conversion) => Some(conversion),
        Encoding::AsciiOnly => None,
    };
    let mut decoded = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let taken = match &conversion {
            Some(conversion) => {
                let (converted, taken) = conversion.convert(rest);
                decoded.push_str(&String::from_utf8_lossy(&converted));
                taken
            }
            None => {
                let ascii = rest.iter().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
                decoded.extend(rest.iter().take(ascii).copied().map(char::from));
                ascii
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
        let (character, after) = rest.split_at(length_of_character(rest));
        decoded.extend(character.iter().copied().map(raw_char));
        rest = after;
    }
    decoded
}

/// How many bytes the database's first character of these has, as far as they are there.
fn length_of_character(bytes: &[u8]) -> usize {
    // With a NUL behind it, so that a look at a second byte stays inside.
    let first: Vec<u8> = bytes.iter().copied().take(MAX_GROWTH).chain([0]).collect();
    // SAFETY: reads the first byte, or the first two (wchar.c).
    let length = unsafe { pg_sys::pg_encoding_mblen(database_encoding(), first.as_ptr().cast()) };
    usize::try_from(length).unwrap_or(1).clamp(1, MAX_GROWTH).min(bytes.len())
}

/// A role's name as text, as the catalog's bytes read in this database.
///
/// `name` comes from the catalog, or from a statement of this session.
pub(crate) fn of_name(name: &CStr) -> String {
    decode(name.to_bytes())
}

/// Whether these bytes are text in the database's encoding. SQL_ASCII takes all but NUL.
pub(super) fn is_valid(bytes: &[u8]) -> bool {
    let Ok(length) = i32::try_from(bytes.len()) else { return false };
    // SAFETY: reads `length` bytes, and raises nothing as it is told (mbutils.c).
    unsafe { pg_sys::pg_verify_mbstr(database_encoding(), bytes.as_ptr().cast(), length, true) }
}
