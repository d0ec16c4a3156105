//! What the directory of the tenant, Entra ID, says beyond tokens: who is a member of a group, and whose account is
//! disabled. A background worker reads it from Microsoft Graph, logins read what the worker left in files.

pub mod accounts;
mod facts;
pub mod members;
mod names;
mod record_file;
mod session;
mod witness;

pub use self::accounts::AccountState;
pub use self::facts::{Directory, DirectoryFacts, MembershipWord};
pub use self::names::{NameQuestion, Named, NamedKind};
pub use self::record_file::{Bytes, RecordFileError};
pub use self::session::{SessionFacts, ends_session};
pub use self::witness::Measure;
pub(crate) use self::witness::{TokenWord, Witness, witness};
