//! A file of members of any bytes: nobody is a member by bytes that were not written for them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgaad_core::directory::{MembershipWord, members};
use pgaad_core::guid::{ObjectId, TenantId};
use pgaad_core::time::UnixTime;

fuzz_target!(|bytes: &[u8]| {
    let (tenant, group) = (TenantId::from_bytes([1; 16]), ObjectId::from_bytes([2; 16]));
    // The bytes as they are; and as changes, two bytes of place and one of value each, of a file that is whole.
    let written: Vec<_> = (0..300_u16)
        .map(|number| ObjectId::from_bytes([number.to_be_bytes(); 8].concat().try_into().expect("16")))
        .collect();
    let mut file = members::encode(tenant, group, UnixTime::new(7), written.clone());
    for change in bytes.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % file.len();
        file[place] ^= change[2];
    }
    let stranger = ObjectId::from_bytes([0xab; 16]);
    for file in [bytes, &file] {
        let found = members::find(file, tenant, group, stranger);
        let stands_there = file.windows(16).any(|window| window == [0xab; 16]);
        assert!(stands_there || !matches!(found, Ok(MembershipWord::Member { .. })));
        if let Ok(whole) = members::decode(file, tenant, group) {
            for member in whole {
                assert!(matches!(
                    members::find(file, tenant, group, member),
                    Ok(MembershipWord::Member { .. })
                ));
            }
        }
    }
});
