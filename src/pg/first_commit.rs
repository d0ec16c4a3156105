//! The moment at which core knows which role a session is, and the session has not done anything yet: the commit of the
//! transaction that `InitPostgres` has open around the login (postinit.c), in ordinary backends, in both kinds of
//! walsender, on standbys too.
//!
//! The gate judges a role by its name, and core looks the name up again afterwards (`InitializeSessionUserId`).
//! Somebody who renames roles in between could turn the judged role into another one, so here the two are compared.

use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use pgaad_core::Reason;
use pgrx::pg_sys::{self, XactEvent};

use super::hook::{Verdict, end};
use super::port::Port;
use super::report;

/// What the gate judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    /// The role, `0` when there was none of the name.
    pub(crate) role: u32,
    /// Whether it is a member of `azure_ad_user`.
    pub(crate) is_member: bool,
}

/// Judges the role that the session has become.
pub(crate) type Arrival = fn(Port, Judged, u32) -> Verdict;

static ARRIVAL: OnceLock<Arrival> = OnceLock::new();

/// What there is to do: nothing, compare, or also confirm an admission.
static DUTY: AtomicU8 = AtomicU8::new(NOTHING);
const NOTHING: u8 = 0;
const COMPARE: u8 = 1;
const CONFIRM: u8 = 2;

static ROLE: AtomicU32 = AtomicU32::new(0);
static IS_MEMBER: AtomicBool = AtomicBool::new(false);

/// Has `arrival` asked. Call once, from `_PG_init`: every process inherits the callback.
///
/// It is never unregistered: on 15 a callback that unregisters itself makes core read freed memory
/// (`CallXactCallbacks`).
pub(crate) fn install(arrival: Arrival) {
    if ARRIVAL.set(arrival).is_ok() {
        // SAFETY: a function of this library, which is never unloaded.
        unsafe { pg_sys::RegisterXactCallback(Some(at_transaction_event), std::ptr::null_mut()) };
    }
}

/// Has the session compared with what was judged. Call from the gate, for a login that core goes on with.
pub(crate) fn expect(judged: Judged) {
    expect_as(judged, COMPARE);
}

/// As [`expect`], and has the arrival asked whatever the role is.
pub(crate) fn expect_and_confirm(judged: Judged) {
    expect_as(judged, CONFIRM);
}

fn expect_as(judged: Judged, duty: u8) {
    ROLE.store(judged.role, Ordering::Relaxed);
    IS_MEMBER.store(judged.is_member, Ordering::Relaxed);
    DUTY.store(duty, Ordering::Relaxed);
}

/// Called at every event of every transaction of every process: all but the first commit after a login leave at once.
unsafe extern "C-unwind" fn at_transaction_event(event: XactEvent::Type, _argument: *mut c_void) {
    let duty = DUTY.load(Ordering::Relaxed);
    if duty == NOTHING || event != XactEvent::XACT_EVENT_PRE_COMMIT {
        return;
    }
    DUTY.store(NOTHING, Ordering::Relaxed);
    let judged = Judged { role: ROLE.load(Ordering::Relaxed), is_member: IS_MEMBER.load(Ordering::Relaxed) };
    // SAFETY: a plain global of core's (miscinit.c), set by InitializeSessionUserId before this commit.
    let role = unsafe { pg_sys::GetAuthenticatedUserId() }.to_u32();
    if duty == COMPARE && role == judged.role {
        return;
    }
    if let Some(port) = Port::current() {
        end(port, judge(port, judged, role));
    }
}

/// Asks the arrival. Whatever goes wrong inside ends the session.
fn judge(port: Port, judged: Judged, role: u32) -> Verdict {
    let failed = |reason: Reason| Verdict::Refuse(reason.public_answer());
    let Some(arrival) = ARRIVAL.get() else { return failed(Reason::InternalError) };
    report::catch_errors(|| Ok(arrival(port, judged, role))).unwrap_or_else(failed)
}
