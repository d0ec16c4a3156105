//! The PAM module: `/etc/pam.d/pgaad` names this very library, and libpam, inside the server, gets the
//! copy that the server has loaded already, with everything the server knows.
//!
//! A copy that was *not* preloaded is unarmed and refuses, so a server without pgaad lets nobody in.
//! libpam is never linked: a server built without it could not load the library.

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

use pgaad_core::Reason;
use pgaad_core::gate::Answer;

use super::port::Port;
use super::{hook, report};

/// Codes of libpam (Linux-PAM, `_pam_types.h`).
const PAM_SUCCESS: c_int = 0;
const PAM_PERM_DENIED: c_int = 6;
const PAM_AUTH_ERR: c_int = 7;
const PAM_AUTHINFO_UNAVAIL: c_int = 9;

/// Decides a login, asking the client for its token; `None` when it is not for us to say.
pub(crate) type Decide = fn(Port) -> Option<Answer>;

/// Whether our own decision in this process was a yes, for the account management.
pub(crate) type IsAdmitted = fn() -> bool;

static MODULE: OnceLock<(Decide, IsAdmitted)> = OnceLock::new();

/// Arms the module: from now on it can say yes. Call once, from `_PG_init`, in the postmaster.
pub(crate) fn arm(decide: Decide, is_admitted: IsAdmitted) {
    // A second call changes nothing: the first functions stay.
    let _ = MODULE.set((decide, is_admitted));
}

/// libpam's handle.
type Handle = *mut c_void;

/// `auth required pgaad.so`: asks for the token and decides.
///
/// The client is asked by the server's own functions and not through libpam's conversation: core would leave a copy
/// of the token in its memory, and libpam may.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pam_sm_authenticate(
    _handle: Handle,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    let (Some((decide, _)), Some(port)) = (MODULE.get(), Port::current()) else {
        return PAM_AUTHINFO_UNAVAIL;
    };
    // Nothing may unwind through libpam.
    match report::catch_errors(|| Ok::<_, Reason>(decide(port))) {
        Ok(Some(Answer::Yes)) => PAM_SUCCESS,
        Ok(Some(Answer::ClientGone)) => hook::hang_up(port),
        Ok(None) => PAM_AUTHINFO_UNAVAIL,
        Ok(Some(Answer::No)) | Err(_) => PAM_AUTH_ERR,
    }
}

/// `account required pgaad.so`: yes only after our own yes in this process.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pam_sm_acct_mgmt(
    _handle: Handle,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    let is_admitted = MODULE.get().is_some_and(|(_, is_admitted)| {
        // Nothing may unwind through libpam.
        report::catch_errors(|| Ok::<_, Reason>(is_admitted())).unwrap_or(false)
    });
    if is_admitted { PAM_SUCCESS } else { PAM_PERM_DENIED }
}

/// Nothing to set; PostgreSQL does not ask, but libpam wants the name in a module with `auth`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pam_sm_setcred(
    _handle: Handle,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    if MODULE.get().is_some() { PAM_SUCCESS } else { PAM_AUTHINFO_UNAVAIL }
}
