//! What the lines of `pg_hba.conf` mean for members of `azure_ad_user`: which could admit one without
//! a token, which ask for a token in vain, which leave a door open.
//!
//! Lines are given as PostgreSQL itself parsed them, and matched as it matches them (hba.c, `check_hba`).

mod defects;
mod line;
mod network;
mod order;
#[cfg(test)]
mod tests;
mod trials;

pub use defects::Lines;
pub(crate) use defects::{
    oauth_mapping, order, tls_off, token_line, token_without_tls, trust_member, trust_remote, without_token,
};
pub use line::{Addresses, Database, Line, Member, Method, Role, Settings, Transports};
pub use network::Network;
