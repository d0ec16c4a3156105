//! The OAuth validator (PostgreSQL 18, libpq/oauth.h): core asks the client for a bearer token by SASL
//! OAUTHBEARER and hands it to the library that the `oauth` line names, this very one.
//!
//! Where the library was not preloaded there are no keys, and loading it is an error (`entry::require_preload`).

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use pgaad_core::Reason;
use pgrx::prelude::*;

use super::libpq::{
    OAuthValidatorCallbacks, PG_OAUTH_VALIDATOR_MAGIC, ValidatorModuleResult, ValidatorModuleState,
};
use super::packet::{self, Secret};
use super::port::Port;
use super::report;

/// Decides a login by its token; the identity that the token proves, if it opens the role.
pub(crate) type Validate = fn(Port, Result<Secret, Reason>) -> Option<String>;

static VALIDATE: OnceLock<Validate> = OnceLock::new();

/// Arms the validator. Call once, from `_PG_init`, in the postmaster.
pub(crate) fn arm(validate: Validate) {
    // A second call changes nothing: the first function stays.
    let _ = VALIDATE.set(validate);
}

static CALLBACKS: OAuthValidatorCallbacks = OAuthValidatorCallbacks {
    magic: PG_OAUTH_VALIDATOR_MAGIC,
    startup_cb: None,
    shutdown_cb: None,
    validate_cb: Some(validate),
};

/// Where core finds the callbacks (auth-oauth.c, `load_validator_library`).
#[unsafe(no_mangle)]
pub(crate) extern "C-unwind" fn _PG_oauth_validator_module_init() -> *const OAuthValidatorCallbacks {
    &raw const CALLBACKS
}

/// auth-oauth.c, `validate`: "if (!ValidatorCallbacks->validate_cb(validator_module_state, token, port->user_name,
/// ret))". Always true, since false would make core warn of an internal error; the answer is in `result`.
#[pg_guard]
unsafe extern "C-unwind" fn validate(
    _state: *const ValidatorModuleState,
    token: *const c_char,
    _role: *const c_char,
    result: *mut ValidatorModuleResult,
) -> bool {
    // SAFETY: core's zeroed result, ours to fill.
    let result = unsafe { &mut *result };
    result.authorized = false;
    let (Some(validate), Some(port)) = (VALIDATE.get(), Port::current()) else { return true };
    // SAFETY: the NUL-terminated token, in a buffer of core's.
    let token = packet::copy(unsafe { CStr::from_ptr(token) }.to_bytes());
    let identity = report::catch_errors(|| Ok::<_, Reason>(validate(port, token))).ok().flatten();
    if let Some(identity) = identity.and_then(|identity| std::ffi::CString::new(identity).ok()) {
        // SAFETY: a copy in the current context, as core wants it ("a palloc'd string").
        result.authn_id = unsafe { pg_sys::pstrdup(identity.as_ptr()) };
        result.authorized = true;
    }
    true
}
