//! The lines of `pg_hba.conf`, read again from the file by core's own parser: a process other than a
//! backend that logs in has no parsed copy, and the worker has no SQL.

use std::ffi::{CString, c_void};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::ptr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgaad_audit::hba::{Addresses, Database, Line, Method, Network, Role, Transports};
use pgaad_core::{gate, role_name};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use pgrx::{PgList, PgMemoryContexts};

use super::c_string::text;
use super::hba_line::{self, Word, words};
use super::libpq::{self, ConnType, IPCompareMethod, UserAuth};
use super::socket_address::ip;
use super::{version, worker};

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
    PathBuf::from(hba_line::main_file())
}

/// Those files of the lines that were changed after this process has heard of a reload: the server goes by what they
/// said before.
pub(crate) fn changed_since_reload(lines: &[Line]) -> Vec<String> {
    let mut files: Vec<_> = lines.iter().filter_map(|line| line.file.clone()).collect();
    files.push(hba_line::main_file());
    files.sort();
    files.dedup();
    let (reloaded, now) = (reloaded(), SystemTime::now());
    // A file that is dated in the future was not changed then.
    let is_younger = |file: &String| {
        let changed = std::fs::metadata(file).and_then(|metadata| metadata.modified());
        changed.is_ok_and(|changed| changed > reloaded && changed <= now)
    };
    files.into_iter().filter(is_younger).collect()
}

/// When the files were loaded last, at the server's start or at a reload.
fn reloaded() -> SystemTime {
    /// 2000-01-01T00:00:00Z (timestamp.h, `POSTGRES_EPOCH_JDATE`).
    const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);
    // SAFETY: a plain global of this process (guc.c), microseconds.
    let since = unsafe { pg_sys::PgReloadTime }.max(worker::reloaded());
    UNIX_EPOCH + POSTGRES_EPOCH + Duration::from_micros(u64::try_from(since).unwrap_or_default())
}

/// Whether the server speaks TLS (`ssl`). Lines for TLS only match nobody otherwise.
pub(crate) fn is_tls_on() -> bool {
    // SAFETY: a plain global (postmaster.c), the value of the setting.
    unsafe { pg_sys::EnableSSL }
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
            let parse = || pg_guard_ffi_boundary(|| libpq::parse_hba_line(line, version::DEBUG2));
            if is_tokenized { parse().as_ref() } else { None }
        };
        let Some(parsed) = parsed else {
            // SAFETY: as above; the message is core's, or null.
            let (message, number) = unsafe { (text((*line).err_msg), (*line).line_num) };
            return Err(format!("line {number}: {}", message.unwrap_or_default()));
        };
        if let Some(service) = hba_line::own_service(parsed) {
            file.services.push(service.to_owned());
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
    fn open() -> Option<Self> {
        // SAFETY: core's own file name; closed on drop.
        let file = unsafe { version::open_hba_file() };
        if file.is_null() {
            return None;
        }
        let mut tokens = Self { lines: ptr::null_mut(), file };
        // SAFETY: the file is open; the tokens' own context is a child of ours and goes with it.
        unsafe { version::tokenize_hba_file(file, &raw mut tokens.lines) };
        Some(tokens)
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        // SAFETY: opened by us, closed once.
        unsafe { version::close_hba_file(self.file) };
    }
}

fn line_of(parsed: &libpq::HbaLine, candidates: Candidates) -> Line {
    // SAFETY: columns of the parsed line.
    let (databases, roles) = unsafe { (words(parsed.databases), words(parsed.roles)) };
    let database = |word: Word<'_>| match word {
        _ if word.is_pattern() => Database::Pattern(matched(&word, candidates.databases)),
        _ if word.is_keyword(c"all") => Database::All,
        _ if word.is_keyword(c"sameuser") => Database::SameUser,
        _ if word.is_keyword(c"samerole") || word.is_keyword(c"samegroup") => Database::SameRole,
        _ if word.is_keyword(c"replication") => Database::Replication,
        _ => Database::Name(role_name::from_bytes(word.text.to_bytes())),
    };
    let role = |word: Word<'_>| match word.group() {
        Some(group) => Role::Group(role_name::from_bytes(group.to_bytes())),
        _ if word.is_pattern() => Role::Pattern(matched(&word, candidates.roles)),
        _ if word.is_keyword(c"all") => Role::All,
        _ => Role::Name(role_name::from_bytes(word.text.to_bytes())),
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
    match (hba_line::method(parsed), parsed.auth_method) {
        (gate::Method::Trust, _) => Method::Trust,
        (gate::Method::TokenByPam, _) => Method::Token,
        (gate::Method::TokenByOAuth, _) => match version::oauth_line(parsed) {
            Some(line) if line.delegates_mapping => Method::Token,
            _ => Method::TokenWithoutMapping,
        },
        (_, UserAuth::uaReject | UserAuth::uaImplicitReject) => Method::Reject,
        // SAFETY: core's own table of names (hba.c, `hba_authname`), which is only read.
        (_, method) => Method::Other(unsafe { text(libpq::hba_authname(method)) }.unwrap_or_default()),
    }
}

/// The file that a line is in, if that is not `pg_hba.conf` itself.
fn included_file(parsed: &libpq::HbaLine) -> Option<String> {
    Some(hba_line::file(parsed)).filter(|file| *file != hba_line::main_file())
}

/// Those of `candidates` that a regular expression matches.
fn matched(word: &Word<'_>, candidates: &[String]) -> Vec<String> {
    let matches = |candidate: &&String| {
        CString::new(role_name::to_bytes(candidate)).is_ok_and(|name| word.pattern_matches(&name))
    };
    candidates.iter().filter(matches).cloned().collect()
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
