//! Microsoft Graph: who is a member of a group, and whose account is disabled.
//!
//! Runs on a thread of the directory's worker and calls nothing of PostgreSQL's. Only a complete answer is an answer:
//! whatever is cut, repeated, somebody else's or not to be read is an error, and what was known before stays.

mod access_token;
mod accounts;
mod assertion;
mod client;
mod connection;
mod error;
mod group;
mod managed_identity;
mod names;
mod page;
mod retry;
mod sign_in;

pub use self::accounts::MAX_ACCOUNTS;
pub use self::client::{Graph, Traffic};
pub use self::connection::{GraphRequest, LocalServices};
pub use self::error::GraphError;
pub use self::group::GroupRead;
pub use self::page::Page;
