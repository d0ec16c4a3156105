//! Whether a session that a token has opened must end, by what the directory says since.

use super::accounts::AccountState;
use super::facts::{DirectoryFacts, MembershipWord};
use super::witness::{Measure, TokenWord, Witness, witness};
use crate::time::UnixTime;

/// What is known of a session's login.
#[derive(Clone, Copy, Debug)]
pub struct SessionFacts {
    /// Whether the token itself named the role's group.
    pub is_by_token: bool,
    /// When the token was issued.
    pub issued_at: UnixTime,
}

/// The code by which a session ends; `None` where it goes on. What is too old, lost or not known ends no session: who
/// is in was let in by what could be read.
pub fn ends_session(session: SessionFacts, facts: DirectoryFacts, measure: &Measure) -> Option<&'static str> {
    match facts.account {
        AccountState::Disabled => return Some("account_disabled"),
        AccountState::Gone => return Some("account_gone"),
        AccountState::Enabled { valid_from } | AccountState::Missing { valid_from }
            if session.issued_at < valid_from =>
        {
            return Some("sessions_revoked");
        }
        _ => {}
    }
    if facts.membership == MembershipWord::NeverRead {
        return None;
    }
    let token = if session.is_by_token { TokenWord::Member } else { TokenWord::Silent };
    match witness(token, session.issued_at, facts.membership, measure) {
        Witness::NotMember { .. } => Some("not_in_group"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ISSUED: UnixTime = UnixTime::new(1_000_000);

    fn code(is_by_token: bool, membership: MembershipWord, account: AccountState) -> Option<&'static str> {
        let measure = Measure {
            max_stale: Duration::from_secs(3_600),
            clock_skew: Duration::from_secs(60),
            now: UnixTime::new(2_000_000),
        };
        let session = SessionFacts { is_by_token, issued_at: ISSUED };
        ends_session(session, DirectoryFacts { membership, account }, &measure)
    }

    #[test]
    fn what_says_no_ends_a_session_and_nothing_else_does() {
        let at = |seconds: i64| UnixTime::new(1_000_000 + seconds);
        let yes = MembershipWord::Member { began_at: at(0) };
        let no = |seconds| MembershipWord::NotMember { began_at: at(seconds) };
        let enabled = |seconds| AccountState::Enabled { valid_from: at(seconds) };
        let missing = |seconds| AccountState::Missing { valid_from: at(seconds) };
        for is_by_token in [false, true] {
            for membership in [yes, MembershipWord::NeverRead, MembershipWord::Lost] {
                for account in [AccountState::Unknown, AccountState::Lost, enabled(0), missing(0)] {
                    assert_eq!(code(is_by_token, membership, account), None, "{membership:?} {account:?}");
                }
                for (account, expected) in [
                    (AccountState::Disabled, "account_disabled"),
                    (AccountState::Gone, "account_gone"),
                    (enabled(1), "sessions_revoked"),
                    (missing(1), "sessions_revoked"),
                ] {
                    assert_eq!(code(is_by_token, membership, account), Some(expected));
                }
            }
            assert_eq!(code(is_by_token, no(0), AccountState::Unknown), Some("not_in_group"));
        }
        // The token is newer than what says no.
        assert_eq!(code(true, no(-361), AccountState::Unknown), None);
        assert_eq!(code(true, no(-360), AccountState::Unknown), Some("not_in_group"));
        assert_eq!(code(false, no(-9_999), AccountState::Unknown), Some("not_in_group"));
    }
}
