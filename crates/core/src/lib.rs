//! The decision of pgaad: from the bytes a client sent as its password to an admitted role.
//!
//! ```text
//! bytes ─▶ RawToken ─parse─▶ UnverifiedToken ─verify(key, policy, now)─▶ VerifiedClaims ─▶ Principal
//!       ─admit(role facts, policy, now)─▶ Admission
//! ```
//!
//! [`decide::decide`] is this line, and the only copy. Every arrow is the only maker of the type it points to, so no
//! step can be skipped and still compile. What a token must be and what a role must be are two tables of checks, in
//! [`verify`] and [`admit`]. Time, keys and policy are arguments: this crate has no clock, no network, no environment
//! and no PostgreSQL. Every "no" is a [`Reason`] with a stable code.

#![forbid(unsafe_code)]

pub mod admit;
mod answers;
pub mod app_role;
pub mod claims;
pub mod code;
pub mod decide;
pub mod deny;
pub mod directory;
pub mod event;
pub mod explain;
pub mod gate;
pub mod graph_url;
pub mod guid;
mod https_url;
pub mod inline;
pub mod key_error;
pub mod key_history;
pub mod keys;
pub mod kind;
pub mod label;
mod label_error;
pub mod labelling;
pub mod log_line;
pub mod membership;
pub mod membership_rules;
pub mod packet;
pub mod principal;
pub mod public_answer;
pub mod reason;
pub mod refresh;
pub mod refresh_queue;
pub mod refusal;
pub mod role_facts;
pub mod role_name;
pub mod rule;
pub mod self_test;
pub mod settings;
pub mod shape;
pub mod snapshot;
pub mod steps;
pub mod subject;
pub mod suggestion;
pub mod tenant;
pub mod time;
pub mod token;
pub mod verify;

pub mod json;

pub use reason::Reason;
