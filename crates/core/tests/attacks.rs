//! Hostile tokens, keys and roles: each is refused with the code that names the cause, and each has
//! a twin that differs in that one thing and is admitted, so that no row passes for the wrong reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::string_slice
)]

#[path = "attacks/admission.rs"]
mod admission;
#[path = "attacks/algorithm.rs"]
mod algorithm;
#[path = "attacks/app_roles.rs"]
mod app_roles;
#[path = "attacks/claims.rs"]
mod claims;
#[path = "attacks/denied.rs"]
mod denied;
#[path = "attacks/directory.rs"]
mod directory;
#[path = "attacks/encoding.rs"]
mod encoding;
#[path = "attacks/header.rs"]
mod header;
#[path = "attacks/hints.rs"]
mod hints;
#[path = "attacks/keys.rs"]
mod keys;
#[path = "attacks/kinds.rs"]
mod kinds;
mod login;
#[path = "attacks/names.rs"]
mod names;
#[path = "attacks/payload.rs"]
mod payload;
#[path = "attacks/scope.rs"]
mod scope;
#[path = "attacks/twins.rs"]
mod twins;
#[path = "attacks/words.rs"]
mod words;
