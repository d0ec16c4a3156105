//! What is written to the server's log about a decision.

use std::fmt::{self, Display, Write};

use crate::admit::Admission;
use crate::guid::ObjectId;
use crate::principal::Kind;
use crate::refusal::Refusal;

/// The way a token came in: the method of the matched `pg_hba.conf` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `pam pamservice=pgaad`.
    Pam,
    /// `trust`, the token asked for by the hook.
    Trust,
    /// Any other method; no token was asked for.
    Other,
}

impl Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pam => "pam",
            Self::Trust => "trust",
            Self::Other => "other",
        })
    }
}

/// Who knocked, as PostgreSQL knows it before any token is looked at.
#[derive(Clone, Debug)]
pub struct Knock {
    /// The role name the client asked for; chosen by the client.
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
/// (direction marks, zero-width characters) are written as `\u{…}`.
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
        let _ = write!(self.0, " {key}=\"");
        for (index, c) in value.chars().enumerate() {
            if index == MAX_VALUE_CHARS {
                self.0.push('…');
                break;
            }
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                ' '..='~' => self.0.push(c),
                c if c.is_alphanumeric() => self.0.push(c),
                c => self.0.extend(c.escape_unicode()),
            }
        }
        self.0.push('"');
        self
    }

    /// The line.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// The line for auditors: which human or program came in as which role.
pub fn admitted(knock: &Knock, admission: &Admission) -> String {
    let principal = admission.principal();
    let mut line = LogLine::new("pgaad: login admitted:")
        .fact("route", knock.route)
        .quoted("role", &knock.role)
        .fact("kind", principal.kind())
        .fact("by", admission.rule())
        .fact("tid", principal.tenant())
        .fact("oid", principal.object_id());
    line = match principal.kind() {
        Kind::User => line.quoted("upn", principal.user_name().unwrap_or_default()),
        Kind::App => line,
    };
    line.fact("appid", principal.client_id())
        .quoted("kid", principal.key_id())
        .quoted("uti", principal.token_id().unwrap_or_default())
        .fact("client", &knock.client)
        .into_text()
}

/// The line for the operator: why nobody came in.
pub fn refused(knock: &Knock, refusal: &Refusal) -> String {
    let line = LogLine::new("pgaad: login refused:")
        .fact("code", refusal.code())
        .fact("route", knock.route)
        .quoted("role", &knock.role)
        .fact("client", &knock.client);
    let line = refusal.facts(line);
    let Refusal::RoleNotBound { oid, kind, group, .. } = refusal else { return line.into_text() };
    let kind = match kind {
        Kind::User => "user",
        Kind::App => "service",
    };
    let line = line.quoted("hint", &binding_statement(&knock.role, *oid, kind));
    match group {
        Some(group) => {
            line.quoted("group_hint", &binding_statement(&knock.role, *group, "group")).into_text()
        }
        None => line.into_text(),
    }
}

/// The statement that would bind the role, for an operator who knows that it should be.
fn binding_statement(role: &str, id: ObjectId, kind: &str) -> String {
    let role = role.replace('"', "\"\"");
    format!("SECURITY LABEL FOR pgaadauth ON ROLE \"{role}\" IS 'aadauth,oid={id},type={kind}'")
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
    fn a_role_that_nothing_binds_is_logged_with_the_statement_that_would() {
        let id = "123cd850-d9df-40bd-94d5-c9f07b7fa203";
        let knock = Knock { role: "a\"b".into(), client: "[local]".into(), route: Route::Pam };
        let refusal = Refusal::RoleNotBound {
            oid: id.parse().unwrap(),
            client_id: id.parse().unwrap(),
            kind: Kind::App,
            group: Some(id.parse().unwrap()),
        };
        let line = refused(&knock, &refusal);
        let hint = r#" hint="SECURITY LABEL FOR pgaadauth ON ROLE \"a\"\"b\" IS 'aadauth,oid=123cd850-"#;
        assert!(line.contains(hint) && line.contains(",type=service'\" group_hint="), "{line}");
        assert!(line.ends_with(",type=group'\""), "{line}");
    }

    #[test]
    fn a_long_value_is_cut_and_the_cut_is_marked() {
        let line = LogLine::new("").quoted("kid", &"k".repeat(70_000)).into_text();
        assert!(line.len() < 300 && line.ends_with("…\""), "{}", line.len());
    }
}
