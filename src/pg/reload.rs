//! `pg_reload_conf()`: what the files hold of our settings, read before a session has them loaded.
//!
//! Core tells the caller nothing of what a reload finds, and a value of ours that cannot be used locks everybody out.
//! The one place where a call of a function can be seen is `object_access_hook` (objectaccess.c), which core calls for
//! each function when an expression is made ready to run, after the right to execute it was checked. A call of any
//! other function passes from this hook to the next one, in a frame that owns nothing, after two comparisons. From 17
//! on the hook would cost others more than that, and is left out.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use pgrx::prelude::*;

use super::c_string::text;
use super::version::SEARCH_PATHS_ARE_KEPT;

/// One line of `postgresql.conf`, or of a file that it includes.
#[derive(Debug)]
pub(crate) struct Line {
    /// As written: upper and lower case are the same to core.
    pub(crate) name: String,
    pub(crate) value: String,
    /// The file's name, without the directories above it.
    pub(crate) file: String,
    pub(crate) number: i32,
}

/// Sees the lines that are about to be loaded, in their order: of two for one setting the later counts.
pub(crate) type AdviseOfLines = fn(&[Line]);

type Hook =
    unsafe extern "C-unwind" fn(pg_sys::ObjectAccessType::Type, pg_sys::Oid, pg_sys::Oid, c_int, *mut c_void);

static ADVISE: OnceLock<AdviseOfLines> = OnceLock::new();
static PREVIOUS: OnceLock<Hook> = OnceLock::new();

/// `DEBUG5` (elog.h): what is wrong with the files is core's to say.
const QUIET: c_int = 10;

/// Has `advise` see what a session is about to have loaded. Call once, from `_PG_init`.
pub(crate) fn install(advise: AdviseOfLines) {
    if SEARCH_PATHS_ARE_KEPT || ADVISE.set(advise).is_err() {
        return;
    }
    // SAFETY: libraries are loaded by the postmaster's only thread, before any statement.
    unsafe {
        if let Some(previous) = pg_sys::object_access_hook {
            let _ = PREVIOUS.set(previous);
        }
        pg_sys::object_access_hook = Some(object_access);
    }
}

unsafe extern "C-unwind" fn object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    sub_object: c_int,
    argument: *mut c_void,
) {
    // SAFETY: the arguments are core's own, passed on as they came.
    unsafe {
        if access == pg_sys::ObjectAccessType::OAT_FUNCTION_EXECUTE
            && object.to_u32() == pg_sys::F_PG_RELOAD_CONF
            && class == pg_sys::ProcedureRelationId
        {
            advise();
        }
        if let Some(next) = PREVIOUS.get() {
            next(access, class, object, sub_object, argument);
        }
    }
}

/// Reads the files as a reload does, and shows them.
#[pg_guard]
#[inline(never)]
unsafe extern "C-unwind" fn advise() {
    if let (Some(advise), Some(lines)) = (ADVISE.get(), lines()) {
        advise(&lines);
    }
}

/// The lines of the files. `None` where core will load none of them, as it does where a line is not one.
fn lines() -> Option<Vec<Line>> {
    let (mut head, mut tail) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: as `ProcessConfigFileInternal` reads them (guc.c): the files' names live as long as the server, the list
    // is of the current memory context, and is given back whole.
    unsafe {
        let mut read = |file: *const c_char, must_be_there: bool| {
            pg_sys::ParseConfigFile(
                file,
                must_be_there,
                ptr::null(),
                0,
                0,
                QUIET,
                &raw mut head,
                &raw mut tail,
            )
        };
        let is_whole =
            read(pg_sys::ConfigFileName, true) && read(pg_sys::PG_AUTOCONF_FILENAME.as_ptr(), false);
        let mut lines = Vec::new();
        let mut at: *mut pg_sys::ConfigVariable = head;
        while let Some(line) = at.as_ref() {
            if line.errmsg.is_null()
                && let (Some(name), Some(value), Some(file)) =
                    (text(line.name), text(line.value), text(line.filename))
            {
                let file = file.rsplit('/').next().unwrap_or_default().to_owned();
                lines.push(Line { name, value, file, number: line.sourceline });
            }
            at = line.next;
        }
        pg_sys::FreeConfigVariables(head);
        is_whole.then_some(lines)
    }
}
