//! Internet addresses as the sockets of C have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pgrx::pg_sys;

/// The address; `None` for null and for other families.
///
/// # Safety
/// Null, or an address of the family that it names.
pub(super) unsafe fn ip(storage: *const pg_sys::sockaddr_storage) -> Option<IpAddr> {
    // SAFETY: as the caller says; the family comes first in each of them.
    unsafe {
        match i32::from(storage.cast::<libc::sockaddr>().as_ref()?.sa_family) {
            libc::AF_INET => {
                let address: *const libc::sockaddr_in = storage.cast();
                Some(Ipv4Addr::from(u32::from_be((*address).sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let address: *const libc::sockaddr_in6 = storage.cast();
                Some(Ipv6Addr::from((*address).sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}
