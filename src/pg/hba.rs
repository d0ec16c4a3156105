//! The lines of `pg_hba.conf`, read anew from the file by core's own parser: a process other than a
//! backend that logs in has no parsed copy, and the worker has no SQL.

use std::ffi::{CStr, c_char};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::ptr;

use pgaad_core::hba::{Line, Method, Network, Role, Transport};
use pgaad_core::role_name;
use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts};

use super::libpq::{self, ConnType, IPCompareMethod, UserAuth};
use super::pam;

/// `DEBUG2` (elog.h): what core says of a file that it cannot use is told by us.
const DEBUG: i32 = 13;

/// The lines of the file, and the PAM services of ours that they name.
///
/// # Errors
/// What is wrong with the file, when core could not load it as a whole.
pub(crate) fn lines() -> Result<(Vec<Line>, Vec<String>), String> {
    let mut context = PgMemoryContexts::new("pgaad pg_hba.conf");
    // SAFETY: all that core's parser allocates lies in the context, and what is kept is copied out.
    unsafe { context.switch_to(|_| read()) }
}

/// The file.
pub(crate) fn path() -> PathBuf {
    // SAFETY: a C string of core's (guc.c), set at start.
    let path = unsafe { text(pg_sys::HbaFileName) };
    PathBuf::from(path.unwrap_or_default())
}

/// # Safety
/// In a memory context of its own.
unsafe fn read() -> Result<(Vec<Line>, Vec<String>), String> {
    let (mut lines, mut services) = (Vec::new(), Vec::new());
    let file = Tokens::open().ok_or("cannot be read")?;
    // SAFETY: the list and its lines live until the tokens are let go of; core's parser fills a line of its own.
    unsafe {
        for token in PgList::<libpq::TokenizedAuthLine>::from_pg(file.lines).iter_ptr() {
            let parsed = if (*token).err_msg.is_null() {
                libpq::parse_hba_line(token, DEBUG)
            } else {
                ptr::null_mut()
            };
            if parsed.is_null() {
                let message = text((*token).err_msg).unwrap_or_default();
                return Err(format!("line {}: {message}", (*token).line_num));
            }
            if is_ours(&*parsed) {
                services.push(text((*parsed).pamservice).unwrap_or_default());
            }
            lines.push(line(&*parsed));
        }
    }
    services.sort();
    services.dedup();
    Ok((lines, services))
}

/// The file's tokens, and the file.
struct Tokens {
    lines: *mut pg_sys::List,
    file: *mut libpq::FILE,
}

impl Tokens {
    #[cfg(feature = "pg15")]
    fn open() -> Option<Self> {
        let mut lines = ptr::null_mut();
        // SAFETY: core's own file name; the file is closed on drop. hba.c, `load_hba`:
        // "linecxt = tokenize_auth_file(HbaFileName, file, &hba_lines, LOG);"
        unsafe {
            let file: *mut libpq::FILE = libc::fopen(pg_sys::HbaFileName, c"r".as_ptr()).cast();
            if file.is_null() {
                return None;
            }
            // The tokens' own context is a child of ours and goes with it.
            libpq::tokenize_auth_file(pg_sys::HbaFileName, file, &raw mut lines, DEBUG);
            Some(Self { lines, file })
        }
    }

    #[cfg(not(feature = "pg15"))]
    fn open() -> Option<Self> {
        let mut lines = ptr::null_mut();
        // SAFETY: core's own file name; closed on drop. hba.c, `load_hba`: "file = open_auth_file(HbaFileName, LOG,
        // 0, NULL); … tokenize_auth_file(HbaFileName, file, &hba_lines, LOG, 0);"
        unsafe {
            let file = libpq::open_auth_file(pg_sys::HbaFileName, DEBUG, 0, ptr::null_mut());
            if file.is_null() {
                return None;
            }
            libpq::tokenize_auth_file(pg_sys::HbaFileName, file, &raw mut lines, DEBUG, 0);
            Some(Self { lines, file })
        }
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once; from 16 on core lets go of the tokens as well (hba.c, `free_auth_file`).
        #[cfg(feature = "pg15")]
        unsafe {
            libc::fclose(self.file.cast());
        }
        // SAFETY: as above.
        #[cfg(not(feature = "pg15"))]
        unsafe {
            libpq::free_auth_file(self.file, 0);
        }
    }
}

fn is_ours(parsed: &libpq::HbaLine) -> bool {
    // SAFETY: a string of the parsed line.
    let service = unsafe { text(parsed.pamservice) };
    parsed.auth_method == UserAuth::uaPAM && service.is_some_and(|service| pam::is_our_service(&service))
}

fn line(parsed: &libpq::HbaLine) -> Line {
    let names = |list: *mut pg_sys::List| -> Vec<(String, bool)> {
        // SAFETY: a list of tokens of the parsed line, or null.
        let tokens = unsafe { PgList::<libpq::AuthToken>::from_pg(list) };
        let token = |token: *mut libpq::AuthToken| {
            // SAFETY: as above.
            unsafe { (text((*token).string).unwrap_or_default(), (*token).quoted) }
        };
        tokens.iter_ptr().map(token).collect()
    };
    let role = |(name, quoted): (String, bool)| match name.strip_prefix('+') {
        Some(group) if !quoted => Role::Group(group.to_owned()),
        _ if name.starts_with('/') || (name == "all" && !quoted) => Role::Anybody,
        _ => Role::Name(name),
    };
    Line {
        number: u32::try_from(parsed.linenumber).unwrap_or_default(),
        transport: match parsed.conntype {
            ConnType::ctLocal => Transport::Socket,
            ConnType::ctHostSSL | ConnType::ctHostGSS => Transport::Encrypted,
            ConnType::ctHostNoSSL => Transport::Plain,
            _ => Transport::Any,
        },
        databases: names(parsed.databases).into_iter().map(|(name, _)| name).collect(),
        roles: names(parsed.roles).into_iter().map(role).collect(),
        network: network(parsed),
        method: match parsed.auth_method {
            UserAuth::uaTrust => Method::Trust,
            UserAuth::uaReject | UserAuth::uaImplicitReject => Method::Reject,
            _ if is_ours(parsed) => Method::Token,
            // SAFETY: a string of the parsed line.
            #[cfg(feature = "pg18")]
            UserAuth::uaOAuth if unsafe { text(parsed.oauth_validator) }.as_deref() == Some("pgaad") => {
                Method::Token
            }
            // SAFETY: core's own table of names (hba.c, `hba_authname`).
            method => Method::Other(unsafe { text(libpq::hba_authname(method)) }.unwrap_or_default()),
        },
    }
}

fn network(parsed: &libpq::HbaLine) -> Option<Network> {
    match parsed.ip_cmp_method {
        IPCompareMethod::ipCmpAll => Some(Network { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 }),
        IPCompareMethod::ipCmpMask if parsed.conntype != ConnType::ctLocal && parsed.addrlen > 0 => {
            let (address, mask) = (address(&parsed.addr)?, address(&parsed.mask)?);
            let prefix = match mask {
                IpAddr::V4(mask) => u32::from(mask).leading_ones(),
                IpAddr::V6(mask) => u128::from(mask).leading_ones(),
            };
            Some(Network { address, prefix })
        }
        _ => None,
    }
}

fn address(storage: &pg_sys::sockaddr_storage) -> Option<IpAddr> {
    let storage = &raw const *storage;
    // SAFETY: filled by core's parser for the family that it names; each structure fits into the storage.
    unsafe {
        match i32::from((*storage).ss_family) {
            libc::AF_INET => {
                let address: *const libc::sockaddr_in = storage.cast();
                Some(Ipv4Addr::from(u32::from_be((*address).sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let address: *const libc::sockaddr_in6 = storage.cast();
                Some(Ipv6Addr::from((*address).sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

/// Text of the file, which may hold role names: see [`role_name`].
///
/// # Safety
/// A NUL-terminated string, or null.
pub(super) unsafe fn text(pointer: *const c_char) -> Option<String> {
    // SAFETY: as above.
    (!pointer.is_null()).then(|| role_name::from_bytes(unsafe { CStr::from_ptr(pointer) }.to_bytes()))
}
