//! `pgaad/keys.json` in the data directory: the last good keys of the provider, for the next start. Those of further
//! tenants are beside it, each in a file that has the tenant's id in its name.

use std::io;
use std::path::PathBuf;

use pgaad_core::inline::Inline;
use pgaad_core::log_line::LogLine;
use pgaad_core::settings::Settings;
use pgaad_core::snapshot::{Snapshot, SnapshotError};
use pgaad_core::tenant::Tenant;
use pgaad_provider::data_file;
use pgaad_provider::file::{self, FileError};

use crate::key_cache;
use crate::pg::shmem::{self, Source};
use crate::pg::{clock, report, worker};

/// Of the whole file: a document of 1 MB, of which every byte may be written as six (`\u0000`), and its origin.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Publishes the keys that were written down last, unless keys come from a file of the operator's, or there are
/// published ones of this tenant already: after a start, or after a crash that emptied shared memory, nobody waits for
/// the provider.
pub(crate) fn restore(settings: &Settings) {
    let Some(policy) = settings.token.as_ref().filter(|_| settings.jwks_file.is_none()) else { return };
    policy.tenants().enumerate().for_each(|(place, tenant)| restore_keys_of(tenant, &name(place, tenant)));
}

/// The name of the file with the keys of a tenant, which is at this place of `pgaad.tenant_id`.
pub(crate) fn name(place: usize, tenant: &Tenant) -> String {
    if place == 0 { "keys.json".to_owned() } else { format!("keys-{}.json", tenant.id()) }
}

fn restore_keys_of(tenant: &Tenant, name: &str) {
    let is_published = shmem::with_keys(|board| key_cache::is_of_source(board, tenant, None), |_| ());
    if is_published.is_some() {
        return;
    }
    let content = match file::read(&path(name), MAX_BYTES) {
        Ok(content) => content.bytes,
        Err(FileError::Missing) => return note_problem(name, ""),
        Err(error) => {
            let words = format!("pgaad/{name} {error}");
            note_problem(name, &words);
            let line = LogLine::new(&format!("pgaad: cannot read pgaad/{name}:")).quoted("cause", &words);
            return report::warn(&line.into_text());
        }
    };
    note_problem(name, "");
    match Snapshot::read(&content, tenant, clock::now()) {
        Ok((keys, fetched_at)) => {
            key_cache::publish(tenant, &keys, fetched_at, Source::Disk, None);
            let line = LogLine::new("pgaad: keys restored:")
                .fact("keys", keys.keys().len())
                .fact("age_s", clock::now().since(fetched_at));
            report::log(&line.into_text());
        }
        Err(SnapshotError::OtherTenant) => {
            report::log(&format!("pgaad: {name} is of another tenant and is ignored"));
        }
        Err(_) => {
            note_problem(name, &format!("pgaad/{name} is damaged, or dated in the future"));
            report::warn(&format!("pgaad: {name} is damaged and is ignored"));
        }
    }
}

/// Writes the keys down.
pub(crate) fn write(name: &str, snapshot: &Snapshot) {
    match try_write(name, snapshot) {
        Ok(()) => note_problem(name, ""),
        Err(error) => {
            note_problem(name, &format!("pgaad/{name} cannot be written: {error}"));
            let line = LogLine::new(&format!("pgaad: cannot write pgaad/{name}:"));
            let line = line.quoted("cause", &error.to_string());
            report::warn(&line.into_text());
        }
    }
}

/// For `pgaad.check()`: what is wrong with a file, in words that begin with its path, or that nothing is. There is room
/// for one: what is wrong with another file stays until that is good.
fn note_problem(name: &str, words: &str) {
    let words = Inline::new(words.as_bytes()).unwrap_or_default();
    let own = format!("pgaad/{name} ");
    shmem::update_refresh_state(|state| {
        let known = state.snapshot_problem.as_str();
        if known.is_empty() || known.starts_with(&own) {
            state.snapshot_problem = words;
        }
    });
}

fn path(name: &str) -> PathBuf {
    worker::data_directory().join("pgaad").join(name)
}

fn try_write(name: &str, snapshot: &Snapshot) -> io::Result<()> {
    data_file::replace(&worker::data_directory(), &path(name), &snapshot.to_json(), || Ok(()))
}
