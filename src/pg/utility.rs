//! `ProcessUtility_hook` (utility.c): every statement that changes roles or their members, wherever it is run, in a
//! function and in a DO block too; and `ALTER SYSTEM`, which may write down a setting of ours.
//!
//! A statement that is about neither passes from this hook to the next one, or to core, as if there were no hook:
//! by one preset pointer, from a frame that owns nothing. So do the parts of a statement that is: guarded code of
//! ours runs before and after them and keeps nothing across, and an error of core's jumps over these frames untouched.

use std::ffi::{c_char, c_int};
use std::mem;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use pgaad_core::membership::RoleGraph;
use pgaad_core::membership_rules::Caller;
use pgrx::PgMemoryContexts;
use pgrx::pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND;
use pgrx::prelude::*;

use super::report::SqlError;
use super::role_plan::{Plan, Step};
use super::role_principal::Directory;
use super::role_statement::{self, Change};
use super::{alter_system, raw, role_graph};

/// Who is asked before and after a statement.
#[derive(Clone, Copy)]
pub(crate) struct Guard {
    /// May refuse what a caller who is no superuser is about to do, for what the graph does not show.
    pub(crate) before: fn(&[Change], Caller) -> Result<(), SqlError>,
    /// May refuse what the statement of such a caller has made of the roles.
    pub(crate) after: fn(&RoleGraph, &RoleGraph, Caller) -> Result<(), SqlError>,
    /// How the directory is asked whom a role is bound to.
    pub(crate) directory: Directory,
    /// Sees what was done, for notices and warnings; and whether a superuser has done it.
    pub(crate) advise: fn(&[Change], bool),
}

type Hook = unsafe extern "C-unwind" fn(
    *mut pg_sys::PlannedStmt,
    *const c_char,
    bool,
    pg_sys::ProcessUtilityContext::Type,
    pg_sys::ParamListInfo,
    *mut pg_sys::QueryEnvironment,
    *mut pg_sys::DestReceiver,
    *mut pg_sys::QueryCompletion,
);

static GUARD: OnceLock<Guard> = OnceLock::new();

/// Sees the name and the value of a setting of ours that `ALTER SYSTEM` has written.
pub(crate) type AdviseOfSetting = fn(&str, &str);

static ADVISE_OF_SETTING: OnceLock<AdviseOfSetting> = OnceLock::new();

/// The function to call next: of the library that was in the hook before, or core's own.
#[allow(clippy::as_conversions, reason = "the one way from a function to its address")]
static NEXT: AtomicPtr<()> = AtomicPtr::new(raw::standard_ProcessUtility as *mut ());

/// `SECURITY_LOCAL_USERID_CHANGE` (miscadmin.h).
const LOCAL_USERID_CHANGE: c_int = 1;

/// Held from the first statement of a transaction that changes roles to the transaction's end: two transactions that
/// each made half of what is forbidden would not see each other's half. Database 0 keeps it apart from the advisory
/// locks of users, which are of their own database (lockfuncs.c, `SET_LOCKTAG_INT64`).
static ROLES_LOCK: pg_sys::LOCKTAG = pg_sys::LOCKTAG {
    locktag_field1: 0,
    // "pgaa", "role"
    locktag_field2: 0x7067_6161,
    locktag_field3: 0x726f_6c65,
    locktag_field4: 0,
    locktag_type: 10,
    locktag_lockmethodid: 2,
};

/// `ExclusiveLock` (lockdefs.h).
const EXCLUSIVE: pg_sys::LOCKMODE = 7;

/// Puts the guard before every statement about roles, and the advice behind every `ALTER SYSTEM` about a setting of
/// ours. Call once, from `_PG_init`.
pub(crate) fn install(guard: Guard, advise_of_setting: AdviseOfSetting) {
    if GUARD.set(guard).is_err() || ADVISE_OF_SETTING.set(advise_of_setting).is_err() {
        return;
    }
    // SAFETY: libraries are loaded by the postmaster's only thread, before any statement.
    unsafe {
        if let Some(previous) = pg_sys::ProcessUtility_hook {
            #[allow(clippy::as_conversions, reason = "the one way from a function to its address")]
            NEXT.store(previous as *mut (), Ordering::Relaxed);
        }
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

#[inline(always)]
fn next() -> Hook {
    // SAFETY: `NEXT` never holds anything but a function of this type, which is not null.
    unsafe { mem::transmute::<*mut (), Hook>(NEXT.load(Ordering::Relaxed)) }
}

#[allow(clippy::too_many_arguments, reason = "core's own signature")]
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
    // SAFETY: the arguments are core's own, passed on as they came.
    unsafe {
        // One call for all: of two, rustc makes but one a tail call. Any other keeps a frame of ours on the stack, and
        // recursion of others' procedures would end earlier.
        let node = (*statement).utilityStmt;
        let hook: Hook = if role_statement::may_be_about_roles(node) {
            carry_out
        } else if alter_system::is_one(node) {
            write_setting
        } else {
            next()
        };
        hook(statement, query, read_only, context, params, environment, dest, completion);
    }
}

/// Carries out a statement about roles, in a frame that owns nothing.
#[allow(clippy::too_many_arguments, reason = "core's own signature")]
#[inline(never)]
unsafe extern "C-unwind" fn carry_out(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the arguments are core's own; a plan lives as long as the statement's memory context, and the user is
    // set back below, or by core should the statement fail (xact.c, AbortTransaction and AbortSubTransaction).
    unsafe {
        let is_about_roles = role_statement::is_about_roles((*statement).utilityStmt);
        let plan = if is_about_roles { plan(statement) } else { std::ptr::null_mut() };
        if plan.is_null() {
            return next()(statement, query, read_only, context, params, environment, dest, completion);
        }
        ask(plan);
        if changes_graph(plan) {
            raw::LockAcquire(&raw const ROLES_LOCK, EXCLUSIVE, false, false);
        }
        begin(plan);
        let mut context = context;
        loop {
            let step = next_step(plan);
            if step.statement.is_null() {
                break;
            }
            let (mut user, mut security) = (pg_sys::InvalidOid, 0);
            raw::GetUserIdAndSecContext(&raw mut user, &raw mut security);
            if step.as_superuser {
                let superuser = pg_sys::Oid::from_u32(pg_sys::BOOTSTRAP_SUPERUSERID);
                raw::SetUserIdAndSecContext(superuser, security | LOCAL_USERID_CHANGE);
            }
            let read_only = read_only && step.is_original;
            // What follows the first is a part of the same statement: pgaudit takes a second statement at the top for
            // an error, and pg_stat_statements counts each that has an id.
            if context == PROCESS_UTILITY_SUBCOMMAND && !step.is_original {
                (*step.statement).queryId = 0;
            }
            next()(step.statement, query, read_only, context, params, environment, dest, completion);
            context = PROCESS_UTILITY_SUBCOMMAND;
            raw::SetUserIdAndSecContext(user, security);
            raw::CommandCounterIncrement();
        }
        finish(plan);
    }
}

/// Carries out an `ALTER SYSTEM`, in a frame that owns nothing.
#[allow(clippy::too_many_arguments, reason = "core's own signature")]
#[inline(never)]
unsafe extern "C-unwind" fn write_setting(
    statement: *mut pg_sys::PlannedStmt,
    query: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the arguments are core's own, passed on as they came.
    unsafe {
        next()(statement, query, read_only, context, params, environment, dest, completion);
        advise_of_setting(statement);
    }
}

/// Tells of a value that cannot be used, once it is written.
#[pg_guard]
unsafe extern "C-unwind" fn advise_of_setting(statement: *mut pg_sys::PlannedStmt) {
    // SAFETY: an ALTER SYSTEM that core has carried out.
    if let Some((name, value)) = unsafe { alter_system::setting_of((*statement).utilityStmt) }
        && let Some(advise) = ADVISE_OF_SETTING.get()
    {
        advise(&name, &value);
    }
}

/// Reads a statement. Null where it is left to core alone.
#[pg_guard]
unsafe extern "C-unwind" fn plan(statement: *mut pg_sys::PlannedStmt) -> *mut Plan {
    // SAFETY: a statement of core's that is about roles, in the transaction that it needs anyway.
    let Some(plan) = (unsafe { Plan::new(statement) }) else { return std::ptr::null_mut() };
    PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(plan)
}

/// Whether the statement can change what the rules of the graph look at.
unsafe extern "C-unwind" fn changes_graph(plan: *mut Plan) -> bool {
    // SAFETY: made by `plan`, and nobody else's.
    unsafe { (*plan).statement.changes_graph }
}

/// Asks the directory whom the roles are bound to, before others have to wait for this statement.
#[pg_guard]
unsafe extern "C-unwind" fn ask(plan: *mut Plan) {
    // SAFETY: made by `plan`, and nobody else's.
    let plan = unsafe { &mut *plan };
    plan.look_up_caller();
    // SAFETY: as above.
    unsafe { plan.ask_or_raise(false) };
}

impl Plan {
    /// [`Plan::ask`], of the directory that the guard knows.
    ///
    /// # Safety
    /// As there.
    unsafe fn ask_or_raise(&mut self, once_locked: bool) {
        let Some(guard) = GUARD.get() else { return };
        // SAFETY: as above.
        let asked = unsafe { self.ask(guard.directory, once_locked) };
        asked.unwrap_or_else(|error| error.raise());
    }
}

/// Refuses a statement where that can be told already, and takes it apart. What others have committed while this
/// process waited for the lock is taken in first.
#[pg_guard]
unsafe extern "C-unwind" fn begin(plan: *mut Plan) {
    // SAFETY: made by `plan`, and nobody else's.
    let plan = unsafe { &mut *plan };
    plan.look_up_caller();
    if let Some(guard) = GUARD.get().filter(|_| !plan.is_superuser)
        && let Err(error) = (guard.before)(&plan.statement.changes, plan.caller)
    {
        error.raise();
    }
    // SAFETY: as above.
    unsafe {
        plan.ask_or_raise(true);
        plan.begin();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn next_step(plan: *mut Plan) -> Step {
    // SAFETY: made by `plan`, and nobody else's.
    unsafe { (*plan).next() }
}

/// Judges what the statement has done.
#[pg_guard]
unsafe extern "C-unwind" fn finish(plan: *mut Plan) {
    // SAFETY: made by `plan`, and nobody else's.
    let plan = unsafe { &mut *plan };
    let Some(guard) = GUARD.get() else { return };
    // Let go of here: a loop of statements may keep their memory context for long.
    if let Some(before) = plan.before.take()
        && let Err(error) = (guard.after)(&before, &role_graph::read(), plan.caller)
    {
        drop(before);
        error.raise();
    }
    (guard.advise)(&plan.statement.changes, plan.is_superuser);
}
