//! The parts of a statement about roles, and what follows from each once it was carried out: further parts, since each
//! sees what the one before did.

use std::ffi::{CStr, CString};

use pgaad_core::labelling::Labelling;
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;

use super::catalog::{self, Marker};
use super::role_principal::Principal;
use super::role_program::Password;
use super::{encoding, label_providers, report, role_nodes};

/// A part of the statement.
pub(super) enum Part {
    /// Carried out in the name of the caller, as core gave it (then its tree is core's) or as a copy.
    AsCaller(*mut pg_sys::PlannedStmt),
    /// Carried out in the name of the bootstrap superuser.
    AsSuperuser(*mut pg_sys::PlannedStmt),
    /// The REVOKE of one membership in a marker role, by whichever roles it was granted.
    Revoke(*mut pg_sys::GrantRoleStmt),
    /// The role may have left `azure_ad_user`: it leaves the Entra roles that it is a member of.
    Leave(CString),
    /// The role has got another label than the one that bound it so far.
    Labelled(CString, Option<Labelling>),
    /// The role got this password, or lost its own.
    Given(CString, Password),
    /// The role was made a member: it is bound to whom the directory has named, or to the program that was its
    /// password.
    Bind(CString),
    /// The role was bound.
    Bound(CString, Principal),
}

/// What binds a role.
pub(super) fn binding(original: *mut pg_sys::PlannedStmt, role: &CStr, principal: Principal) -> Vec<Part> {
    label_providers::register();
    let part = if principal.is_by_name { Part::AsSuperuser } else { Part::AsCaller };
    let label = |label| {
        // SAFETY: core's own statement, and one that was made for this.
        part(unsafe { role_nodes::with_statement(original, label) })
    };
    let mut parts: Vec<_> = principal.labels(role).into_iter().map(label).collect();
    parts.push(Part::Bound(role.to_owned(), principal));
    parts
}

/// What takes a membership away, whichever roles have granted it.
///
/// # Safety
/// A statement of core's; the REVOKE of one membership, a copy that nobody else reads.
pub(super) unsafe fn by_grantors(
    original: *mut pg_sys::PlannedStmt,
    single: *mut pg_sys::GrantRoleStmt,
) -> Vec<Part> {
    // SAFETY: as above.
    unsafe {
        let each = role_nodes::by_grantors(single).into_iter();
        each.map(|revoke| Part::AsSuperuser(role_nodes::with_statement(original, revoke))).collect()
    }
}

/// A role that is no Entra role any more is a member of none either: their rights would be had without a token.
pub(super) fn after_leaving(
    original: *mut pg_sys::PlannedStmt,
    role: &CStr,
    is_superuser: bool,
) -> Vec<Part> {
    if catalog::standing(role).is_none_or(|standing| standing.is_member) {
        return Vec::new();
    }
    let mut parts = Vec::new();
    for entra in catalog::entra_roles_of(role) {
        report::notice(format!(
            "role \"{}\" also leaves the Entra role \"{}\"",
            encoding::of_name(role),
            encoding::of_name(&entra)
        ));
        parts.push(Part::Revoke(role_nodes::revoke(&entra, role)));
    }
    // An administrator who takes a role out keeps it, to drop the role: it is what core gives to who made the role,
    // too.
    if is_superuser {
        parts.extend(end_of_office_over(original, role));
    }
    parts
}

/// From 16 on an administrator has the ADMIN OPTION on Entra roles by their office, and on others not.
fn end_of_office_over(original: *mut pg_sys::PlannedStmt, role: &CStr) -> impl Iterator<Item = Part> {
    catalog::administrators_by_office(role).into_iter().map(move |administrator| {
        let revoke = role_nodes::revoke(role, &administrator);
        // SAFETY: core's own statement, and one that was made here.
        unsafe {
            role_nodes::name_bootstrap_superuser(revoke);
            Part::AsSuperuser(role_nodes::with_statement(original, revoke))
        }
    })
}

/// A label makes its role an Entra role, as on Azure. A label that is taken away takes the role out again where what is
/// left asks for less than before.
///
/// # Safety
/// A statement of core's.
pub(super) unsafe fn after_label(
    original: *mut pg_sys::PlannedStmt,
    role: &CStr,
    before: Option<Labelling>,
) -> Vec<Part> {
    let (Some(standing), Some(after)) = (catalog::standing(role), catalog::labelling(role)) else {
        return Vec::new();
    };
    // SAFETY: as above.
    if unsafe { removes_label(original) } {
        let asks_for_less = before
            .is_some_and(|before| before.is_labelled && (!after.is_labelled || after.is_wider_than(&before)));
        if standing.is_member && asks_for_less {
            report::notice(format!(
                "role \"{}\" leaves azure_ad_user, since its label is removed",
                encoding::of_name(role)
            ));
            let revoke = role_nodes::revoke(Marker::User.name(), role);
            return vec![Part::Revoke(revoke), Part::Leave(role.to_owned())];
        }
    } else if !Marker::User.exists() {
        report::notice(
            "role azure_ad_user does not exist yet; the label takes effect when the role is made a member of it"
                .to_owned(),
        );
    } else if !standing.is_member {
        let grant = role_nodes::grant(Marker::User.name(), role);
        // SAFETY: core's own statement, and one that was made here.
        return vec![Part::AsSuperuser(unsafe { role_nodes::with_statement(original, grant) })];
    }
    Vec::new()
}

/// # Safety
/// A statement of core's.
unsafe fn removes_label(original: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: as above; cast to the type that its tag names.
    unsafe {
        let node = (*original).utilityStmt;
        (*node).type_ == NodeTag::T_SecLabelStmt && (*node.cast::<pg_sys::SecLabelStmt>()).label.is_null()
    }
}
