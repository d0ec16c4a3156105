//! Is this server safe? Evidence of a server's settings, files and keys, gathered by the extension, judged by one
//! table of checks.
//!
//! Text and plain data: nothing here reads a file or calls PostgreSQL. What only the catalogs tell is found by
//! `sql/check.sql`; the table names those checks too.

mod checks;
mod defect;
mod directory;
pub mod evidence;
pub mod hba;
mod keys;
pub mod pam_file;
mod settings;

pub use checks::{CHECKS, Check, Finding, Severity, defects, findings};
pub use defect::Defect;
pub use evidence::Evidence;
pub use keys::{NO_WORKER, more_slots};
