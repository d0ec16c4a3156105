//! What the text of one setting means.

use std::path::PathBuf;
use std::time::Duration;

use super::table::Setting;
use crate::guid::{ObjectId, TenantId};
use crate::reason::Reason;

/// Longest path of a file, in bytes: that of Linux (limits.h, `PATH_MAX`, without the NUL).
pub const MAX_PATH_BYTES: usize = 4095;

/// Most tenants that `pgaad.tenant_id` may name.
pub const MAX_TENANTS: usize = 8;

/// Where the texts are, and how PostgreSQL reads values.
pub trait Source {
    /// The value in force, as written.
    fn text(&self, setting: &'static Setting) -> String;
    /// A boolean as PostgreSQL reads one.
    fn bool(&self, text: &str) -> Option<bool>;
    /// A span as PostgreSQL reads one: a number of seconds, or with a unit.
    fn duration(&self, text: &str) -> Option<Duration>;
    /// A size as PostgreSQL reads one: a number of bytes, or with a unit.
    fn bytes(&self, text: &str) -> Option<usize>;
    /// Whether the text is the URL of a proxy that can be used.
    fn is_proxy(&self, text: &str) -> bool;
}

/// The unit of the longest spans.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// The text of one setting, and where it is from.
pub(super) struct Value<'a, S: Source> {
    source: &'a S,
    setting: &'static Setting,
}

impl<'a, S: Source> Value<'a, S> {
    pub(super) fn new(source: &'a S, setting: &'static Setting) -> Self {
        Self { source, setting }
    }

    /// `expected` says what the value may be.
    pub(super) fn typed<T>(
        &self,
        expected: impl FnOnce() -> String,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Reason> {
        let text = self.source.text(self.setting);
        parse(text.trim()).ok_or_else(|| Reason::SettingInvalid {
            setting: self.setting.name(),
            value: (!self.setting.is_hidden()).then_some(text),
            expected: expected(),
        })
    }

    /// Empty means not set.
    pub(super) fn optional<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Reason> {
        let parse = |text: &str| if text.is_empty() { Some(None) } else { parse(text).map(Some) };
        self.typed(|| expected.to_owned(), parse)
    }

    pub(super) fn bool(&self) -> Result<bool, Reason> {
        self.typed(|| "on or off".to_owned(), |text| self.source.bool(text))
    }

    pub(super) fn duration(&self, least: Duration, most: Duration) -> Result<Duration, Reason> {
        let (from, to) = (least.as_secs(), most.as_secs());
        let expected =
            || format!("{from}s to {to}s: a whole number of seconds, or of a unit after it: s, min, h or d");
        self.typed(expected, |text| self.source.duration(text).filter(|span| (least..=most).contains(span)))
    }

    pub(super) fn bytes(&self, least: usize, most: usize) -> Result<usize, Reason> {
        let expected =
            || format!("{least}B to {most}B: a whole number of bytes, or of a unit after it: B or kB");
        self.typed(expected, |text| self.source.bytes(text).filter(|bytes| (least..=most).contains(bytes)))
    }

    /// Words are compared without regard to case, as PostgreSQL's enumerations are.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Reason> {
        let expected = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", or ");
        self.typed(expected, |text| {
            words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
        })
    }

    /// A relative path would mean the data directory to one process and something else to a person.
    pub(super) fn path(&self) -> Result<Option<PathBuf>, Reason> {
        self.optional("an absolute path", absolute_path)
    }
}

pub(super) fn absolute_path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text)).filter(|path| path.is_absolute() && text.len() <= MAX_PATH_BYTES)
}

/// An accepted audience. A text that no token can have, since it was copied with something else, is refused.
pub(super) fn audience(entry: &str) -> Option<String> {
    let entry = entry.trim();
    let is_one = !entry.is_empty()
        && !entry.ends_with("/.default")
        && !entry.contains(|c: char| c.is_whitespace() || "'\"`;".contains(c));
    // Tokens write application ids in lower case.
    let id = || entry.parse::<ObjectId>().map_or_else(|_| entry.to_owned(), |id| id.to_string());
    is_one.then(id)
}

/// Tenants, each named once: their order counts, and so does each of their places in shared memory.
pub(super) fn tenant_ids(text: &str) -> Option<Vec<TenantId>> {
    let ids: Vec<TenantId> = text.split(',').map(|id| id.trim().parse().ok()).collect::<Option<_>>()?;
    let is_repeated = |(place, id): (usize, &TenantId)| ids.iter().take(place).any(|before| before == id);
    (ids.len() <= MAX_TENANTS && !ids.iter().enumerate().any(is_repeated)).then_some(ids)
}

/// Scopes are words: `scp` separates them by spaces, a list of ours by commas or spaces.
pub(super) fn scopes(text: &str) -> Option<Vec<String>> {
    let scopes: Vec<_> =
        text.split([',', ' ']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
    // A list of nothing must not pass for no list, which accepts any.
    (!scopes.is_empty()).then_some(scopes)
}
