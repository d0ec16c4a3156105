//! What a statement does to roles and memberships, in one form whatever its syntax (parsenodes.h).

use std::ffi::{CStr, CString, c_char};

use pgaad_core::guid::ObjectId;
use pgrx::PgList;
use pgrx::pg_sys::{NodeTag, RoleSpecType};
use pgrx::prelude::*;

use super::catalog;
use super::catalog::Marker;

/// One thing that a statement does to roles. Names are bytes, as in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The role is made, altered, dropped, or renamed from or to this name.
    Role(CString),
    /// `member` is put into `role`, or its membership is changed.
    Grant {
        /// The role whose rights are given.
        role: CString,
        /// Who gets them.
        member: CString,
    },
    /// `member` is taken out of `role`, or may no longer put others into it.
    Revoke {
        /// The role whose rights are taken.
        role: CString,
        /// Who loses them.
        member: CString,
    },
}

impl Change {
    fn grant(role: &CStr, member: &CStr) -> Self {
        Self::Grant { role: role.to_owned(), member: member.to_owned() }
    }

    fn revoke(role: &CStr, member: &CStr) -> Self {
        Self::Revoke { role: role.to_owned(), member: member.to_owned() }
    }

    /// The marker role whose members it changes.
    pub(crate) fn membership_of(&self) -> Option<Marker> {
        match self {
            Self::Role(_) => None,
            Self::Grant { role, .. } | Self::Revoke { role, .. } => Marker::named(role),
        }
    }
}

/// What a statement does to roles; nothing, if it is about something else.
///
/// # Safety
/// `node` is a statement as the parser makes them, and a transaction is open if it is about roles.
pub(super) unsafe fn changes_of(node: *mut pg_sys::Node) -> Vec<Change> {
    // SAFETY: every node is cast to the type that its tag names (nodes.h).
    unsafe {
        match (*node).type_ {
            NodeTag::T_GrantRoleStmt => {
                let statement: *mut pg_sys::GrantRoleStmt = node.cast();
                let roles = items((*statement).granted_roles).filter_map(|item| granted_name(item));
                let members = names((*statement).grantee_roles);
                let change = if (*statement).is_grant { Change::grant } else { Change::revoke };
                roles.flat_map(|role| members.iter().map(move |member| change(&role, member))).collect()
            }
            NodeTag::T_CreateRoleStmt => {
                let statement: *mut pg_sys::CreateRoleStmt = node.cast();
                let Some(name) = text((*statement).role) else { return Vec::new() };
                let mut changes = vec![Change::Role(name.clone())];
                for option in items::<pg_sys::DefElem>((*statement).options) {
                    match option_name(option).to_bytes() {
                        b"addroleto" => {
                            let roles = names((*option).arg.cast());
                            changes.extend(roles.iter().map(|role| Change::grant(role, &name)));
                        }
                        b"rolemembers" | b"adminmembers" => {
                            let members = names((*option).arg.cast());
                            changes.extend(members.iter().map(|member| Change::grant(&name, member)));
                        }
                        _ => {}
                    }
                }
                changes
            }
            // ALTER ROLE; and ALTER GROUP … ADD or DROP USER, which has members for its only option.
            NodeTag::T_AlterRoleStmt => {
                let statement: *mut pg_sys::AlterRoleStmt = node.cast();
                let Some(name) = role_name((*statement).role) else { return Vec::new() };
                let change = if (*statement).action < 0 { Change::revoke } else { Change::grant };
                items::<pg_sys::DefElem>((*statement).options)
                    .find(|&option| option_name(option) == c"rolemembers")
                    .map_or_else(
                        || vec![Change::Role(name.clone())],
                        |option| {
                            let members = names((*option).arg.cast());
                            members.iter().map(|member| change(&name, member)).collect()
                        },
                    )
            }
            NodeTag::T_AlterRoleSetStmt => {
                let statement: *mut pg_sys::AlterRoleSetStmt = node.cast();
                role_name((*statement).role).map(Change::Role).into_iter().collect()
            }
            NodeTag::T_DropRoleStmt => {
                let statement: *mut pg_sys::DropRoleStmt = node.cast();
                names((*statement).roles).into_iter().map(Change::Role).collect()
            }
            // From 16 on a membership belongs to its grantor, as an object that he owns (pg_shdepend.c,
            // shdepDropOwned: "if (sdepForm->classid == AuthMemRelationId)").
            NodeTag::T_DropOwnedStmt => {
                let statement: *mut pg_sys::DropOwnedStmt = node.cast();
                let mut changes = Vec::new();
                for grantor in names((*statement).roles) {
                    for marker in Marker::ALL {
                        let members = catalog::members_granted_by(marker, &grantor);
                        changes.extend(members.iter().map(|member| Change::revoke(marker.name(), member)));
                    }
                }
                changes
            }
            NodeTag::T_RenameStmt => {
                let statement: *mut pg_sys::RenameStmt = node.cast();
                if (*statement).renameType != pg_sys::ObjectType::OBJECT_ROLE {
                    return Vec::new();
                }
                let names = [text((*statement).subname), text((*statement).newname)];
                names.into_iter().flatten().map(Change::Role).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The roles of a GRANT or REVOKE: the marker roles, and the others.
///
/// # Safety
/// `granted` is the list of such a statement.
pub(super) unsafe fn split(granted: *mut pg_sys::List) -> (*mut pg_sys::List, *mut pg_sys::List) {
    // SAFETY: as above; only the lists are new.
    unsafe {
        let is_marker = |&item: &*mut pg_sys::AccessPriv| granted_name(item).is_some_and(|n| is_marker(&n));
        let (markers, others) = items(granted).partition(is_marker);
        (list(markers), list(others))
    }
}

/// Takes the marker roles out of a `CREATE ROLE … IN ROLE`; gives the GRANT that does the same.
/// `None` where none is named.
///
/// # Safety
/// `statement` is a copy that nobody else reads.
pub(super) unsafe fn take_markers(
    statement: *mut pg_sys::CreateRoleStmt,
) -> Option<*mut pg_sys::GrantRoleStmt> {
    // SAFETY: as above; the new nodes are made in the current memory context, of their own type and tag.
    unsafe {
        let mut granted = Vec::new();
        let mut kept = Vec::new();
        for option in items::<pg_sys::DefElem>((*statement).options) {
            if option_name(option) == c"addroleto" {
                let is_marker =
                    |&role: &*mut pg_sys::RoleSpec| role_name(role).is_some_and(|name| is_marker(&name));
                let (markers, others): (Vec<_>, Vec<_>) = items((*option).arg.cast()).partition(is_marker);
                granted.extend(markers.into_iter().map(|role| {
                    let privilege: *mut pg_sys::AccessPriv = make(NodeTag::T_AccessPriv);
                    (*privilege).priv_name = name_in_statement(role);
                    privilege
                }));
                if others.is_empty() {
                    continue;
                }
                (*option).arg = list(others).cast();
            }
            kept.push(option);
        }
        if granted.is_empty() {
            return None;
        }
        (*statement).options = list(kept);
        let member: *mut pg_sys::RoleSpec = make(NodeTag::T_RoleSpec);
        (*member).roletype = RoleSpecType::ROLESPEC_CSTRING;
        (*member).rolename = (*statement).role;
        let grant: *mut pg_sys::GrantRoleStmt = make(NodeTag::T_GrantRoleStmt);
        (*grant).granted_roles = list(granted);
        (*grant).grantee_roles = list(vec![member]);
        (*grant).is_grant = true;
        Some(grant)
    }
}

/// The GRANT or REVOKE that does the same as an `ALTER GROUP … ADD` or `DROP USER`.
///
/// # Safety
/// `statement` is such a statement, a copy that nobody else reads.
pub(super) unsafe fn of_group(statement: *mut pg_sys::AlterRoleStmt) -> *mut pg_sys::GrantRoleStmt {
    // SAFETY: as above; the new nodes are made in the current memory context, of their own type and tag.
    unsafe {
        let privilege: *mut pg_sys::AccessPriv = make(NodeTag::T_AccessPriv);
        (*privilege).priv_name = name_in_statement((*statement).role);
        let change: *mut pg_sys::GrantRoleStmt = make(NodeTag::T_GrantRoleStmt);
        (*change).granted_roles = list(vec![privilege]);
        (*change).is_grant = (*statement).action > 0;
        let members = items::<pg_sys::DefElem>((*statement).options)
            .find(|&option| option_name(option) == c"rolemembers")
            .map(|option| (*option).arg.cast());
        (*change).grantee_roles = members.unwrap_or(std::ptr::null_mut());
        change
    }
}

/// Writes names in the place of `CURRENT_USER` and the like, who will be somebody else when the statement runs.
///
/// # Safety
/// `statement` is a copy that nobody else reads; a transaction is open.
pub(super) unsafe fn name_members(statement: *mut pg_sys::GrantRoleStmt) {
    // SAFETY: as above.
    unsafe {
        for role in items::<pg_sys::RoleSpec>((*statement).grantee_roles) {
            let name = name_in_statement(role);
            // Core has its own words for PUBLIC.
            if !name.is_null() {
                (*role).roletype = RoleSpecType::ROLESPEC_CSTRING;
                (*role).rolename = name;
            }
        }
    }
}

/// A REVOKE as one statement for each membership.
///
/// # Safety
/// `statement` is a REVOKE.
pub(super) unsafe fn one_by_one(statement: *mut pg_sys::GrantRoleStmt) -> Vec<*mut pg_sys::GrantRoleStmt> {
    // SAFETY: as above; copyfuncs.c copies any node, and only the copies' lists are changed.
    unsafe {
        let mut single = Vec::new();
        for privilege in items::<pg_sys::AccessPriv>((*statement).granted_roles) {
            for member in items::<pg_sys::RoleSpec>((*statement).grantee_roles) {
                let revoke: *mut pg_sys::GrantRoleStmt = pg_sys::copyObjectImpl(statement.cast()).cast();
                (*revoke).granted_roles = list(vec![privilege]);
                (*revoke).grantee_roles = list(vec![member]);
                single.push(revoke);
            }
        }
        single
    }
}

/// The REVOKE of one membership as one statement for each grantor that must be named. As it is, where there is
/// none: nobody has to be named on 15, and of a membership that does not exist core says so.
///
/// # Safety
/// `statement` is a REVOKE of one membership, with the member's name; a transaction is open.
pub(super) unsafe fn by_grantors(statement: *mut pg_sys::GrantRoleStmt) -> Vec<*mut pg_sys::GrantRoleStmt> {
    // SAFETY: as in `one_by_one`.
    unsafe {
        let role = items((*statement).granted_roles).find_map(|role| granted_name(role));
        let member = names((*statement).grantee_roles).pop();
        let grantors = role.zip(member).map(|(role, member)| catalog::grantors(&role, &member));
        let mut each = Vec::new();
        for grantor in grantors.unwrap_or_default() {
            let revoke: *mut pg_sys::GrantRoleStmt = pg_sys::copyObjectImpl(statement.cast()).cast();
            let role: *mut pg_sys::RoleSpec = make(NodeTag::T_RoleSpec);
            (*role).roletype = RoleSpecType::ROLESPEC_CSTRING;
            (*role).rolename = pg_sys::pstrdup(grantor.as_ptr());
            (*revoke).grantor = role;
            each.push(revoke);
        }
        if each.is_empty() { vec![statement] } else { each }
    }
}

/// Takes a password that is a GUID out of a `CREATE ROLE`. With `IN ROLE azure_ad_user` that is how Azure
/// Single Server is told a program's client id.
///
/// # Safety
/// `statement` is a copy that nobody else reads.
pub(super) unsafe fn take_client_id(statement: *mut pg_sys::CreateRoleStmt) -> Option<ObjectId> {
    // SAFETY: as above; the parser gives a password as a string node, or none for PASSWORD NULL.
    unsafe {
        let (passwords, others): (Vec<_>, Vec<_>) = items::<pg_sys::DefElem>((*statement).options)
            .partition(|&option| option_name(option) == c"password" && !(*option).arg.is_null());
        let password: *mut pg_sys::String = (**passwords.first()?).arg.cast();
        let client_id = CStr::from_ptr((*password).sval).to_str().ok()?.parse().ok()?;
        (*statement).options = list(others);
        Some(client_id)
    }
}

fn is_marker(name: &CStr) -> bool {
    Marker::named(name).is_some()
}

/// A new node, all zero but for its tag (nodes.h, `makeNode`).
///
/// # Safety
/// `T` is the type that the tag names.
unsafe fn make<T>(tag: NodeTag) -> *mut T {
    // SAFETY: palloc0 gives zeroed memory of the size; a node begins with its tag.
    unsafe {
        let node: *mut pg_sys::Node = pg_sys::palloc0(size_of::<T>()).cast();
        (*node).type_ = tag;
        node.cast()
    }
}

/// # Safety
/// A list of pointers to `T`, or null.
unsafe fn items<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: as above; read at once, so that the list may change meanwhile.
    unsafe { PgList::from_pg(list) }.iter_ptr().collect::<Vec<_>>().into_iter()
}

fn list<T>(items: Vec<*mut T>) -> *mut pg_sys::List {
    let mut list = PgList::new();
    items.into_iter().for_each(|item| list.push(item));
    list.into_pg()
}

/// # Safety
/// A NUL-terminated string, or null.
unsafe fn text(text: *const c_char) -> Option<CString> {
    // SAFETY: as above.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned())
}

/// # Safety
/// An option of a statement; the parser gives each a name.
unsafe fn option_name<'a>(option: *mut pg_sys::DefElem) -> &'a CStr {
    // SAFETY: as above; it lives as long as the statement.
    unsafe { CStr::from_ptr((*option).defname) }
}

/// # Safety
/// A role in the list of a GRANT.
unsafe fn granted_name(privilege: *mut pg_sys::AccessPriv) -> Option<CString> {
    // SAFETY: as above.
    unsafe { text((*privilege).priv_name) }
}

/// # Safety
/// A list of role specifications, or null.
unsafe fn names(roles: *mut pg_sys::List) -> Vec<CString> {
    // SAFETY: as above.
    unsafe { items(roles).filter_map(|role| role_name(role)).collect() }
}

/// The name that a role specification means, for a statement; null for PUBLIC.
///
/// # Safety
/// As [`role_name`].
unsafe fn name_in_statement(role: *mut pg_sys::RoleSpec) -> *mut c_char {
    // SAFETY: as above; the copy is made in the current memory context, as the statement's nodes are.
    unsafe { role_name(role).map_or(std::ptr::null_mut(), |name| pg_sys::pstrdup(name.as_ptr())) }
}

/// The name that a role specification means; `None` for PUBLIC, which core refuses, and for ALL.
///
/// # Safety
/// A role specification or null; a transaction is open.
unsafe fn role_name(role: *mut pg_sys::RoleSpec) -> Option<CString> {
    // SAFETY: as above; core looks up CURRENT_USER and the like (acl.c, `get_rolespec_name`).
    unsafe {
        match role {
            role if role.is_null() => None,
            role if (*role).roletype == RoleSpecType::ROLESPEC_PUBLIC => None,
            role if (*role).roletype == RoleSpecType::ROLESPEC_CSTRING => text((*role).rolename),
            role => text(pg_sys::get_rolespec_name(role)),
        }
    }
}
