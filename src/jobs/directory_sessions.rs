//! Ends the sessions of those whom the directory keeps out since they logged in, where `pgaad.session_end` says so.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;

use pgaad_core::directory::{AccountState, DirectoryFacts, MembershipWord, ends_session};
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::kind::Kind;
use pgaad_core::label::Binding;
use pgaad_core::log_line::LogLine;
use pgaad_core::role_name;
use pgaad_core::settings::Settings;
use pgaad_provider::set_store::SetStore;

use crate::pg::catalog::Role;
use crate::pg::{clock, report, sessions, worker};
use crate::session_rows::{self, Login};

/// Looks through all sessions, after a run.
pub(super) fn end(settings: &Settings) {
    let logins = session_rows::logins();
    if logins.is_empty() {
        return;
    }
    for (pid, code) in worker::in_transaction(|| ended(&logins, settings)) {
        if sessions::end(pid) {
            report::log(
                &LogLine::new("pgaad: session ended:").fact("code", code).fact("pid", pid).into_text(),
            );
        }
    }
}

fn ended(logins: &[Login], settings: &Settings) -> Vec<(i32, &'static str)> {
    let store = SetStore::new(Path::new(""));
    // A damaged file can hide a member, and must end no session: each is read whole, once.
    let mut whole: BTreeMap<(TenantId, ObjectId), bool> = BTreeMap::new();
    let mut is_whole = |tenant, group| {
        *whole.entry((tenant, group)).or_insert_with(|| store.members(tenant, group).is_some())
    };
    let measure = settings.admit.measure(clock::now());
    let accounts = settings.directory.as_ref().is_ok_and(|directory| directory.accounts);
    let mut code = |login: &Login| {
        let name = CString::new(role_name::to_bytes(&login.role)).ok()?;
        let membership = match Role::find(&name).map(|role| role.facts().binding) {
            Some(Binding::Group(group)) if is_whole(login.tenant, group) => {
                store.membership(login.tenant, group, login.object_id)
            }
            _ => MembershipWord::NeverRead,
        };
        let account = if accounts && login.kind == Kind::User {
            store.account(login.tenant, login.object_id)
        } else {
            AccountState::Unknown
        };
        let code = ends_session(login.facts, DirectoryFacts { membership, account }, &measure)?;
        Some((login.pid, code))
    };
    logins.iter().filter_map(&mut code).collect()
}
