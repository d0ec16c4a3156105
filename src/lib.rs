//! Log in to PostgreSQL with a Microsoft Entra ID access token as the password.
//!
//! The decision is `pgaad-core`; `src/pg` is the fence to PostgreSQL and holds all `unsafe`; the
//! modules beside it are the shell that joins the two.

#![deny(unsafe_code)]

use pgaad_core::self_test::self_test;
use pgrx::prelude::*;

mod check;
mod denials;
mod directory;
mod directory_names;
mod directory_views;
mod event_rows;
mod events;
mod explain;
mod gate;
mod jobs;
mod key_cache;
mod key_file;
mod key_views;
mod labels;
mod login;
mod membership_guard;
mod pg;
mod session;
mod session_rows;
mod settings;
mod sql_api;

#[cfg(any(test, feature = "pg_test"))]
#[allow(missing_docs)]
mod pg_tests;

#[cfg(test)]
pub(crate) use pg_tests::pg_test;

pg_module_magic!(name, version);

/// Called by PostgreSQL when it loads the library; core's `_PG_init`.
#[allow(unsafe_code, reason = "the macro exports the function under its C name")]
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::entry::require_preload();
    pg::entry::require(self_test(), "pgaad: the cryptographic library fails its self-test");
    settings::define();
    settings::read_ahead();
    pg::shmem::request();
    pg::event_buffer::request();
    pg::sessions::request();
    pg::session_board::request();
    pg::lookup_board::request();
    pg::auth_failed::request();
    jobs::register();
    pg::worker::request();
    pg::label_providers::install(labels::judge);
    pg::utility::install(membership_guard::GUARD, settings::advise_of);
    pg::reload::install(settings::advise_of_lines);
    pg::pam::arm(login::decide_for_pam, session::is_admitted);
    pg::oauth::arm(login::decide_for_oauth);
    pg::hook::install(gate::gate);
    pg::first_commit::install(gate::arrive);
}
