//! The PAM module: `/etc/pam.d/pgaad` names this very library, and libpam, inside the server, gets the
//! copy that the server has loaded already, with everything the server knows.
//!
//! A copy that was *not* preloaded is unarmed and refuses, so a server without pgaad lets nobody in.
//! libpam is never linked: a server built without it could not load the library.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use pgaad_core::Refusal;
use zeroize::Zeroize;

use super::entry::ServerFunction;
use super::packet::Reply;
use super::port::Port;
use super::report;

/// What the module's two questions get for an answer, and the PAM code of it (Linux-PAM, `_pam_types.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Answer {
    /// `PAM_SUCCESS`.
    Yes = 0,
    /// `PAM_AUTH_ERR`.
    No = 7,
    /// `PAM_AUTHINFO_UNAVAIL`: not armed, or not for us to say.
    Unavailable = 9,
    /// `PAM_CONV_ERR`: the client is gone.
    Gone = 19,
}

/// Decides a login; the closure asks the client for its token.
pub(crate) type Decide = fn(Port, &mut dyn FnMut() -> Reply) -> Answer;

static DECIDE: OnceLock<Decide> = OnceLock::new();

thread_local! {
    /// Whether the last decision in this process was a yes, for the account question.
    static SAID_YES: Cell<bool> = const { Cell::new(false) };
}

/// Arms the module: from now on it can say yes. Call once, from `_PG_init`, in the postmaster.
pub(crate) fn arm(decide: Decide) {
    // A second call changes nothing: the first function stays.
    let _ = DECIDE.set(decide);
    // Looked up here once, for all backends.
    let _ = GET_ITEM.get();
}

/// Whether a PAM service is one whose file names this module: `pgaad`, or `pgaad-…` so that two
/// majors can live on one host.
pub(crate) fn is_our_service(service: &str) -> bool {
    service == "pgaad" || service.strip_prefix("pgaad-").is_some_and(|rest| !rest.is_empty())
}

/// libpam's handle.
type Handle = *mut c_void;

type GetItemFn = unsafe extern "C-unwind" fn(Handle, c_int, *mut *const c_void) -> c_int;
// SAFETY: libpam's own function of that name has this signature (pam_modules.h).
static GET_ITEM: ServerFunction<GetItemFn> = unsafe { ServerFunction::named(c"pam_get_item") };

/// `auth required pgaad.so`: asks for the token and decides.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pam_sm_authenticate(
    handle: Handle,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    SAID_YES.set(false);
    let answer = match (DECIDE.get(), Port::current()) {
        (Some(decide), Some(port)) => {
            let mut ask = || ask_through(handle);
            // Nothing may unwind through libpam.
            report::contain(|| Ok::<_, Refusal>(decide(port, &mut ask))).unwrap_or(Answer::No)
        }
        _ => Answer::Unavailable,
    };
    SAID_YES.set(answer == Answer::Yes);
    code(answer)
}

/// `account required pgaad.so`: yes only after our own yes in this process.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pam_sm_acct_mgmt(
    _handle: Handle,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    const PAM_PERM_DENIED: c_int = 6;
    if DECIDE.get().is_some() && SAID_YES.get() { code(Answer::Yes) } else { PAM_PERM_DENIED }
}

/// Nothing to set; PostgreSQL does not ask, but libpam wants the name in a module with `auth`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pam_sm_setcred(
    _handle: Handle,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    code(if DECIDE.get().is_some() { Answer::Yes } else { Answer::Unavailable })
}

#[allow(clippy::as_conversions, reason = "the discriminant of a repr(i32) enum")]
const fn code(answer: Answer) -> c_int {
    answer as c_int
}

/// `struct pam_message`, `struct pam_response`, `struct pam_conv` (Linux-PAM, `_pam_types.h`).
#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    unused: c_int,
}

type ConverseFn =
    unsafe extern "C-unwind" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Option<ConverseFn>,
    data: *mut c_void,
}

/// Asks the application, PostgreSQL (auth.c, `pam_passwd_conv_proc`), for the password.
///
/// The conversation is used directly and not through `pam_get_authtok`, which would leave a copy
/// of the token in libpam for the modules after this one.
fn ask_through(handle: Handle) -> Reply {
    const PAM_CONV: c_int = 5;
    const PAM_PROMPT_ECHO_OFF: c_int = 1;

    let Some(get_item) = GET_ITEM.get() else { return Reply::Broken };
    let mut item: *const c_void = ptr::null();
    // SAFETY: the handle is the one libpam called us with; `item` is ours.
    if unsafe { get_item(handle, PAM_CONV, &raw mut item) } != 0 {
        return Reply::Broken;
    }
    // SAFETY: for PAM_CONV the item is null or a `struct pam_conv` that lives as long as the handle.
    let Some(conversation) = (unsafe { item.cast::<Conversation>().as_ref() }) else { return Reply::Broken };
    let Some(converse) = conversation.converse else { return Reply::Broken };

    let message = Message { style: PAM_PROMPT_ECHO_OFF, text: c"Password: ".as_ptr() };
    let mut messages: *const Message = &raw const message;
    let mut responses: *mut Response = ptr::null_mut();
    // SAFETY: one message and a place for one array of one response, as the call says. Should core
    // raise an error inside, it is FATAL and the process ends there: nobody catches during a login.
    let said = unsafe { converse(1, &raw mut messages, &raw mut responses, conversation.data) };
    if said != 0 || responses.is_null() {
        return Reply::Gone;
    }
    // SAFETY: on success the array of one response and its text were made with malloc and are ours
    // to free (pam_conv(3)); the text is NUL-terminated. It is wiped before.
    unsafe {
        let text = (*responses).text;
        let reply = if text.is_null() {
            Reply::Gone
        } else {
            let bytes = std::slice::from_raw_parts_mut(text.cast::<u8>(), libc::strlen(text));
            let password = bytes.to_vec();
            bytes.zeroize();
            libc::free(text.cast());
            Reply::Password(password)
        };
        libc::free(responses.cast());
        reply
    }
}
