//! What an explanation says of a step: what was found, and what was wanted.

use std::fmt::Write;

use super::context::Context;
use crate::admit::{RoleCase, bind};
use crate::claims::Claims;
use crate::directory::{AccountState, MembershipWord};
use crate::guid::ObjectId;
use crate::kind::Kind;
use crate::label::Binding;
use crate::log_line::escaped;
use crate::principal::{Groups, Principal};
use crate::reason::Reason;
use crate::role_facts::RoleFacts;
use crate::steps::Step;
use crate::suggestion::identifier;
use crate::time::UnixTime;
use crate::token::UnverifiedToken;
use crate::verify::{TokenCase, identify};

/// A step of the token that was passed.
pub(super) fn of_token(step: Step, token: &UnverifiedToken<'_>, case: &TokenCase<'_>) -> String {
    let claims = case.claims;
    match step {
        Step::Key => of_key(token),
        Step::Issuer => issuer(claims),
        Step::Tenant => format!("tid is {}", claims.tid),
        Step::Audience => format!("aud is {}", list(&claims.aud)),
        Step::Time => format!("expires in {}", span(claims.exp.since(case.now))),
        Step::Kind => identity(case),
        Step::Scope => match &claims.scp {
            Some(scp) => format!("scp is \"{}\"", escaped(scp)),
            None => "a program's token has none".to_owned(),
        },
        _ => String::new(),
    }
}

/// A step of the token that was not passed; empty where the refusal's own facts say it all.
pub(super) fn of_refused_token(
    reason: &Reason,
    token: &UnverifiedToken<'_>,
    context: &Context<'_>,
    claims: &Claims,
) -> String {
    let tenant = &context.policy.tenant;
    let now = context.now;
    match reason {
        Reason::IssuerUnknown { .. } | Reason::VersionMismatch => format!(
            "{}; accepted are \"{}\" (1.0) and \"{}\" (2.0)",
            issuer(claims),
            tenant.v1_issuer(),
            tenant.v2_issuer()
        ),
        Reason::WrongTenant => {
            let tenants: Vec<_> = context.policy.tenants().map(|tenant| tenant.id().to_string()).collect();
            format!("tid is {}; pgaad.tenant_id is {}", claims.tid, tenants.join(", "))
        }
        Reason::WrongAudience { .. } => {
            format!(
                "aud is {}; pgaad.audience accepts {}",
                list(&claims.aud),
                list(&context.policy.audiences)
            )
        }
        Reason::Expired { exp, .. } => format!("it expired {} ago", span(now.since(*exp))),
        Reason::NotYetValid { nbf, .. } => {
            format!("it is valid in {}; is the server's clock right?", span(nbf.since(now)))
        }
        Reason::LifetimeInvalid { seconds } => format!("from nbf to exp are {}", span(*seconds)),
        Reason::NoObjectId | Reason::NotAnAccessToken | Reason::KindUnknown => {
            let shown = |name, value: &Option<String>| match value {
                Some(value) => format!("{name} is \"{}\"", escaped(value)),
                None => format!("no {name}"),
            };
            format!("{}, {}", shown("idtyp", &claims.idtyp), shown("scp", &claims.scp))
        }
        _ => of_refused_key(reason, token, context),
    }
}

/// The key, which is known and the tenant's.
pub(super) fn of_key(token: &UnverifiedToken<'_>) -> String {
    format!("{}, known; whether it signed cannot be told here", of_key_name(token))
}

/// The name of the key, as the header has it.
pub(super) fn of_key_name(token: &UnverifiedToken<'_>) -> String {
    format!("kid is \"{}\"", escaped(token.key_name().text()))
}

/// A key that cannot be used; empty where the refusal's own facts say it all.
pub(super) fn of_refused_key(reason: &Reason, token: &UnverifiedToken<'_>, context: &Context<'_>) -> String {
    let (Reason::KeyUnknown { .. }, Ok(keys)) = (reason, &context.keys) else { return String::new() };
    let known: Vec<_> = keys.iter().map(|key| format!("\"{}\"", escaped(key.kid()))).collect();
    format!("{}; known are {}", of_key_name(token), known.join(", "))
}

fn issuer(claims: &Claims) -> String {
    format!("iss is \"{}\", ver \"{}\"", escaped(&claims.iss), escaped(&claims.ver))
}

/// Whom the token was issued for.
fn identity(case: &TokenCase<'_>) -> String {
    let Ok(identity) = identify(case.claims, case.policy) else { return String::new() };
    let name =
        case.claims.user_name().map(|name| format!(", name \"{}\"", escaped(name))).unwrap_or_default();
    let guest = if identity.is_guest { ", a guest of the tenant" } else { "" };
    let (kind, object_id, client_id) = (identity.kind, identity.object_id, identity.client_id);
    format!("a token of kind {kind}, oid {object_id}, client {client_id}{name}{guest}")
}

/// A step of the role that was passed.
pub(super) fn of_role(step: Step, case: &RoleCase<'_>, name: &str) -> String {
    if step == Step::Role {
        return format!("\"{}\" is a member of azure_ad_user and may log in", escaped(name));
    }
    if step == Step::Directory {
        return directory(case);
    }
    let bound = case.principal.as_ref().ok().zip(case.role);
    let Some((_, role)) = bound else { return String::new() };
    let rule = bind(case).map(|rule| rule.to_string()).unwrap_or_default();
    format!("bound by {rule}: {}", owner(role))
}

/// What the directory says.
fn directory(case: &RoleCase<'_>) -> String {
    let ago = |began_at: UnixTime| span(case.now.since(began_at));
    let group = match case.directory.membership {
        MembershipWord::NeverRead => None,
        MembershipWord::Member { began_at } => {
            Some(format!("a member of the role's group {} ago", ago(began_at)))
        }
        MembershipWord::NotMember { began_at } => {
            Some(format!("no member of the role's group {} ago", ago(began_at)))
        }
        MembershipWord::Lost => Some("what it said of the role's group is lost".to_owned()),
    };
    let account = match case.directory.account {
        AccountState::Enabled { .. } => Some("the account is enabled".to_owned()),
        AccountState::Missing { .. } => Some("the account was not found once".to_owned()),
        // The others are refusals.
        _ => None,
    };
    let said: Vec<String> = group.into_iter().chain(account).collect();
    if said.is_empty() { "it says nothing of the holder".to_owned() } else { said.join(", ") }
}

/// A step of the role that was not passed.
pub(super) fn of_refused_role(reason: &Reason, case: &RoleCase<'_>, name: &str) -> String {
    match (reason.step(), case.role, &case.principal) {
        // Its facts say it all.
        _ if matches!(reason, Reason::Denied { .. }) || reason.step() == Step::Directory => String::new(),
        (Step::Role, None, _) => format!("there is no role \"{}\"", escaped(name)),
        (Step::Role, Some(_), _) => identifier(name)
            .and_then(|name| statement(reason, &name))
            .unwrap_or_else(|| format!("\"{}\"", escaped(name))),
        (_, Some(role), Ok(principal)) => format!("{}; the token's: {}", owner(role), holder(principal)),
        _ => String::new(),
    }
}

/// What lifts a refusal of the role `name`, an SQL identifier.
fn statement(reason: &Reason, name: &str) -> Option<String> {
    match reason {
        Reason::RoleNotMember { .. } => Some(format!("GRANT azure_ad_user TO {name};")),
        Reason::RoleNologin => Some(format!("ALTER ROLE {name} LOGIN;")),
        Reason::RoleExpired => Some(format!("ALTER ROLE {name} VALID UNTIL 'infinity';")),
        _ => None,
    }
}

/// Whom the role belongs to.
fn owner(role: &RoleFacts) -> String {
    let mfa = if role.needs_mfa { ", with multi-factor authentication" } else { "" };
    let owner = match role.binding {
        Binding::Name if role.is_admin => {
            "nobody, since administrators are bound by object id only".to_owned()
        }
        Binding::Name => format!("the user or program named \"{}\", who is no guest", escaped(&role.name)),
        Binding::User(id) => format!("user {id}"),
        Binding::Service { object_id, .. } => format!("program {object_id}"),
        Binding::Group(id) => format!("members of group {id}"),
        Binding::AppRole(role) => format!("those with the app role \"{}\"", escaped(role.as_str())),
        Binding::Nobody => "nobody, since its label cannot be read".to_owned(),
    };
    format!("the role is for {owner}{mfa}")
}

/// Who the token's holder is.
fn holder(principal: &Principal) -> String {
    let mut words = format!("{} {}", principal.kind(), principal.object_id());
    if principal.kind() == Kind::Service {
        let _ = write!(words, ", client {}", principal.client_id());
    }
    if let Some(name) = principal.user_name() {
        let _ = write!(words, ", name \"{}\"", escaped(name));
    }
    if principal.is_guest() {
        words.push_str(", a guest of the tenant, who can be bound by object id only");
    }
    if !principal.app_roles().is_empty() {
        let _ = write!(words, ", app roles {}", list(principal.app_roles()));
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
