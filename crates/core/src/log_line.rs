//! One line of the server's log, which no value from outside can forge.

use std::fmt::{Display, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::role_name::raw_byte;

/// One line of the log: a head, then facts as `key=value`, everything that came from outside quoted.
///
/// Values are escaped so that no role name or claim can forge a line or a fact: control
/// characters, quotes, backslashes and everything outside ASCII that does not print visibly
/// (direction marks, zero-width characters) are written as `\u{…}`, bytes that are not UTF-8 as `\xfc`.
#[derive(Clone, Debug)]
pub struct LogLine {
    head: String,
    facts: Vec<Fact>,
}

/// One fact, which the log writes as `key=value` and the views as a member of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    key: String,
    value: String,
    /// Whether the value came from outside.
    is_foreign: bool,
}

/// Longer values are cut, and the cut is marked with `…`: a log line has a bounded size.
const MAX_VALUE_CHARS: usize = 256;

impl LogLine {
    /// A line that begins with `head`.
    pub fn new(head: &str) -> Self {
        Self { head: head.to_owned(), facts: Vec::new() }
    }

    /// Adds facts.
    #[must_use]
    pub(crate) fn with_all(mut self, facts: &[Fact]) -> Self {
        self.facts.extend_from_slice(facts);
        self
    }

    /// Adds ` key=value` for a value that cannot hold anything foreign: numbers, ids, our own words.
    #[must_use]
    pub fn fact(self, key: &str, value: impl Display) -> Self {
        self.with(key, value.to_string(), false)
    }

    /// Adds ` key=value` if `condition` holds.
    #[must_use]
    pub fn fact_if(self, condition: bool, key: &str, value: impl Display) -> Self {
        if condition { self.fact(key, value) } else { self }
    }

    /// Adds ` key="value"`, the value escaped and bounded.
    #[must_use]
    pub fn quoted(self, key: &str, value: &str) -> Self {
        self.with(key, bounded(value), true)
    }

    fn with(mut self, key: &str, value: String, is_foreign: bool) -> Self {
        self.facts.push(Fact { key: key.to_owned(), value, is_foreign });
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

    /// The facts alone.
    pub(crate) fn into_facts(self) -> Vec<Fact> {
        self.facts
    }

    /// The line.
    pub fn into_text(self) -> String {
        self.facts.iter().fold(self.head, |mut line, Fact { key, value, is_foreign }| {
            // Writing to a String cannot fail.
            let _ = if *is_foreign {
                write!(line, " {key}=\"{}\"", escaped(value))
            } else {
                write!(line, " {key}={value}")
            };
            line
        })
    }

    /// The facts as the members of a JSON object. Whole numbers of ours are numbers.
    pub fn into_json(self) -> Map<String, Value> {
        let value = |fact: Fact| match fact.value.parse::<i64>() {
            Ok(number) if !fact.is_foreign => (fact.key, number.into()),
            _ => (fact.key, fact.value.into()),
        };
        self.facts.into_iter().map(value).collect()
    }
}

impl Fact {
    /// The fact with a foreign value cut to at most `longest` characters.
    pub(crate) fn cut(&self, longest: usize) -> Self {
        let longest = if self.is_foreign { longest } else { usize::MAX };
        Self { value: self.value.chars().take(longest).collect(), ..self.clone() }
    }
}

/// A foreign value without what is beyond the bound; a cut is marked.
fn bounded(value: &str) -> String {
    match value.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

/// A foreign value as it may stand between quotes: escaped and bounded, see [`LogLine`].
pub(crate) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len().min(MAX_VALUE_CHARS));
    for (index, c) in value.chars().enumerate() {
        match c {
            _ if index == MAX_VALUE_CHARS => {
                text.push('…');
                break;
            }
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
    fn whole_numbers_of_ours_are_numbers_and_those_of_others_are_text() {
        let json = LogLine::new("").fact("keys", 4).fact("x", "4 h").quoted("kid", "42").into_json();
        assert_eq!(Value::from(json), serde_json::json!({ "keys": 4, "x": "4 h", "kid": "42" }));
        let cut = |line: LogLine| line.into_facts().iter().map(|fact| fact.cut(3).value).collect::<Vec<_>>();
        assert_eq!(
            cut(LogLine::new("").fact("hint", "SELECT 1").quoted("kid", "forged")),
            ["SELECT 1", "for"]
        );
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
    fn facts_are_members_of_an_object_and_whole_numbers_of_ours_are_numbers() {
        let line = LogLine::new("head").fact("age_s", 7).fact("word", "7 s").quoted("aud", "7\"\u{202e}");
        let json = Value::Object(line.hint("SELECT 1;").into_json()).to_string();
        assert_eq!(json, "{\"age_s\":7,\"aud\":\"7\\\"\u{202e}\",\"hint\":\"SELECT 1;\",\"word\":\"7 s\"}");
    }

    #[test]
    fn a_long_value_is_cut_and_the_cut_is_marked() {
        let line = LogLine::new("").quoted("kid", &"k".repeat(70_000)).into_text();
        assert!(line.len() < 300 && line.ends_with("…\""), "{}", line.len());
    }
}
