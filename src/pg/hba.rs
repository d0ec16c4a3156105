//! The lines of `pg_hba.conf`, read anew from the file by core's own parser: a process other than a
//! backend that logs in has no parsed copy, and the worker has no SQL.

use std::ffi::{CStr, c_char, c_void};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::ptr;

use pgaad_core::hba::{Addresses, Database, Line, Method, Network, Role, Transports};
use pgaad_core::role_name;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts};

use super::libpq::{self, AuthToken, ConnType, IPCompareMethod, UserAuth};
use super::pam;

/// `DEBUG2` (elog.h): what core says of a file that it cannot use is told by us.
const DEBUG: i32 = 13;

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct HbaFile {
    /// Its lines, and those of files that it includes, in their order.
    pub(crate) lines: Vec<Line>,
    /// The PAM services of ours that they name.
    pub(crate) services: Vec<String>,
}

/// Names that the regular expressions of lines are tried with, from 16 on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Candidates<'a> {
    pub(crate) databases: &'a [String],
    pub(crate) roles: &'a [String],
}

/// Reads the file.
///
/// # Errors
/// What is wrong with it, when core could not load it as a whole.
pub(crate) fn read(candidates: Candidates) -> Result<HbaFile, String> {
    // All that core's parser allocates lies in this context, and what is kept is copied out.
    let context = PgMemoryContexts::new("pgaad pg_hba.conf");
    // Dropped before the context.
    let _switched = Switched::to(&context);
    read_here(candidates)
}

/// The file.
pub(crate) fn path() -> PathBuf {
    // SAFETY: a C string of core's (guc.c), set at start.
    let path = unsafe { text(pg_sys::HbaFileName) };
    PathBuf::from(path.unwrap_or_default())
}

/// Another memory context, until this is dropped, by an error too: then nobody may go on in a context that is deleted.
struct Switched(pg_sys::MemoryContext);

impl Switched {
    fn to(context: &PgMemoryContexts) -> Self {
        // SAFETY: palloc.h, `MemoryContextSwitchTo`; the context outlives this.
        unsafe {
            let old = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = context.value();
            Self(old)
        }
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        // SAFETY: the context that was current before.
        unsafe { pg_sys::CurrentMemoryContext = self.0 };
    }
}

fn read_here(candidates: Candidates) -> Result<HbaFile, String> {
    let mut file = HbaFile::default();
    let tokens = Tokens::open().ok_or("cannot be read")?;
    // SAFETY: a list of lines that lives until the tokens are dropped.
    let lines = unsafe { PgList::<libpq::TokenizedAuthLine>::from_pg(tokens.lines) };
    for line in lines.iter_ptr() {
        // SAFETY: a line of that list; core's parser fills one of its own, or says why not. It can raise (out of
        // memory, in a regular expression), and that must not pass our frames: `lines` and `file` have destructors.
        let parsed = unsafe {
            let is_tokenized = (*line).err_msg.is_null();
            let parse = || pg_guard_ffi_boundary(|| libpq::parse_hba_line(line, DEBUG));
            if is_tokenized { parse().as_ref() } else { None }
        };
        let Some(parsed) = parsed else {
            // SAFETY: as above; the message is core's, or null.
            let (message, number) = unsafe { (text((*line).err_msg), (*line).line_num) };
            return Err(format!("line {number}: {}", message.unwrap_or_default()));
        };
        if let Some(service) = own_service(parsed) {
            file.services.push(service);
        }
        file.lines.push(line_of(parsed, candidates));
    }
    file.services.sort();
    file.services.dedup();
    Ok(file)
}

/// The file's tokens, and the file.
struct Tokens {
    lines: *mut pg_sys::List,
    file: *mut libpq::FILE,
}

impl Tokens {
    #[cfg(feature = "pg15")]
    fn open() -> Option<Self> {
        // SAFETY: core's own file name; closed on drop.
        let file: *mut libpq::FILE = unsafe { libc::fopen(pg_sys::HbaFileName, c"r".as_ptr()) }.cast();
        if file.is_null() {
            return None;
        }
        let mut tokens = Self { lines: ptr::null_mut(), file };
        let lines = &raw mut tokens.lines;
        // SAFETY: hba.c, `load_hba`: "linecxt = tokenize_auth_file(HbaFileName, file, &hba_lines, LOG);"; the tokens' own
        // context is a child of ours and goes with it. It can raise.
        unsafe {
            pg_guard_ffi_boundary(|| libpq::tokenize_auth_file(pg_sys::HbaFileName, file, lines, DEBUG));
        }
        Some(tokens)
    }

    #[cfg(not(feature = "pg15"))]
    fn open() -> Option<Self> {
        // SAFETY: core's own file name; hba.c, `load_hba`: "file = open_auth_file(HbaFileName, LOG, 0, NULL);". It can
        // raise.
        let file = unsafe {
            pg_guard_ffi_boundary(|| libpq::open_auth_file(pg_sys::HbaFileName, DEBUG, 0, ptr::null_mut()))
        };
        if file.is_null() {
            return None;
        }
        let mut tokens = Self { lines: ptr::null_mut(), file };
        let lines = &raw mut tokens.lines;
        // SAFETY: "tokenize_auth_file(HbaFileName, file, &hba_lines, LOG, 0);". It can raise.
        unsafe {
            pg_guard_ffi_boundary(|| libpq::tokenize_auth_file(pg_sys::HbaFileName, file, lines, DEBUG, 0));
        }
        Some(tokens)
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once; from 16 on core drops the tokens as well (hba.c, `free_auth_file`).
        #[cfg(feature = "pg15")]
        unsafe {
            libc::fclose(self.file.cast());
        }
        // SAFETY: as above.
        #[cfg(not(feature = "pg15"))]
        unsafe {
            pg_guard_ffi_boundary(|| libpq::free_auth_file(self.file, 0));
        }
    }
}

/// The PAM service of a line, if it is one of ours.
fn own_service(parsed: &libpq::HbaLine) -> Option<String> {
    // SAFETY: a string of the parsed line, or null.
    let service = unsafe { text(parsed.pamservice) };
    service.filter(|service| parsed.auth_method == UserAuth::uaPAM && pam::is_our_service(service))
}

fn line_of(parsed: &libpq::HbaLine, candidates: Candidates) -> Line {
    // SAFETY: lists of tokens of the parsed line.
    let (databases, roles) = unsafe { (tokens_of(parsed.databases), tokens_of(parsed.roles)) };
    let database = |token: Token| match (token.text.as_str(), token.is_quoted) {
        _ if token.is_pattern() => Database::Pattern(token.matched(candidates.databases)),
        ("all", false) => Database::All,
        ("sameuser", false) => Database::SameUser,
        ("samerole" | "samegroup", false) => Database::SameRole,
        ("replication", false) => Database::Replication,
        _ => Database::Name(token.text),
    };
    let role = |token: Token| match token.text.strip_prefix('+') {
        Some(group) if !token.is_quoted => Role::Group(group.to_owned()),
        _ if token.is_pattern() => Role::Pattern(token.matched(candidates.roles)),
        _ if token.text == "all" && !token.is_quoted => Role::All,
        _ => Role::Name(token.text),
    };
    Line {
        number: u32::try_from(parsed.linenumber).unwrap_or_default(),
        file: included_file(parsed),
        transports: match parsed.conntype {
            ConnType::ctLocal => Transports::LOCAL,
            ConnType::ctHostSSL => Transports::HOSTSSL,
            ConnType::ctHostNoSSL => Transports::HOSTNOSSL,
            ConnType::ctHostGSS => Transports::HOSTGSSENC,
            ConnType::ctHostNoGSS => Transports::HOSTNOGSSENC,
            _ => Transports::HOST,
        },
        databases: databases.into_iter().map(database).collect(),
        roles: roles.into_iter().map(role).collect(),
        addresses: addresses(parsed),
        method: method(parsed),
    }
}

fn method(parsed: &libpq::HbaLine) -> Method {
    match parsed.auth_method {
        UserAuth::uaTrust => Method::Trust,
        UserAuth::uaReject | UserAuth::uaImplicitReject => Method::Reject,
        _ if own_service(parsed).is_some() => Method::Token,
        // SAFETY: a string of the parsed line.
        #[cfg(feature = "pg18")]
        UserAuth::uaOAuth if unsafe { text(parsed.oauth_validator) }.as_deref() == Some("pgaad") => {
            if parsed.oauth_skip_usermap { Method::Token } else { Method::TokenWithoutMapping }
        }
        // SAFETY: core's own table of names (hba.c, `hba_authname`), which is only read.
        method => Method::Other(unsafe { text(libpq::hba_authname(method)) }.unwrap_or_default()),
    }
}

#[cfg(feature = "pg15")]
fn included_file(_: &libpq::HbaLine) -> Option<String> {
    None
}

/// The file that a line is in, if that is not `pg_hba.conf` itself.
#[cfg(not(feature = "pg15"))]
fn included_file(parsed: &libpq::HbaLine) -> Option<String> {
    // SAFETY: a string of the parsed line.
    let file = unsafe { text(parsed.sourcefile) };
    file.filter(|file| *file != path().to_string_lossy())
}

/// A token of the database or role column.
struct Token {
    text: String,
    is_quoted: bool,
    #[cfg(not(feature = "pg15"))]
    regex: *mut c_void,
}

/// # Safety
/// A list of tokens of a parsed line that lives on.
unsafe fn tokens_of(list: *mut pg_sys::List) -> Vec<Token> {
    // SAFETY: as the caller says.
    unsafe {
        let token = |token: *mut AuthToken| Token {
            text: text((*token).string).unwrap_or_default(),
            is_quoted: (*token).quoted,
            #[cfg(not(feature = "pg15"))]
            regex: (*token).regex.cast(),
        };
        PgList::<AuthToken>::from_pg(list).iter_ptr().map(token).collect()
    }
}

#[cfg(feature = "pg15")]
impl Token {
    fn is_pattern(&self) -> bool {
        false
    }

    fn matched(&self, _: &[String]) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(not(feature = "pg15"))]
impl Token {
    /// hba.c: "#define token_has_regexp(t) (t->regex != NULL)".
    fn is_pattern(&self) -> bool {
        !self.regex.is_null()
    }

    /// Those of `candidates` that the regular expression matches.
    fn matched(&self, candidates: &[String]) -> Vec<String> {
        candidates.iter().filter(|candidate| self.matches(candidate)).cloned().collect()
    }

    /// hba.c, `regexec_auth_token`:
    ///   wmatchlen = pg_mb2wchar_with_len(match, wmatchstr, strlen(match));
    ///   r = pg_regexec(token->regex, wmatchstr, wmatchlen, 0, NULL, nmatch, pmatch, 0);
    fn matches(&self, candidate: &str) -> bool {
        let candidate = role_name::to_bytes(candidate);
        let Ok(length) = i32::try_from(candidate.len()) else { return false };
        let mut wide: Vec<libpq::pg_wchar> = vec![0; candidate.len().saturating_add(1)];
        // SAFETY: room for one character for each byte and a final zero; the regular expression is the line's own, compiled
        // by core in this process. What core raises stops at the guards.
        let answer = unsafe {
            let length = pg_sys::pg_mb2wchar_with_len(candidate.as_ptr().cast(), wide.as_mut_ptr(), length);
            let length = usize::try_from(length).unwrap_or_default();
            let (regex, wide) = (self.regex, wide.as_ptr());
            pg_guard_ffi_boundary(|| {
                libpq::pg_regexec(regex.cast(), wide, length, 0, ptr::null_mut(), 0, ptr::null_mut(), 0)
            })
        };
        // regex.h: "#define REG_OKAY 0".
        answer == 0
    }
}

fn addresses(parsed: &libpq::HbaLine) -> Addresses {
    match parsed.ip_cmp_method {
        _ if parsed.conntype == ConnType::ctLocal => Addresses::All,
        IPCompareMethod::ipCmpAll => Addresses::All,
        IPCompareMethod::ipCmpSameHost => Addresses::Own("samehost", own_networks(true)),
        IPCompareMethod::ipCmpSameNet => Addresses::Own("samenet", own_networks(false)),
        // SAFETY: a string of the parsed line; null where it has an address.
        _ => match unsafe { text(parsed.hostname) } {
            Some(name) => Addresses::Host(name),
            // Core's parser gives an address and a mask of one family.
            None => network(&parsed.addr, &parsed.mask).map_or(Addresses::All, Addresses::Network),
        },
    }
}

/// The addresses of this machine, or the networks that it is in; none where core cannot tell them either, and then the
/// line matches nobody (hba.c, `check_same_host_or_net`).
fn own_networks(hosts: bool) -> Vec<Network> {
    struct Found {
        hosts: bool,
        networks: Vec<Network>,
    }

    /// # Safety
    /// Core's own callback; the data are a `Found`.
    unsafe extern "C-unwind" fn note(
        address: *mut libpq::sockaddr,
        mask: *mut libpq::sockaddr,
        data: *mut c_void,
    ) {
        // SAFETY: as above; core gives an address and a mask of a family that it knows, or a null mask.
        let (found, address, mask) =
            unsafe { (&mut *data.cast::<Found>(), ip(address.cast()), ip(mask.cast())) };
        let all_ones = |address: IpAddr| match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::BROADCAST),
            IpAddr::V6(_) => IpAddr::V6(u128::MAX.into()),
        };
        let network = address
            .and_then(|address| Network::new(address, if found.hosts { all_ones(address) } else { mask? }));
        found.networks.extend(network);
    }

    let mut found = Found { hosts, networks: Vec::new() };
    let data: *mut Found = &raw mut found;
    // SAFETY: ifaddr.c, `pg_foreach_ifaddr`, calls back before it returns; the callback does not raise.
    let answer = unsafe { pg_guard_ffi_boundary(|| libpq::pg_foreach_ifaddr(Some(note), data.cast())) };
    if answer < 0 { Vec::new() } else { found.networks }
}

fn network(address: &pg_sys::sockaddr_storage, mask: &pg_sys::sockaddr_storage) -> Option<Network> {
    // SAFETY: both were filled by core's parser.
    let (address, mask) = unsafe { (ip(&raw const *address), ip(&raw const *mask)) };
    Network::new(address?, mask?)
}

/// # Safety
/// Null, or an address of the family that it names.
unsafe fn ip(storage: *const pg_sys::sockaddr_storage) -> Option<IpAddr> {
    // SAFETY: as the caller says; the family comes first in each of them.
    unsafe {
        match i32::from(storage.cast::<libc::sockaddr>().as_ref()?.sa_family) {
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
