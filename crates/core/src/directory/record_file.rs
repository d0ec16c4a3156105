//! The files in which the worker leaves what it has read: a header, then records of one length in the order of the ids
//! that they begin with.
//!
//! ```text
//! offset  bytes
//!      0      8  magic, `PGAADSET`
//!      8      4  format, 1 (all numbers are little-endian)
//!     12      4  kind: which records follow
//!     16     16  the tenant
//!     32     16  the group; zeros where the records are of no group
//!     48      8  began_at, seconds since 1970
//!     56      8  how many records follow
//!     64     32  SHA-256 of all records
//!     96     32  SHA-256 of the 96 bytes before
//!    128      …  the records
//! ```
//!
//! A login reads the header and as many records as a binary search visits, at places that the header's own digest and
//! the file's length vouch for. Damaged records that it does not see can hide a member until the next run writes the
//! file anew, and make nobody one. Whatever reads all records checks them all: no session ends by a damaged file.

use std::cmp::Ordering;

use aws_lc_rs::digest::{SHA256, digest};

use crate::guid::{ObjectId, TenantId};
use crate::time::UnixTime;

const MAGIC: &[u8; 8] = b"PGAADSET";
const FORMAT: u32 = 1;
const SIGNED_BYTES: usize = 96;
const DIGEST_BYTES: usize = 32;

/// Of the header.
pub(super) const HEADER_BYTES: usize = SIGNED_BYTES + DIGEST_BYTES;

/// How many records are searched in memory once the search has come so far: together less than a page of the file.
const LAST_RECORDS: u64 = 128;

/// Which records a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// Members of a group: ids.
    Members = 1,
    /// Accounts of users: ids and states.
    Accounts = 2,
}

impl RecordKind {
    const fn code(self) -> u32 {
        match self {
            Self::Members => 1,
            Self::Accounts => 2,
        }
    }
}

/// Bytes that can be read from anywhere among them: an open file, or memory.
pub trait Bytes {
    /// How many there are.
    fn length(&self) -> Option<u64>;
    /// Fills `buffer` from `offset` on; false where that fails or the bytes end before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> bool;
}

impl Bytes for [u8] {
    fn length(&self) -> Option<u64> {
        u64::try_from(self.len()).ok()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let part = rest.and_then(|rest| rest.get(..buffer.len()));
        part.map(|part| buffer.copy_from_slice(part)).is_some()
    }
}

/// Why a file does not say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFileError {
    /// It is cut, changed, or none of these files.
    Damaged,
    /// It is whole, and of another tenant, group or kind, as after a copy or a renaming.
    Another,
}

/// Whose records a file holds, and as of when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: RecordKind,
    pub(super) tenant: TenantId,
    /// `None` where the records are of no group.
    pub(super) group: Option<ObjectId>,
    pub(super) began_at: UnixTime,
    pub(super) count: u64,
    digest: [u8; DIGEST_BYTES],
}

impl Header {
    /// The header of a file of these records, sorted and of the kind's length.
    pub(super) fn new(
        kind: RecordKind,
        tenant: TenantId,
        group: Option<ObjectId>,
        began_at: UnixTime,
        count: u64,
        records: &[u8],
    ) -> Self {
        Self { kind, tenant, group, began_at, count, digest: sha256(records) }
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend(FORMAT.to_le_bytes());
        header.extend(self.kind.code().to_le_bytes());
        header.extend(self.tenant.to_bytes());
        header.extend(self.group.map(ObjectId::to_bytes).unwrap_or_default());
        header.extend(self.began_at.seconds().to_le_bytes());
        header.extend(self.count.to_le_bytes());
        header.extend(self.digest);
        header.extend(sha256(&header));
        header.first_chunk().copied().unwrap_or([0; HEADER_BYTES])
    }

    fn decode(bytes: &[u8; HEADER_BYTES], kind: RecordKind) -> Result<Self, RecordFileError> {
        let (signed, own_digest) = bytes.split_at(SIGNED_BYTES);
        let mut fields = Fields(signed);
        let is_whole =
            fields.take() == *MAGIC && fields.take() == FORMAT.to_le_bytes() && sha256(signed) == *own_digest;
        if !is_whole {
            return Err(RecordFileError::Damaged);
        }
        if fields.take() != kind.code().to_le_bytes() {
            return Err(RecordFileError::Another);
        }
        Ok(Self {
            kind,
            tenant: TenantId::from_bytes(fields.take()),
            group: Some(fields.take()).filter(|id| *id != [0; 16]).map(ObjectId::from_bytes),
            began_at: UnixTime::new(i64::from_le_bytes(fields.take())),
            count: u64::from_le_bytes(fields.take()),
            digest: fields.take(),
        })
    }

    /// Reads the header of a file whose records have `RECORD` bytes each.
    ///
    /// # Errors
    /// [`RecordFileError`]; [`RecordFileError::Damaged`] too where the file has not the length that the header says.
    pub(super) fn read<const RECORD: usize>(
        file: &(impl Bytes + ?Sized),
        kind: RecordKind,
    ) -> Result<Self, RecordFileError> {
        let mut bytes = [0; HEADER_BYTES];
        let length = file.length().filter(|_| file.read_at(&mut bytes, 0));
        let header = Self::decode(&bytes, kind)?;
        let expected = offset::<RECORD>(header.count);
        if length.is_some() && length == expected { Ok(header) } else { Err(RecordFileError::Damaged) }
    }

    /// Whether these are the records that the header was written for, each once and in order.
    pub(super) fn is_of<const RECORD: usize>(&self, records: &[u8]) -> bool {
        let ids = records.as_chunks::<RECORD>().0.iter().map(|record| id_of(record));
        ids.is_sorted_by(|one, next| one < next) && sha256(records) == self.digest
    }

    /// The record of `id`, of `RECORD` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`RecordFileError::Damaged`] where the file cannot be read, or is not sorted on the way.
    pub(super) fn find<const RECORD: usize>(
        &self,
        file: &(impl Bytes + ?Sized),
        id: ObjectId,
    ) -> Result<Option<[u8; RECORD]>, RecordFileError> {
        let wanted = id.to_bytes();
        // What is sought lies between the two, the second excluded; the ids before and behind them are known.
        let (mut low, mut high) = (0, self.count);
        let (mut before, mut behind): (Option<[u8; 16]>, Option<[u8; 16]>) = (None, None);
        while high.saturating_sub(low) > LAST_RECORDS {
            let middle = low.midpoint(high);
            let mut record = [0; RECORD];
            read::<RECORD>(file, &mut record, middle)?;
            let found = id_of(&record);
            if before.is_some_and(|before| found <= before) || behind.is_some_and(|behind| found >= behind) {
                return Err(RecordFileError::Damaged);
            }
            match found.cmp(&wanted) {
                Ordering::Equal => return Ok(Some(record)),
                Ordering::Less => (low, before) = (middle.saturating_add(1), Some(found)),
                Ordering::Greater => (high, behind) = (middle, Some(found)),
            }
        }
        let count = usize::try_from(high.saturating_sub(low)).unwrap_or_default();
        let mut records = vec![0; count.saturating_mul(RECORD)];
        read::<RECORD>(file, &mut records, low)?;
        let records = records.as_chunks::<RECORD>().0;
        let ids = records.iter().map(|record| id_of(record));
        if !before.into_iter().chain(ids).chain(behind).is_sorted_by(|one, next| one < next) {
            return Err(RecordFileError::Damaged);
        }
        Ok(records.iter().find(|record| id_of(*record) == wanted).copied())
    }
}

/// Where the record of that number begins, and how long a file of so many is.
fn offset<const RECORD: usize>(number: u64) -> Option<u64> {
    let header = u64::try_from(HEADER_BYTES).ok()?;
    number.checked_mul(u64::try_from(RECORD).ok()?)?.checked_add(header)
}

fn read<const RECORD: usize>(
    file: &(impl Bytes + ?Sized),
    buffer: &mut [u8],
    number: u64,
) -> Result<(), RecordFileError> {
    let offset = offset::<RECORD>(number).ok_or(RecordFileError::Damaged)?;
    if file.read_at(buffer, offset) { Ok(()) } else { Err(RecordFileError::Damaged) }
}

/// The id that a record begins with.
fn id_of(record: &[u8]) -> [u8; 16] {
    record.first_chunk().copied().unwrap_or_default()
}

fn sha256(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

/// The fields of a header, one after the other; zeros after its end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let Some((field, rest)) = self.0.split_first_chunk() else { return [0; LENGTH] };
        self.0 = rest;
        *field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_a_header_are_those_each_once_and_in_order() {
        let tenant = "7d3f3c4e-7d0c-4b3a-9b6c-0f2a5e1c9d10".parse().unwrap();
        let is_whole = |ids: &[u8]| {
            let records: Vec<u8> = ids.iter().flat_map(|id| [*id; 16]).collect();
            let header = Header::new(RecordKind::Members, tenant, None, UnixTime::new(0), 2, &records);
            header.is_of::<16>(&records)
        };
        assert!(is_whole(&[1, 2]));
        assert!(!is_whole(&[1, 1]) && !is_whole(&[2, 1]));
    }
}
