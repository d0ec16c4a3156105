//! A line of `pg_hba.conf` as core's parser has left it (hba.h, `HbaLine`): how it authenticates, whether it is one of
//! ours, and the words of its columns.

use std::ffi::CStr;
use std::ptr;

use pgaad_core::gate::{Method, OtherMethod};
use pgrx::PgList;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::c_string::{c_str, text};
use super::libpq::{self, AuthToken, HbaLine, UserAuth};
use super::version;

/// How the line authenticates. The only place that says which lines leave the decision to pgaad.
pub(super) fn method(line: &HbaLine) -> Method {
    if let Some(oauth) = version::oauth_line(line) {
        // SAFETY: a string of the line, or null.
        let is_ours = unsafe { c_str(oauth.validator) } == Some(c"pgaad");
        return if is_ours { Method::TokenByOAuth } else { Method::Other(Some(OtherMethod::OAuth)) };
    }
    Method::Other(Some(match line.auth_method {
        UserAuth::uaTrust => return Method::Trust,
        UserAuth::uaPAM if own_service(line).is_some() => return Method::TokenByPam,
        UserAuth::uaPAM => OtherMethod::Pam,
        UserAuth::uaIdent => OtherMethod::Ident,
        UserAuth::uaPeer => OtherMethod::Peer,
        UserAuth::uaPassword => OtherMethod::Password,
        UserAuth::uaMD5 => OtherMethod::Md5,
        UserAuth::uaSCRAM => OtherMethod::Scram,
        UserAuth::uaGSS => OtherMethod::Gss,
        UserAuth::uaSSPI => OtherMethod::Sspi,
        UserAuth::uaBSD => OtherMethod::Bsd,
        UserAuth::uaLDAP => OtherMethod::Ldap,
        UserAuth::uaCert => OtherMethod::Cert,
        UserAuth::uaRADIUS => OtherMethod::Radius,
        _ => return Method::Other(None),
    }))
}

/// The PAM service of a line, if it is one of ours. CheckPAMAuth (auth.c): an absent name means `postgresql`.
pub(super) fn own_service(line: &HbaLine) -> Option<&str> {
    if line.auth_method != UserAuth::uaPAM {
        return None;
    }
    // SAFETY: a string of the line, or null.
    let service = unsafe { c_str(line.pamservice) }?.to_str().ok()?;
    is_our_service(service).then_some(service)
}

/// Whether a PAM service is one whose file names this module: `pgaad`, or `pgaad-…` so that two
/// majors can live on one host.
fn is_our_service(service: &str) -> bool {
    service == "pgaad" || service.strip_prefix("pgaad-").is_some_and(|rest| !rest.is_empty())
}

/// `pg_hba.conf`.
pub(super) fn main_file() -> String {
    // SAFETY: a C string of core's (guc.c), set at start.
    unsafe { text(pg_sys::HbaFileName) }.unwrap_or_default()
}

/// The file that a line is in.
pub(super) fn file(line: &HbaLine) -> String {
    // SAFETY: a string of the line, or null.
    unsafe { text(version::source_file(line)) }.unwrap_or_else(main_file)
}

/// A word of the column of databases or roles.
pub(super) struct Word<'a> {
    token: &'a AuthToken,
    /// The word without its quotes.
    pub(super) text: &'a CStr,
}

/// The words of a column.
///
/// # Safety
/// A list that core's parser made (`parse_hba_line`), null when empty, which lives as long as the words.
pub(super) unsafe fn words<'a>(column: *mut pg_sys::List) -> Vec<Word<'a>> {
    // SAFETY: as above; each element is an AuthToken with a NUL-terminated string.
    unsafe {
        let word = |token: *mut AuthToken| {
            let token = &*token;
            Word { token, text: c_str(token.string).unwrap_or_default() }
        };
        PgList::<AuthToken>::from_pg(column).iter_ptr().map(word).collect()
    }
}

impl<'a> Word<'a> {
    /// The role behind the `+`, which counts unless it is quoted: `#define token_is_member_check(t) (!t->quoted &&
    /// t->string[0] == '+')`.
    pub(super) fn group(&self) -> Option<&'a CStr> {
        let group = self.text.to_bytes_with_nul().strip_prefix(b"+").filter(|_| !self.token.quoted)?;
        CStr::from_bytes_with_nul(group).ok()
    }

    /// "#define token_is_keyword(t, k) (!t->quoted && strcmp(t->string, k) == 0)".
    pub(super) fn is_keyword(&self, keyword: &CStr) -> bool {
        !self.token.quoted && self.text == keyword
    }

    /// Whether it is a regular expression, `/…`.
    pub(super) fn is_pattern(&self) -> bool {
        !version::regex(self.token).is_null()
    }

    /// Whether it is a regular expression that matches `name`.
    ///
    /// hba.c, `regexec_auth_token`:
    ///   wmatchstr = palloc((strlen(match) + 1) * sizeof(pg_wchar));
    ///   wmatchlen = pg_mb2wchar_with_len(match, wmatchstr, strlen(match));
    ///   r = pg_regexec(token->regex, wmatchstr, wmatchlen, 0, NULL, nmatch, pmatch, 0);
    pub(super) fn pattern_matches(&self, name: &CStr) -> bool {
        // regex.h.
        const REG_OKAY: i32 = 0;
        let regex = version::regex(self.token);
        let Ok(bytes) = i32::try_from(name.count_bytes()) else { return false };
        if regex.is_null() {
            return false;
        }
        let mut wide: Vec<pg_sys::pg_wchar> = vec![0; name.count_bytes().saturating_add(1)];
        // SAFETY: the name has that many bytes, and the buffer room for as many characters and a zero.
        let length = unsafe { pg_sys::pg_mb2wchar_with_len(name.as_ptr(), wide.as_mut_ptr(), bytes) };
        let Ok(length) = usize::try_from(length) else { return false };
        // SAFETY: an expression that hba.c compiled; the text is that long; no places of matches are asked for.
        let found = unsafe {
            pg_guard_ffi_boundary(|| {
                let text = wide.as_ptr().cast();
                libpq::pg_regexec(regex.cast(), text, length, 0, ptr::null_mut(), 0, ptr::null_mut(), 0)
            })
        };
        found == REG_OKAY
    }
}
