//! The members of a group, as one complete run has found them.

use super::facts::MembershipWord;
use super::record_file::{Bytes, Header, RecordFileError, RecordKind};
use crate::guid::{ObjectId, TenantId};
use crate::time::UnixTime;

/// Of a record: an object id.
const RECORD: usize = 16;

/// Most members that a group may have. Its file has 32 MB then.
pub const MAX_MEMBERS: usize = 2_000_000;

/// What is known of a file without reading its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembersOutline {
    /// When the run began.
    pub began_at: UnixTime,
    /// How many members the group has, users, programs, devices and groups inside it.
    pub count: u64,
}

/// A file of the members of `group`, whatever their order and however often each is named.
pub fn encode(tenant: TenantId, group: ObjectId, began_at: UnixTime, mut members: Vec<ObjectId>) -> Vec<u8> {
    members.sort_unstable();
    members.dedup();
    let records: Vec<u8> = members.iter().flat_map(|id| id.to_bytes()).collect();
    drop(members);
    let count = u64::try_from(records.len() / RECORD).unwrap_or_default();
    let header = Header::new(RecordKind::Members, tenant, Some(group), began_at, count, &records);
    [header.encode().as_slice(), &records].concat()
}

/// What a file of the members of `group` says of `member`.
///
/// # Errors
/// [`RecordFileError`]
pub fn find(
    file: &(impl Bytes + ?Sized),
    tenant: TenantId,
    group: ObjectId,
    member: ObjectId,
) -> Result<MembershipWord, RecordFileError> {
    let header = header_of(file, tenant, group)?;
    let began_at = header.began_at;
    Ok(match header.find::<RECORD>(file, member)? {
        Some(_) => MembershipWord::Member { began_at },
        None => MembershipWord::NotMember { began_at },
    })
}

/// What a file of the members of `group` says of the run.
///
/// # Errors
/// [`RecordFileError`]
pub fn outline(
    file: &(impl Bytes + ?Sized),
    tenant: TenantId,
    group: ObjectId,
) -> Result<MembersOutline, RecordFileError> {
    header_of(file, tenant, group).map(|Header { began_at, count, .. }| MembersOutline { began_at, count })
}

/// All members that a file of `group` holds, in order; it is checked whole.
///
/// # Errors
/// [`RecordFileError`]
pub fn decode(file: &[u8], tenant: TenantId, group: ObjectId) -> Result<Vec<ObjectId>, RecordFileError> {
    let header = header_of(file, tenant, group)?;
    let records = file.get(super::record_file::HEADER_BYTES..).unwrap_or_default();
    if !header.is_of::<RECORD>(records) {
        return Err(RecordFileError::Damaged);
    }
    Ok(records.as_chunks::<RECORD>().0.iter().copied().map(ObjectId::from_bytes).collect())
}

fn header_of(
    file: &(impl Bytes + ?Sized),
    tenant: TenantId,
    group: ObjectId,
) -> Result<Header, RecordFileError> {
    let header = Header::read::<RECORD>(file, RecordKind::Members)?;
    if header.tenant != tenant || header.group != Some(group) {
        return Err(RecordFileError::Another);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const NOW: UnixTime = UnixTime::new(1_000_000);

    fn tenant() -> TenantId {
        "7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10".parse().unwrap()
    }

    fn group() -> ObjectId {
        "11111111-2222-3333-4444-555555555555".parse().unwrap()
    }

    fn member(number: u64) -> ObjectId {
        let mut bytes = [0; 16];
        // Spread over all ids, as those of Entra are.
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        ObjectId::from_bytes(bytes)
    }

    fn file(count: u64) -> Vec<u8> {
        encode(tenant(), group(), NOW, (0..count).map(member).collect())
    }

    fn find_in(file: &[u8], number: u64) -> Result<MembershipWord, RecordFileError> {
        find(file, tenant(), group(), member(number))
    }

    #[test]
    fn every_member_is_found_and_nobody_else_whatever_the_size() {
        for count in [0, 1, 2, 127, 128, 129, 130, 257, 1_000, 5_000] {
            let file = file(count);
            assert_eq!(u64::try_from(file.len()).unwrap(), 128 + 16 * count);
            for number in 0..count {
                assert_eq!(find_in(&file, number), Ok(MembershipWord::Member { began_at: NOW }), "{number}");
            }
            for number in count..count + 300 {
                assert_eq!(
                    find_in(&file, number),
                    Ok(MembershipWord::NotMember { began_at: NOW }),
                    "{number}"
                );
            }
            let expected = MembersOutline { began_at: NOW, count };
            assert_eq!(outline(&file[..], tenant(), group()), Ok(expected));
            let mut members: Vec<_> = (0..count).map(member).collect();
            members.sort();
            assert_eq!(decode(&file, tenant(), group()), Ok(members));
        }
    }

    #[test]
    fn members_that_are_named_twice_and_in_any_order_count_once() {
        let twice = [3, 1, 2, 3, 1].map(member).to_vec();
        assert_eq!(
            encode(tenant(), group(), NOW, twice),
            encode(tenant(), group(), NOW, [1, 2, 3].map(member).to_vec())
        );
    }

    #[test]
    fn file_that_is_cut_or_longer_says_nothing() {
        let whole = file(1_000);
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            assert_eq!(find_in(&whole[..length], 1), Err(RecordFileError::Damaged), "{length}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(find_in(&longer, 1), Err(RecordFileError::Damaged));
        assert_eq!(decode(&longer, tenant(), group()), Err(RecordFileError::Damaged));
    }

    #[test]
    fn no_changed_bit_of_the_header_is_believed() {
        let whole = file(3);
        for bit in 0..128 * 8 {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(find_in(&changed, 1), Err(RecordFileError::Damaged), "{bit}");
        }
    }

    /// What a login does not see of a damaged middle makes nobody a member; a reading of the whole shows it.
    #[test]
    fn changed_bits_of_the_members_let_nobody_in() {
        let whole = file(300);
        for bit in (128 * 8..whole.len() * 8).step_by(5) {
            let mut changed = whole.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&changed, tenant(), group()), Err(RecordFileError::Damaged), "{bit}");
            for stranger in 300..310 {
                let found = find_in(&changed, stranger);
                assert!(!matches!(found, Ok(MembershipWord::Member { .. })), "{bit}");
            }
        }
    }

    #[test]
    fn middle_that_is_not_sorted_is_damaged() {
        let whole = file(1_000);
        let mut zeros = whole.clone();
        zeros[128 + 16 * 100..128 + 16 * 400].fill(0);
        let outcomes: Vec<_> = (0..1_000).map(|number| find_in(&zeros, number)).collect();
        assert!(outcomes.contains(&Err(RecordFileError::Damaged)));
        // Not every change lies on the way of every search. Those that a search does not see open nothing.
        let strangers = (1_000..2_000).map(|number| find_in(&zeros, number));
        assert!(!strangers.into_iter().any(|found| matches!(found, Ok(MembershipWord::Member { .. }))));
    }

    #[test]
    fn file_of_another_group_or_tenant_is_anothers() {
        let whole = file(3);
        let other = "99999999-2222-3333-4444-555555555555";
        assert_eq!(
            find(&whole[..], tenant(), other.parse().unwrap(), member(1)),
            Err(RecordFileError::Another)
        );
        assert_eq!(
            find(&whole[..], other.parse().unwrap(), group(), member(1)),
            Err(RecordFileError::Another)
        );
        assert_eq!(outline(&whole[..], other.parse().unwrap(), group()), Err(RecordFileError::Another));
    }

    /// The member of this number, in the order of the numbers.
    fn in_order(number: u128) -> ObjectId {
        ObjectId::from_bytes(number.to_be_bytes())
    }

    #[test]
    fn record_that_is_out_of_order_on_the_way_of_a_search_is_damaged() {
        let find_damaged = |count: u128, place: usize, by: u128, wanted: u128| {
            let mut file = encode(tenant(), group(), NOW, (0..count).map(in_order).collect());
            file[128 + 16 * place..][..16].copy_from_slice(&by.to_be_bytes());
            find(&file[..], tenant(), group(), in_order(wanted))
        };
        // Behind the half, where nothing lies behind it yet; before the half, where nothing lies before it yet.
        assert_eq!(find_damaged(1_000, 750, 10, 900), Err(RecordFileError::Damaged));
        assert_eq!(find_damaged(1_000, 250, 600, 100), Err(RecordFileError::Damaged));
        // Twice, among the last that are read at once.
        assert_eq!(find_damaged(100, 51, 50, 50), Err(RecordFileError::Damaged));
        assert_eq!(find_damaged(100, 51, 51, 50), Ok(MembershipWord::Member { began_at: NOW }));
    }

    /// Counts what is read, and the bytes of the longest reading.
    struct Counting<'a>(&'a [u8], Cell<usize>, Cell<usize>);

    impl Bytes for Counting<'_> {
        fn length(&self) -> Option<u64> {
            self.0.length()
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> bool {
            self.1.set(self.1.get() + 1);
            self.2.set(self.2.get().max(buffer.len()));
            self.0.read_at(buffer, offset)
        }
    }

    #[test]
    fn search_among_a_hundred_thousand_reads_a_dozen_times() {
        let whole = file(100_000);
        for number in [0, 1, 77_777, 100_000] {
            let file = Counting(&whole, Cell::new(0), Cell::new(0));
            find(&file, tenant(), group(), member(number)).unwrap();
            assert!(file.1.get() <= 12 && file.2.get() <= 2_048, "{} {}", file.1.get(), file.2.get());
        }
    }

    #[test]
    fn file_that_cannot_be_read_is_damaged() {
        struct Broken;
        impl Bytes for Broken {
            fn length(&self) -> Option<u64> {
                Some(128)
            }
            fn read_at(&self, _: &mut [u8], _: u64) -> bool {
                false
            }
        }
        assert_eq!(find(&Broken, tenant(), group(), member(1)), Err(RecordFileError::Damaged));
    }
}
