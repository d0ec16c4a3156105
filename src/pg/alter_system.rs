//! `ALTER SYSTEM SET`, as far as it is about a setting of ours (guc.c, `AlterSystemSetConfigFile`).

use pgrx::pg_sys::{NodeTag, VariableSetKind};
use pgrx::prelude::*;

use super::c_string::{c_str, text};

/// Whether a statement is an `ALTER SYSTEM`, told by its tag alone, for the reason of
/// [`may_be_about_roles`](super::role_statement::may_be_about_roles).
///
/// # Safety
/// A statement.
#[inline(always)]
pub(super) unsafe fn is_one(node: *mut pg_sys::Node) -> bool {
    // SAFETY: every node begins with its tag (nodes.h).
    unsafe { (*node).type_ == NodeTag::T_AlterSystemStmt }
}

/// The name and the value of the setting of ours that a statement has set. `None` where the setting is another's, or
/// was reset: the value that then holds is that of `postgresql.conf`, which nobody has read yet.
///
/// # Safety
/// An `ALTER SYSTEM` that core has carried out: before, its arguments may be of a form that core refuses.
pub(super) unsafe fn setting_of(node: *mut pg_sys::Node) -> Option<(String, String)> {
    let statement: *mut pg_sys::AlterSystemStmt = node.cast();
    // SAFETY: the statement's own parts; core has made a text of the same arguments a moment ago, and can do so again.
    unsafe {
        let setting = (*statement).setstmt;
        let name = text((*setting).name).filter(|name| is_ours(name))?;
        if (*setting).kind != VariableSetKind::VAR_SET_VALUE {
            return None;
        }
        let value = c_str(pg_sys::ExtractSetVariableArgs(setting))?;
        Some((name, value.to_string_lossy().into_owned()))
    }
}

/// Names of settings are compared without regard to case (guc.c, `guc_name_compare`).
fn is_ours(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

const PREFIX: &str = "pgaad.";
