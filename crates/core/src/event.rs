//! What is written to the server's log about a decision.

use std::fmt::{self, Display, Write};

use serde::{Deserialize, Serialize};

use crate::admit::Admission;
use crate::principal::Bearer;
use crate::refusal::Refusal;
use crate::role_name::raw_byte;
use crate::time::UnixTime;

/// The way a token came in: the method of the matched `pg_hba.conf` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `pam pamservice=pgaad`.
    Pam,
    /// `trust`, the token asked for by the hook.
    Trust,
    /// `oauth validator=pgaad`.
    OAuth,
    /// Any other method; no token was asked for.
    Other,
}

impl Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pam => "pam",
            Self::Trust => "trust",
            Self::OAuth => "oauth",
            Self::Other => "other",
        })
    }
}

/// Who knocked, as PostgreSQL knows it before any token is looked at.
#[derive(Clone, Debug)]
pub struct Knock {
    /// The role name the client asked for; chosen by the client. Text as [`crate::role_name`] makes it of bytes.
    pub role: String,
    /// The client's address as text, `[local]` for a Unix socket.
    pub client: String,
    /// The way in.
    pub route: Route,
}

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

/// One decision: what the log says of it, and the views.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it was taken, seconds since 1970.
    pub at: i64,
    /// `admitted`, or the refusal's code.
    pub code: String,
    /// The way in.
    pub route: String,
    /// The role name the client asked for, text as [`crate::role_name`] makes it of bytes.
    pub role: String,
    /// The client's address as text, `[local]` for a Unix socket.
    pub client: String,
    /// The rule that bound the token to the role, of an admission.
    pub rule: Option<String>,
    /// Whose token it was, as far as its signature was good.
    pub bearer: Option<Bearer>,
    /// The refusal's facts, as ` key=value` each.
    pub facts: String,
    /// A statement to paste, where the refusal has one that is safe to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The code of an admission.
pub const ADMITTED: &str = "admitted";

impl Event {
    /// An admission.
    pub fn admitted(knock: &Knock, admission: &Admission, at: UnixTime) -> Self {
        Self {
            rule: Some(admission.rule().to_string()),
            bearer: Some(admission.principal().into()),
            ..Self::new(knock, ADMITTED, at)
        }
    }

    /// A refusal; `bearer` where the token's signature was good.
    pub fn refused(knock: &Knock, refusal: &Refusal, bearer: Option<Bearer>, at: UnixTime) -> Self {
        let facts = refusal.facts(LogLine::new("")).into_text();
        let hint = match refusal {
            Refusal::RoleNotBound { suggestion, .. } => suggestion.as_ref().map(ToString::to_string),
            _ => None,
        };
        Self { bearer, facts, hint, ..Self::new(knock, refusal.code(), at) }
    }

    fn new(knock: &Knock, code: &str, at: UnixTime) -> Self {
        Self {
            at: at.seconds(),
            code: code.to_owned(),
            route: knock.route.to_string(),
            role: knock.role.clone(),
            client: knock.client.clone(),
            rule: None,
            bearer: None,
            facts: String::new(),
            hint: None,
        }
    }

    /// The refusal's facts and, last, its hint, as the log line ends.
    pub fn facts_and_hint(&self) -> String {
        let facts = LogLine(self.facts.clone());
        self.hint.iter().fold(facts, |line, hint| line.hint(hint)).into_text()
    }

    /// Whether the client was let in.
    pub fn is_admission(&self) -> bool {
        self.code == ADMITTED
    }

    /// The line of the log: the code first, then who knocked, who it was, and the refusal's facts.
    pub fn line(&self) -> String {
        let head = if self.is_admission() { "pgaad: login admitted:" } else { "pgaad: login refused:" };
        let mut line = LogLine::new(head)
            .fact("code", &self.code)
            .fact("route", &self.route)
            .quoted("role", &self.role)
            .fact("client", &self.client);
        if let Some(rule) = &self.rule {
            line = line.fact("by", rule);
        }
        if let Some(bearer) = &self.bearer {
            let some = |line: LogLine, key, value: &Option<String>| match value {
                Some(value) => line.fact(key, value),
                None => line,
            };
            line = some(line, "kind", &bearer.kind).fact("tid", &bearer.tid);
            line = some(line, "oid", &bearer.oid);
            if let Some(upn) = &bearer.upn {
                line = line.quoted("upn", upn);
            }
            line = some(line, "appid", &bearer.appid).quoted("kid", &bearer.kid);
            line = line.quoted("uti", bearer.uti.as_deref().unwrap_or_default());
        }
        line.into_text() + &self.facts_and_hint()
    }

    /// The event as bytes, at most `max` of them: what is foreign and long is cut until it fits.
    pub fn encode(&self, max: usize) -> Option<Vec<u8>> {
        [usize::MAX, 128, 32, 0].into_iter().find_map(|longest| {
            let bytes = serde_json::to_vec(&self.cut(longest)).ok()?;
            (bytes.len() <= max).then_some(bytes)
        })
    }

    /// An event from its bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    fn cut(&self, longest: usize) -> Self {
        let cut = |text: &String| text.chars().take(longest).collect::<String>();
        Self {
            role: cut(&self.role),
            facts: cut(&self.facts),
            // A piece of a statement is none.
            hint: self.hint.clone().filter(|hint| hint.len() <= longest),
            bearer: self.bearer.as_ref().map(|bearer| Bearer {
                upn: bearer.upn.as_ref().map(cut),
                kid: cut(&bearer.kid),
                uti: bearer.uti.as_ref().map(cut),
                ..bearer.clone()
            }),
            ..self.clone()
        }
    }
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
    fn an_event_of_any_size_fits_and_what_is_not_foreign_is_never_cut() {
        let id = "123cd850-d9df-40bd-94d5-c9f07b7fa203";
        let long = "\u{1}".repeat(50_000);
        let knock = Knock { role: long.clone(), client: "10.0.0.7".into(), route: Route::Pam };
        let bearer = Bearer {
            kind: Some("user".into()),
            tid: id.into(),
            oid: Some(id.into()),
            upn: Some(long.clone()),
            appid: Some(id.into()),
            kid: long.clone(),
            uti: Some(long),
        };
        let event = Event::refused(&knock, &Refusal::RoleMissing, Some(bearer), UnixTime::new(7));
        let read = Event::decode(&event.encode(2_000).unwrap()).unwrap();
        assert_eq!((read.at, read.code.as_str(), read.client.as_str()), (7, "role_missing", "10.0.0.7"));
        assert_eq!(read.bearer.unwrap().oid.as_deref(), Some(id));
        assert_eq!(event.encode(10), None);
        let short = Event { role: "ann".into(), bearer: None, hint: Some("SELECT 1;".repeat(9)), ..event };
        assert_eq!(Event::decode(&short.encode(200).unwrap()).unwrap().hint, None, "no piece of a statement");
        assert_eq!(Event::decode(&short.encode(2_000).unwrap()), Some(short));
    }

    #[test]
    fn a_long_value_is_cut_and_the_cut_is_marked() {
        let line = LogLine::new("").quoted("kid", &"k".repeat(70_000)).into_text();
        assert!(line.len() < 300 && line.ends_with("…\""), "{}", line.len());
    }
}
