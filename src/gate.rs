//! The gate: gathers the facts of a login, has the core judge them, and carries the outcome out.

use pgaad_core::Reason;
use pgaad_core::event::{Event, LoginAttempt};
use pgaad_core::gate::{Answer, Facts, GatePolicy, GuardTrust, Outcome, judge};
use pgaad_core::log_line::LogLine;
use pgaad_core::reason::PublicAnswer;
use pgaad_core::refusal::Refusal;
use pgaad_core::role_name;
use pgaad_core::subject::TokenSubject;

use crate::events;
use crate::login::{self, Answered};
use crate::pg::catalog::{self, Role};
use crate::pg::first_commit::{self, Judged};
use crate::pg::hook::Verdict;
use crate::pg::packet;
use crate::pg::port::Port;
use crate::pg::{clock, report, sessions};
use crate::session::{self, Decision};
use crate::session_rows;
use crate::settings;

/// Called by the hook for every login of the server.
pub(crate) fn gate(port: Port, core: Answer) -> Verdict {
    let passed = match core {
        Answer::ClientGone => return Verdict::LeaveToCore,
        Answer::No if !port.method().is_token() => return Verdict::LeaveToCore,
        Answer::No | Answer::Yes => pass(port, core),
    };
    passed.unwrap_or_else(|refusal| refuse(port, refusal))
}

fn pass(port: Port, core: Answer) -> Result<Verdict, Refusal> {
    let line = port.line();
    let decision = if line.method.is_token() { session::take_decision() } else { None };
    let judged = match &decision {
        // A role is named once. Whether it still has its name is seen when core knows who the session is.
        Some(Ok(admitted)) => Judged { role: admitted.admission.role_oid(), is_member: true },
        _ if core == Answer::Yes => judged(login::role_asked_for(port)?.as_ref()),
        _ => judged(None),
    };
    let reads_guard = Facts::depend_on_guard(core, judged.is_member, &line);
    let mut facts = Facts {
        core,
        decided: session::outline(decision.as_ref()),
        is_member: judged.is_member,
        line,
        is_local: port.client().is_local(),
        is_physical_replication: port.is_physical_replication(),
        policy: Ok(GatePolicy::STRICT),
        guard_trust: if reads_guard { settings::guard_trust().ok() } else { Some(GuardTrust::Remote) },
    };
    let mut outcome = judge(&facts);
    // Most logins are left to core whatever the settings are, and read none.
    if outcome.depends_on_policy() {
        facts.policy = settings::of_login(port).map(|settings| settings.gate);
        outcome = judge(&facts);
    }
    match outcome {
        Outcome::LeaveToCore => note_failure_of_pam(port, core, decision.as_ref()),
        Outcome::LeaveReplicationToCore => log_replication(port),
        Outcome::CarryOut => {
            return carry_out(port, decision.unwrap_or(Err(Reason::NotDecided.into())).map(Some));
        }
        Outcome::Ask => return carry_out(port, ask(port)),
        Outcome::Refuse(reason) => return Err(reason.into()),
        Outcome::RefuseAfterAsking(reason) => return refuse_after_asking(port, reason),
    }
    if core == Answer::Yes {
        first_commit::expect(judged);
    }
    Ok(Verdict::LeaveToCore)
}

/// Notes a login that PAM has refused without us, or against us: core answers it, and its log has not the cause but
/// libpam's word for it.
fn note_failure_of_pam(port: Port, core: Answer, decision: Option<&Decision>) {
    let Some(service) = port.own_service() else { return };
    let admitted = match decision {
        None => false,
        Some(Ok(_)) => true,
        // What our module has refused is noted as that.
        Some(Err(_)) => return,
    };
    if core == Answer::No {
        let reason = Reason::PamFailed { service: service.to_owned(), admitted };
        events::note(port, &Event::refused(&attempt(port), &reason, None, clock::now()));
    }
}

fn judged(role: Option<&Role>) -> Judged {
    role.map_or(Judged { role: 0, is_member: false }, |role| Judged {
        role: role.oid(),
        is_member: role.is_member(),
    })
}

fn ask(port: Port) -> Answered {
    login::decide(port, &mut || packet::ask_for_password(port))
}

/// Lets a login go on that was admitted; it counts as one when core has found the same role.
fn carry_out(port: Port, decision: Answered) -> Result<Verdict, Refusal> {
    let Some(admitted) = decision? else { return Ok(Verdict::HangUp) };
    let attempt = attempt(port);
    port.cut_role_name(&admitted.role);
    port.overwrite_identity(&admitted.admission.principal().identity());
    first_commit::expect_and_confirm(Judged { role: admitted.admission.role_oid(), is_member: true });
    session::await_core(attempt, admitted);
    Ok(Verdict::LeaveToCore)
}

/// Another role on a `trust` line. It is asked exactly when a member would be, so that a stranger
/// cannot tell the two apart, and then refused.
fn refuse_after_asking(port: Port, reason: Reason) -> Result<Verdict, Refusal> {
    match ask(port) {
        Ok(None) => Ok(Verdict::HangUp),
        // What is told before a role counts is told to everybody alike.
        Err(refusal) if refusal.reason.public_answer() != PublicAnswer::Failed => Err(refusal),
        Ok(Some(_)) | Err(_) => Err(reason.into()),
    }
}

fn log_replication(port: Port) {
    let line = LogLine::new("pgaad: replication over a trust line for anybody:")
        .quoted("role", &role_name::from_bytes(port.role_name().to_bytes()))
        .fact("client", port.client());
    report::log(&line.into_text());
}

/// Called when core knows which role the session is, and the session has not done anything yet, for an admission and
/// for a role that is not the judged one.
pub(crate) fn arrive(port: Port, judged: Judged, role: u32) -> Verdict {
    let waiting = session::take_awaiting();
    if role != judged.role
        && (judged.is_member || catalog::is_entra_role(role) || catalog::is_entra_role(judged.role))
    {
        let subject =
            waiting.map(|(_, admitted)| Box::new(TokenSubject::from(admitted.admission.principal())));
        return refuse(port, Refusal { reason: Reason::RoleChanged, subject });
    }
    let Some((attempt, admitted)) = waiting else { return Verdict::LeaveToCore };
    if admitted.end.is_some_and(|end| !sessions::end_at(end)) {
        return refuse(port, Reason::SessionsFull.into());
    }
    let event = Event::admitted(&attempt, &admitted.admission, clock::now());
    events::note(port, &event);
    let admission = &admitted.admission;
    session_rows::keep(&event, admission.principal().issued_at(), admission.expires_at());
    session::keep_claims(admitted.admission.into_claims());
    Verdict::LeaveToCore
}

fn refuse(port: Port, Refusal { reason, subject }: Refusal) -> Verdict {
    let event = Event::refused(&attempt(port), &reason, subject.map(|subject| *subject), clock::now());
    events::note(port, &event);
    Verdict::Refuse(reason.public_answer())
}

fn attempt(port: Port) -> LoginAttempt {
    LoginAttempt {
        role: role_name::from_bytes(port.role_name().to_bytes()),
        client: port.client().to_string(),
        route: port.method().route(),
        hba: port.place(),
    }
}
