//! What the worker of the directory has left on the disk, as a login and an explanation read it.

use std::path::Path;

use pgaad_core::directory::{AccountState, DirectoryFacts, MembershipWord};
use pgaad_core::kind::Kind;
use pgaad_core::label::Binding;
use pgaad_core::principal::Principal;
use pgaad_core::role_facts::RoleFacts;
use pgaad_core::settings::Settings;
use pgaad_provider::set_store::SetStore;

use crate::settings;

/// What the directory says of a principal, as far as a role asks; nothing while `pgaad.directory` is off.
///
/// A set that was read before a setting was spoilt still says no; what it says else is too old at once.
pub(crate) fn facts(principal: &Principal, role: &RoleFacts, settings: &Settings) -> DirectoryFacts {
    if !settings::has_directory() {
        return DirectoryFacts::default();
    }
    // The working directory of every process of the server is the data directory (miscinit.c, `ChangeToDataDir`).
    let store = SetStore::new(Path::new(""));
    let (tenant, id) = (principal.tenant(), principal.object_id());
    let membership = match role.binding {
        Binding::Group(group) => store.membership(tenant, group, id),
        _ => MembershipWord::NeverRead,
    };
    let asks_for_account = principal.kind() == Kind::User
        // What keeps somebody out holds, also while another setting of the directory cannot be used.
        && settings.directory.as_ref().map_or(true, |directory| directory.accounts);
    let account = if asks_for_account { store.account(tenant, id) } else { AccountState::Unknown };
    DirectoryFacts { membership, account }
}

/// The same, for an explanation.
#[derive(Debug)]
pub(crate) struct Directory<'a>(pub(crate) &'a Settings);

impl pgaad_core::directory::Directory for Directory<'_> {
    fn facts(&self, principal: &Principal, role: &RoleFacts) -> DirectoryFacts {
        facts(principal, role, self.0)
    }
}
