//! What a process keeps of its login, from the decision of our module to the claims of the session.
//!
//! A process has one login, so this is one value that only moves forward.

use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pgaad_core::decide::Admission;
use pgaad_core::event::LoginAttempt;
use pgaad_core::gate::Decided;
use pgaad_core::refusal::Refusal;
use pgaad_core::time::UnixTime;

/// An admission with what the session keeps of it.
pub(crate) struct Admitted {
    pub(crate) admission: Admission,
    /// The role's name, as bytes.
    pub(crate) role: CString,
    /// When the session must end, if it must.
    pub(crate) end: Option<UnixTime>,
}

/// What was decided about a login.
pub(crate) type Decision = Result<Box<Admitted>, Refusal>;

/// How far the login of this process has come.
enum Login {
    /// Nothing was decided here.
    Undecided,
    /// Our PAM module or OAuth validator has decided, and the gate has not taken the decision yet.
    Decided(Decision),
    /// The gate has carried an admission out, which waits for core to say which role the session is.
    AwaitsCore(LoginAttempt, Box<Admitted>),
    /// The session is there. Its verified claims, as JSON text.
    LoggedIn(String),
}

static LOGIN: Mutex<Login> = Mutex::new(Login::Undecided);

fn login() -> MutexGuard<'static, Login> {
    LOGIN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what our module has decided, for the gate.
pub(crate) fn keep_decision(decision: Decision) {
    *login() = Login::Decided(decision);
}

/// Whether our module has admitted the login of this process.
pub(crate) fn is_admitted() -> bool {
    matches!(&*login(), Login::Decided(Ok(_)))
}

/// What our module has decided in this process, which is then forgotten.
pub(crate) fn take_decision() -> Option<Decision> {
    let mut login = login();
    match std::mem::replace(&mut *login, Login::Undecided) {
        Login::Decided(decision) => Some(decision),
        other => {
            *login = other;
            None
        }
    }
}

/// What the gate's table calls a decision.
pub(crate) fn outline(decision: Option<&Decision>) -> Decided {
    match decision {
        None => Decided::Nothing,
        Some(Ok(_)) => Decided::Admitted,
        Some(Err(_)) => Decided::Refused,
    }
}

/// Keeps an admission until core has said which role the session is.
pub(crate) fn await_core(attempt: LoginAttempt, admitted: Box<Admitted>) {
    *login() = Login::AwaitsCore(attempt, admitted);
}

/// The admission that waits for core, which is then forgotten.
pub(crate) fn take_awaiting() -> Option<(LoginAttempt, Box<Admitted>)> {
    let mut login = login();
    match std::mem::replace(&mut *login, Login::Undecided) {
        Login::AwaitsCore(attempt, admitted) => Some((attempt, admitted)),
        other => {
            *login = other;
            None
        }
    }
}

/// Keeps the claims of this session.
pub(crate) fn keep_claims(claims: String) {
    *login() = Login::LoggedIn(claims);
}

/// The verified claims of this session as JSON text; `None` if it did not log in with a token.
pub(crate) fn claims() -> Option<String> {
    match &*login() {
        Login::LoggedIn(claims) => Some(claims.clone()),
        _ => None,
    }
}
