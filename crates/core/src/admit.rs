//! Whether a principal may log in as a role.

use std::fmt;
use std::time::Duration;

use crate::app_role::AppRole;
use crate::deny::DenyList;
use crate::directory::{AccountState, DirectoryFacts, Measure, TokenWord, Witness, witness};
use crate::guid::ObjectId;
use crate::kind::Kind;
use crate::label::Binding;
use crate::principal::{Groups, Principal};
use crate::reason::Reason;
use crate::role_facts::RoleFacts;
use crate::role_name::MAX_NAME_BYTES;
pub use crate::rule::Rule;
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
    /// `pgaad.directory_max_stale`.
    pub directory_max_stale: Duration,
    /// `pgaad.clock_skew`.
    pub clock_skew: Duration,
}

impl AdmitPolicy {
    /// The one that admits the fewest: by object id only.
    pub const STRICT: Self = Self {
        name_match: false,
        group_name_match: false,
        allow_superuser: false,
        app_roles: false,
        directory_max_stale: Duration::ZERO,
        clock_skew: Duration::ZERO,
    };

    /// Whether what the directory said at `began_at` may still let somebody in.
    pub fn is_fresh(&self, began_at: UnixTime, now: UnixTime) -> bool {
        self.measure(now).is_fresh(began_at)
    }

    /// What the words of the two witnesses are measured by.
    pub fn measure(&self, now: UnixTime) -> Measure {
        Measure { max_stale: self.directory_max_stale, clock_skew: self.clock_skew, now }
    }
}

/// Decides whether the principal may log in as the role.
///
/// # Errors
/// The first check of the table that fails.
pub(crate) fn admit(case: &RoleCase<'_>) -> Result<(u32, Rule), Reason> {
    CHECKS.iter().try_for_each(|(_, check)| check(case))?;
    Ok((case.role()?.oid, bind(case)?))
}

/// What the checks of a role look at.
pub(crate) struct RoleCase<'a> {
    /// Who wants to log in, or why that is not known: only an explanation goes on without.
    pub(crate) principal: Result<&'a Principal, Reason>,
    /// The role; `None` when there is no role of the name the client asked for.
    pub(crate) role: Option<&'a RoleFacts>,
    /// What the directory says of the principal.
    pub(crate) directory: DirectoryFacts,
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
pub(crate) const CHECKS: [RoleCheck; 10] = [
    (Step::Role, check_member),
    (Step::Role, check_login),
    (Step::Role, check_superuser),
    (Step::Role, check_valid_until),
    (Step::Directory, check_account),
    (Step::Directory, check_directory_is_fresh),
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
    match bind(case).ok()? {
        // A user who may create groups can give one the role's name.
        Rule::GroupName => None,
        Rule::Id | Rule::Group | Rule::Directory { .. } | Rule::AppRole | Rule::Name => {
            suggestion::membership(&role.name)
        }
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

/// The user's account is there and enabled, and their sessions have not been revoked since the token was issued.
fn check_account(case: &RoleCase<'_>) -> Result<(), Reason> {
    let principal = case.principal.clone()?;
    let (account, issued_at) = (case.directory.account, principal.issued_at());
    match account {
        AccountState::Disabled => Err(Reason::AccountDisabled),
        AccountState::Gone => Err(Reason::AccountGone),
        AccountState::Lost => Err(Reason::AccountsLost),
        AccountState::Enabled { valid_from } | AccountState::Missing { valid_from }
            if issued_at < valid_from =>
        {
            Err(Reason::SessionsRevoked { valid_from })
        }
        AccountState::Unknown | AccountState::Enabled { .. } | AccountState::Missing { .. } => Ok(()),
    }
}

/// Where only the directory can say whether the principal is a member of the role's group, its word is fresh.
fn check_directory_is_fresh(case: &RoleCase<'_>) -> Result<(), Reason> {
    let (principal, role) = (case.principal.clone()?, case.role()?);
    let Binding::Group(group) = role.binding else { return Ok(()) };
    match bind_by_group(principal, group, case) {
        Err(reason @ Reason::GroupsStale { .. }) => Err(reason),
        _ => Ok(()),
    }
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
    bind(case).map(drop)
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
pub(crate) fn bind(case: &RoleCase<'_>) -> Result<Rule, Reason> {
    let (principal, role, policy) = (case.principal.clone()?, case.role()?, case.policy);
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
        Binding::Group(group) => bind_by_group(principal, group, case),
        Binding::AppRole(app_role) => {
            check_app_role(principal, role, &app_role, policy)?;
            Ok(Rule::AppRole)
        }
        Binding::Name => bind_by_name(principal, role, policy),
    }
}

/// What the token and the directory say together of the principal and `group`.
fn witness_of(principal: &Principal, group: ObjectId, case: &RoleCase<'_>) -> Witness {
    let token = match principal.groups() {
        Groups::Ids(ids) if ids.contains(&group) => TokenWord::Member,
        _ if principal.groups_overage() => TokenWord::Overage,
        Groups::Ids(_) => TokenWord::NotMember,
        Groups::Names(_) | Groups::Unsaid => TokenWord::Silent,
    };
    witness(token, principal.issued_at(), case.directory.membership, &case.policy.measure(case.now))
}

/// Whether the principal is a member of `group`, by its id.
fn bind_by_group(principal: &Principal, group: ObjectId, case: &RoleCase<'_>) -> Result<Rule, Reason> {
    let by_names = matches!(principal.groups(), Groups::Names(_));
    match witness_of(principal, group, case) {
        Witness::ByToken => Ok(Rule::Group),
        Witness::ByDirectory { began_at } => Ok(Rule::Directory { began_at }),
        Witness::NotMember { by_directory } => {
            Err(Reason::NotInGroup { group, by_names: false, by_directory })
        }
        Witness::Unsaid if by_names => Err(Reason::NotInGroup { group, by_names, by_directory: None }),
        Witness::Unsaid => Err(Reason::GroupsMissing { group }),
        Witness::Overage => Err(Reason::GroupsOverage),
        Witness::Stale { began_at } => {
            let age_seconds = began_at.map(|began_at| case.now.since(began_at));
            Err(Reason::GroupsStale { group, age_seconds })
        }
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
