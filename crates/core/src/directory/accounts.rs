//! The accounts of users, as a run has found them.

use super::record_file::{Bytes, HEADER_BYTES, Header, RecordFileError, RecordKind};
use crate::guid::{ObjectId, TenantId};
use crate::time::UnixTime;

/// Of a record: the id, since when sessions are valid, when the user was last seen, the state, seven bytes to spare.
const RECORD: usize = 40;

/// What the directory says of a user's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountState {
    /// Nothing: `pgaad.directory_accounts` is off, or no run has asked for the user.
    #[default]
    Unknown,
    /// It is enabled (`accountEnabled`).
    Enabled {
        /// Tokens issued before are void (`signInSessionsValidFromDateTime`).
        valid_from: UnixTime,
    },
    /// It is disabled.
    Disabled,
    /// There was no such user the last time, and there is too little to go by: one answer may be an old replica's.
    Missing {
        /// As before.
        valid_from: UnixTime,
    },
    /// There is no such user.
    Gone,
    /// A run has asked for accounts, and what it found is lost or cannot be read.
    Lost,
}

/// One user's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub id: ObjectId,
    /// What is known.
    pub state: AccountState,
    /// When a role was last bound to the user, or the user last logged in.
    pub seen_at: UnixTime,
}

const ENABLED: u8 = 1;
const DISABLED: u8 = 2;
const MISSING: u8 = 3;
const GONE: u8 = 4;

impl Account {
    /// `None` for what is not known.
    fn encode(&self) -> Option<[u8; RECORD]> {
        let (code, valid_from) = match self.state {
            AccountState::Enabled { valid_from } => (ENABLED, valid_from.seconds()),
            AccountState::Missing { valid_from } => (MISSING, valid_from.seconds()),
            AccountState::Disabled => (DISABLED, 0),
            AccountState::Gone => (GONE, 0),
            AccountState::Unknown | AccountState::Lost => return None,
        };
        let seen_at = self.seen_at.seconds().to_le_bytes();
        let fields =
            [&self.id.to_bytes()[..], &valid_from.to_le_bytes(), &seen_at, &[code], &[0; 7]].concat();
        fields.first_chunk().copied()
    }

    fn decode(record: &[u8; RECORD]) -> Option<Self> {
        let (id, rest) = record.split_first_chunk()?;
        let (valid_from, rest) = rest.split_first_chunk()?;
        let (seen_at, rest) = rest.split_first_chunk()?;
        let [valid_from, seen_at] =
            [valid_from, seen_at].map(|time| UnixTime::new(i64::from_le_bytes(*time)));
        let state = match *rest.first()? {
            ENABLED => AccountState::Enabled { valid_from },
            MISSING => AccountState::Missing { valid_from },
            DISABLED => AccountState::Disabled,
            GONE => AccountState::Gone,
            _ => return None,
        };
        Some(Self { id: ObjectId::from_bytes(*id), state, seen_at })
    }
}

/// A file of accounts; of two of one id the first counts.
pub fn encode(tenant: TenantId, began_at: UnixTime, mut accounts: Vec<Account>) -> Vec<u8> {
    accounts.sort_by_key(|account| account.id);
    accounts.dedup_by_key(|account| account.id);
    let records: Vec<[u8; RECORD]> = accounts.iter().filter_map(Account::encode).collect();
    let count = u64::try_from(records.len()).unwrap_or_default();
    let records = records.concat();
    let header = Header::new(RecordKind::Accounts, tenant, None, began_at, count, &records);
    [header.encode().as_slice(), &records].concat()
}

/// What a file of accounts says of `user`.
///
/// # Errors
/// [`RecordFileError`]
pub fn find(
    file: &(impl Bytes + ?Sized),
    tenant: TenantId,
    user: ObjectId,
) -> Result<AccountState, RecordFileError> {
    let header = header_of(file, tenant)?;
    match header.find::<RECORD>(file, user)? {
        None => Ok(AccountState::Unknown),
        Some(record) => Account::decode(&record).map(|account| account.state).ok_or(RecordFileError::Damaged),
    }
}

/// When the run began, and all accounts that a file holds, in the order of their ids; it is checked whole.
///
/// # Errors
/// [`RecordFileError`]
pub fn decode(file: &[u8], tenant: TenantId) -> Result<(UnixTime, Vec<Account>), RecordFileError> {
    let header = header_of(file, tenant)?;
    let records = file.get(HEADER_BYTES..).unwrap_or_default();
    let accounts = records.as_chunks::<RECORD>().0.iter().map(Account::decode).collect::<Option<Vec<_>>>();
    match accounts {
        Some(accounts) if header.is_of::<RECORD>(records) => Ok((header.began_at, accounts)),
        _ => Err(RecordFileError::Damaged),
    }
}

fn header_of(file: &(impl Bytes + ?Sized), tenant: TenantId) -> Result<Header, RecordFileError> {
    let header = Header::read::<RECORD>(file, RecordKind::Accounts)?;
    if header.tenant == tenant { Ok(header) } else { Err(RecordFileError::Another) }
}

#[cfg(test)]
mod tests {
    use super::super::members;
    use super::*;

    const NOW: UnixTime = UnixTime::new(1_000_000);

    fn tenant() -> TenantId {
        "7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10".parse().unwrap()
    }

    fn user(number: u8) -> ObjectId {
        ObjectId::from_bytes([number; 16])
    }

    fn accounts() -> Vec<Account> {
        let states = [
            AccountState::Enabled { valid_from: UnixTime::new(7) },
            AccountState::Disabled,
            AccountState::Missing { valid_from: UnixTime::new(-9) },
            AccountState::Gone,
        ];
        (1..).map(user).zip(states).map(|(id, state)| Account { id, state, seen_at: NOW }).collect()
    }

    #[test]
    fn each_account_is_found_with_its_state_and_others_are_unknown() {
        let shuffled = accounts().into_iter().rev().collect();
        let file = encode(tenant(), NOW, shuffled);
        for Account { id, state, .. } in accounts() {
            assert_eq!(find(&file[..], tenant(), id), Ok(state));
        }
        assert_eq!(find(&file[..], tenant(), user(99)), Ok(AccountState::Unknown));
        assert_eq!(decode(&file, tenant()), Ok((NOW, accounts())));
    }

    #[test]
    fn what_is_not_known_is_not_written_and_of_two_the_first_counts() {
        let unknown = [AccountState::Unknown, AccountState::Lost].map(|state| Account {
            id: user(1),
            state,
            seen_at: NOW,
        });
        assert_eq!(encode(tenant(), NOW, unknown.to_vec()), encode(tenant(), NOW, Vec::new()));
        let twice = [AccountState::Disabled, AccountState::Gone].map(|state| Account {
            id: user(1),
            state,
            seen_at: NOW,
        });
        let file = encode(tenant(), NOW, twice.to_vec());
        assert_eq!(find(&file[..], tenant(), user(1)), Ok(AccountState::Disabled));
    }

    #[test]
    fn file_of_another_tenant_or_kind_or_with_a_state_that_is_none_says_nothing() {
        let file = encode(tenant(), NOW, accounts());
        let other: TenantId = "99999999-2222-3333-4444-555555555555".parse().unwrap();
        assert_eq!(find(&file[..], other, user(1)), Err(RecordFileError::Another));
        assert_eq!(decode(&file, other), Err(RecordFileError::Another));
        let members = members::encode(tenant(), user(1), NOW, vec![user(1), user(2)]);
        assert_eq!(find(&members[..], tenant(), user(1)), Err(RecordFileError::Another));
        let mut damaged = file.clone();
        damaged[128 + 32] = 9;
        assert_eq!(find(&damaged[..], tenant(), user(1)), Err(RecordFileError::Damaged));
        assert_eq!(decode(&damaged, tenant()), Err(RecordFileError::Damaged));
        assert_eq!(find(&file[..file.len() - 1], tenant(), user(1)), Err(RecordFileError::Damaged));
        // Another id that is one as well: only who reads the file whole can tell.
        let mut other = file.clone();
        other[128] = 0;
        assert_eq!(find(&other[..], tenant(), user(2)), Ok(AccountState::Disabled));
        assert_eq!(decode(&other, tenant()), Err(RecordFileError::Damaged));
    }
}
