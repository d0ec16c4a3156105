//! `ProcessUtility_hook` (utility.c): every statement that changes roles or who is in them, wherever it
//! is run, in a function and in a DO block too.
//!
//! Memberships in the marker roles are recorded with the bootstrap superuser as grantor, so that
//! revoking an administrator never takes away the users he enabled. A statement that mixes them with
//! other memberships is therefore carried out in two parts.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use pgrx::pg_sys::NodeTag;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::catalog::{Marker, as_bootstrap_superuser};
use super::report::SqlError;
use super::role_statement::{self, Change};
use super::seclabel;

/// Who is asked before and after a statement.
#[derive(Clone, Copy)]
pub(crate) struct Guard {
    /// May refuse what is about to be done.
    pub(crate) judge: fn(&[Change]) -> Result<(), SqlError>,
    /// Sees what was done, for warnings.
    pub(crate) advise: fn(&[Change]),
}

static GUARD: OnceLock<Guard> = OnceLock::new();
static PREVIOUS: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();

/// Puts the guard before every statement. Call once, from `_PG_init`.
pub(crate) fn install(guard: Guard) {
    // SAFETY: libraries are loaded by the postmaster's only thread, before any statement.
    let previous = unsafe { pg_sys::ProcessUtility_hook };
    if GUARD.set(guard).is_ok() && PREVIOUS.set(previous).is_ok() {
        // SAFETY: as above.
        unsafe { pg_sys::ProcessUtility_hook = Some(process_utility) };
    }
}

/// The arguments of the hook besides the statement.
struct Call {
    query: *const c_char,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
}

impl Call {
    /// Has the statement carried out by whoever was in the hook before, or by core.
    ///
    /// # Safety
    /// The statement is core's own, or a copy of it.
    unsafe fn run(&self, statement: *mut pg_sys::PlannedStmt, read_only: bool) {
        let Self { query, context, params, environment, dest, completion } = *self;
        // SAFETY: the arguments are core's own, passed on as they came.
        unsafe {
            match PREVIOUS.get() {
                Some(Some(previous)) => pg_guard_ffi_boundary(|| {
                    previous(statement, query, read_only, context, params, environment, dest, completion);
                }),
                _ => pg_sys::standard_ProcessUtility(
                    statement,
                    query,
                    read_only,
                    context,
                    params,
                    environment,
                    dest,
                    completion,
                ),
            }
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "core's own signature")]
#[pg_guard]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    let call = Call { query, context, params, environment, dest, completion };
    // SAFETY: a statement of core's, in the transaction that role statements need anyway.
    let changes = unsafe { role_statement::changes_of((*statement).utilityStmt) };
    let Some(guard) = GUARD.get().filter(|_| !changes.is_empty()) else {
        // SAFETY: as above.
        return unsafe { call.run(statement, read_only) };
    };
    if let Err(error) = (guard.judge)(&changes) {
        drop(changes);
        error.raise();
    }
    if changes.iter().any(|change| change.membership_of().is_some()) {
        // SAFETY: as above.
        unsafe { run_in_two(&call, statement, &changes) };
    } else {
        // SAFETY: as above.
        unsafe { call.run(statement, read_only) };
    }
    (guard.advise)(&changes);
}

/// Carries out what concerns the marker roles as the bootstrap superuser, and the rest as who asks.
///
/// # Safety
/// As [`Call::run`]; the statement changes memberships in a marker role.
unsafe fn run_in_two(call: &Call, statement: *mut pg_sys::PlannedStmt, changes: &[Change]) {
    // SAFETY: core's tree may belong to a cached plan, so only copies are changed; a node is cast to
    // the type that its tag names.
    unsafe {
        let (rest, ours) = (copy(statement), copy(statement));
        match (*(*statement).utilityStmt).type_ {
            NodeTag::T_GrantRoleStmt => {
                let (theirs, change): (*mut pg_sys::GrantRoleStmt, *mut pg_sys::GrantRoleStmt) =
                    ((*rest).utilityStmt.cast(), (*ours).utilityStmt.cast());
                let (markers, others) = role_statement::split((*theirs).granted_roles);
                (*change).granted_roles = markers;
                // Whoever is named as the grantor: it is the one who runs this.
                (*change).grantor = std::ptr::null_mut();
                if !others.is_null() {
                    (*theirs).granted_roles = others;
                    call.run(rest, false);
                    pg_sys::CommandCounterIncrement();
                }
                run_as_bootstrap_superuser(call, ours, change);
            }
            NodeTag::T_CreateRoleStmt => {
                let create: *mut pg_sys::CreateRoleStmt = (*rest).utilityStmt.cast();
                let Some(grant) = role_statement::take_markers(create) else {
                    // A marker role is made with members: by a superuser, who may as well be the grantor.
                    return call.run(rest, false);
                };
                let is_for_tokens = changes.iter().any(|change| change.membership_of() == Some(Marker::User));
                let client_id = is_for_tokens.then(|| role_statement::take_client_id(create)).flatten();
                call.run(rest, false);
                pg_sys::CommandCounterIncrement();
                if let Some(client_id) = client_id {
                    seclabel::bind_to_service(CStr::from_ptr((*create).role), client_id);
                }
                run_as_bootstrap_superuser(call, ours, grant);
            }
            // ALTER GROUP, of a marker: nothing is left for who asks.
            NodeTag::T_AlterRoleStmt => {
                let change = role_statement::of_group((*ours).utilityStmt.cast());
                run_as_bootstrap_superuser(call, ours, change);
            }
            // DROP OWNED takes more than memberships: it stays who asks.
            _ => call.run(rest, false),
        }
    }
}

/// Carries out a GRANT or REVOKE of marker roles. A REVOKE takes the membership away, whoever granted it.
///
/// # Safety
/// `statement` is a copy, and so is `change`, which takes the place of what it held.
unsafe fn run_as_bootstrap_superuser(
    call: &Call,
    statement: *mut pg_sys::PlannedStmt,
    change: *mut pg_sys::GrantRoleStmt,
) {
    // SAFETY: as above.
    unsafe {
        role_statement::name_members(change);
        if (*change).is_grant {
            (*statement).utilityStmt = change.cast();
            return as_bootstrap_superuser(|| call.run(statement, false));
        }
        for single in role_statement::one_by_one(change) {
            for revoke in role_statement::by_grantors(single) {
                (*statement).utilityStmt = revoke.cast();
                as_bootstrap_superuser(|| call.run(statement, false));
                pg_sys::CommandCounterIncrement();
            }
        }
    }
}

/// A copy in the current memory context.
///
/// # Safety
/// The statement is core's own.
unsafe fn copy(statement: *mut pg_sys::PlannedStmt) -> *mut pg_sys::PlannedStmt {
    // SAFETY: copyfuncs.c copies any node, and everything below it.
    unsafe { pg_sys::copyObjectImpl(statement.cast()).cast() }
}
