//! A PAM service file that names the library of one installation.

use crate::account;
use crate::installation::Installation;
use crate::run_directory;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A service in `/etc/pam.d`, removed when dropped, or by the guard when the tests die.
#[derive(Debug)]
pub struct PamService {
    name: String,
    text: String,
}

impl PamService {
    /// Whether the server knows PAM and service files can be written here; says so when not.
    pub fn available() -> bool {
        let missing = if !Installation::is_built_with("pam") {
            "needs a PostgreSQL built with PAM"
        } else if !Path::new("/etc/pam.d").is_dir() || !(account::is_root() || account::may_sudo()) {
            "needs root: the PAM service file"
        } else {
            return true;
        };
        crate::skipped(missing);
        false
    }

    /// Writes the service file, as the README has the operator write it.
    pub fn new(installation: &Installation) -> PamService {
        let library = installation.library();
        let library = library.display();
        PamService::with_text(&format!("auth     required  {library}\naccount  required  {library}\n"))
    }

    /// A service file with this text.
    pub fn with_text(text: &str) -> PamService {
        let mut service = PamService::absent();
        text.clone_into(&mut service.text);
        service.restore();
        service
    }

    /// The name of a service without a file, for which PAM falls back to `other`.
    pub fn absent() -> PamService {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgaad-test-{}-{number}", std::process::id());
        let service = PamService { name, text: String::new() };
        run_directory::remember_file(&service.path());
        service
    }

    /// What `pamservice=` must say.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The service file.
    pub fn path(&self) -> PathBuf {
        Path::new("/etc/pam.d").join(&self.name)
    }

    /// A directory for the server's own `/etc/pam.d`, as docs/install.md has it: this service, and an `other` that asks
    /// the same. See [`crate::Cluster::with_pam_directory`].
    pub fn directory_of_its_own(&self) -> PathBuf {
        let directory = run_directory::fresh("pam.d");
        fs::create_dir(&directory).expect("our own directory");
        for name in [self.name(), "other"] {
            fs::write(directory.join(name), &self.text).expect("our own file");
        }
        directory
    }

    /// Writes the file again.
    pub fn restore(&self) {
        let mut copy = account::as_root("tee")
            .arg(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("tee: {error}"));
        let written = copy.stdin.take().is_some_and(|mut file| file.write_all(self.text.as_bytes()).is_ok());
        assert!(written && copy.wait().is_ok_and(|status| status.success()), "{}", self.path().display());
    }

    /// Takes the file away; the name stays.
    pub fn remove(&self) {
        let _ = account::as_root("rm").arg("-f").arg(self.path()).status();
    }
}

impl Drop for PamService {
    fn drop(&mut self) {
        self.remove();
    }
}
