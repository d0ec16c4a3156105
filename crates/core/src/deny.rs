//! The deny list: whom no role opens to, whatever their token says, and until when.
//!
//! It lies in security labels of `azure_ad_user`. A label is as transactional and as replicated as the role, can be
//! read before there is a database, and everybody can read it: so an entry does not hold an id but its digest.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::guid::TenantId;
use crate::time::UnixTime;

/// How many labels hold the list.
pub const LABELS: usize = 32;
/// Longest label, in bytes. One that PostgreSQL stores out of line cannot be read before there is a database, and would
/// end every login of the server.
pub const MAX_LABEL_BYTES: usize = 1_800;

/// An entry as text: who made it, the digest in base64url, the end in hexadecimal seconds.
const ENTRY_BYTES: usize = 1 + DIGEST_CHARS + END_CHARS;
const DIGEST_CHARS: usize = 22;
const END_CHARS: usize = 9;
const ENTRIES_OF_LABEL: usize = MAX_LABEL_BYTES / ENTRY_BYTES;
/// Most entries.
pub const MAX_ENTRIES: usize = LABELS * ENTRIES_OF_LABEL;

/// Most entries while one who is no superuser adds to them: so an administrator leaves room for a superuser's.
pub const MAX_ENTRIES_OF_ADMINISTRATORS: usize = MAX_ENTRIES - 256;

/// The end of what has none; the year 4147.
const FOREVER: i64 = 0xf_ffff_ffff;

/// By what somebody is shut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeniedBy {
    /// The object id of a user, a program or a managed identity: `oid`.
    ObjectId,
    /// One token: `uti`.
    TokenId,
    /// A program, whether it acts for itself or a user signed in with it: `appid` or `azp`, and the agent.
    ClientId,
}

impl DeniedBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ObjectId, Self::TokenId, Self::ClientId];

    /// The claim, by its word in the log and the views.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ObjectId => "oid",
            Self::TokenId => "uti",
            Self::ClientId => "appid",
        }
    }
}

impl fmt::Display for DeniedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who is meant, so that only who knows the id can tell: 16 bytes of SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark([u8; 16]);

impl Mark {
    /// That of an id of this tenant. GUIDs are written in lower case, as they print.
    pub fn new(by: DeniedBy, tenant: TenantId, id: &str) -> Self {
        let text = format!("pgaad deny {by} {tenant} {id}");
        let digest = digest(&SHA256, text.as_bytes());
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// The mark as bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// The mark of these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// One who is shut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Who.
    pub mark: Mark,
    /// Until when; `None` for ever.
    pub until: Option<UnixTime>,
    /// Whether a superuser said so: then it holds for the roles of superusers and administrators, too.
    pub by_superuser: bool,
}

/// A denial as text.
type Entry = [u8; ENTRY_BYTES];

impl Denial {
    fn is_in_force(&self, now: UnixTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn to_entry(self) -> Entry {
        let author = if self.by_superuser { 's' } else { 'a' };
        let until = self.until.map_or(FOREVER, |until| until.seconds().clamp(0, FOREVER));
        let text = format!("{author}{}{until:0END_CHARS$x}", self.mark);
        text.as_bytes().first_chunk().copied().unwrap_or([0; ENTRY_BYTES])
    }

    fn of_entry(entry: &Entry) -> Option<Self> {
        let text = std::str::from_utf8(entry).ok()?;
        let (author, rest) = text.split_at_checked(1)?;
        let (mark, end) = rest.split_at_checked(DIGEST_CHARS)?;
        let end = is_hex(end.as_bytes()).then(|| i64::from_str_radix(end, 16).ok())??;
        Some(Self {
            mark: Mark(URL_SAFE_NO_PAD.decode(mark).ok()?.try_into().ok()?),
            until: (end < FOREVER).then(|| UnixTime::new(end)),
            by_superuser: match author {
                "s" => true,
                "a" => false,
                _ => return None,
            },
        })
    }
}

/// Whether [`Denial::of_entry`] reads it, at a tenth of the cost: every login asks that of a thousand entries.
fn is_entry(entry: &Entry) -> bool {
    let [author, rest @ ..] = entry;
    let (digest, end) = rest.split_at(DIGEST_CHARS);
    // Without an early end, so that the compiler can look at many bytes at once.
    let is_of_base64url = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let is_digest = digest.iter().fold(true, |all, byte| all & is_of_base64url(byte));
    // The last of 22 characters has two bits of the sixteen bytes, and four that are zero.
    matches!(author, b's' | b'a')
        && is_digest
        && digest.last().is_some_and(|c| b"AQgw".contains(c))
        && is_hex(end)
}

fn is_hex(text: &[u8]) -> bool {
    text.iter().fold(true, |all, byte| all & byte.is_ascii_hexdigit())
}

/// Why the list stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotChanged {
    /// There is no room for one more.
    Full,
    /// A superuser has shut them out, and the caller is not a superuser.
    BySuperuser,
    /// A label is not one of ours, and would be lost.
    Damaged,
}

/// Whom no role opens to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList {
    /// Each is a denial.
    entries: Vec<Entry>,
    /// A label cannot be read. Then everybody is shut out: nobody can tell who is meant.
    is_damaged: bool,
}

impl DenyList {
    /// The list that these labels add up to.
    pub fn read<T: AsRef<str>>(labels: impl IntoIterator<Item = T>) -> Self {
        let mut list = Self::default();
        for label in labels {
            let label = label.as_ref().as_bytes();
            let (entries, rest) = label.as_chunks();
            if rest.is_empty() && label.len() <= MAX_LABEL_BYTES && entries.iter().all(is_entry) {
                list.entries.extend_from_slice(entries);
            } else {
                list.is_damaged = true;
            }
        }
        list
    }

    /// Whether a label cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Those who are on the list, in force or not.
    pub fn denials(&self) -> impl Iterator<Item = Denial> {
        self.entries.iter().filter_map(Denial::of_entry)
    }

    /// The labels that hold the list; `None` for one that holds nothing.
    pub fn labels(&self) -> [Option<String>; LABELS] {
        let mut chunks = self.entries.chunks(ENTRIES_OF_LABEL);
        std::array::from_fn(|_| chunks.next().and_then(|entries| String::from_utf8(entries.concat()).ok()))
    }

    /// Shuts somebody out. Those whose time is over are dropped.
    ///
    /// # Errors
    /// [`NotChanged`]; a superuser's word stands until a superuser changes it.
    pub fn deny(&mut self, denial: Denial, now: UnixTime) -> Result<(), NotChanged> {
        self.forget(denial.mark, denial.by_superuser)?;
        self.retain(|other| other.is_in_force(now));
        let most = if denial.by_superuser { MAX_ENTRIES } else { MAX_ENTRIES_OF_ADMINISTRATORS };
        if self.entries.len() >= most {
            return Err(NotChanged::Full);
        }
        self.entries.push(denial.to_entry());
        Ok(())
    }

    /// Lets somebody in again; whether they were on the list.
    ///
    /// # Errors
    /// As [`DenyList::deny`].
    pub fn forget(&mut self, mark: Mark, is_superuser: bool) -> Result<bool, NotChanged> {
        if self.is_damaged {
            return Err(NotChanged::Damaged);
        }
        let before = self.entries.len();
        if !is_superuser && self.denials().any(|denial| denial.mark == mark && denial.by_superuser) {
            return Err(NotChanged::BySuperuser);
        }
        self.retain(|denial| denial.mark != mark);
        Ok(self.entries.len() < before)
    }

    fn retain(&mut self, stays: impl Fn(Denial) -> bool) {
        self.entries.retain(|entry| Denial::of_entry(entry).is_some_and(&stays));
    }

    /// Whether nobody is on the list.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether one of these marks is shut out at `now`: by what, and until when. What an Entra administrator said does
    /// not hold for `is_protected` roles, those of superusers and administrators.
    pub fn find(
        &self,
        marks: &[(DeniedBy, Mark)],
        is_protected: bool,
        now: UnixTime,
    ) -> Option<(DeniedBy, Denial)> {
        let marks: Vec<_> = marks.iter().map(|(by, mark)| (*by, mark.to_string())).collect();
        let by_mark = |entry: &Entry| {
            let digest = entry.get(1..=DIGEST_CHARS)?;
            marks.iter().find(|(_, mark)| mark.as_bytes() == digest).map(|(by, _)| *by)
        };
        self.entries.iter().find_map(|entry| {
            let (by, denial) = (by_mark(entry)?, Denial::of_entry(entry)?);
            (denial.is_in_force(now) && (denial.by_superuser || !is_protected)).then_some((by, denial))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_look_at_an_entry_sees_what_reading_it_sees() {
        let mark = Mark::from_bytes(*b"0123456789abcdef");
        let entry = Denial { mark, until: Some(UnixTime::new(0x1_2345_6789)), by_superuser: true }.to_entry();
        assert!(is_entry(&entry));
        let mut refused = 0;
        for at in 0..ENTRY_BYTES {
            for byte in 0..=u8::MAX {
                let mut changed = entry;
                changed[at] = byte;
                assert_eq!(is_entry(&changed), Denial::of_entry(&changed).is_some(), "{at} {byte}");
                refused += usize::from(!is_entry(&changed));
            }
        }
        assert!(refused > 20 * 190, "{refused}");
        for (one, other) in (1..ENTRY_BYTES).flat_map(|one| (0..one).map(move |other| (one, other))) {
            let mut changed = entry;
            (changed[one], changed[other]) = (b'!', b'!');
            assert!(!is_entry(&changed), "{one} {other}");
        }
    }
}
