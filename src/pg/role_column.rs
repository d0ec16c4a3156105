//! The role column of a line of `pg_hba.conf`, evaluated as core does: to learn which entry matched.

use std::ffi::CStr;

use pgaad_core::gate::Entry;
use pgrx::PgList;
use pgrx::prelude::*;

use super::catalog::Marker;
use super::libpq;

/// The entry of the line's role column by which `name` matched it: the first one that does (hba.c, `check_role`).
///
/// Should none match any more, since a membership was revoked a moment ago, the answer is the entry that is
/// refused most often of those that are there.
pub(super) fn matching_entry(hba: &libpq::HbaLine, name: &CStr) -> Entry {
    // SAFETY: a List of AuthToken pointers made by hba.c (`parse_hba_line`), null when empty.
    let tokens = unsafe { PgList::<libpq::AuthToken>::from_pg(hba.roles.cast()) };
    // SAFETY: each element is a live AuthToken of that list with a NUL-terminated string.
    let mut entries = tokens.iter_ptr().map(|token| unsafe { RoleEntry::new(&*token) });
    if let Some(entry) = entries.find(|entry| entry.matches(name)) {
        return entry.kind();
    }
    // SAFETY: as above.
    let mut kinds = tokens.iter_ptr().map(|token| unsafe { RoleEntry::new(&*token) }.kind());
    if kinds.any(|kind| kind == Entry::Members) { Entry::Members } else { Entry::Anybody }
}

struct RoleEntry<'a> {
    token: &'a libpq::AuthToken,
    text: &'a CStr,
}

impl<'a> RoleEntry<'a> {
    /// # Safety
    /// The token has a NUL-terminated string.
    unsafe fn new(token: &'a libpq::AuthToken) -> Self {
        // SAFETY: the promise of the caller.
        Self { token, text: unsafe { CStr::from_ptr(token.string) } }
    }

    /// The role behind the `+`, which counts unless it is quoted: "#define token_is_member_check(t) (!t->quoted &&
    /// t->string[0] == '+')".
    fn group(&self) -> Option<&'a CStr> {
        let group = self.text.to_bytes_with_nul().strip_prefix(b"+").filter(|_| !self.token.quoted)?;
        CStr::from_bytes_with_nul(group).ok()
    }

    /// "#define token_is_keyword(t, k) (!t->quoted && strcmp(t->string, k) == 0)".
    fn is_all(&self) -> bool {
        !self.token.quoted && self.text == c"all"
    }

    fn kind(&self) -> Entry {
        match self.group() {
            Some(group) if group == Marker::User.name() => Entry::Members,
            Some(_) => Entry::Anybody,
            None if self.is_all() || self.is_pattern() => Entry::Anybody,
            None => Entry::Name,
        }
    }

    /// One round of `check_role`.
    fn matches(&self, name: &CStr) -> bool {
        if let Some(group) = self.group() {
            return is_member(name, group);
        }
        self.is_all() || if self.is_pattern() { self.pattern_matches(name) } else { self.text == name }
    }

    /// Before 16 there are no patterns.
    #[cfg(feature = "pg15")]
    fn is_pattern(&self) -> bool {
        false
    }

    #[cfg(feature = "pg15")]
    fn pattern_matches(&self, _name: &CStr) -> bool {
        false
    }

    /// "#define token_has_regexp(t) (t->regex != NULL)".
    #[cfg(not(feature = "pg15"))]
    fn is_pattern(&self) -> bool {
        !self.token.regex.is_null()
    }

    /// hba.c, `regexec_auth_token`:
    ///   wmatchstr = palloc((strlen(match) + 1) * sizeof(pg_wchar));
    ///   wmatchlen = pg_mb2wchar_with_len(match, wmatchstr, strlen(match));
    ///   r = pg_regexec(token->regex, wmatchstr, wmatchlen, 0, NULL, nmatch, pmatch, 0);
    #[cfg(not(feature = "pg15"))]
    fn pattern_matches(&self, name: &CStr) -> bool {
        use std::ptr;

        use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

        const REG_OKAY: i32 = 0;
        let mut wide: Vec<pg_sys::pg_wchar> = vec![0; name.count_bytes() + 1];
        let Ok(bytes) = i32::try_from(name.count_bytes()) else { return false };
        // SAFETY: the name has that many bytes, and the buffer room for as many characters and a zero.
        let length = unsafe { pg_sys::pg_mb2wchar_with_len(name.as_ptr(), wide.as_mut_ptr(), bytes) };
        let Ok(length) = usize::try_from(length) else { return false };
        // SAFETY: an expression that hba.c compiled; the text is that long; no places of matches are asked for.
        let found = unsafe {
            pg_guard_ffi_boundary(|| {
                let text = wide.as_ptr().cast();
                libpq::pg_regexec(self.token.regex, text, length, 0, ptr::null_mut(), 0, ptr::null_mut(), 0)
            })
        };
        found == REG_OKAY
    }
}

/// hba.c, `is_member`: "See if user is directly or indirectly a member of role. For this purpose, a superuser is not
/// considered to be automatically a member of the role".
fn is_member(name: &CStr, group: &CStr) -> bool {
    // SAFETY: C strings; a missing role is an invalid oid. hba.c has asked the same caches a moment ago.
    unsafe {
        let member = pg_sys::get_role_oid(name.as_ptr(), true);
        let group = pg_sys::get_role_oid(group.as_ptr(), true);
        member != pg_sys::InvalidOid
            && group != pg_sys::InvalidOid
            && pg_sys::is_member_of_role_nosuper(member, group)
    }
}
