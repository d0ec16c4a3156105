//! Whether a principal may log in as a role.

use std::fmt;

use crate::app_role::AppRole;
use crate::deny::DenyList;
use crate::guid::ObjectId;
use crate::kind::Kind;
use crate::label::Binding;
use crate::principal::{Groups, Principal};
use crate::reason::Reason;
use crate::role_facts::RoleFacts;
use crate::role_name::MAX_NAME_BYTES;
use crate::steps::Step;
use crate::suggestion::{self, Suggestion, is_same_user};
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
    /// Whether the app roles of tokens are those of one application of one's own
    /// ([`are_of_one_application`](crate::app_role::are_of_one_application)).
    pub app_roles: bool,
}

/// The rule that bound the token to the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The label's object (or client) id.
    Id,
    /// The label's group id, found in the token's `groups`.
    Group,
    /// The label's app role, found in the token's `roles`.
    AppRole,
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
            Self::AppRole => "app_role",
            Self::Name => "name",
            Self::GroupName => "group_name",
        })
    }
}

/// Decides whether `principal` may log in as `role` at `now`.
///
/// `role` is `None` when there is no role of the name the client asked for.
///
/// # Errors
/// The first check of the table that fails.
pub(crate) fn admit(
    principal: &Principal,
    role: Option<&RoleFacts>,
    denied: &DenyList,
    policy: AdmitPolicy,
    now: UnixTime,
) -> Result<(u32, Rule), Reason> {
    let case = RoleCase { principal: Ok(principal), role, denied, policy, now };
    CHECKS.iter().try_for_each(|(_, check)| check(&case))?;
    let role = case.role()?;
    Ok((role.oid, bind(principal, role, policy)?))
}

/// What the checks of a role look at.
pub(crate) struct RoleCase<'a> {
    /// Who wants to log in, or why that is not known: only an explanation goes on without.
    pub(crate) principal: Result<&'a Principal, Reason>,
    /// The role; `None` when there is no role of the name the client asked for.
    pub(crate) role: Option<&'a RoleFacts>,
    pub(crate) denied: &'a DenyList,
    pub(crate) policy: AdmitPolicy,
    pub(crate) now: UnixTime,
}

impl<'a> RoleCase<'a> {
    fn role(&self) -> Result<&'a RoleFacts, Reason> {
        self.role.ok_or(Reason::RoleMissing)
    }
}

/// One check: the step that it is a part of, and the function.
pub(crate) type RoleCheck = (Step, fn(&RoleCase<'_>) -> Result<(), Reason>);

/// The checks of a role, in the order of a login: whether it may be logged in as at all, then whether it belongs to the
/// principal.
pub(crate) const CHECKS: [RoleCheck; 8] = [
    (Step::Role, check_member),
    (Step::Role, check_login),
    (Step::Role, check_superuser),
    (Step::Role, check_valid_until),
    (Step::Binding, check_denied),
    (Step::Binding, check_label_tenant),
    (Step::Binding, check_binding),
    (Step::Binding, check_mfa),
];

/// The role exists and is a direct member of `azure_ad_user`.
fn check_member(case: &RoleCase<'_>) -> Result<(), Reason> {
    let role = case.role()?;
    if role.is_member { Ok(()) } else { Err(Reason::RoleNotMember { grant: grant(case, role) }) }
}

/// The statement that makes the role a member, where the role belongs to the principal already: by a label, which only
/// those give who may, or by a name that the tenant gave the principal. Never for superusers and administrators, whom
/// somebody must make members who knows what they do.
fn grant(case: &RoleCase<'_>, role: &RoleFacts) -> Option<String> {
    if role.is_admin || role.is_superuser || check_label_tenant(case).is_err() {
        return None;
    }
    match bind(case.principal.as_ref().ok()?, role, case.policy).ok()? {
        // A user who may create groups can give one the role's name.
        Rule::GroupName => None,
        Rule::Id | Rule::Group | Rule::AppRole | Rule::Name => suggestion::membership(&role.name),
    }
}

/// The role has `LOGIN`.
fn check_login(case: &RoleCase<'_>) -> Result<(), Reason> {
    if case.role()?.can_login { Ok(()) } else { Err(Reason::RoleNologin) }
}

/// The role is no superuser, or superusers are allowed.
fn check_superuser(case: &RoleCase<'_>) -> Result<(), Reason> {
    if case.role()?.is_superuser && !case.policy.allow_superuser {
        return Err(Reason::RoleSuperuser);
    }
    Ok(())
}

/// The role's `VALID UNTIL` is not past.
fn check_valid_until(case: &RoleCase<'_>) -> Result<(), Reason> {
    if case.role()?.valid_until.is_some_and(|until| case.now >= until) {
        return Err(Reason::RoleExpired);
    }
    Ok(())
}

/// Nobody has shut the principal out.
fn check_denied(case: &RoleCase<'_>) -> Result<(), Reason> {
    if case.denied.is_damaged() {
        return Err(Reason::Denied { by: None, until: None });
    }
    if case.denied.is_empty() {
        return Ok(());
    }
    match case.denied.find(&case.principal.clone()?.marks(), case.role()?.is_protected(), case.now) {
        None => Ok(()),
        Some((by, denial)) => Err(Reason::Denied { by: Some(by), until: denial.until }),
    }
}

/// The principal's tenant is the one that the label names, or, where it names none, the first of `pgaad.tenant_id`.
fn check_label_tenant(case: &RoleCase<'_>) -> Result<(), Reason> {
    let (principal, label) = (case.principal.clone()?, case.role()?.label_tenant);
    let token = principal.tenant();
    if label.map_or(principal.is_home(), |label| label == token) {
        return Ok(());
    }
    Err(Reason::TenantMismatch { label, token })
}

/// The role belongs to the principal.
fn check_binding(case: &RoleCase<'_>) -> Result<(), Reason> {
    bind(case.principal.clone()?, case.role()?, case.policy).map(drop)
}

/// The principal signed in with a second factor, if the role demands one.
fn check_mfa(case: &RoleCase<'_>) -> Result<(), Reason> {
    if !case.role()?.needs_mfa {
        return Ok(());
    }
    match case.principal.clone()?.amr() {
        None => Err(Reason::MfaUnknown),
        Some(amr) if amr.iter().any(|method| method == "mfa") => Ok(()),
        Some(_) => Err(Reason::MfaMissing),
    }
}

/// The binding table: by object id wherever the role has one, by name only where it has none.
pub(crate) fn bind(principal: &Principal, role: &RoleFacts, policy: AdmitPolicy) -> Result<Rule, Reason> {
    match role.binding {
        Binding::Nobody => Err(Reason::LabelUnusable),
        Binding::User(object_id) => {
            expect_kind(principal, Kind::User)?;
            if principal.object_id() != object_id {
                return Err(Reason::PrincipalMismatch { label: object_id, token: principal.object_id() });
            }
            Ok(Rule::Id)
        }
        Binding::Service { object_id, client_id } => {
            expect_kind(principal, Kind::Service)?;
            if principal.object_id() != object_id && principal.client_id() != client_id {
                return Err(Reason::PrincipalMismatch { label: object_id, token: principal.object_id() });
            }
            Ok(Rule::Id)
        }
        Binding::Group(group) => {
            check_group(principal, group)?;
            Ok(Rule::Group)
        }
        Binding::AppRole(app_role) => {
            check_app_role(principal, role, &app_role, policy)?;
            Ok(Rule::AppRole)
        }
        Binding::Name => bind_by_name(principal, role, policy),
    }
}

/// Whether the token says that its holder is a member of `group`, by the group's id.
fn check_group(principal: &Principal, group: ObjectId) -> Result<(), Reason> {
    match principal.groups() {
        Groups::Ids(ids) if ids.contains(&group) => Ok(()),
        _ if principal.groups_overage() => Err(Reason::GroupsOverage),
        Groups::Ids(_) => Err(Reason::NotInGroup { group, by_names: false }),
        Groups::Names(_) => Err(Reason::NotInGroup { group, by_names: true }),
        Groups::Unsaid => Err(Reason::GroupsMissing { group }),
    }
}

/// Whether the owner of the application that the token is for has assigned the app role to its holder. Never for an
/// administrator, who is bound by object id.
fn check_app_role(
    principal: &Principal,
    role: &RoleFacts,
    app_role: &AppRole,
    policy: AdmitPolicy,
) -> Result<(), Reason> {
    if role.is_admin {
        return Err(Reason::RoleNotBound { guest: false, suggestion: None });
    }
    if !policy.app_roles {
        return Err(Reason::AppRolesShared { app_role: app_role.to_string() });
    }
    // Entra leaves the claim out where it would be empty.
    let is_assigned = principal.app_roles().iter().any(|role| role == app_role.as_str());
    if is_assigned { Ok(()) } else { Err(Reason::NotInAppRole { app_role: app_role.to_string() }) }
}

/// Names are compared byte for byte, never for an administrator, since names can be given again and ids cannot, and
/// never for a guest or a user of another tenant than the first, whose names others give.
fn bind_by_name(principal: &Principal, role: &RoleFacts, policy: AdmitPolicy) -> Result<Rule, Reason> {
    if role.name.is_empty() || role.name.len() >= MAX_NAME_BYTES {
        return Err(Reason::NameTooLong);
    }
    if policy.name_match && !role.is_admin && !principal.is_guest() && principal.is_home() {
        if is_named(principal, &role.name) {
            return Ok(Rule::Name);
        }
        if policy.group_name_match {
            match principal.groups() {
                Groups::Names(names) if names.contains(&role.name) => return Ok(Rule::GroupName),
                _ if principal.groups_overage() => return Err(Reason::GroupsOverage),
                _ => {}
            }
        }
    }
    Err(Reason::RoleNotBound {
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
        Kind::Service if is_id(&own) || is_id(&principal.client_id()) => {
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
        Kind::Service => {
            name == principal.client_id().to_string() || name == principal.object_id().to_string()
        }
    }
}

fn expect_kind(principal: &Principal, label: Kind) -> Result<(), Reason> {
    let token = principal.kind();
    if token == label { Ok(()) } else { Err(Reason::KindMismatch { label, token }) }
}
