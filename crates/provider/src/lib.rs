//! What pgaad asks of the identity provider, and what it reads from files in its place.
//!
//! Nothing here calls PostgreSQL: it runs on a thread of a background worker, never in a process that serves a login,
//! and is tested against the stand-in tenant alone. Whatever comes back is a stranger's until it is read strictly.

mod agent;
mod connect;
mod error;
pub mod file;
mod keys;
mod metadata;
mod misfit;
mod peer;
mod tls;

pub use agent::{Route, is_proxy};
pub use error::{FetchError, TlsFault};
pub use keys::{FetchRequest, Fetched, fetch};
pub use metadata::Metadata;
