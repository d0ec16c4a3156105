//! A login: the decision that every way in calls, and the gate that every login of the server passes.
//!
//! The gate's truth table; "member" is a direct member of `azure_ad_user`, read after the token has arrived.
//!
//! | core said | role | method of the matched line | outcome |
//! |---|---|---|---|
//! | the client is gone | any | any | left to core |
//! | no | any | any | our module's own refusal: logged, answered; any other: left to core |
//! | yes | member | `pam`, service `pgaad`; `oauth`, validator `pgaad` | what our module decided for this role a moment ago, once |
//! | yes | member | `trust` | asked and decided here, while `pgaad.allow_trust` is on |
//! | yes | member | any other | refused, unless `pgaad.allow_other_methods` is on |
//! | yes | not a member | `pam`, service `pgaad`; `oauth`, validator `pgaad` | refused |
//! | yes | not a member | `trust`, on a line for anybody, from elsewhere | refused (`pgaad.guard_trust`) |
//! | yes | not a member | any other | left to core |

use std::ffi::{CStr, CString};
use std::sync::{Mutex, OnceLock};

use pgaad_core::Refusal;
use pgaad_core::admit::{Admission, MAX_NAME_BYTES, admit};
use pgaad_core::event::{Event, Knock, LogLine, Route};
use pgaad_core::principal::{Principal, Rejection};
use pgaad_core::refusal::PublicAnswer;
use pgaad_core::time::UnixTime;
use pgaad_core::token::{RawToken, UnverifiedToken};
use pgaad_core::verify::verify;

use crate::pg::catalog::Role;
use crate::pg::hook::{Status, Verdict};
use crate::pg::packet::{self, Reply};
use crate::pg::port::{Method, Port};
use crate::pg::{clock, pam, report, sessions};
use crate::settings::{GuardTrust, Settings};
use crate::{events, key_cache};

/// How a decision came out.
enum Decision {
    Admitted(Box<Admitted>),
    Refused(Rejection),
    /// The client hung up before it sent anything; there is nothing to decide.
    Gone,
}

/// An admission with what the session keeps of it.
struct Admitted {
    admission: Admission,
    role: String,
    claims: String,
    /// When the session must end, if it must.
    end: Option<UnixTime>,
}

/// What our PAM module or OAuth validator decided, until the gate takes it: a process has one login.
static DECIDED: Mutex<Option<Decision>> = Mutex::new(None);

/// The verified claims of this session, JSON.
static CLAIMS: OnceLock<String> = OnceLock::new();

/// The verified claims of this session as JSON text; `None` if it did not log in with a token.
pub(crate) fn session_claims() -> Option<&'static str> {
    CLAIMS.get().map(String::as_str)
}

/// The straight line: from whatever the client sends to an admission for the role it asked for.
fn decide(port: Port, ask: &mut dyn FnMut() -> Reply) -> Decision {
    report::contain(|| try_decide(port, ask)).unwrap_or_else(Decision::Refused)
}

fn try_decide(port: Port, ask: &mut dyn FnMut() -> Reply) -> Result<Decision, Rejection> {
    let settings = Settings::of_login(port)?;
    let policy = settings.token.as_ref().ok_or(Refusal::NotConfigured)?;
    if settings.require_tls && !port.is_private() {
        return Err(Refusal::EncryptionRequired.into());
    }
    let raw = match ask() {
        Reply::Password(bytes) => RawToken::new(bytes, settings.max_token_bytes)?,
        Reply::Broken => return Err(Refusal::Malformed.into()),
        Reply::Gone => return Ok(Decision::Gone),
    };
    #[cfg(feature = "fault_injection")]
    crate::pg::fault::strike();

    let token = UnverifiedToken::parse(&raw)?;
    let key =
        key_cache::find_or_refresh(token.key_name(), &policy.tenant, &settings.refresh, settings.key_wait)?;
    let verified = verify(token, &key, policy, clock::now())?;
    let claims = verified.json().to_owned();
    let end = settings.ends_sessions.then(|| verified.expires_at().plus(policy.clock_skew));
    let role = role_asked_for(port).map(|role| role.facts());
    let admission = admit(Principal::from(verified), role.as_ref(), settings.admit, clock::now())?;
    let role = role.map(|role| role.name).unwrap_or_default();
    Ok(Decision::Admitted(Box::new(Admitted { admission, role, claims, end })))
}

/// The role that the client named, as the catalog has it now. A name that no role has may end with
/// `@` and `pgaad.server_name`, as Azure Single Server asked for.
fn role_asked_for(port: Port) -> Option<Role> {
    let name = port.role_name();
    Role::find(&name).or_else(|| Role::find(&without_server(port, &name)?))
}

/// The name without its last `@SERVER`. A name that PostgreSQL may have cut is not cut any further.
fn without_server(port: Port, name: &CStr) -> Option<CString> {
    let server = Settings::of_login(port).ok()?.server_name.as_ref()?;
    let bytes = name.to_bytes().strip_suffix(format!("@{server}").as_bytes())?;
    (name.count_bytes() < MAX_NAME_BYTES && !bytes.is_empty()).then(|| CString::new(bytes).ok())?
}

/// Called by our PAM module: decides, and keeps the decision for the gate.
pub(crate) fn decide_for_pam(port: Port, ask: &mut dyn FnMut() -> Reply) -> pam::Answer {
    if !is_token_line(&port.method()) {
        return pam::Answer::Unavailable;
    }
    // What cannot be finished is a refusal.
    keep(Decision::Refused(Refusal::InternalError.into()));
    let decision = decide(port, ask);
    let answer = match &decision {
        Decision::Admitted(_) => pam::Answer::Yes,
        Decision::Refused(_) => pam::Answer::No,
        Decision::Gone => pam::Answer::Gone,
    };
    keep(decision);
    answer
}

/// Called by our OAuth validator: decides, and keeps the decision for the gate. The identity, if the token opens the role.
#[cfg(feature = "pg18")]
pub(crate) fn decide_for_oauth(port: Port, token: Vec<u8>) -> Option<String> {
    if !is_token_line(&port.method()) {
        return None;
    }
    keep(Decision::Refused(Refusal::InternalError.into()));
    let mut token = Some(token);
    let decision = if port.delegates_mapping() {
        decide(port, &mut || token.take().map_or(Reply::Gone, Reply::Password))
    } else {
        Decision::Refused(Refusal::OauthNotDelegated.into())
    };
    let identity = match &decision {
        Decision::Admitted(admitted) => Some(admitted.admission.principal().identity()),
        Decision::Refused(_) | Decision::Gone => None,
    };
    keep(decision);
    identity
}

/// Called by the hook for every login of the server.
pub(crate) fn gate(port: Port, status: Status) -> Verdict {
    let method = port.method();
    // Most logins are none of ours, and leave no event.
    let knock = || Knock {
        role: port.role_name().to_string_lossy().into_owned(),
        client: port.client().to_string(),
        route: route(&method),
    };
    let passed = match status {
        Status::Gone => return Verdict::LeaveToCore,
        Status::Failed => match take() {
            Some(Decision::Refused(refused)) => Err(refused),
            _ => return Verdict::LeaveToCore,
        },
        Status::Ok => pass(port, &method).and_then(watch_over),
    };
    match passed {
        Ok(Pass::NotOurs) => Verdict::LeaveToCore,
        Ok(Pass::Gone) => Verdict::HangUp,
        Ok(Pass::Admitted(admitted)) => {
            events::note(port, &Event::admitted(&knock(), &admitted.admission, clock::now()));
            port.cut_role_name(&admitted.role);
            port.overwrite_identity(&admitted.admission.principal().identity());
            // The first value stays: a process has one login.
            let _ = CLAIMS.set(admitted.claims);
            Verdict::LeaveToCore
        }
        Err(Rejection { refusal, bearer }) => {
            events::note(
                port,
                &Event::refused(&knock(), &refusal, bearer.map(|bearer| *bearer), clock::now()),
            );
            Verdict::Refuse(refusal.public_answer())
        }
    }
}

/// How a login that core would let in passes the gate.
enum Pass {
    NotOurs,
    Gone,
    Admitted(Box<Admitted>),
}

fn pass(port: Port, method: &Method) -> Result<Pass, Rejection> {
    let role = role_asked_for(port).filter(Role::is_member);
    match (role, method) {
        (Some(role), method) if is_token_line(method) => match take() {
            Some(Decision::Admitted(admitted)) if admitted.admission.role_oid() == role.oid() => {
                Ok(Pass::Admitted(admitted))
            }
            Some(Decision::Refused(refused)) => Err(refused),
            // The service file lets people in without asking us, or the role was replaced meanwhile.
            _ => Err(Refusal::NotDecided.into()),
        },
        (None, method) if is_token_line(method) => Err(Refusal::RoleNotMember.into()),
        (Some(_), Method::Trust) => pass_trust(port),
        (Some(_), _) if Settings::of_login(port)?.allow_other_methods => Ok(Pass::NotOurs),
        (Some(_), _) => Err(Refusal::MethodNotAllowed.into()),
        (None, Method::Trust) if port.line_is_for_anybody() && !port.has_verified_certificate() => {
            guard_trust(port)
        }
        (None, _) => Ok(Pass::NotOurs),
    }
}

/// Has the session end with its token, where it must.
fn watch_over(pass: Pass) -> Result<Pass, Rejection> {
    match &pass {
        Pass::Admitted(admitted) if admitted.end.is_some_and(|end| !sessions::end_at(end)) => {
            Err(Refusal::SessionsFull.into())
        }
        _ => Ok(pass),
    }
}

/// A member on a `trust` line: asked for the token here.
fn pass_trust(port: Port) -> Result<Pass, Rejection> {
    if !Settings::of_login(port)?.allow_trust {
        return Err(Refusal::TrustNotAllowed.into());
    }
    match decide(port, &mut || packet::ask_for_password(port)) {
        Decision::Admitted(admitted) => Ok(Pass::Admitted(admitted)),
        Decision::Refused(refused) => Err(refused),
        Decision::Gone => Ok(Pass::Gone),
    }
}

/// Another role on a `trust` line for anybody. It is asked exactly when a member would be, so that
/// a stranger cannot tell the two apart, and then refused.
fn guard_trust(port: Port) -> Result<Pass, Rejection> {
    let settings = Settings::of_login(port)?;
    let guarded = match settings.guard_trust {
        GuardTrust::Off => false,
        GuardTrust::Remote => !port.client().is_local(),
        GuardTrust::All => true,
    };
    if !guarded {
        return Ok(Pass::NotOurs);
    }
    if port.is_physical_replication() {
        let line = LogLine::new("pgaad: replication over a trust line for anybody:")
            .quoted("role", &port.role_name().to_string_lossy())
            .fact("client", port.client());
        report::log(&line.into_text());
        return Ok(Pass::NotOurs);
    }
    if settings.allow_trust && settings.token.is_some() {
        match decide(port, &mut || packet::ask_for_password(port)) {
            Decision::Gone => return Ok(Pass::Gone),
            // What is told before a role counts is told to everybody alike.
            Decision::Refused(refused) if refused.refusal.public_answer() != PublicAnswer::Failed => {
                return Err(refused);
            }
            Decision::Admitted(_) | Decision::Refused(_) => {}
        }
    }
    Err(Refusal::TrustLineGuard.into())
}

/// Whether a line leaves the decision to this library.
fn is_token_line(method: &Method) -> bool {
    match method {
        Method::Pam(service) => pam::is_our_service(service),
        Method::OAuth(validator) => validator == "pgaad",
        Method::Trust | Method::Other => false,
    }
}

fn route(method: &Method) -> Route {
    match method {
        Method::Trust => Route::Trust,
        Method::Pam(_) if is_token_line(method) => Route::Pam,
        Method::OAuth(_) if is_token_line(method) => Route::OAuth,
        _ => Route::Other,
    }
}

fn keep(decision: Decision) {
    *DECIDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(decision);
}

fn take() -> Option<Decision> {
    DECIDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
}
