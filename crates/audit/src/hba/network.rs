//! Addresses and masks, compared as PostgreSQL compares them (ip.c, `pg_range_sockaddr`): bit by bit, in one family.

use std::fmt;
use std::net::IpAddr;

/// An address and a mask of its family. The mask's ones need not stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    mask: u128,
}

impl Network {
    /// `None` for two families.
    pub fn new(address: IpAddr, mask: IpAddr) -> Option<Self> {
        (address.is_ipv4() == mask.is_ipv4()).then_some(Self { address, mask: bits(mask) })
    }

    /// Whether an address lies in it.
    pub(super) fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && (bits(address) ^ bits(self.address)) & self.mask == 0
    }

    /// Whether all addresses of its family lie in it.
    pub(super) fn is_everything(self) -> bool {
        self.mask == 0
    }

    /// Whether it is no other machine's.
    pub(super) fn is_loopback(self) -> bool {
        self.address.to_canonical().is_loopback() && self.leading_ones() >= 8
    }

    /// An address of both networks, if there is one; of contiguous masks, their first.
    pub(super) fn first_in_both(self, other: Self) -> Option<IpAddr> {
        let (own, others) = (bits(self.address), bits(other.address));
        let meet =
            self.address.is_ipv4() == other.address.is_ipv4() && (own ^ others) & self.mask & other.mask == 0;
        meet.then(|| self.of_family((own & self.mask) | (others & other.mask)))
    }

    /// The address after its last one, if there is one.
    pub(super) fn after(self) -> Option<IpAddr> {
        let last = (bits(self.address) & self.mask) | (self.width_mask() & !self.mask);
        (last != self.width_mask()).then(|| self.of_family(last + 1))
    }

    fn width_mask(self) -> u128 {
        if self.address.is_ipv4() { u128::from(u32::MAX) } else { u128::MAX }
    }

    fn of_family(self, bits: u128) -> IpAddr {
        if self.address.is_ipv4() {
            IpAddr::V4(u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default().into())
        } else {
            IpAddr::V6(bits.into())
        }
    }

    fn leading_ones(self) -> u32 {
        if self.address.is_ipv4() { (self.mask << 96).leading_ones() } else { self.mask.leading_ones() }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.leading_ones() == self.mask.count_ones() {
            write!(f, "{}/{}", self.address, self.leading_ones())
        } else {
            write!(f, "{} mask {}", self.address, self.of_family(self.mask))
        }
    }
}
