//! Statements about roles, taken apart and built again: what concerns the marker roles is carried out apart from the
//! rest. All nodes that are changed are copies, since core's tree may belong to a cached plan.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char};

use pgrx::PgList;
use pgrx::pg_sys::{NodeTag, RoleSpecType};
use pgrx::prelude::*;

use super::catalog::{self, Marker};
use super::role_statement::{items, names, option_name, role_name, text};
use super::version;

/// A copy in the current memory context.
///
/// # Safety
/// The statement is core's own.
pub(super) unsafe fn copy(statement: *mut pg_sys::PlannedStmt) -> *mut pg_sys::PlannedStmt {
    // SAFETY: copyfuncs.c copies any node, and everything below it.
    unsafe { pg_sys::copyObjectImpl(statement.cast()).cast() }
}

/// A statement as it is, with another one inside. What they share is only read.
///
/// # Safety
/// As [`copy`]; `inside` is a statement that nobody else reads.
pub(super) unsafe fn with_statement<T>(
    statement: *mut pg_sys::PlannedStmt,
    inside: *mut T,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: as above.
    unsafe {
        let outer = shallow_copy(statement);
        (*outer).utilityStmt = inside.cast();
        outer
    }
}

/// A copy of a node alone, which shares all that it points to.
///
/// # Safety
/// `T` is the node's type.
unsafe fn shallow_copy<T>(node: *mut T) -> *mut T {
    // SAFETY: palloc gives aligned memory of the size; nodes are plain data.
    unsafe {
        let copy: *mut T = pg_sys::palloc(size_of::<T>()).cast();
        std::ptr::copy_nonoverlapping(node, copy, 1);
        copy
    }
}

/// The roles of a GRANT or REVOKE: the marker roles, and the others.
///
/// # Safety
/// `granted` is the list of such a statement.
pub(super) unsafe fn split(granted: *mut pg_sys::List) -> (*mut pg_sys::List, *mut pg_sys::List) {
    // SAFETY: as above; only the lists are new.
    unsafe {
        let is_marker =
            |&item: &*mut pg_sys::AccessPriv| text((*item).priv_name).is_some_and(|name| is_marker(&name));
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
        let grant = grant_statement(list(granted), (*statement).role);
        Some(grant)
    }
}

/// `GRANT role TO member`.
pub(super) fn grant(role: &CStr, member: &CStr) -> *mut pg_sys::GrantRoleStmt {
    // SAFETY: new nodes of their own type and tag; the names are copied.
    unsafe {
        let privilege: *mut pg_sys::AccessPriv = make(NodeTag::T_AccessPriv);
        (*privilege).priv_name = pg_sys::pstrdup(role.as_ptr());
        grant_statement(list(vec![privilege]), pg_sys::pstrdup(member.as_ptr()))
    }
}

/// `REVOKE role FROM member CASCADE`.
pub(super) fn revoke(role: &CStr, member: &CStr) -> *mut pg_sys::GrantRoleStmt {
    let statement = grant(role, member);
    // SAFETY: made above.
    unsafe {
        (*statement).is_grant = false;
        (*statement).behavior = pg_sys::DropBehavior::DROP_CASCADE;
    }
    statement
}

/// # Safety
/// A list of `AccessPriv`, and a name that lives as long as the statement.
unsafe fn grant_statement(granted: *mut pg_sys::List, member: *mut c_char) -> *mut pg_sys::GrantRoleStmt {
    // SAFETY: as above.
    unsafe {
        let statement: *mut pg_sys::GrantRoleStmt = make(NodeTag::T_GrantRoleStmt);
        (*statement).granted_roles = granted;
        (*statement).grantee_roles = list(vec![role_named(member)]);
        (*statement).is_grant = true;
        statement
    }
}

/// A role by its name.
///
/// # Safety
/// A name that lives as long as the statement.
pub(super) unsafe fn role_named(name: *mut c_char) -> *mut pg_sys::RoleSpec {
    // SAFETY: as above.
    unsafe {
        let role: *mut pg_sys::RoleSpec = make(NodeTag::T_RoleSpec);
        (*role).roletype = RoleSpecType::ROLESPEC_CSTRING;
        (*role).rolename = name;
        role
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

/// A GRANT or REVOKE as one statement for each membership, whose names are written once or more often.
///
/// # Safety
/// `statement` is such a statement.
pub(super) unsafe fn one_by_one(statement: *mut pg_sys::GrantRoleStmt) -> Vec<*mut pg_sys::GrantRoleStmt> {
    // SAFETY: as above; only the copies' lists are new.
    unsafe {
        let mut single = Vec::new();
        let (mut seen_roles, mut seen_members) = (BTreeSet::new(), BTreeSet::new());
        let roles: Vec<_> = items::<pg_sys::AccessPriv>((*statement).granted_roles)
            .filter(|&role| seen_roles.insert(text((*role).priv_name)))
            .collect();
        let members: Vec<_> = items::<pg_sys::RoleSpec>((*statement).grantee_roles)
            .filter(|&member| seen_members.insert(role_name(member)))
            .collect();
        for privilege in roles {
            for &member in &members {
                let copy = shallow_copy(statement);
                (*copy).granted_roles = list(vec![privilege]);
                (*copy).grantee_roles = list(vec![member]);
                single.push(copy);
            }
        }
        single
    }
}

/// The one role and the one member of a statement that [`one_by_one`] made.
///
/// # Safety
/// Such a statement.
pub(super) unsafe fn ends(
    statement: *mut pg_sys::GrantRoleStmt,
) -> Option<(std::ffi::CString, std::ffi::CString)> {
    // SAFETY: as above.
    unsafe {
        let role = items::<pg_sys::AccessPriv>((*statement).granted_roles).find_map(|r| text((*r).priv_name));
        role.zip(names((*statement).grantee_roles).pop())
    }
}

/// The REVOKE of one membership as one statement for each grantor that must be named. As it is, where there is
/// none: no grantor has to be named on 15, and of a membership that does not exist core says so.
///
/// # Safety
/// `statement` is a REVOKE of one membership, with the member's name; a transaction is open.
pub(super) unsafe fn by_grantors(statement: *mut pg_sys::GrantRoleStmt) -> Vec<*mut pg_sys::GrantRoleStmt> {
    // SAFETY: as in `one_by_one`.
    unsafe {
        let grantors = ends(statement).map(|(role, member)| catalog::grantors(&role, &member));
        let mut each = Vec::new();
        for grantor in grantors.unwrap_or_default() {
            let revoke = shallow_copy(statement);
            (*revoke).grantor = role_named(pg_sys::pstrdup(grantor.as_ptr()));
            each.push(revoke);
        }
        if each.is_empty() { vec![statement] } else { each }
    }
}

/// Has a REVOKE take back what the bootstrap superuser has granted.
///
/// # Safety
/// `statement` is one that nobody else reads.
pub(super) unsafe fn name_bootstrap_superuser(statement: *mut pg_sys::GrantRoleStmt) {
    // SAFETY: as above.
    unsafe {
        let superuser = catalog::name_of(pg_sys::Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID));
        if let Some(superuser) = superuser {
            (*statement).grantor = role_named(pg_sys::pstrdup(superuser.as_ptr()));
        }
    }
}

/// Gives a GRANT of one marker role the option SET FALSE, where there is such an option, in the place of what it says
/// of SET; where the membership `exists`, its option stays as it is.
///
/// # Safety
/// `statement` is a copy that nobody else reads.
pub(super) unsafe fn without_set(statement: *mut pg_sys::GrantRoleStmt, exists: bool) {
    // SAFETY: as above; `opt` is a list of options by name, with boolean arguments (gram.y, `grant_role_opt`).
    unsafe {
        let Some(stated) = version::grant_options(statement) else { return };
        let mut options: Vec<_> =
            items::<pg_sys::DefElem>(*stated).filter(|&option| option_name(option) != c"set").collect();
        if !exists {
            let no = pg_sys::makeBoolean(false).cast();
            options.push(pg_sys::makeDefElem(pg_sys::pstrdup(c"set".as_ptr()), no, -1));
        }
        *stated = list(options);
    }
}

fn is_marker(name: &CStr) -> bool {
    Marker::named(name).is_some()
}

/// A new node, all zero except its tag (nodes.h, `makeNode`).
///
/// # Safety
/// `T` is the type that the tag names.
pub(super) unsafe fn make<T>(tag: NodeTag) -> *mut T {
    // SAFETY: palloc0 gives zeroed memory of the size; a node begins with its tag.
    unsafe {
        let node: *mut pg_sys::Node = pg_sys::palloc0(size_of::<T>()).cast();
        (*node).type_ = tag;
        node.cast()
    }
}

/// A list of these nodes.
pub(super) fn list<T>(items: Vec<*mut T>) -> *mut pg_sys::List {
    let mut list = PgList::new();
    items.into_iter().for_each(|item| list.push(item));
    list.into_pg()
}

/// The name that a role specification means, for a statement; null for PUBLIC.
///
/// # Safety
/// As [`role_name`].
unsafe fn name_in_statement(role: *mut pg_sys::RoleSpec) -> *mut c_char {
    // SAFETY: as above; the copy is made in the current memory context, as the statement's nodes are.
    unsafe { role_name(role).map_or(std::ptr::null_mut(), |name| pg_sys::pstrdup(name.as_ptr())) }
}

/// `SECURITY LABEL FOR provider ON ROLE role IS text`.
pub(super) fn label(provider: &CStr, role: &CStr, label: &CStr) -> *mut pg_sys::SecLabelStmt {
    // SAFETY: new nodes of their own type and tag, with copies of the texts.
    unsafe {
        let name: *mut pg_sys::String = make(NodeTag::T_String);
        (*name).sval = pg_sys::pstrdup(role.as_ptr());
        let statement: *mut pg_sys::SecLabelStmt = make(NodeTag::T_SecLabelStmt);
        (*statement).objtype = pg_sys::ObjectType::OBJECT_ROLE;
        (*statement).object = name.cast();
        (*statement).provider = pg_sys::pstrdup(provider.as_ptr());
        (*statement).label = pg_sys::pstrdup(label.as_ptr());
        statement
    }
}
