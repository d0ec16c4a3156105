//! The fence: everything that touches PostgreSQL's C, and the only place with `unsafe`.
//!
//! Functions here take and return safe types. They know nothing of the modules beside `pg`;
//! what they have to call back is given to them as a function pointer when they are installed.

#![allow(unsafe_code)]

mod alter_system;
pub(crate) mod auth_failed;
mod c_string;
pub(crate) mod catalog;
pub(crate) mod clock;
pub(crate) mod deny_labels;
pub(crate) mod encoding;
pub(crate) mod entry;
pub(crate) mod event_buffer;
#[cfg(feature = "fault_injection")]
pub(crate) mod fault;
pub(crate) mod first_commit;
pub(crate) mod hba;
mod hba_line;
pub(crate) mod hook;
pub(crate) mod label_providers;
mod label_scan;
mod libpq;
pub(crate) mod lookup_board;
#[cfg_attr(not(since_18), path = "no_oauth.rs")]
pub(crate) mod oauth;
pub(crate) mod packet;
pub(crate) mod pam;
pub(crate) mod port;
mod raw;
pub(crate) mod reload;
pub(crate) mod report;
mod role_column;
pub(crate) mod role_graph;
mod role_nodes;
mod role_parts;
mod role_plan;
pub(crate) mod role_principal;
mod role_program;
pub(crate) mod role_statement;
mod role_vouch;
pub(crate) mod seclabel;
pub(crate) mod session_board;
pub(crate) mod sessions;
pub(crate) mod setting;
pub(crate) mod shmem;
mod slot;
mod socket_address;
pub(crate) mod text;
pub(crate) mod utility;
pub(crate) mod version;
pub(crate) mod worker;
