//! What a tenant keeps in its directory, so that a second start, or a second process, is the same tenant.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{io, process};

use aws_lc_rs::rand;
use serde_json::Value;

use crate::certificate::Authority;
use crate::keys::Keys;

/// A tenant's directory: `ca.pem` for everyone; `ca.key` and `keys.json`, with the private keys, for its owner.
#[derive(Clone)]
pub struct State {
    directory: PathBuf,
    /// The keys as last read, with the text they were read from.
    read: Arc<Mutex<Option<(String, Keys)>>>,
}

impl State {
    /// The state that is kept in `directory`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no tenant was ever started there.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let state = Self { directory: directory.to_path_buf(), read: Arc::default() };
        fs::metadata(state.keys_file())?;
        Ok(state)
    }

    /// As [`Self::open`]; makes directory, CA, keys and port where there are none. `port` replaces a port
    /// chosen before. Panics when the directory cannot be written.
    pub(crate) fn open_or_create(directory: &Path, port: Option<u16>) -> Self {
        fs::create_dir_all(directory).expect("the tenant's directory can be made");
        fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("the directory is ours");
        let state = Self { directory: directory.to_path_buf(), read: Arc::default() };
        if !state.ca_file().exists() || !state.ca_key_file().exists() {
            let authority = Authority::generate();
            write(&state.ca_key_file(), 0o600, &authority.key_pem());
            write(&state.ca_file(), 0o644, &authority.certificate_pem());
        }
        if !state.has_all_keys() {
            state.save(&Keys::fresh(&authority_at(port.unwrap_or_else(free_port))));
        } else if let Some(port) = port {
            state.save(&state.keys().of_authority(&authority_at(port)));
        }
        state
    }

    /// Whether there are keys, and of every kind: a directory of an earlier version is made again.
    fn has_all_keys(&self) -> bool {
        let stored = fs::read_to_string(self.keys_file()).unwrap_or_default();
        serde_json::from_str(&stored).is_ok_and(|stored: Value| stored.get("other_cloud").is_some())
    }

    /// The certificate of the tenant's own CA, PEM, for `pgaad.ca_file`.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Where Arc's agent puts its files; made if need be.
    pub(crate) fn arc_tokens(&self) -> PathBuf {
        let directory = self.directory.join("arc");
        fs::create_dir_all(&directory).expect("the tenant's directory is ours");
        directory
    }

    fn ca_key_file(&self) -> PathBuf {
        self.directory.join("ca.key")
    }

    fn keys_file(&self) -> PathBuf {
        self.directory.join("keys.json")
    }

    /// The CA that signs the server's certificate.
    pub(crate) fn certificate_authority(&self) -> Authority {
        let key = fs::read_to_string(self.ca_key_file()).expect("the CA's key can be read");
        Authority::from_key_pem(&key)
    }

    /// The port of the server, from the authority's URL.
    pub(crate) fn port(&self) -> u16 {
        let keys = self.keys();
        let (_, port) = keys.authority().rsplit_once(':').expect("the authority has a port");
        port.parse().expect("the authority's port is a number")
    }

    /// The keys as they are now; another process may have changed them since.
    pub fn keys(&self) -> Keys {
        let text = fs::read_to_string(self.keys_file()).expect("the tenant's keys can be read");
        let mut read = self.read.lock().expect("stored keys can be parsed");
        match &*read {
            Some((known, keys)) if *known == text => keys.clone(),
            _ => {
                let stored: Value = serde_json::from_str(&text).expect("stored keys are JSON");
                let keys = Keys::from_json(&stored);
                *read = Some((text, keys.clone()));
                keys
            }
        }
    }

    /// Adds an enterprise key, which signs from now on; gives its id.
    pub fn rotate(&self) -> String {
        let (keys, kid) = self.keys().rotated();
        self.save(&keys);
        kid
    }

    /// Withdraws a key from the published ones. If it is the current one it goes on signing.
    /// Panics unless `kid` is a published key.
    pub fn retire(&self, kid: &str) {
        self.save(&self.keys().retired(kid));
    }

    fn save(&self, keys: &Keys) {
        write(&self.keys_file(), 0o600, &keys.to_json().to_string());
    }
}

fn authority_at(port: u16) -> String {
    format!("https://localhost:{port}")
}

/// A free port below the range that the system takes the ports of clients from (32768 up): while the server
/// is stopped, no client can be given its port, nor connect to itself. Those below are the clusters' of the tests.
pub(crate) fn free_port() -> u16 {
    (0..1000)
        .map(|_| {
            let mut random = [0; 2];
            rand::fill(&mut random).expect("the system has random bytes");
            26_000 + u16::from_be_bytes(random) % 6_000
        })
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one port in 6,000 is free")
}

/// Replaces a file at once: a reader sees the old text or the new one.
fn write(path: &Path, mode: u32, text: &str) {
    let temporary = path.with_extension(format!("{}.tmp", process::id()));
    let replaced = (|| {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&temporary, path)
    })();
    replaced.unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
}
