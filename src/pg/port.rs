//! The connection that is logging in: who, from where, by which line of `pg_hba.conf`.

use std::ffi::{CStr, CString};
use std::fmt;
use std::net::IpAddr;

use pgaad_core::event::HbaPlace;
use pgaad_core::gate::{Entry, Line, Method};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;

use super::c_string::{c_str, text};
use super::entry::ServerFunction;
use super::libpq;
use super::socket_address::ip;
use super::{hba_line, role_column, version};

/// In a server built without GSSAPI the function is not there, so it is looked up by name.
// SAFETY: the server's own function of that name has this signature since PostgreSQL 12 (libpq/libpq-be.h),
// and only reads the Port.
static GSS_ENCRYPTION: ServerFunction<unsafe extern "C" fn(*mut libpq::Port) -> bool> =
    unsafe { ServerFunction::named(c"be_gssapi_get_enc") };

/// Looks up what [`Port`] asks of the server. Call once, from `_PG_init`.
pub(super) fn find_functions() {
    let _ = GSS_ENCRYPTION.get();
}

/// The connection of this process, while core authenticates it.
#[derive(Clone, Copy)]
pub(crate) struct Port(*mut libpq::Port);

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// At the other end of a Unix socket.
    UnixSocket,
    /// At an address.
    Address(IpAddr),
    /// At something that is neither; it counts as far away.
    Unknown,
}

impl Client {
    /// On this machine: a Unix socket or a loopback address.
    pub(crate) fn is_local(self) -> bool {
        match self {
            Self::UnixSocket => true,
            Self::Address(address) => address.to_canonical().is_loopback(),
            Self::Unknown => false,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnixSocket => f.write_str("[local]"),
            Self::Address(address) => address.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl Port {
    /// The connection that core hands to a hook.
    ///
    /// # Safety
    /// `port` is core's `MyProcPort`, filled up to the matched `hba` line, and this process' only
    /// connection; it lives as long as the process.
    pub(super) unsafe fn new(port: *mut libpq::Port) -> Self {
        Self(port)
    }

    /// The connection of this process, if there is one.
    pub(crate) fn current() -> Option<Self> {
        // SAFETY: a plain global (globals.c), written by the process' only thread before any hook runs.
        let port: *mut libpq::Port = unsafe { pg_sys::MyProcPort }.cast();
        (!port.is_null()).then_some(Self(port))
    }

    pub(super) fn as_ptr(self) -> *mut libpq::Port {
        self.0
    }

    fn fields(&self) -> &libpq::Port {
        // SAFETY: not null by construction, and nobody writes to the Port while our frames read it:
        // the process has one thread, and the borrow ends before core goes on.
        unsafe { &*self.0 }
    }

    fn hba(&self) -> Option<&libpq::HbaLine> {
        // SAFETY: null or core's parsed line, which lives in a context that is not reset before the
        // login is over (hba.c, `parsed_hba_context`).
        unsafe { self.fields().hba.as_ref() }
    }

    /// The role name as the client sent it, cut at 63 bytes by core. Bytes: its encoding is anybody's guess.
    pub(crate) fn role_name(&self) -> &CStr {
        // SAFETY: null, or a NUL-terminated string that lives as long as the Port.
        unsafe { c_str(self.fields().user_name) }.unwrap_or_default()
    }

    /// Where the client is, from the socket itself.
    ///
    /// Not from `remote_host`: with `log_hostname` on that is a name, and the one who owns the
    /// address block decides what its reverse look-up says, `127.0.0.1` if they like.
    pub(crate) fn client(&self) -> Client {
        let address = &raw const self.fields().raddr.addr;
        // SAFETY: the kernel filled the storage for the socket's family (pqcomm.c, StreamConnection).
        let (family, ip) = unsafe { (i32::from((*address).ss_family), ip(address)) };
        match ip {
            Some(ip) => Client::Address(ip),
            None if family == libc::AF_UNIX => Client::UnixSocket,
            None => Client::Unknown,
        }
    }

    /// The matched line.
    pub(crate) fn line(&self) -> Line {
        let method = self.method();
        let entry = match self.hba() {
            Some(hba) if method == Method::Trust => role_column::matching_entry(hba, self.role_name()),
            _ => Entry::Name,
        };
        Line { method, entry, verifies_certificate: self.has_verified_certificate() }
    }

    /// Where the matched line is.
    pub(crate) fn place(&self) -> Option<HbaPlace> {
        let line = self.hba()?;
        Some(HbaPlace::new(&hba_line::file(line), u32::try_from(line.linenumber).ok()?))
    }

    /// Adds to the error that is being made what core's log has of the matched line.
    ///
    /// # Safety
    /// Between `errstart` and `errfinish`, from a plain frame.
    pub(super) unsafe fn log_matched_line(&self) {
        if let Some(line) = self.hba().filter(|line| !line.rawline.is_null()) {
            // SAFETY: as above.
            unsafe { version::log_matched_line(line) };
        }
    }

    /// The service of a `pam` line of ours.
    pub(crate) fn own_service(&self) -> Option<&str> {
        // The line lives as long as the login.
        hba_line::own_service(self.hba()?)
    }

    /// How the matched line authenticates.
    pub(crate) fn method(&self) -> Method {
        self.hba().map_or(Method::Other(None), hba_line::method)
    }

    /// Whether `pg_hba.conf` has the same line for this connection if the client gives `name` for its own.
    pub(crate) fn has_the_same_line_as(&self, name: &CStr) -> bool {
        let (sent, line) = (self.fields().user_name, self.fields().hba);
        // hba.c, `hba_getauthmethod`: "check_hba(port);", which sets `port->hba`.
        // SAFETY: a live Port of this process, whose name is only read; both fields are put back, also after an
        // error, which the boundary makes a panic.
        unsafe {
            (*self.0).user_name = name.as_ptr().cast_mut();
            let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pg_guard_ffi_boundary(|| libpq::hba_getauthmethod(self.0));
            }));
            let found = std::mem::replace(&mut (*self.0).hba, line);
            (*self.0).user_name = sent;
            asked.unwrap_or_else(|error| std::panic::resume_unwind(error));
            found == line
        }
    }

    /// Whether the `oauth` line leaves it to the validator which role an identity is (`delegate_ident_mapping=1`).
    pub(crate) fn delegates_mapping(&self) -> bool {
        self.oauth_line().is_some_and(|line| line.delegates_mapping)
    }

    /// The `scope` of an `oauth` line.
    pub(crate) fn oauth_scope(&self) -> Option<String> {
        // SAFETY: the parser of pg_hba.conf made the line; its text is NUL-terminated, or null where it was not given.
        unsafe { text(self.oauth_line()?.scope) }
    }

    fn oauth_line(&self) -> Option<version::OAuthLine> {
        version::oauth_line(self.hba()?)
    }

    /// Whether the line demands a client certificate that names the role (`clientcert=verify-full`).
    fn has_verified_certificate(&self) -> bool {
        self.hba().is_some_and(|hba| hba.clientcert == libpq::ClientCertMode::clientCertFull)
    }

    /// Whether nobody between the client and the server can read along: TLS, GSS encryption, a
    /// Unix socket or loopback.
    pub(crate) fn is_private(&self) -> bool {
        self.fields().ssl_in_use || self.client().is_local() || self.is_gss_encrypted()
    }

    fn is_gss_encrypted(&self) -> bool {
        let Some(is_encrypted) = GSS_ENCRYPTION.get() else { return false };
        // SAFETY: a live Port; the function tests `port->gss` for null itself.
        unsafe { is_encrypted(self.0) }
    }

    /// Whether this is a physical replication connection.
    pub(crate) fn is_physical_replication(&self) -> bool {
        // SAFETY: plain globals (walsender.c) set while the start-up packet was read.
        unsafe { pg_sys::am_walsender && !pg_sys::am_db_walsender }
    }

    /// Cuts the name the client sent down to the role it means, a beginning of it.
    ///
    /// In place, since core holds a pointer to the very bytes since before the login (postmaster.c,
    /// `BackendRun`), and takes the session's role from there.
    pub(crate) fn cut_role_name(&self, role: &CStr) {
        let (length, sent) = (role.count_bytes(), self.role_name().to_bytes());
        if length > 0 && length < sent.len() && sent.starts_with(role.to_bytes()) {
            // SAFETY: within the string's own bytes, before its NUL.
            unsafe { *(*self.0).user_name.add(length) = 0 };
        }
    }

    /// Replaces the identity that core recorded, the role's name, by the one the token proved.
    ///
    /// A second `set_authn_id` is FATAL, so the stored value is overwritten in place. From 16 on
    /// `identity` is what `SYSTEM_USER` shows behind the method, and parallel workers are told it.
    pub(crate) fn overwrite_identity(&self, identity: &str) {
        let Ok(identity) = CString::new(identity) else { return };
        // SAFETY: the copy lives in TopMemoryContext, as the value that set_authn_id (auth.c) put
        // there; the old one is left to the process' end, a few bytes once.
        let copy = unsafe { pg_sys::MemoryContextStrdup(pg_sys::TopMemoryContext, identity.as_ptr()) };
        // SAFETY: a live Port, and the copy.
        unsafe { version::set_authn_id(self.0, copy) };
    }
}
