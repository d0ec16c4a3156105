//! The decision of a token login, which every way in calls.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use pgaad_core::Reason;
use pgaad_core::decide::{Policy, Surroundings, decide as decide_token};
use pgaad_core::deny::DenyList;
use pgaad_core::directory::DirectoryFacts;
use pgaad_core::gate::Answer;
use pgaad_core::keys::{KeyName, SigningKey};
use pgaad_core::principal::Principal;
use pgaad_core::refusal::Refusal;
use pgaad_core::role_facts::RoleFacts;
use pgaad_core::role_name::MAX_NAME_BYTES;
use pgaad_core::settings::Settings;
use pgaad_core::tenant::Tenant;
use pgaad_core::time::UnixTime;
use pgaad_core::verify::{TokenPolicy, scopes_of_line};

use crate::directory;
use crate::key_cache;
use crate::pg::catalog::Role;
use crate::pg::packet::{self, Secret};
use crate::pg::port::Port;
use crate::pg::{clock, deny_labels, report};
use crate::session::{Admitted, keep_decision};
use crate::settings;

/// How a decision came out. `None` when the client hung up before it sent anything: there is nothing to decide.
pub(crate) type Answered = Result<Option<Box<Admitted>>, Refusal>;

/// The straight line: from whatever the client sends to an admission for the role it asked for.
pub(crate) fn decide(port: Port, ask: &mut dyn FnMut() -> Result<Option<Secret>, Reason>) -> Answered {
    report::catch_errors(|| try_decide(port, ask))
}

fn try_decide(port: Port, ask: &mut dyn FnMut() -> Result<Option<Secret>, Reason>) -> Answered {
    let settings = settings::of_login(port)?;
    let token_policy = settings.token.as_ref().ok_or(Reason::NotConfigured)?;
    if settings.require_tls && !port.is_private() {
        return Err(Reason::EncryptionRequired.into());
    }
    let Some(mut secret) = ask()? else { return Ok(None) };
    #[cfg(feature = "fault_injection")]
    crate::pg::fault::strike();

    let policy = Policy {
        max_bytes: settings.max_token_bytes,
        token: &of_line(token_policy, port),
        admit: settings.admit,
    };
    let mut server = Server { port, settings, role: CString::default() };
    let admission = decide_token(std::mem::take(&mut *secret), &policy, &mut server)?;
    let end = settings.ends_sessions.then(|| admission.expires_at().plus(policy.token.clock_skew));
    Ok(Some(Box::new(Admitted { admission, role: server.role, end })))
}

/// What the core asks of the server while it decides.
struct Server<'a> {
    port: Port,
    settings: &'a Settings,
    /// The role's name, as bytes, once the core has asked for the role.
    role: CString,
}

impl Surroundings for Server<'_> {
    fn key(&mut self, name: KeyName<'_>, tenant: &Tenant) -> Result<SigningKey, Reason> {
        key_cache::find_or_refresh(name, tenant, self.settings)
    }

    fn role(&mut self) -> Result<Option<RoleFacts>, Reason> {
        let Some(role) = role_asked_for(self.port)? else { return Ok(None) };
        self.role = role.name().to_owned();
        Ok(Some(role.facts()))
    }

    fn directory(&mut self, principal: &Principal, role: &RoleFacts) -> DirectoryFacts {
        directory::facts(principal, role, self.settings)
    }

    fn denied(&mut self) -> DenyList {
        deny_labels::read()
    }

    fn now(&mut self) -> UnixTime {
        clock::now()
    }
}

/// The policy with what the matched line asks for beyond the settings: an `oauth` line's own `scope`.
fn of_line(policy: &TokenPolicy, port: Port) -> Cow<'_, TokenPolicy> {
    if port.method() == pgaad_core::gate::Method::TokenByOAuth {
        let scope = port.oauth_scope().unwrap_or_default();
        let line_scopes = scopes_of_line(&scope, &policy.audiences);
        if !line_scopes.is_empty() {
            return Cow::Owned(TokenPolicy { line_scopes, ..policy.clone() });
        }
    }
    Cow::Borrowed(policy)
}

/// The role that the client named, as the catalog has it now. A name that no role has may end with
/// `@` and `pgaad.server_name`, as Azure Single Server asked for.
///
/// # Errors
/// [`Reason::ServerNameLine`] where the role itself would meet another line of `pg_hba.conf`: what the operator wrote
/// for it holds for its longer name, too.
pub(crate) fn role_asked_for(port: Port) -> Result<Option<Role>, Reason> {
    let name = port.role_name();
    if let Some(role) = Role::find(name) {
        return Ok(Some(role));
    }
    let shorter = without_server(port, name).and_then(|name| Role::find(&name));
    // Other roles are not pgaad's business: core knows no role of the longer name.
    let Some(role) = shorter.filter(Role::is_member) else { return Ok(None) };
    if !port.has_the_same_line_as(role.name()) {
        return Err(Reason::ServerNameLine);
    }
    Ok(Some(role))
}

/// The name without its last `@SERVER`. A name that PostgreSQL may have cut is not cut any further.
fn without_server(port: Port, name: &CStr) -> Option<CString> {
    let server = settings::of_login(port).ok()?.server_name.as_ref()?;
    let bytes = name.to_bytes().strip_suffix(server.as_bytes())?.strip_suffix(b"@")?;
    (name.count_bytes() < MAX_NAME_BYTES && !bytes.is_empty()).then(|| CString::new(bytes).ok())?
}

/// Called by our PAM module: decides, and keeps the decision for the gate. `None` on a line that is not ours.
pub(crate) fn decide_for_pam(port: Port) -> Option<Answer> {
    let decide = || decide(port, &mut || packet::ask_for_password(port));
    port.method().is_token().then(|| decide_and_keep(decide))
}

/// Called by our OAuth validator: decides, and keeps the decision for the gate. The identity, if the token opens the
/// role.
pub(crate) fn decide_for_oauth(port: Port, token: Result<Secret, Reason>) -> Option<String> {
    if !port.method().is_token() {
        return None;
    }
    let mut token = Some(token);
    let mut identity = None;
    decide_and_keep(|| {
        if !port.delegates_mapping() {
            return Err(Reason::OauthNotDelegated.into());
        }
        let decision = decide(port, &mut || token.take().transpose());
        if let Ok(Some(admitted)) = &decision {
            identity = Some(admitted.admission.principal().identity());
        }
        decision
    });
    identity
}

fn decide_and_keep(decide: impl FnOnce() -> Answered) -> Answer {
    // What cannot be finished is a refusal.
    keep_decision(Err(Reason::InternalError.into()));
    match decide() {
        Ok(Some(admitted)) => {
            keep_decision(Ok(admitted));
            Answer::Yes
        }
        Ok(None) => Answer::ClientGone,
        Err(refusal) => {
            keep_decision(Err(refusal));
            Answer::No
        }
    }
}
