//! Throw-away PostgreSQL clusters, a raw wire client, and the scene that the login tests play in.
//!
//! Everything that a test run makes lies in one directory and dies with the process: see [`run_directory`].

pub mod account;
pub mod attempt;
pub mod client;
pub mod cluster;
pub mod directory;
pub mod document;
pub mod installation;
pub mod log;
pub mod pam;
pub mod patience;
pub mod preload;
pub mod process;
pub mod run_directory;
pub mod scene;
mod seccomp;
pub mod tls;
pub mod token_pieces;
pub mod twin;
pub mod wire;

pub use attempt::{Attempt, Route, Transport};
pub use cluster::Cluster;
pub use installation::Installation;
pub use pam::PamService;
pub use patience::{PATIENCE, wait_for, wait_until};
pub use scene::Scene;
pub use token_pieces::TokenPieces;

/// Says, once, that a test or a part of it proved nothing here, and why, where it is seen in a long log.
pub fn skipped(why: &str) {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let thread = std::thread::current();
    let line = format!("SKIPPED ({why}): {}", thread.name().unwrap_or("?"));
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
        // Not `eprintln!`: the harness hides what a passing test prints by the macros.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
