//! Functions of PostgreSQL's, declared as they are.
//!
//! pgrx's own declarations catch the error that a function raises, and raise another one in its place: SQLSTATEs
//! that pgrx does not know, CONTEXT, position and the names of constraint, table and column are lost on the way. What
//! is called from here jumps over our frames with its error untouched. So these functions are called from frames
//! that own nothing: no value with a destructor, no guard, no `catch_unwind`.

use std::ffi::{c_char, c_int};

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    /// utility.c
    pub(super) fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        query: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        dest: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
    /// xact.c
    pub(super) fn CommandCounterIncrement();
    /// lock.c
    pub(super) fn LockAcquire(
        tag: *const pg_sys::LOCKTAG,
        mode: pg_sys::LOCKMODE,
        for_the_session: bool,
        without_waiting: bool,
    ) -> c_int;
    /// miscinit.c
    pub(super) fn GetUserIdAndSecContext(user: *mut pg_sys::Oid, context: *mut c_int);
    /// miscinit.c
    pub(super) fn SetUserIdAndSecContext(user: pg_sys::Oid, context: c_int);
}
