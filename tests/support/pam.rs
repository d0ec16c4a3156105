//! A PAM service file that names the library of one installation.

use crate::account;
use crate::installation::Installation;
use crate::run_directory;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A service in `/etc/pam.d`, removed when dropped, or by the guard when the tests die.
#[derive(Debug)]
pub struct PamService {
    name: String,
    text: String,
}

impl PamService {
    /// Whether service files can be written here. Where not, the test says so and proves nothing.
    pub fn available() -> bool {
        account::is_root() && Path::new("/etc/pam.d").is_dir()
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

    /// Writes the file again.
    pub fn restore(&self) {
        fs::write(self.path(), &self.text)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path().display()));
    }

    /// Takes the file away; the name stays.
    pub fn remove(&self) {
        let _ = fs::remove_file(self.path());
    }
}

impl Drop for PamService {
    fn drop(&mut self) {
        self.remove();
    }
}
