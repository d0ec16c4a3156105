//! What a statement does to roles and memberships, in one form whatever its syntax (parsenodes.h).

use std::ffi::{CStr, CString, c_char};

use pgrx::PgList;
use pgrx::pg_sys::{NodeTag, RoleSpecType};
use pgrx::prelude::*;

use super::c_string::c_str;
use super::catalog::{self, Marker};
use super::label_providers;
use super::role_graph;
use super::seclabel::Provider;
use super::version;

/// One thing that a statement does to roles. Names are bytes, as in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The role is made, altered, or renamed from or to this name.
    Role(CString),
    /// The role is dropped.
    Drop(CString),
    /// Each member is put into each role, or its membership is changed. Lists, and not their product: a statement can
    /// name tens of thousands on either side.
    Grant {
        /// The roles whose rights are given.
        roles: Vec<CString>,
        /// The roles that get them.
        members: Vec<CString>,
    },
    /// Each member is taken out of each role, or loses an option of its membership.
    Revoke {
        /// The roles whose rights are taken.
        roles: Vec<CString>,
        /// The roles that lose them.
        members: Vec<CString>,
    },
    /// The role gets a label of ours, or loses it.
    Label(CString),
}

impl Change {
    /// The marker roles whose members it changes.
    pub(crate) fn markers(&self) -> Vec<Marker> {
        match self {
            Self::Role(_) | Self::Drop(_) | Self::Label(_) => Vec::new(),
            Self::Grant { roles, .. } | Self::Revoke { roles, .. } => {
                let mut markers: Vec<_> = roles.iter().filter_map(|role| Marker::named(role)).collect();
                markers.sort_unstable();
                markers.dedup();
                markers
            }
        }
    }
}

/// A statement about roles.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleStatement {
    /// What it does, as far as it names roles.
    pub(super) changes: Vec<Change>,
    /// Whether it can change names, attributes or memberships: what the rules of the graph look at.
    pub(super) changes_graph: bool,
}

/// Whether a statement may be about roles, told by its tag alone. With a call in it the hook's own would be no tail
/// call any more: it would keep a frame on the stack, and recursion of others' procedures would end earlier.
///
/// # Safety
/// A statement.
#[inline(always)]
pub(super) unsafe fn may_be_about_roles(node: *mut pg_sys::Node) -> bool {
    // SAFETY: a node is cast to the type that its tag names (nodes.h).
    unsafe {
        match (*node).type_ {
            NodeTag::T_GrantRoleStmt
            | NodeTag::T_CreateRoleStmt
            | NodeTag::T_AlterRoleStmt
            | NodeTag::T_AlterRoleSetStmt
            | NodeTag::T_DropRoleStmt
            | NodeTag::T_SecLabelStmt => true,
            // On 15 it touches no membership.
            NodeTag::T_DropOwnedStmt => version::MEMBERSHIPS_HAVE_OWNERS,
            NodeTag::T_RenameStmt => {
                let statement: *mut pg_sys::RenameStmt = node.cast();
                (*statement).renameType == pg_sys::ObjectType::OBJECT_ROLE
            }
            _ => false,
        }
    }
}

/// Whether a statement is about roles. A label is, where it is one of ours.
///
/// # Safety
/// A statement.
pub(super) unsafe fn is_about_roles(node: *mut pg_sys::Node) -> bool {
    // SAFETY: as above.
    unsafe {
        if (*node).type_ == NodeTag::T_SecLabelStmt {
            let statement: *mut pg_sys::SecLabelStmt = node.cast();
            return label_providers::is_ours((*statement).provider);
        }
        may_be_about_roles(node)
    }
}

/// Reads a statement that [`is_about_roles`].
///
/// # Safety
/// As there; a transaction is open.
pub(super) unsafe fn read(node: *mut pg_sys::Node) -> RoleStatement {
    // SAFETY: as above.
    unsafe {
        let graph = |changes| RoleStatement { changes, changes_graph: true };
        let settings = |changes| RoleStatement { changes, changes_graph: false };
        match (*node).type_ {
            NodeTag::T_GrantRoleStmt => graph(of_grant(node.cast())),
            NodeTag::T_CreateRoleStmt => graph(of_create(node.cast())),
            NodeTag::T_AlterRoleStmt => {
                let statement = node.cast();
                RoleStatement { changes: of_alter(statement), changes_graph: alters_graph(statement) }
            }
            NodeTag::T_AlterRoleSetStmt => {
                let statement: *mut pg_sys::AlterRoleSetStmt = node.cast();
                settings(role_name((*statement).role).map(Change::Role).into_iter().collect())
            }
            NodeTag::T_DropRoleStmt => {
                let statement: *mut pg_sys::DropRoleStmt = node.cast();
                graph(names((*statement).roles).into_iter().map(Change::Drop).collect())
            }
            // A membership belongs to its grantor, as an object that they own (pg_shdepend.c, shdepDropOwned:
            // "if (sdepForm->classid == AuthMemRelationId)").
            NodeTag::T_DropOwnedStmt => {
                let statement: *mut pg_sys::DropOwnedStmt = node.cast();
                let changes_graph = role_graph::grants_any(&names((*statement).roles));
                RoleStatement { changes: Vec::new(), changes_graph }
            }
            NodeTag::T_RenameStmt => {
                let statement: *mut pg_sys::RenameStmt = node.cast();
                let names = [text((*statement).subname), text((*statement).newname)];
                graph(names.into_iter().flatten().map(Change::Role).collect())
            }
            NodeTag::T_SecLabelStmt => {
                graph(labelled_role(node.cast()).map(Change::Label).into_iter().collect())
            }
            _ => RoleStatement::default(),
        }
    }
}

/// # Safety
/// A statement of the parser's.
unsafe fn of_grant(statement: *mut pg_sys::GrantRoleStmt) -> Vec<Change> {
    // SAFETY: as above.
    unsafe {
        let members = names((*statement).grantee_roles);
        let roles = items::<pg_sys::AccessPriv>((*statement).granted_roles);
        let roles = roles.filter_map(|role| text((*role).priv_name)).collect();
        let is_grant = (*statement).is_grant;
        vec![if is_grant { Change::Grant { roles, members } } else { Change::Revoke { roles, members } }]
    }
}

/// # Safety
/// A statement of the parser's.
unsafe fn of_create(statement: *mut pg_sys::CreateRoleStmt) -> Vec<Change> {
    // SAFETY: as above.
    unsafe {
        let Some(name) = text((*statement).role) else { return Vec::new() };
        let mut changes = vec![Change::Role(name.clone())];
        for option in items::<pg_sys::DefElem>((*statement).options) {
            match option_name(option).to_bytes() {
                b"addroleto" => {
                    let roles = names((*option).arg.cast());
                    changes.push(Change::Grant { roles, members: vec![name.clone()] });
                }
                b"rolemembers" | b"adminmembers" => {
                    let members = names((*option).arg.cast());
                    changes.push(Change::Grant { roles: vec![name.clone()], members });
                }
                _ => {}
            }
        }
        changes
    }
}

/// ALTER ROLE; and ALTER GROUP … ADD or DROP USER, which has members for its only option. The grammar takes members
/// among the options of an ALTER ROLE, too (gram.y, `AlterOptRoleElem`).
///
/// # Safety
/// A statement of the parser's.
unsafe fn of_alter(statement: *mut pg_sys::AlterRoleStmt) -> Vec<Change> {
    // SAFETY: as above.
    unsafe {
        let Some(name) = role_name((*statement).role) else { return Vec::new() };
        let mut changes = Vec::new();
        if !is_only_about_members(statement) {
            changes.push(Change::Role(name.clone()));
        }
        for option in items::<pg_sys::DefElem>((*statement).options) {
            if option_name(option) == c"rolemembers" {
                let (roles, members) = (vec![name.clone()], names((*option).arg.cast()));
                let is_grant = (*statement).action > 0;
                let change = if is_grant {
                    Change::Grant { roles, members }
                } else {
                    Change::Revoke { roles, members }
                };
                changes.push(change);
            }
        }
        changes
    }
}

/// Whether an ALTER ROLE or ALTER GROUP has members for its only option.
///
/// # Safety
/// A statement of the parser's.
pub(super) unsafe fn is_only_about_members(statement: *mut pg_sys::AlterRoleStmt) -> bool {
    // SAFETY: as above.
    let mut options = unsafe { items::<pg_sys::DefElem>((*statement).options) };
    let is_members = |option| {
        // SAFETY: as above.
        unsafe { option_name(option) == c"rolemembers" }
    };
    options.next().is_some_and(is_members) && options.next().is_none()
}

/// Whether an ALTER ROLE changes more than what the rules do not look at.
///
/// # Safety
/// A statement of the parser's.
unsafe fn alters_graph(statement: *mut pg_sys::AlterRoleStmt) -> bool {
    // SAFETY: as above.
    unsafe {
        items::<pg_sys::DefElem>((*statement).options).any(|option| {
            !matches!(option_name(option).to_bytes(), b"password" | b"validUntil" | b"connectionlimit")
        })
    }
}

/// The role of a `SECURITY LABEL … ON ROLE` that binds it.
///
/// # Safety
/// A statement of the parser's.
pub(super) unsafe fn labelled_role(statement: *mut pg_sys::SecLabelStmt) -> Option<CString> {
    // SAFETY: as above; the object of a role is a string node (gram.y, `SecLabelStmt`).
    unsafe {
        if (*statement).objtype != pg_sys::ObjectType::OBJECT_ROLE
            || !Provider::is_named((*statement).provider)
        {
            return None;
        }
        let name: *mut pg_sys::String = (*statement).object.cast();
        text((*name).sval)
    }
}

/// # Safety
/// A list of pointers to `T`, or null.
pub(super) unsafe fn items<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: as above; read at once, so that the list may change meanwhile.
    unsafe { PgList::from_pg(list) }.iter_ptr().collect::<Vec<_>>().into_iter()
}

/// # Safety
/// A NUL-terminated string, or null.
pub(super) unsafe fn text(text: *const c_char) -> Option<CString> {
    // SAFETY: as above.
    unsafe { c_str(text) }.map(CStr::to_owned)
}

/// # Safety
/// An option of a statement; the parser gives each a name.
pub(super) unsafe fn option_name<'a>(option: *mut pg_sys::DefElem) -> &'a CStr {
    // SAFETY: as above; it lives as long as the statement.
    unsafe { c_str((*option).defname) }.unwrap_or_default()
}

/// # Safety
/// A list of role specifications, or null.
pub(super) unsafe fn names(roles: *mut pg_sys::List) -> Vec<CString> {
    // SAFETY: as above.
    unsafe { items(roles).filter_map(|role| role_name(role)).collect() }
}

/// The name that a role specification means; `None` for PUBLIC, which core refuses, and for ALL.
///
/// Not by acl.c's `get_rolespec_name`, whose errors are core's own to raise, when it runs the statement.
///
/// # Safety
/// A role specification or null; a transaction is open.
pub(super) unsafe fn role_name(role: *mut pg_sys::RoleSpec) -> Option<CString> {
    // SAFETY: as above.
    unsafe {
        match role {
            role if role.is_null() => None,
            role => match (*role).roletype {
                RoleSpecType::ROLESPEC_CSTRING => text((*role).rolename),
                RoleSpecType::ROLESPEC_CURRENT_ROLE | RoleSpecType::ROLESPEC_CURRENT_USER => {
                    catalog::name_of(pg_sys::GetUserId())
                }
                RoleSpecType::ROLESPEC_SESSION_USER => catalog::name_of(pg_sys::GetSessionUserId()),
                _ => None,
            },
        }
    }
}
