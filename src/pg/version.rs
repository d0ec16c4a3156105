//! What differs between the majors of PostgreSQL, and the only place that tells them apart.
//! (Of the OAuth validator, which 18 brought, mod.rs takes the module or its place holder.)
//!
//! Each function does on every major what its comment says; where a major has no such thing, it says so and does
//! nothing. build.rs sets `since_16` and so on for those majors and all later ones.

use std::ffi::{c_char, c_void};
use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::libpq;

/// `DEBUG2` (elog.h): what core says of a file that it cannot use is told by us.
pub(super) const DEBUG2: i32 = 13;

/// Whether a membership belongs to its grantor: since 16 there is a row for each grantor, which goes only
/// when it is revoked in the grantor's name, and goes with what the grantor owns. On 15 there is one row, and no
/// such bond; CREATEROLE rules over all roles there.
pub(super) const MEMBERSHIPS_HAVE_OWNERS: bool = cfg!(since_16);

/// Whether core keeps search paths, and makes each anew while there is an `object_access_hook` (namespace.c): then one
/// of ours would slow every function down that sets its own.
pub(super) const SEARCH_PATHS_ARE_KEPT: bool = cfg!(since_17);

/// The line of auth.c where core's `auth_failed` raises its FATAL, which clients are told: that of 15.18 and 18.6,
/// the last minor versions before this was written. `0` where it is not known: the answer has no line then.
pub(super) const AUTH_FAILED_LINE: i32 = match pg_sys::PG_VERSION_NUM / 10_000 {
    15 => 334,
    18 => 317,
    _ => 0,
};

/// The number of this backend, below `MaxBackends` (proc.h, `MyProcNumber`).
#[cfg(since_17)]
pub(super) fn backend_number() -> usize {
    // SAFETY: a plain global of the process (globals.c).
    usize::try_from(unsafe { pg_sys::MyProcNumber }).unwrap_or(usize::MAX)
}

/// The number of this backend, below `MaxBackends` (backendid.h: "unique across all currently-running backends", from 1
/// on).
#[cfg(not(since_17))]
pub(super) fn backend_number() -> usize {
    // SAFETY: a plain global of the process (globals.c).
    usize::try_from(unsafe { pg_sys::MyBackendId } - 1).unwrap_or(usize::MAX)
}

/// Whether a membership conveys the role's rights. Since 16 one may only allow to administer the role.
#[cfg(since_16)]
pub(super) fn conveys(row: &libpq::FormData_pg_auth_members) -> bool {
    row.inherit_option || row.set_option
}

/// Whether a membership conveys the role's rights. Before 16 each does.
#[cfg(not(since_16))]
pub(super) fn conveys(_row: &libpq::FormData_pg_auth_members) -> bool {
    true
}

/// The options of a GRANT of roles (gram.y, `grant_role_opt`).
///
/// # Safety
/// `statement` is one that nobody else reads.
#[cfg(since_16)]
pub(super) unsafe fn grant_options(statement: *mut pg_sys::GrantRoleStmt) -> Option<*mut *mut pg_sys::List> {
    // SAFETY: as above.
    Some(unsafe { &raw mut (*statement).opt })
}

/// Before 16 a GRANT of roles has no list of options.
///
/// # Safety
/// None; as since 16.
#[cfg(not(since_16))]
pub(super) unsafe fn grant_options(_statement: *mut pg_sys::GrantRoleStmt) -> Option<*mut *mut pg_sys::List> {
    None
}

/// auth.c, `set_authn_id`: "MyClientConnectionInfo.authn_id = MemoryContextStrdup(TopMemoryContext, id);
/// MyClientConnectionInfo.auth_method = port->hba->auth_method;". A `trust` line has set neither.
///
/// # Safety
/// A live Port of this process, and a string in TopMemoryContext.
#[cfg(since_16)]
pub(super) unsafe fn set_authn_id(port: *mut libpq::Port, id: *mut c_char) {
    // SAFETY: as above; a plain global (miscinit.c) of the process' only thread, read after the hook has returned.
    unsafe {
        let Some(hba) = (*port).hba.as_ref() else { return };
        libpq::MyClientConnectionInfo.authn_id = id;
        libpq::MyClientConnectionInfo.auth_method = hba.auth_method;
    }
}

/// auth.c, `set_authn_id`: "port->authn_id = MemoryContextStrdup(TopMemoryContext, id);".
///
/// # Safety
/// A live Port of this process, and a string in TopMemoryContext.
#[cfg(not(since_16))]
pub(super) unsafe fn set_authn_id(port: *mut libpq::Port, id: *mut c_char) {
    // SAFETY: as above; only this process reads it.
    unsafe { (*port).authn_id = id };
}

/// Adds to the error that is being made what core's log has of the matched line when a login fails; no client is told.
/// auth.c, `auth_failed`: "cdetail = psprintf(_("Connection matched file \"%s\" line %d: \"%s\""),
/// port->hba->sourcefile, port->hba->linenumber, port->hba->rawline);".
///
/// # Safety
/// Between `errstart` and `errfinish`; a line that core's parser made from a file. A plain frame, since it can raise.
#[cfg(since_16)]
pub(super) unsafe fn log_matched_line(line: &libpq::HbaLine) {
    let message = c"Connection matched file \"%s\" line %d: \"%s\"";
    // SAFETY: as above; the texts are C strings.
    unsafe {
        libpq::errdetail_log(message.as_ptr(), line.sourcefile, line.linenumber, line.rawline);
    }
}

/// As since 16. auth.c, `auth_failed`: "cdetail = psprintf(_("Connection matched pg_hba.conf line %d: \"%s\""),
/// port->hba->linenumber, port->hba->rawline);".
///
/// # Safety
/// As since 16.
#[cfg(not(since_16))]
pub(super) unsafe fn log_matched_line(line: &libpq::HbaLine) {
    let message = c"Connection matched pg_hba.conf line %d: \"%s\"";
    // SAFETY: as above; the text is a C string.
    unsafe {
        libpq::errdetail_log(message.as_ptr(), line.linenumber, line.rawline);
    }
}

/// Opens pg_hba.conf; null where that fails. hba.c, `load_hba`: "file = open_auth_file(HbaFileName, LOG, 0, NULL);".
///
/// # Safety
/// The file is closed by [`close_hba_file`]. It can raise.
#[cfg(since_16)]
pub(super) unsafe fn open_hba_file() -> *mut libpq::FILE {
    // SAFETY: core's own file name.
    unsafe {
        pg_guard_ffi_boundary(|| libpq::open_auth_file(pg_sys::HbaFileName, DEBUG2, 0, ptr::null_mut()))
    }
}

/// Opens pg_hba.conf; null where that fails.
///
/// # Safety
/// The file is closed by [`close_hba_file`].
#[cfg(not(since_16))]
pub(super) unsafe fn open_hba_file() -> *mut libpq::FILE {
    // SAFETY: core's own file name.
    unsafe { libc::fopen(pg_sys::HbaFileName, c"r".as_ptr()).cast() }
}

/// Reads the words of pg_hba.conf. hba.c, `load_hba`: "tokenize_auth_file(HbaFileName, file, &hba_lines, LOG, 0);".
///
/// # Safety
/// An open file, and where to put the list. It can raise.
#[cfg(since_16)]
pub(super) unsafe fn tokenize_hba_file(file: *mut libpq::FILE, lines: *mut *mut pg_sys::List) {
    // SAFETY: as above.
    unsafe {
        pg_guard_ffi_boundary(|| libpq::tokenize_auth_file(pg_sys::HbaFileName, file, lines, DEBUG2, 0));
    }
}

/// Reads the words of pg_hba.conf. hba.c, `load_hba`: "linecxt = tokenize_auth_file(HbaFileName, file, &hba_lines,
/// LOG);".
///
/// # Safety
/// An open file, and where to put the list. It can raise.
#[cfg(not(since_16))]
pub(super) unsafe fn tokenize_hba_file(file: *mut libpq::FILE, lines: *mut *mut pg_sys::List) {
    // SAFETY: as above.
    unsafe {
        pg_guard_ffi_boundary(|| libpq::tokenize_auth_file(pg_sys::HbaFileName, file, lines, DEBUG2));
    }
}

/// Closes pg_hba.conf and drops its words (hba.c, `free_auth_file`).
///
/// # Safety
/// Opened by [`open_hba_file`], and closed once.
#[cfg(since_16)]
pub(super) unsafe fn close_hba_file(file: *mut libpq::FILE) {
    // SAFETY: as above.
    unsafe { pg_guard_ffi_boundary(|| libpq::free_auth_file(file, 0)) };
}

/// Closes pg_hba.conf.
///
/// # Safety
/// Opened by [`open_hba_file`], and closed once.
#[cfg(not(since_16))]
pub(super) unsafe fn close_hba_file(file: *mut libpq::FILE) {
    // SAFETY: as above.
    unsafe { libc::fclose(file.cast()) };
}

/// The file that a line of pg_hba.conf is in; null before 16, which has no other than pg_hba.conf.
#[cfg(since_16)]
pub(super) fn source_file(line: &libpq::HbaLine) -> *const c_char {
    line.sourcefile
}

/// Before 16 every line is of pg_hba.conf.
#[cfg(not(since_16))]
pub(super) fn source_file(_line: &libpq::HbaLine) -> *const c_char {
    ptr::null()
}

/// The regular expression of a word of pg_hba.conf; null where it has none. hba.c: "#define token_has_regexp(t)
/// (t->regex != NULL)".
#[cfg(since_16)]
pub(super) fn regex(token: &libpq::AuthToken) -> *mut c_void {
    token.regex.cast()
}

/// Before 16 there are no regular expressions in the columns of databases and roles.
#[cfg(not(since_16))]
pub(super) fn regex(_token: &libpq::AuthToken) -> *mut c_void {
    ptr::null_mut()
}

/// An `oauth` line of pg_hba.conf.
pub(super) struct OAuthLine {
    /// `validator`; null where the line names none.
    pub(super) validator: *const c_char,
    /// `scope`.
    pub(super) scope: *const c_char,
    /// `delegate_ident_mapping=1`: it is left to the validator which role an identity is.
    pub(super) delegates_mapping: bool,
}

/// What the line says of OAuth, if `oauth` is its method.
#[cfg(since_18)]
pub(super) fn oauth_line(line: &libpq::HbaLine) -> Option<OAuthLine> {
    (line.auth_method == libpq::UserAuth::uaOAuth).then_some(OAuthLine {
        validator: line.oauth_validator,
        scope: line.oauth_scope,
        delegates_mapping: line.oauth_skip_usermap,
    })
}

/// Before 18 there is no such method.
#[cfg(not(since_18))]
pub(super) fn oauth_line(_line: &libpq::HbaLine) -> Option<OAuthLine> {
    None
}

/// The process' end, of which no Rust frame has to hear.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: called from a plain frame, in the process' only thread.
    unsafe { libpq::proc_exit(code) };
    // ipc.h since 18: "pg_noreturn extern void proc_exit(int code);", which bindgen does not read.
    #[allow(unreachable_code, reason = "on those majors where bindgen knows")]
    std::process::abort()
}
