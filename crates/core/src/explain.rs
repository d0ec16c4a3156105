//! Why a token opens a role or does not: the straight line, each step for itself, in words.
//!
//! Works on a token without its signature, so nothing here proves anything and nothing here can
//! admit anybody: the result is text. The checks are those of the login, by the same functions.

use std::borrow::Cow;

use crate::admit::{self, RoleCase};
use crate::claims::Claims;
use crate::event::{ADMITTED, Event};
use crate::keys::{self, SigningKey};
use crate::log_line::{LogLine, escaped};
use crate::principal::Principal;
use crate::reason::{Code, Reason};
use crate::steps::Step;
use crate::token::{RawToken, UnverifiedToken};
use crate::verify::{self, TokenCase, TokenPolicy};

pub use self::context::Context;

mod context;
mod words;

/// One step of the straight line and how it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The step.
    pub step: Step,
    /// Whether it lets the token on; `None` when it could not be tried.
    pub ok: Option<bool>,
    /// What was found and what was wanted; the code of the refusal first.
    pub detail: String,
}

/// Why something cannot be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotExplained {
    /// Three parts: a live token, which is a password.
    WholeToken,
    /// Not two parts either.
    NotTwoParts,
}

/// The policy by which `header.payload` of a token is measured: that of the tenant which it says it is of. The keys
/// and the policy of a [`Context`] are that tenant's.
pub fn measure<'a>(policy: &'a TokenPolicy, unsigned: &str, max_bytes: usize) -> Cow<'a, TokenPolicy> {
    let raw = RawToken::new(format!("{unsigned}.AA").into_bytes(), max_bytes);
    let token = raw.as_ref().ok().and_then(|raw| UnverifiedToken::parse(raw).ok());
    token.map_or(Cow::Borrowed(policy), |token| policy.for_token(&token))
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
    // The parser wants a signature; no key made this one.
    let raw = RawToken::new(format!("{unsigned}.AA").into_bytes(), context.max_bytes);
    let token = raw.as_ref().map_err(Clone::clone).and_then(UnverifiedToken::parse);
    let mut findings = Vec::new();
    let mut principal = Err(Reason::InternalError);
    match &token {
        Ok(token) => {
            findings.push(header(token));
            principal = explain_token(token, context, &mut findings);
        }
        Err(reason) => findings.push(no(Step::Header, reason, "")),
    }
    explain_role(principal.as_ref().map_err(Clone::clone), context, &mut findings);
    let found = |step: Step| findings.iter().find(|finding| finding.step == step).cloned();
    let missing = |step| Finding { step, ok: None, detail: "not reached".to_owned() };
    Ok(Step::ALL.into_iter().map(|step| found(step).unwrap_or_else(|| missing(step))).collect())
}

/// Explains a decision that was taken: which step it ended at, and what is known of it.
pub fn explain_event(event: &Event) -> Vec<Finding> {
    // `None` for an admission, which passed them all.
    let end =
        (event.code != ADMITTED).then(|| Code::named(&event.code).map_or(Step::Connection, |code| code.step));
    let mut findings = Vec::new();
    if end == Some(Step::Connection) {
        findings.push(Finding { step: Step::Connection, ok: Some(false), detail: refusal_of(event) });
    }
    for step in Step::ALL {
        let (ok, detail) = match end {
            Some(end) if step > end => (None, "not reached".to_owned()),
            Some(end) if step == end => (Some(false), refusal_of(event)),
            _ => (Some(true), known(step, event)),
        };
        findings.push(Finding { step, ok, detail });
    }
    findings
}

fn refusal_of(event: &Event) -> String {
    let Some(Code { name, step, meaning, advice }) = Code::named(&event.code) else {
        return event.code.clone();
    };
    // The subject has it, and so it is no fact of the reason.
    let aud = if *step == Step::Audience { known(*step, event) } else { String::new() };
    let aud = if aud.is_empty() { aud } else { format!(", {aud}") };
    // Last, so that what is to be pasted is easily told from what is not.
    let hint = event.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{name}:{meaning}{}{aud}; {advice}{hint}", event.facts())
}

/// What an event says of a step that was passed.
fn known(step: Step, event: &Event) -> String {
    let Some(subject) = &event.subject else { return String::new() };
    let or_nothing = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default());
    match step {
        Step::Key => format!("the signature is that of key \"{}\"", escaped(&subject.kid)),
        Step::Tenant => format!("tid is {}", subject.tid),
        Step::Audience => format!("aud is \"{}\"", escaped(&subject.aud)),
        Step::Kind => format!(
            "a token of kind {}, oid {}, upn \"{}\", client {}",
            or_nothing(&subject.kind),
            or_nothing(&subject.oid),
            or_nothing(&subject.upn),
            or_nothing(&subject.appid)
        ),
        Step::Role => format!("role \"{}\"", escaped(&event.role)),
        // What is known of it is the rule's.
        Step::Directory => event.facts().trim_start().to_owned(),
        Step::Binding => format!("bound by {}", or_nothing(&event.rule)),
        _ => String::new(),
    }
}

fn yes(step: Step, detail: String) -> Finding {
    Finding { step, ok: Some(true), detail }
}

/// A refusal: its code and meaning, and its facts or better words for them.
fn no(step: Step, reason: &Reason, words: &str) -> Finding {
    let meaning = Code::named(reason.code()).map_or("", |code| code.meaning);
    let facts = reason.facts(LogLine::new("")).into_text();
    let detail = if words.is_empty() { facts } else { format!("; {words}") };
    Finding { step, ok: Some(false), detail: format!("{}:{meaning}{detail}", reason.code()) }
}

/// The header, of which the parser has read all but whether it says `typ`.
fn header(token: &UnverifiedToken<'_>) -> Finding {
    if token.is_typed() {
        yes(Step::Header, format!("alg is RS256, {}", words::of_key_name(token)))
    } else {
        no(Step::Header, &Reason::HeaderInvalid { member: "typ" }, "")
    }
}

/// Walks the checks of a token to their end, and tells whom the token was issued for.
fn explain_token(
    token: &UnverifiedToken<'_>,
    context: &Context<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Principal, Reason> {
    let key = find_key(token, context);
    let claims = match Claims::read(token.unverified_payload()) {
        Ok(claims) => claims,
        Err(reason) => {
            let outcome = key.and_then(|key| verify::key_signs_for(key, &context.policy.tenant));
            findings.push(match outcome {
                Ok(()) => yes(Step::Key, words::of_key(token)),
                Err(reason) => no(Step::Key, &reason, &words::of_refused_key(&reason, token, context)),
            });
            findings.push(no(Step::Claims, &reason, ""));
            return Err(reason);
        }
    };
    findings.push(yes(Step::Claims, "all that are required, each of its type".to_owned()));
    let case = TokenCase { claims: &claims, key, policy: context.policy, now: context.now };
    findings.extend(
        by_step(verify::CHECKS.iter().map(|(step, check)| (*step, check(&case)))).into_iter().filter_map(
            |(step, outcome)| {
                finding(
                    step,
                    outcome,
                    || words::of_token(step, token, &case),
                    |reason| words::of_refused_token(reason, token, context, &claims),
                )
            },
        ),
    );
    let identity = verify::identify(&claims, context.policy)?;
    Ok(Principal::new(claims, identity, token.key_name().text().to_owned()))
}

/// The key that the token names.
fn find_key<'a>(token: &UnverifiedToken<'_>, context: &'a Context<'_>) -> Result<&'a SigningKey, Reason> {
    let keys = context.keys.as_ref().map_err(Clone::clone)?;
    keys::find(keys.iter(), token.key_name(), &context.policy.tenant).ok_or_else(|| Reason::KeyUnknown {
        kid: token.key_name().text().to_owned(),
        keys: keys.len(),
        age_seconds: 0,
    })
}

/// Walks the checks of a role to their end.
fn explain_role(principal: Result<&Principal, Reason>, context: &Context<'_>, findings: &mut Vec<Finding>) {
    let known = principal.as_ref().ok().zip(context.role);
    let case = RoleCase {
        directory: known
            .map(|(principal, role)| context.directory.facts(principal, role))
            .unwrap_or_default(),
        principal,
        role: context.role,
        denied: context.denied,
        policy: context.admit,
        now: context.now,
    };
    findings.extend(
        by_step(admit::CHECKS.iter().map(|(step, check)| (*step, check(&case)))).into_iter().filter_map(
            |(step, outcome)| {
                finding(
                    step,
                    outcome,
                    || words::of_role(step, &case, context.role_name),
                    |reason| words::of_refused_role(reason, &case, context.role_name),
                )
            },
        ),
    );
}

/// Each step once, with its first refusal.
fn by_step(outcomes: impl Iterator<Item = (Step, Result<(), Reason>)>) -> Vec<(Step, Result<(), Reason>)> {
    let mut steps: Vec<(Step, Result<(), Reason>)> = Vec::new();
    for (step, outcome) in outcomes {
        match steps.iter_mut().find(|(other, _)| *other == step) {
            Some((_, first)) => *first = std::mem::replace(first, Ok(())).and(outcome),
            None => steps.push((step, outcome)),
        }
    }
    steps
}

/// The finding of a step; `None` where the step could not be tried, because what an earlier one refused is missing.
fn finding(
    step: Step,
    outcome: Result<(), Reason>,
    passed: impl FnOnce() -> String,
    refused: impl FnOnce(&Reason) -> String,
) -> Option<Finding> {
    match outcome {
        Ok(()) => Some(yes(step, passed())),
        Err(reason) if reason.step() == step => Some(no(step, &reason, &refused(&reason))),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_found_once_with_its_first_refusal() {
        let outcomes = [
            (Step::Key, Ok(())),
            (Step::Time, Err(Reason::KindUnknown)),
            (Step::Key, Err(Reason::BadSignature)),
            (Step::Key, Err(Reason::NoKeys)),
            (Step::Time, Ok(())),
        ];
        let expected = vec![(Step::Key, Err(Reason::BadSignature)), (Step::Time, Err(Reason::KindUnknown))];
        assert_eq!(by_step(outcomes.into_iter()), expected);
    }
}
