//! Why a token opens a role or does not: the straight line, each step for itself, in words.
//!
//! Works on a token without its signature, so nothing here proves anything and nothing here can
//! admit anybody: the result is text. The checks are those of the login, by the same functions.

use std::fmt::Write;

use crate::admit::{AdmitPolicy, bind, check_mfa, check_role};
use crate::claims::{Claims, Identity};
use crate::event::{ADMITTED, Event};
use crate::guid::ObjectId;
use crate::keys::{self, SigningKey};
use crate::kind::Kind;
use crate::label::Binding;
use crate::log_line::{LogLine, escaped};
use crate::principal::{Groups, Principal};
use crate::refusal::{Code, Refusal};
use crate::role_facts::RoleFacts;
use crate::steps::{BEFORE_ANY_STEP, step_of};
use crate::suggestion::identifier;
use crate::time::UnixTime;
use crate::token::{RawToken, UnverifiedToken};
use crate::verify::{self, TokenPolicy};

pub use crate::steps::{Finding, STEPS};

/// What a token and a role are measured against.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// `pgaad.max_token_bytes`.
    pub max_bytes: usize,
    /// The published keys, or why none can be used.
    pub keys: Result<Vec<SigningKey>, Refusal>,
    /// The settings for tokens.
    pub policy: &'a TokenPolicy,
    /// The settings for roles.
    pub admit: AdmitPolicy,
    /// The server's clock.
    pub now: UnixTime,
    /// The role's name.
    pub role_name: &'a str,
    /// The role, if there is one.
    pub role: Option<&'a RoleFacts>,
}

/// Why something cannot be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotExplained {
    /// Three parts: a live token, which is a password.
    WholeToken,
    /// Not two parts either.
    NotTwoParts,
}

/// Explains `header.payload` of a token.
///
/// # Errors
/// [`NotExplained`] for anything that is not two parts.
pub fn explain(unsigned: &str, context: &Context<'_>) -> Result<Vec<Finding>, NotExplained> {
    match unsigned.bytes().filter(|byte| *byte == b'.').count() {
        1 => {}
        2.. => return Err(NotExplained::WholeToken),
        _ => return Err(NotExplained::NotTwoParts),
    }
    let mut explanation = Explanation::default();
    // The parser wants a signature; no key made this one.
    let raw = RawToken::new(format!("{unsigned}.AA").into_bytes(), context.max_bytes);
    let token = raw.as_ref().map_err(Clone::clone).and_then(UnverifiedToken::parse);
    match token {
        Ok(token) => {
            explanation.header(&token);
            explanation.key(&token, context);
            explanation.claims(&token, context);
        }
        Err(refusal) => explanation.no("header", &refusal, ""),
    }
    explanation.role(context);
    Ok(explanation.in_order())
}

/// Explains a decision that was taken: which step it ended at, and what is known of it.
pub fn explain_event(event: &Event) -> Vec<Finding> {
    let end = if event.code == ADMITTED { STEPS.len() } else { step_of(&event.code) };
    let mut findings = Vec::new();
    if end == BEFORE_ANY_STEP {
        findings.push(Finding { step: "connection", ok: Some(false), detail: refusal_of(event) });
    }
    for (place, step) in STEPS.into_iter().enumerate() {
        let (ok, detail) = match () {
            () if end == BEFORE_ANY_STEP || place > end => (None, "not reached".to_owned()),
            () if place == end => (Some(false), refusal_of(event)),
            () => (Some(true), known(step, event)),
        };
        findings.push(Finding { step, ok, detail });
    }
    findings
}

fn refusal_of(event: &Event) -> String {
    let Some(Code { name, meaning, advice }) = Code::named(&event.code) else { return event.code.clone() };
    // Last, so that what is to be pasted is easily told from what is not.
    let hint = event.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{name}:{meaning}{}; {advice}{hint}", event.facts)
}

/// What an event says of a step that was passed.
fn known(step: &str, event: &Event) -> String {
    let Some(bearer) = &event.bearer else { return String::new() };
    let or_nothing = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default());
    match step {
        "key" => format!("the signature is that of key \"{}\"", escaped(&bearer.kid)),
        "tenant" => format!("tid is {}", bearer.tid),
        "kind" => format!(
            "a token of kind {}, oid {}, upn \"{}\", client {}",
            or_nothing(&bearer.kind),
            or_nothing(&bearer.oid),
            or_nothing(&bearer.upn),
            or_nothing(&bearer.appid)
        ),
        "role" => format!("role \"{}\"", escaped(&event.role)),
        "binding" => format!("bound by {}", or_nothing(&event.rule)),
        _ => String::new(),
    }
}

#[derive(Default)]
struct Explanation {
    findings: Vec<Finding>,
    principal: Option<Principal>,
}

impl Explanation {
    fn yes(&mut self, step: &'static str, detail: String) {
        self.findings.push(Finding { step, ok: Some(true), detail });
    }

    /// A refusal: its code and meaning, and its facts or better words for them.
    fn no(&mut self, step: &'static str, refusal: &Refusal, words: &str) {
        let meaning = Code::named(refusal.code()).map_or("", |code| code.meaning);
        let facts = refusal.facts(LogLine::new("")).into_text();
        let detail = if words.is_empty() { facts } else { format!("; {words}") };
        let detail = format!("{}:{meaning}{detail}", refusal.code());
        self.findings.push(Finding { step, ok: Some(false), detail });
    }

    fn header(&mut self, token: &UnverifiedToken<'_>) {
        if token.is_typed() {
            self.yes("header", format!("alg is RS256, {}", key_words(token)));
        } else {
            self.no("header", &Refusal::HeaderInvalid { member: "typ" }, "");
        }
    }

    fn key(&mut self, token: &UnverifiedToken<'_>, context: &Context<'_>) {
        let keys = match &context.keys {
            Ok(keys) => keys,
            Err(refusal) => return self.no("key", refusal, ""),
        };
        let Some(key) = keys::find(keys.iter(), token.key_name(), &context.policy.tenant) else {
            let known: Vec<_> = keys.iter().map(|key| format!("\"{}\"", escaped(key.kid()))).collect();
            let refusal = Refusal::KeyUnknown { keys: keys.len(), age_seconds: 0 };
            let words = format!("{}; known are {}", key_words(token), known.join(", "));
            return self.no("key", &refusal, &words);
        };
        match verify::check_key_issuer(key, context.policy) {
            Ok(()) => {
                self.yes("key", format!("{}, known; whether it signed cannot be told here", key_words(token)))
            }
            Err(refusal) => self.no("key", &refusal, ""),
        }
    }

    fn claims(&mut self, token: &UnverifiedToken<'_>, context: &Context<'_>) {
        let claims = match Claims::read(token.unverified_payload()) {
            Ok(claims) => claims,
            Err(refusal) => return self.no("claims", &refusal, ""),
        };
        self.yes("claims", "all that are required, each of its type".to_owned());
        self.issuer_tenant_audience(&claims, context.policy);
        self.time(&claims, context);
        self.kind(claims, token, context.policy);
    }

    fn issuer_tenant_audience(&mut self, claims: &Claims, policy: &TokenPolicy) {
        let iss = format!("iss is \"{}\", ver \"{}\"", escaped(&claims.iss), escaped(&claims.ver));
        match verify::check_issuer(claims, policy) {
            Ok(_) => self.yes("issuer", iss),
            Err(refusal) => {
                let tenant = &policy.tenant;
                let wanted = format!(
                    "accepted are \"{}\" (1.0) and \"{}\" (2.0)",
                    tenant.v1_issuer(),
                    tenant.v2_issuer()
                );
                self.no("issuer", &refusal, &format!("{iss}; {wanted}"));
            }
        }
        let tid = format!("tid is {}", claims.tid);
        match verify::check_tenant(claims, policy) {
            Ok(()) => self.yes("tenant", tid),
            Err(refusal) => {
                self.no("tenant", &refusal, &format!("{tid}; pgaad.tenant_id is {}", policy.tenant.id()))
            }
        }
        let aud = format!("aud is {}", list(&claims.aud));
        match verify::check_audience(claims, policy) {
            Ok(()) => self.yes("audience", aud),
            Err(refusal) => {
                let more = format!("{aud}; pgaad.audience accepts {}", list(&policy.audiences));
                self.no("audience", &refusal, &more);
            }
        }
    }

    fn time(&mut self, claims: &Claims, context: &Context<'_>) {
        let (exp, nbf, now) = (claims.exp, claims.nbf, context.now);
        match verify::check_time(claims, context.policy, now) {
            Ok(()) => self.yes("time", format!("expires in {}", span(exp.since(now)))),
            Err(refusal) => {
                let more = match refusal {
                    Refusal::Expired { .. } => format!("it expired {} ago", span(now.since(exp))),
                    Refusal::NotYetValid { .. } => {
                        format!("it is valid in {}; is the server's clock right?", span(nbf.since(now)))
                    }
                    _ => format!("from nbf to exp are {}", span(exp.since(nbf))),
                };
                self.no("time", &refusal, &more);
            }
        }
    }

    fn kind(&mut self, claims: Claims, token: &UnverifiedToken<'_>, policy: &TokenPolicy) {
        match verify::identify(&claims, policy) {
            Ok(identity) => {
                let Identity { object_id, client_id, kind, is_guest } = identity;
                let name = claims.user_name().map(|name| format!(", name \"{}\"", escaped(name)));
                let guest = if is_guest { ", a guest of the tenant" } else { "" };
                let found = format!(
                    "a token of kind {kind}, oid {object_id}, client {client_id}{}{guest}",
                    name.unwrap_or_default()
                );
                match verify::check_bearer(&claims) {
                    Ok(()) => self.yes("kind", found),
                    Err(refusal) => self.no("kind", &refusal, ""),
                }
                self.scope(&claims, kind, policy);
                self.principal = Some(Principal::new(claims, identity, token.key_name().text().to_owned()));
            }
            Err(refusal) => {
                let shown = |name, value: &Option<String>| match value {
                    Some(value) => format!("{name} is \"{}\"", escaped(value)),
                    None => format!("no {name}"),
                };
                let more = format!("{}, {}", shown("idtyp", &claims.idtyp), shown("scp", &claims.scp));
                self.no("kind", &refusal, &more);
            }
        }
    }

    fn scope(&mut self, claims: &Claims, kind: Kind, policy: &TokenPolicy) {
        let scp = claims.scp.as_ref().map(|scp| format!("scp is \"{}\"", escaped(scp)));
        match verify::check_scope(claims, kind, policy) {
            Ok(()) => self.yes("scope", scp.unwrap_or_else(|| "a program's token has none".to_owned())),
            Err(refusal) => self.no("scope", &refusal, ""),
        }
    }

    /// The role, and whether it is the principal's.
    fn role(&mut self, context: &Context<'_>) {
        let name = escaped(context.role_name);
        let Some(role) = context.role else {
            return self.no("role", &Refusal::RoleMissing, &format!("there is no role \"{name}\""));
        };
        match check_role(role, context.admit, context.now) {
            Ok(()) => self.yes("role", format!("\"{name}\" is a member of azure_ad_user and may log in")),
            Err(refusal) => {
                let statement = identifier(context.role_name).and_then(|name| statement(&refusal, &name));
                self.no("role", &refusal, &statement.unwrap_or_else(|| format!("\"{name}\"")));
            }
        }
        let Some(principal) = self.principal.take() else { return };
        let bound = bind(&principal, role, context.admit)
            .and_then(|rule| if role.needs_mfa { check_mfa(&principal).map(|()| rule) } else { Ok(rule) });
        match bound {
            Ok(rule) => self.yes("binding", format!("bound by {rule}: {}", label_words(role))),
            Err(refusal) => {
                let more = format!("{}; the token's: {}", label_words(role), principal_words(&principal));
                self.no("binding", &refusal, &more);
            }
        }
    }

    /// Every step once; those that could not be tried say so.
    fn in_order(self) -> Vec<Finding> {
        let found = |step| self.findings.iter().find(|finding| finding.step == step).cloned();
        let missing = |step| Finding { step, ok: None, detail: "not reached".to_owned() };
        STEPS.into_iter().map(|step| found(step).unwrap_or_else(|| missing(step))).collect()
    }
}

/// What lifts a refusal of the role `name`, an SQL identifier.
fn statement(refusal: &Refusal, name: &str) -> Option<String> {
    match refusal {
        Refusal::RoleNotMember => Some(format!("GRANT azure_ad_user TO {name};")),
        Refusal::RoleNologin => Some(format!("ALTER ROLE {name} LOGIN;")),
        Refusal::RoleExpired => Some(format!("ALTER ROLE {name} VALID UNTIL 'infinity';")),
        _ => None,
    }
}

fn key_words(token: &UnverifiedToken<'_>) -> String {
    format!("kid is \"{}\"", escaped(token.key_name().text()))
}

/// Whom the role belongs to.
fn label_words(role: &RoleFacts) -> String {
    let mfa = if role.needs_mfa { ", with multi-factor authentication" } else { "" };
    let owner = match role.binding {
        Binding::Name if role.is_admin => {
            "nobody, since administrators are bound by object id only".to_owned()
        }
        Binding::Name => format!("the user or program named \"{}\", who is no guest", escaped(&role.name)),
        Binding::User(id) => format!("user {id}"),
        Binding::Service { object_id, .. } => format!("program {object_id}"),
        Binding::Group(id) => format!("members of group {id}"),
        Binding::Nobody => "nobody, since its label cannot be read".to_owned(),
    };
    format!("the role is for {owner}{mfa}")
}

fn principal_words(principal: &Principal) -> String {
    let mut words = format!("{} {}", principal.kind(), principal.object_id());
    if principal.kind() == Kind::App {
        let _ = write!(words, ", client {}", principal.client_id());
    }
    if let Some(name) = principal.user_name() {
        let _ = write!(words, ", name \"{}\"", escaped(name));
    }
    if principal.is_guest() {
        words.push_str(", a guest of the tenant, who can be bound by object id only");
    }
    let listed = |ids: &[ObjectId]| list(&ids.iter().map(ToString::to_string).collect::<Vec<_>>());
    let _ = match principal.groups() {
        _ if principal.groups_overage() => write!(words, ", its groups did not fit into it"),
        Groups::Unsaid => write!(words, ", no groups claim"),
        Groups::Ids(ids) => write!(words, ", groups {}", listed(ids)),
        Groups::Names(names) => write!(words, ", groups by name {}", list(names)),
    };
    words
}

/// At most ten values, quoted.
fn list(values: &[String]) -> String {
    const MOST: usize = 10;
    let shown: Vec<_> = values.iter().take(MOST).map(|value| format!("\"{}\"", escaped(value))).collect();
    match values.len().checked_sub(MOST) {
        Some(more @ 1..) => format!("{} and {more} more", shown.join(", ")),
        _ if values.is_empty() => "empty".to_owned(),
        _ => shown.join(", "),
    }
}

/// A span of seconds in words: the two largest units.
fn span(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_by_their_two_largest_units() {
        for (seconds, words) in
            [(0, "0 s"), (59, "59 s"), (-61, "1 min 1 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(span(seconds), words);
        }
    }
}
