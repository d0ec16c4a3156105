//! The role column of a line of `pg_hba.conf`, evaluated as core does: to learn which entry matched.

use std::ffi::CStr;

use pgaad_core::gate::Entry;
use pgrx::prelude::*;

use super::catalog::Marker;
use super::hba_line::{Word, words};
use super::libpq;

/// The entry of the line's role column by which `name` matched it: the first one that does (hba.c, `check_role`).
///
/// Should none match any more, since a membership was revoked a moment ago, the answer is the entry that is
/// refused most often of those that are there.
pub(super) fn matching_entry(hba: &libpq::HbaLine, name: &CStr) -> Entry {
    // SAFETY: the column of a line that hba.c has parsed, which outlives this frame.
    let words = unsafe { words(hba.roles.cast()) };
    match words.iter().find(|word| matches(word, name)) {
        Some(word) => kind(word),
        None if words.iter().any(|word| kind(word) == Entry::Members) => Entry::Members,
        None => Entry::Anybody,
    }
}

/// What kind of entry a word is.
fn kind(word: &Word<'_>) -> Entry {
    match word.group() {
        Some(group) if group == Marker::User.name() => Entry::Members,
        Some(_) => Entry::Anybody,
        None if word.is_keyword(c"all") || word.is_pattern() => Entry::Anybody,
        None => Entry::Name,
    }
}

/// One round of `check_role`.
fn matches(word: &Word<'_>, name: &CStr) -> bool {
    if let Some(group) = word.group() {
        return is_member(name, group);
    }
    word.is_keyword(c"all") || if word.is_pattern() { word.pattern_matches(name) } else { word.text == name }
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
