//! One line of the server's log, which no value from outside can forge.

use std::fmt::{Display, Write};

use crate::role_name::raw_byte;

/// One line of the log: a head, then facts as `key=value`, everything that came from outside quoted.
///
/// Values are escaped so that no role name or claim can forge a line or a fact: control
/// characters, quotes, backslashes and everything outside ASCII that does not print visibly
/// (direction marks, zero-width characters) are written as `\u{…}`, bytes that are not UTF-8 as `\xfc`.
#[derive(Debug)]
pub struct LogLine(String);

/// Longer values are cut, and the cut is marked with `…`: a log line has a bounded size.
const MAX_VALUE_CHARS: usize = 256;

impl LogLine {
    /// A line that begins with `head`.
    pub fn new(head: &str) -> Self {
        Self(head.to_owned())
    }

    /// Adds ` key=value` for a value that cannot hold anything foreign: numbers, ids, our own words.
    #[must_use]
    pub fn fact(mut self, key: &str, value: impl Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.0, " {key}={value}");
        self
    }

    /// Adds ` key=value` if `condition` holds.
    #[must_use]
    pub fn fact_if(self, condition: bool, key: &str, value: impl Display) -> Self {
        if condition { self.fact(key, value) } else { self }
    }

    /// Adds ` key="value"`, the value escaped and bounded.
    #[must_use]
    pub fn quoted(mut self, key: &str, value: &str) -> Self {
        let _ = write!(self.0, " {key}=\"{}\"", escaped(value));
        self
    }

    /// Ends the line with ` hint=` and what to paste, as it is: nothing may be added behind it.
    ///
    /// What an escape would spoil, because it goes on over several lines or does not show, is not printed; the
    /// statement that shows it is.
    #[must_use]
    pub fn hint(self, hint: &str) -> Self {
        let shows = hint.chars().all(|c| matches!(c, ' '..='~') || c.is_alphanumeric());
        self.fact("hint", if shows { hint } else { "SELECT item, hint FROM pgaad.check() WHERE NOT ok;" })
    }

    /// The line.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// A foreign value as it may stand between quotes: escaped and bounded, see [`LogLine`].
pub(crate) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len().min(MAX_VALUE_CHARS));
    for (index, c) in value.chars().enumerate() {
        if index == MAX_VALUE_CHARS {
            text.push('…');
            break;
        }
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            c if raw_byte(c).is_some() => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\x{:02x}", raw_byte(c).unwrap_or_default());
            }
            c if c.is_alphanumeric() => text.push(c),
            c => text.extend(c.escape_unicode()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_forge_a_line_or_a_fact() {
        let line =
            LogLine::new("pgaad:").quoted("role", "a\" code=ok\nLOG: \u{202e}x\u{200b}\\é").into_text();
        assert_eq!(line, r#"pgaad: role="a\" code=ok\u{a}LOG: \u{202e}x\u{200b}\\é""#);
    }

    #[test]
    fn a_byte_that_is_not_utf_8_is_shown_as_that_byte() {
        let role = crate::role_name::from_bytes(b"j\xfcrgen \\xfc");
        assert_eq!(LogLine::new("").quoted("role", &role).into_text(), r#" role="j\xfcrgen \\xfc""#);
    }

    #[test]
    fn a_hint_ends_the_line_as_it_is_unless_an_escape_would_spoil_it() {
        let line = |hint: &str| LogLine::new("pgaad:").quoted("detail", "x").hint(hint).into_text();
        assert_eq!(line("ALTER ROLE \"a b\" LOGIN;"), "pgaad: detail=\"x\" hint=ALTER ROLE \"a b\" LOGIN;");
        for several in ["a\nb", "a\u{202e}b", "a\tb"] {
            assert_eq!(
                line(several),
                "pgaad: detail=\"x\" hint=SELECT item, hint FROM pgaad.check() WHERE NOT ok;"
            );
        }
    }

    #[test]
    fn a_long_value_is_cut_and_the_cut_is_marked() {
        let line = LogLine::new("").quoted("kid", &"k".repeat(70_000)).into_text();
        assert!(line.len() < 300 && line.ends_with("…\""), "{}", line.len());
    }
}
