//! What is wrong with the keys, and with the clock that tokens are judged by.

use pgaad_core::tenant::Tenant;

use crate::defect::Defect;
use crate::evidence::{Evidence, KeysOfTenant};

/// By how much the server's clock may differ from the provider's before it is worth a word; the
/// default of `pgaad.clock_skew` is five times that.
const CLOCK_TOLERANCE: u64 = 60;

/// No login can be decided, or the next fetch is in doubt.
pub(crate) fn usable(evidence: &Evidence) -> Option<Vec<Defect>> {
    let moment = evidence.moment.as_ref()?;
    evidence.policy()?;
    let defect = |keys: &KeysOfTenant| {
        let failed = keys.last_error.as_ref().map(|error| format!("the last fetch failed: {error}"));
        let detail = match (&keys.no_keys, failed) {
            (Some(why), Some(failed)) => format!("{why}; {failed}"),
            (Some(why), None) => why.clone(),
            (None, Some(failed)) => format!("{failed}; the keys are {} s old", keys.key_age),
            (None, None) => return None,
        };
        Some(Defect::new(of_tenant(keys, &detail), "SELECT pgaad.refresh(); SELECT * FROM pgaad.tenants;"))
    };
    Some(moment.tenants.iter().filter_map(defect).collect())
}

/// What was found, behind the tenant that it is about where that is not the first.
fn of_tenant(keys: &KeysOfTenant, detail: &str) -> String {
    keys.tenant.as_ref().map_or_else(|| detail.to_owned(), |tenant| format!("tenant {tenant}: {detail}"))
}

/// Nobody fetches keys, or ends sessions.
pub(crate) fn worker(evidence: &Evidence) -> Option<Vec<Defect>> {
    let moment = evidence.moment.as_ref()?;
    let defect = |slots: Option<i32>, words: &str| slots.map(|slots| Defect::new(words, more_slots(slots)));
    let keys = defect(moment.slots_without_worker, NO_WORKER);
    let sessions = defect(moment.slots_without_session_worker, NO_SESSION_WORKER);
    // Both have the same cure.
    Some(keys.or(sessions).into_iter().collect())
}

/// What a server says that has no key worker, here and in `pgaad.refresh()`.
pub const NO_WORKER: &str = "the key worker has not run since the server's start, which had no free process for it: \
                             no keys are fetched";

const NO_SESSION_WORKER: &str = "the session worker has not run since the server's start, which had no free process \
                                 for it: sessions of those who are shut out by pgaad.deny go on";

/// The statement that makes room for the key worker, where `slots` processes are too few.
pub fn more_slots(slots: i32) -> String {
    format!("ALTER SYSTEM SET max_worker_processes = {}; -- and restart the server", slots.saturating_add(8))
}

/// The keys do not outlive a restart.
pub(crate) fn file(evidence: &Evidence) -> Option<Vec<Defect>> {
    let moment = evidence.moment.as_ref()?;
    let data = &moment.data_directory;
    let defect = |problem: &String| {
        // Its words begin with the path of the file.
        let file = problem.split(' ').next().unwrap_or_default();
        Defect::new(
            format!("{problem}: the next start needs the provider"),
            format!(
                "rm -rf '{data}/{file}'; chown --reference='{data}' '{data}/pgaad'; \
                 chmod u+rwx '{data}/pgaad'  # then SELECT pgaad.refresh() writes it anew"
            ),
        )
    };
    Some(moment.snapshot_problem.iter().map(defect).collect())
}

/// Entra's v1 key sets do not say which keys are of the tenant's issuer and which of that of personal accounts.
pub(crate) fn issuers(evidence: &Evidence) -> Option<Vec<Defect>> {
    let moment = evidence.moment.as_ref()?;
    let tenants = moment.tenants.iter().zip(evidence.policy()?.tenants());
    let defect = |(keys, tenant): (&KeysOfTenant, &Tenant)| {
        let detail = format!(
            "{} of {} keys do not say whose tokens they sign: whether they may sign the tenant's is not checked",
            keys.keys_without_issuer, keys.keys
        );
        let hint = format!("Use the key set that {} names as jwks_uri.", tenant.metadata_url());
        Defect::new(of_tenant(keys, &detail), hint)
    };
    Some(tenants.filter(|(keys, _)| keys.keys_without_issuer > 0).map(defect).collect())
}

/// The server's clock is wrong, or the provider's.
pub(crate) fn clock(evidence: &Evidence) -> Option<Vec<Defect>> {
    let ahead = evidence.moment.as_ref()?.clock_ahead;
    evidence.policy()?;
    let defect = |ahead: i64| {
        let direction = if ahead.is_positive() { "ahead of" } else { "behind" };
        Defect::new(
            format!("the server's clock is {} s {direction} the provider's", ahead.unsigned_abs()),
            "timedatectl set-ntp true",
        )
    };
    Some(ahead.filter(|ahead| ahead.unsigned_abs() > CLOCK_TOLERANCE).map(defect).into_iter().collect())
}
