//! Whether the holder of a token is a member of a group, by two witnesses: the token, which Entra wrote when it was
//! issued, and the directory, as a complete run read it.
//!
//! | token | directory | outcome |
//! |---|---|---|
//! | any | never read | the token's word |
//! | yes | yes | yes, by the token |
//! | yes | no | no, unless the token is newer |
//! | yes | lost | stale |
//! | no | yes | no, unless the directory is newer, and fresh |
//! | no | no, lost | no |
//! | silent, overage | yes | yes, by the directory, while it is fresh; else stale |
//! | silent, overage | no | no |
//! | silent, overage | lost | stale |
//!
//! A word is *newer* than another by more than [`BACKDATING`] and the clock skew. The directory is *fresh* for
//! `pgaad.directory_max_stale`, and not when its run is dated in the future. A "no" has no age: it holds until a newer
//! word lifts it.

use std::time::Duration;

use super::facts::MembershipWord;
use crate::time::UnixTime;

/// By how much Entra may date a token before the moment it was issued: `iat` and `nbf` of its tokens are five minutes
/// early.
const BACKDATING: Duration = Duration::from_secs(300);

/// What a token says of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenWord {
    /// Its `groups` holds the group's id.
    Member,
    /// Its `groups` does not.
    NotMember,
    /// It has no `groups`, or names in the place of ids.
    Silent,
    /// Its groups did not fit into it.
    Overage,
}

/// What the two say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Witness {
    /// A member, as the token says.
    ByToken,
    /// A member, as the directory says.
    ByDirectory {
        /// When the run began.
        began_at: UnixTime,
    },
    /// Not a member.
    NotMember {
        /// When the run began whose word this is; `None` where it is the token's.
        by_directory: Option<UnixTime>,
    },
    /// Neither says.
    Unsaid,
    /// The token says that its groups did not fit, and the directory nothing.
    Overage,
    /// Only the directory can say, and its word is too old, dated in the future, or lost.
    Stale {
        /// When the run began; `None` where its word is lost.
        began_at: Option<UnixTime>,
    },
}

/// What the words of two witnesses are measured by.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// `pgaad.directory_max_stale`.
    pub max_stale: Duration,
    /// `pgaad.clock_skew`.
    pub clock_skew: Duration,
    /// The server's clock.
    pub now: UnixTime,
}

impl Measure {
    /// Whether the directory's word may still let somebody in.
    pub(crate) fn is_fresh(&self, began_at: UnixTime) -> bool {
        // Nothing is fresh by a setting that cannot be used, whatever the clocks of Graph and of this machine say.
        !self.max_stale.is_zero()
            && began_at <= self.now.plus(self.clock_skew)
            && self.now <= began_at.plus(self.max_stale)
    }

    /// Whether a word of `time` is newer than one of `other`, whatever the clocks of the two witnesses.
    fn is_newer(&self, time: UnixTime, other: UnixTime) -> bool {
        time > other.plus(BACKDATING).plus(self.clock_skew)
    }
}

const NOT_BY_TOKEN: Witness = Witness::NotMember { by_directory: None };

/// Whether somebody is a member: by the token, issued at `issued_at`, and by the directory.
pub(crate) fn witness(
    token: TokenWord,
    issued_at: UnixTime,
    directory: MembershipWord,
    measure: &Measure,
) -> Witness {
    match (token, directory) {
        (TokenWord::Member, MembershipWord::NeverRead | MembershipWord::Member { .. }) => Witness::ByToken,
        (TokenWord::Member, MembershipWord::NotMember { began_at }) => {
            let counts = measure.is_newer(issued_at, began_at);
            if counts { Witness::ByToken } else { Witness::NotMember { by_directory: Some(began_at) } }
        }
        (TokenWord::NotMember, MembershipWord::Member { began_at }) => {
            let counts = measure.is_newer(began_at, issued_at) && measure.is_fresh(began_at);
            if counts { Witness::ByDirectory { began_at } } else { NOT_BY_TOKEN }
        }
        (TokenWord::NotMember, _) => NOT_BY_TOKEN,
        (TokenWord::Silent, MembershipWord::NeverRead) => Witness::Unsaid,
        (TokenWord::Overage, MembershipWord::NeverRead) => Witness::Overage,
        (TokenWord::Silent | TokenWord::Overage, MembershipWord::NotMember { began_at }) => {
            Witness::NotMember { by_directory: Some(began_at) }
        }
        (TokenWord::Silent | TokenWord::Overage, MembershipWord::Member { began_at }) => {
            if measure.is_fresh(began_at) {
                Witness::ByDirectory { began_at }
            } else {
                Witness::Stale { began_at: Some(began_at) }
            }
        }
        (TokenWord::Member | TokenWord::Silent | TokenWord::Overage, MembershipWord::Lost) => {
            Witness::Stale { began_at: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;
    const SKEW: i64 = 60;
    const MAX_STALE: i64 = 86_400;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::new(seconds)
    }

    fn measure() -> Measure {
        let span = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        Measure { max_stale: span(MAX_STALE), clock_skew: span(SKEW), now: at(NOW) }
    }

    fn outcome(token: TokenWord, issued_at: i64, directory: MembershipWord) -> Witness {
        witness(token, at(issued_at), directory, &measure())
    }

    fn yes(began_at: i64) -> MembershipWord {
        MembershipWord::Member { began_at: at(began_at) }
    }

    fn no(began_at: i64) -> MembershipWord {
        MembershipWord::NotMember { began_at: at(began_at) }
    }

    /// Every case: what the token says, what the directory says, and which of the two is newer. `-1` is the token by
    /// more than the margin, `0` neither, `1` the directory.
    #[test]
    fn all_words_of_both_witnesses_in_both_orders() {
        use MembershipWord::{Lost, NeverRead};
        use TokenWord::{Member, NotMember, Overage, Silent};
        use Witness as W;
        let margin = 300 + SKEW;
        for (newer, issued, began) in [
            (-1, NOW - 500, NOW - 500 - margin - 1),
            (0, NOW - 900, NOW - 900 + margin),
            (1, NOW - 900, NOW - 900 + margin + 1),
        ] {
            let old = NOW - MAX_STALE - 1;
            let (stale, lost) = (W::Stale { began_at: Some(at(old)) }, W::Stale { began_at: None });
            let (token, directory) = (NOT_BY_TOKEN, W::NotMember { by_directory: Some(at(began)) });
            let by_directory = W::ByDirectory { began_at: at(began) };
            let member_and_no = if newer < 0 { W::ByToken } else { directory };
            let none_and_yes = if newer > 0 { by_directory } else { token };
            let table = [
                (Member, [W::ByToken, W::ByToken, member_and_no, lost]),
                (NotMember, [token, none_and_yes, token, token]),
                (Silent, [W::Unsaid, by_directory, directory, lost]),
                (Overage, [W::Overage, by_directory, directory, lost]),
            ];
            for (word, outcomes) in table {
                let words = [NeverRead, yes(began), no(began), Lost];
                for (directory, expected) in words.into_iter().zip(outcomes) {
                    assert_eq!(outcome(word, issued, directory), expected, "{word:?} {directory:?} {newer}");
                }
                // A stale word lets nobody in, and keeps out whom it kept out.
                let expected = match word {
                    Member => W::ByToken,
                    NotMember => token,
                    Silent | Overage => stale,
                };
                assert_eq!(outcome(word, issued, yes(old)), expected, "{word:?} stale yes");
                let still_out = W::NotMember { by_directory: Some(at(old)) };
                let (newer_yes, older_yes, expected) = match word {
                    Member => (W::ByToken, still_out, old + margin),
                    NotMember => (token, token, old),
                    Silent | Overage => (still_out, still_out, old),
                };
                assert_eq!(outcome(word, issued, no(old)), newer_yes, "{word:?} stale no");
                assert_eq!(outcome(word, expected, no(old)), older_yes, "{word:?} stale no, no newer token");
            }
        }
    }

    #[test]
    fn stale_yes_is_none_even_where_the_token_is_older_still() {
        let old = NOW - MAX_STALE - 1;
        assert_eq!(outcome(TokenWord::NotMember, old - 10_000, yes(old)), NOT_BY_TOKEN);
        let fresh = Witness::ByDirectory { began_at: at(old + 1) };
        assert_eq!(outcome(TokenWord::NotMember, old - 10_000, yes(old + 1)), fresh);
    }

    #[test]
    fn token_backdated_by_five_minutes_and_by_a_clock_that_is_off_never_lets_a_removed_member_in() {
        // Issued a moment before the member was removed and the run began.
        let began = NOW - 1_000;
        let out = Witness::NotMember { by_directory: Some(at(began)) };
        for early in 0..=300 + SKEW {
            assert_eq!(outcome(TokenWord::Member, began - early, no(began)), out);
            assert_eq!(outcome(TokenWord::Member, began + early, no(began)), out);
        }
        assert_eq!(outcome(TokenWord::Member, began + 300 + SKEW + 1, no(began)), Witness::ByToken);
    }

    #[test]
    fn word_is_fresh_to_the_second_and_not_from_the_future() {
        for (began, expected) in [
            (NOW - MAX_STALE, true),
            (NOW - MAX_STALE - 1, false),
            (NOW, true),
            (NOW + SKEW, true),
            (NOW + SKEW + 1, false),
            (i64::MAX, false),
            (i64::MIN, false),
        ] {
            let word = outcome(TokenWord::Silent, NOW, yes(began));
            assert_eq!(matches!(word, Witness::ByDirectory { .. }), expected, "{began}");
        }
        assert_eq!(outcome(TokenWord::NotMember, NOW - 10_000, yes(NOW + SKEW + 1)), NOT_BY_TOKEN);
        // By no age at all nothing is, not even what Graph's clock, which may be ahead, dates a moment from now.
        let none = Measure { max_stale: Duration::ZERO, ..measure() };
        for began in [NOW - 1, NOW, NOW + 1, NOW + SKEW] {
            assert!(!none.is_fresh(at(began)), "{began}");
        }
    }
}
