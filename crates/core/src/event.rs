//! What is written to the server's log about a decision.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::decide::Admission;
use crate::log_line::{Fact, LogLine};
use crate::reason::Reason;
use crate::subject::TokenSubject;
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

/// Where a line of `pg_hba.conf` is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HbaPlace {
    /// The file, of a long path its end.
    pub file: String,
    /// The line's number, from 1.
    pub line: u32,
}

impl HbaPlace {
    /// Longest file that is told whole, in characters.
    const MAX_FILE_CHARS: usize = 128;

    /// The line of that number of a file. Of a longer path the beginning is left out, and marked with `…`.
    pub fn new(file: &str, line: u32) -> Self {
        let surplus = file.chars().count().saturating_sub(Self::MAX_FILE_CHARS);
        let end: String = file.chars().skip(surplus).collect();
        Self { file: if surplus > 0 { format!("…{end}") } else { end }, line }
    }
}

impl Display for HbaPlace {
    /// `FILE:LINE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Who tries to log in, as PostgreSQL knows it before any token is looked at.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The role name the client asked for; chosen by the client. Text as [`crate::role_name`] makes it of bytes.
    pub role: String,
    /// The client's address as text, `[local]` for a Unix socket.
    pub client: String,
    /// The way in.
    pub route: Route,
    /// The matched line of `pg_hba.conf`.
    pub hba: Option<HbaPlace>,
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
    /// The matched line of `pg_hba.conf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hba: Option<HbaPlace>,
    /// The rule that bound the token to the role, of an admission.
    pub rule: Option<String>,
    /// Whose token it was, as far as its signature was good.
    pub subject: Option<TokenSubject>,
    /// The reason's facts, or the rule's.
    pub(crate) facts: Vec<Fact>,
    /// A statement to paste, where the refusal has one that is safe to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The code of an admission.
pub const ADMITTED: &str = "admitted";

impl Event {
    /// An admission.
    pub fn admitted(attempt: &LoginAttempt, admission: &Admission, at: UnixTime) -> Self {
        Self {
            rule: Some(admission.rule().to_string()),
            subject: Some(admission.principal().into()),
            facts: admission.rule().facts(at),
            ..Self::new(attempt, ADMITTED, at)
        }
    }

    /// A refusal; `bearer` where the token's signature was good.
    pub fn refused(
        attempt: &LoginAttempt,
        reason: &Reason,
        subject: Option<TokenSubject>,
        at: UnixTime,
    ) -> Self {
        let facts = reason.facts(LogLine::new("")).into_facts();
        let hint = reason.hint();
        Self { subject, facts, hint, ..Self::new(attempt, reason.code(), at) }
    }

    fn new(attempt: &LoginAttempt, code: &str, at: UnixTime) -> Self {
        Self {
            at: at.seconds(),
            code: code.to_owned(),
            route: attempt.route.to_string(),
            role: attempt.role.clone(),
            client: attempt.client.clone(),
            hba: attempt.hba.clone(),
            rule: None,
            subject: None,
            facts: Vec::new(),
            hint: None,
        }
    }

    /// The reason's facts, as ` key=value` each.
    pub(crate) fn facts(&self) -> String {
        LogLine::new("").with_all(&self.facts).into_text()
    }

    /// The reason's facts and, last, its hint, as the members of a JSON object.
    pub fn facts_and_hint(&self) -> Map<String, Value> {
        self.with_facts_and_hint(LogLine::new("")).into_json()
    }

    fn with_facts_and_hint(&self, line: LogLine) -> LogLine {
        let line = line.with_all(&self.facts);
        self.hint.iter().fold(line, |line, hint| line.hint(hint))
    }

    /// The event with another spelling of the role's name.
    #[must_use]
    pub fn spelt(self, role: String) -> Self {
        Self { role, ..self }
    }

    /// Whether the client was let in.
    pub fn is_admission(&self) -> bool {
        self.code == ADMITTED
    }

    /// The line of the log: the code first, then the attempt, the subject, and the refusal's facts.
    pub fn line(&self) -> String {
        let head = if self.is_admission() { "pgaad: login admitted:" } else { "pgaad: login refused:" };
        let mut line = LogLine::new(head)
            .fact("code", &self.code)
            .fact("route", &self.route)
            .quoted("role", &self.role)
            .fact("client", &self.client);
        if let Some(place) = &self.hba {
            line = line.quoted("hba", &place.to_string());
        }
        if let Some(rule) = &self.rule {
            line = line.fact("by", rule);
        }
        if let Some(subject) = &self.subject {
            let some = |line: LogLine, key, value: &Option<String>| match value {
                Some(value) => line.fact(key, value),
                None => line,
            };
            line = some(line, "kind", &subject.kind).fact("tid", &subject.tid);
            line = some(line, "oid", &subject.oid);
            if let Some(upn) = &subject.upn {
                line = line.quoted("upn", upn);
            }
            line = some(line, "appid", &subject.appid);
            line = some(line, "agent", &subject.agent);
            line = line.quoted("aud", &subject.aud).quoted("kid", &subject.kid);
            line = line.quoted("uti", subject.uti.as_deref().unwrap_or_default());
        }
        self.with_facts_and_hint(line).into_text()
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
            facts: self.facts.iter().map(|fact| fact.cut(longest)).collect(),
            // A piece of a statement is not a statement.
            hint: self.hint.clone().filter(|hint| hint.len() <= longest),
            subject: self.subject.as_ref().map(|subject| TokenSubject {
                upn: subject.upn.as_ref().map(cut),
                aud: cut(&subject.aud),
                kid: cut(&subject.kid),
                uti: subject.uti.as_ref().map(cut),
                ..subject.clone()
            }),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_any_size_fits_and_what_is_not_foreign_is_never_cut() {
        let id = "123cd850-d9df-40bd-94d5-c9f07b7fa203";
        let long = "\u{1}".repeat(50_000);
        let attempt = LoginAttempt {
            role: long.clone(),
            client: "10.0.0.7".into(),
            route: Route::Pam,
            hba: Some(HbaPlace::new(&"/d".repeat(500), 97)),
        };
        let subject = TokenSubject {
            kind: Some("user".into()),
            tid: id.into(),
            oid: Some(id.into()),
            upn: Some(long.clone()),
            appid: Some(id.into()),
            agent: None,
            aud: long.clone(),
            kid: long.clone(),
            uti: Some(long),
        };
        let event = Event::refused(&attempt, &Reason::RoleMissing, Some(subject), UnixTime::new(7));
        let read = Event::decode(&event.encode(2_000).unwrap()).unwrap();
        assert_eq!((read.at, read.code.as_str(), read.client.as_str()), (7, "role_missing", "10.0.0.7"));
        assert_eq!(read.subject.unwrap().oid.as_deref(), Some(id));
        let place = read.hba.unwrap();
        assert!(place.file.starts_with("…/d") && place.file.chars().count() == 129, "{place}");
        assert!(event.line().contains("/d/d:97\""), "{}", event.line());
        assert_eq!(event.encode(10), None);
        let short = Event {
            role: "ann".into(),
            hba: None,
            subject: None,
            hint: Some("SELECT 1;".repeat(9)),
            ..event
        };
        assert_eq!(Event::decode(&short.encode(200).unwrap()).unwrap().hint, None, "no piece of a statement");
        assert_eq!(Event::decode(&short.encode(2_000).unwrap()), Some(short.clone()));
        let wordy = Reason::SettingInvalid {
            setting: "pgaad.scope",
            value: Some("v".repeat(99)),
            expected: "x".into(),
        };
        let attempt = LoginAttempt { role: "ann".into(), hba: None, ..attempt };
        let wordy = Event::refused(&attempt, &wordy, None, UnixTime::new(7));
        let whole = wordy.encode(usize::MAX).unwrap().len();
        let cut = Event::decode(&wordy.encode(whole - 1).unwrap()).unwrap();
        assert!(cut.facts().contains(&format!("\"{}\"", "v".repeat(32))), "{}", cut.facts());
    }
}
