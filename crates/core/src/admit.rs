//! Whether a principal may log in as a role.

use std::fmt;

use crate::guid::ObjectId;
use crate::kind::Kind;
use crate::label::Binding;
use crate::principal::{Groups, Principal};
use crate::refusal::{Refusal, Rejection};
use crate::role_facts::RoleFacts;
use crate::role_name::MAX_NAME_BYTES;
use crate::subject::Bearer;
use crate::suggestion::{Suggestion, is_same_user};
use crate::time::UnixTime;

/// The settings that decide which roles are admitted how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmitPolicy {
    /// `pgaad.name_match`.
    pub name_match: bool,
    /// `pgaad.group_name_match`.
    pub group_name_match: bool,
    /// `pgaad.allow_superuser`.
    pub allow_superuser: bool,
}

/// The rule that bound the token to the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The label's object (or client) id.
    Id,
    /// The label's group id, found in the token's `groups`.
    Group,
    /// The role's name.
    Name,
    /// The role's name, found in the token's `groups`.
    GroupName,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "id",
            Self::Group => "group",
            Self::Name => "name",
            Self::GroupName => "group_name",
        })
    }
}

/// A login that may go on. [`admit`] is its only maker.
#[derive(Clone, Debug)]
pub struct Admission {
    role_oid: u32,
    principal: Principal,
    rule: Rule,
}

impl Admission {
    /// The role it is for, and no other.
    pub fn role_oid(&self) -> u32 {
        self.role_oid
    }

    /// Who logs in.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Why it is this role.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

/// Decides whether `principal` may log in as `role` at `now`.
///
/// `role` is `None` when there is no role of the name the client asked for.
///
/// # Errors
/// The first check that fails, in the order of the code below.
pub fn admit(
    principal: Principal,
    role: Option<&RoleFacts>,
    policy: AdmitPolicy,
    now: UnixTime,
) -> Result<Admission, Rejection> {
    match check_admission(&principal, role, policy, now) {
        Ok((role_oid, rule)) => Ok(Admission { role_oid, principal, rule }),
        Err(refusal) => Err(Rejection { refusal, bearer: Some(Box::new(Bearer::from(&principal))) }),
    }
}

/// The straight line from somebody to a role, and the rule that binds the two.
fn check_admission(
    principal: &Principal,
    role: Option<&RoleFacts>,
    policy: AdmitPolicy,
    now: UnixTime,
) -> Result<(u32, Rule), Refusal> {
    let role = role.ok_or(Refusal::RoleMissing)?;
    check_role(role, policy, now)?;
    let rule = bind(principal, role, policy)?;
    if role.needs_mfa {
        check_mfa(principal)?;
    }
    Ok((role.oid, rule))
}

/// Whether the role may be logged in as at all, whoever it belongs to.
pub(crate) fn check_role(role: &RoleFacts, policy: AdmitPolicy, now: UnixTime) -> Result<(), Refusal> {
    if !role.is_member {
        return Err(Refusal::RoleNotMember);
    }
    if !role.can_login {
        return Err(Refusal::RoleNologin);
    }
    if role.is_superuser && !policy.allow_superuser {
        return Err(Refusal::RoleSuperuser);
    }
    if role.valid_until.is_some_and(|until| now >= until) {
        return Err(Refusal::RoleExpired);
    }
    Ok(())
}

/// The binding table: by object id wherever there is one, by name only where there is none.
pub(crate) fn bind(principal: &Principal, role: &RoleFacts, policy: AdmitPolicy) -> Result<Rule, Refusal> {
    if role.label_tenant.is_some_and(|tenant| tenant != principal.tenant()) {
        return Err(Refusal::LabelUnusable);
    }
    match role.binding {
        Binding::Nobody => Err(Refusal::LabelUnusable),
        Binding::User(object_id) => {
            expect_kind(principal, Kind::User)?;
            if principal.object_id() != object_id {
                return Err(Refusal::PrincipalMismatch { oid: principal.object_id() });
            }
            Ok(Rule::Id)
        }
        Binding::Service { object_id, client_id } => {
            expect_kind(principal, Kind::App)?;
            if principal.object_id() != object_id && principal.client_id() != client_id {
                return Err(Refusal::PrincipalMismatch { oid: principal.object_id() });
            }
            Ok(Rule::Id)
        }
        Binding::Group(group) => {
            check_group(principal, group)?;
            Ok(Rule::Group)
        }
        Binding::Name => bind_by_name(principal, role, policy),
    }
}

/// Whether the token says that its holder is a member of `group`, by the group's id.
fn check_group(principal: &Principal, group: ObjectId) -> Result<(), Refusal> {
    match principal.groups() {
        Groups::Ids(ids) if ids.contains(&group) => Ok(()),
        _ if principal.groups_overage() => Err(Refusal::GroupsOverage),
        Groups::Ids(_) => Err(Refusal::NotInGroup { group, by_names: false }),
        Groups::Names(_) => Err(Refusal::NotInGroup { group, by_names: true }),
        Groups::Unsaid => Err(Refusal::GroupsMissing { group }),
    }
}

/// Names are compared byte for byte, never for an administrator, since names can be given again and ids cannot, and
/// never for a guest, whose names others give.
fn bind_by_name(principal: &Principal, role: &RoleFacts, policy: AdmitPolicy) -> Result<Rule, Refusal> {
    if role.name.is_empty() || role.name.len() >= MAX_NAME_BYTES {
        return Err(Refusal::NameTooLong);
    }
    if policy.name_match && !role.is_admin && !principal.is_guest() {
        if is_named(principal, &role.name) {
            return Ok(Rule::Name);
        }
        if policy.group_name_match {
            match principal.groups() {
                Groups::Names(names) if names.contains(&role.name) => return Ok(Rule::GroupName),
                _ if principal.groups_overage() => return Err(Refusal::GroupsOverage),
                _ => {}
            }
        }
    }
    Err(Refusal::RoleNotBound {
        guest: principal.is_guest(),
        suggestion: suggest(principal, role).map(Box::new),
    })
}

/// What binds `role` to `principal`, where their names say that it is meant.
fn suggest(principal: &Principal, role: &RoleFacts) -> Option<Suggestion> {
    if role.is_labelled || role.is_admin || role.is_superuser {
        return None;
    }
    let name = role.name.as_str();
    let is_id = |id: &dyn fmt::Display| id.to_string().eq_ignore_ascii_case(name);
    let own = principal.object_id();
    let binding = match principal.kind() {
        Kind::User if principal.name_given_here().is_some_and(|given| is_same_user(given, name)) => {
            Binding::User(own)
        }
        Kind::App if is_id(&own) || is_id(&principal.client_id()) => {
            Binding::Service { object_id: own, client_id: principal.client_id() }
        }
        _ => Binding::Group(group_named(principal, name)?),
    };
    Suggestion::new(name, binding)
}

/// The token's group whose id the role is named after. Names of groups say nothing: they are not unique, and a token
/// that holds one group is no reason to give the group somebody's role.
fn group_named(principal: &Principal, name: &str) -> Option<ObjectId> {
    let Groups::Ids(ids) = principal.groups() else { return None };
    let named = name.parse().ok()?;
    ids.contains(&named).then_some(named)
}

/// Whether `name` is the user's, or one of the program's two ids.
fn is_named(principal: &Principal, name: &str) -> bool {
    match principal.kind() {
        Kind::User => principal.user_name() == Some(name),
        Kind::App => name == principal.client_id().to_string() || name == principal.object_id().to_string(),
    }
}

fn expect_kind(principal: &Principal, kind: Kind) -> Result<(), Refusal> {
    if principal.kind() == kind { Ok(()) } else { Err(Refusal::KindMismatch { kind: principal.kind() }) }
}

pub(crate) fn check_mfa(principal: &Principal) -> Result<(), Refusal> {
    match principal.methods() {
        None => Err(Refusal::MfaUnknown),
        Some(methods) if methods.iter().any(|method| method == "mfa") => Ok(()),
        Some(_) => Err(Refusal::MfaMissing),
    }
}
