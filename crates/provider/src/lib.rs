//! What pgaad asks of the identity provider, and what it reads from files in its place.
//!
//! Nothing here calls PostgreSQL: it runs on a thread of a background worker, and is tested against the stand-in tenant
//! alone. A process that serves a login only reads what [`set_store`] finds. Whatever comes back is a stranger's until
//! it is read strictly.

mod agent;
mod clock;
mod connect;
pub mod data_file;
pub mod directory_run;
pub mod directory_state;
mod error;
pub mod file;
pub mod graph;
mod keys;
mod metadata;
mod misfit;
mod peer;
pub mod secret_file;
pub mod set_store;
mod tls;

pub use agent::{Route, is_proxy};
pub use error::{FetchError, TlsFault};
pub use keys::{FetchRequest, Fetched, fetch};
pub use metadata::Metadata;
