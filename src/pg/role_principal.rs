//! Whom a role is bound to that a statement puts into `azure_ad_user` without a label: the program or the user whose id
//! was given for its password, or the user whose principal name it has.
//!
//! The directory is asked before the statement takes the lock on roles, for which others would have to wait as long.
//! Under the lock it is looked again who needs an answer: a role that somebody else has made, or taken its label,
//! meanwhile is an error, and never bound less strictly.

use std::ffi::{CStr, CString};

use pgaad_core::directory::{NameQuestion, Named, NamedKind};
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::label::{Binding, InternalLabel, Label};
use pgrx::pg_sys::NodeTag;
use pgrx::prelude::*;

use super::catalog::{self, Marker};
use super::report::SqlError;
use super::role_program::{self, Password};
use super::role_statement::{self, Change, role_name, text};
use super::seclabel::Provider;
use super::{encoding, role_nodes};

/// How the directory is asked.
#[derive(Clone, Copy)]
pub(crate) struct Directory {
    /// What to ask about a newcomer, if anything; or why the statement cannot be carried out.
    pub(crate) question: fn(&Newcomer) -> Result<Option<NameQuestion>, SqlError>,
    /// What it says.
    pub(crate) look_up: fn(&Newcomer, NameQuestion) -> Result<Found, SqlError>,
}

/// What the directory has found.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// What it is.
    pub(crate) named: Named,
    /// The tenant whose directory it is.
    pub(crate) tenant: TenantId,
}

/// A role without a label that becomes a member of `azure_ad_user`, or is one and gets an id for a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Newcomer {
    /// The role's name, as in the catalog.
    pub(crate) role: CString,
    /// The id that was given for its password.
    pub(crate) given: Option<ObjectId>,
}

impl Newcomer {
    pub(super) fn new(role: CString, given: Option<Binding>) -> Self {
        Self { role, given: given.and_then(Binding::object_id) }
    }

    /// The role's name, for people.
    pub(crate) fn name(&self) -> String {
        encoding::of_name(&self.role)
    }

    /// The statements that bind the role without asking anybody.
    pub(crate) fn statements(&self) -> String {
        let role = format!("\"{}\"", self.name().replace('"', "\"\""));
        let first = match catalog::standing(&self.role) {
            None => format!("CREATE ROLE {role} LOGIN; "),
            // The id is public: it would be a password again when the role leaves.
            Some(standing) if standing.has_password && self.given.is_some() => {
                format!("ALTER ROLE {role} PASSWORD NULL; ")
            }
            Some(_) => String::new(),
        };
        let id = self.given.map_or_else(|| "<object id>".to_owned(), |id| id.to_string());
        format!("{first}SECURITY LABEL FOR \"pgaadauth\" ON ROLE {role} IS 'aadauth,oid={id},type=user';")
    }
}

/// Whom a role is bound to.
#[derive(Clone, Copy)]
pub(super) struct Principal {
    binding: Binding,
    /// The tenant, where its directory has said who it is.
    tenant: Option<TenantId>,
    /// Whose right the binding is done by: an id is what the caller says, and what a name means is not.
    pub(super) is_by_name: bool,
}

impl Principal {
    /// Who has a client id that nobody was asked about.
    pub(super) fn program(binding: Binding) -> Self {
        Self { binding, tenant: None, is_by_name: false }
    }

    /// Whom the directory has found.
    pub(super) fn found(newcomer: &Newcomer, Found { named, tenant }: Found) -> Self {
        let program = newcomer.given.and_then(|id| Binding::program(&id.to_string()).ok());
        match (named.kind, program) {
            (NamedKind::Service, Some(program)) => Self::program(program),
            (_, program) => {
                Self { binding: Binding::User(named.id), tenant: Some(tenant), is_by_name: program.is_none() }
            }
        }
    }

    /// The statements that bind a role to it. A user is written down as Azure does it, with the tenant.
    pub(super) fn labels(self, role: &CStr) -> Vec<*mut pg_sys::SecLabelStmt> {
        let label = Label::binding(self.binding);
        let internal = self.tenant.map(|tenant| InternalLabel { label, tenant }.to_string());
        let texts = [(Provider::Public, Some(label.to_string())), (Provider::Internal, internal)];
        let texts =
            texts.into_iter().filter_map(|(provider, text)| Some((provider, CString::new(text?).ok()?)));
        texts.map(|(provider, text)| role_nodes::label(provider.name(), role, &text)).collect()
    }

    /// What is told of it.
    pub(super) fn notice(self, role: &CStr) -> String {
        let id = self.binding.object_id().map(|id| id.to_string()).unwrap_or_default();
        let whom = match self.binding {
            Binding::Service { .. } => format!("the program with client id {id}"),
            _ => format!("the user with object id {id}"),
        };
        let password = if self.is_by_name { "" } else { ", and has no password" };
        format!("role \"{}\" is bound to {whom}{password}", encoding::of_name(role))
    }
}

/// Whom a statement may have to bind.
///
/// # Safety
/// A statement of the parser's that is about roles, and what it does; a transaction is open.
pub(super) unsafe fn newcomers(node: *mut pg_sys::Node, changes: &[Change], caller: u32) -> Vec<Newcomer> {
    if !Marker::User.exists() {
        return Vec::new();
    }
    let members = || {
        changes.iter().flat_map(|change| match change {
            Change::Grant { members, .. } if change.markers().contains(&Marker::User) => members.as_slice(),
            _ => &[],
        })
    };
    // SAFETY: as above; a node is cast to the type that its tag names.
    unsafe {
        match (*node).type_ {
            NodeTag::T_CreateRoleStmt => {
                let create: *mut pg_sys::CreateRoleStmt = node.cast();
                let made = text((*create).role).filter(|role| members().any(|member| member == role));
                let made = made.filter(|role| catalog::oid_of(role).is_none());
                made.map(|role| Newcomer::new(role, program((*create).options))).into_iter().collect()
            }
            NodeTag::T_AlterRoleStmt if !role_statement::is_only_about_members(node.cast()) => {
                let alter: *mut pg_sys::AlterRoleStmt = node.cast();
                let role = role_name((*alter).role).filter(|role| is_unlabelled(role, true));
                let given = role.zip(program((*alter).options));
                given.map(|(role, program)| Newcomer::new(role, Some(program))).into_iter().collect()
            }
            NodeTag::T_GrantRoleStmt | NodeTag::T_AlterRoleStmt => {
                let newcomers = members().filter(|role| is_unlabelled(role, false));
                newcomers.map(|role| Newcomer::new(role.clone(), role_program::peek(role, caller))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// # Safety
/// The options of a statement of the parser's.
unsafe fn program(options: *mut pg_sys::List) -> Option<Binding> {
    // SAFETY: as above.
    match unsafe { role_program::password(options) } {
        Some(Password::Program(program)) => Some(program),
        Some(Password::Other) | None => None,
    }
}

/// Whether a role is there, has no label, and is a member of `azure_ad_user` or not.
fn is_unlabelled(role: &CStr, is_member: bool) -> bool {
    catalog::standing(role).is_some_and(|standing| standing.is_member == is_member)
        && catalog::labelling(role).is_some_and(|labelling| !labelling.is_labelled)
}

/// What else happens to roles while the directory is asked.
pub(super) fn changed_meanwhile(newcomer: &Newcomer) -> SqlError {
    SqlError {
        code: PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
        message: format!("role \"{}\" was changed while the directory was asked about it", newcomer.name()),
        hint: "Run the statement again.".into(),
    }
}
