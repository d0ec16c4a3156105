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
        let last = (bits(self.address) | !self.mask) & self.width_mask();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, mask: &str) -> Network {
        Network::new(address.parse().unwrap(), mask.parse().unwrap()).expect("one family")
    }

    #[test]
    fn the_address_after_a_network_is_the_first_of_the_next() {
        for (address, mask, after) in [
            ("10.0.0.0", "255.128.0.0", Some("10.128.0.0")),
            // The bits behind the mask say nothing.
            ("10.5.6.7", "255.128.0.0", Some("10.128.0.0")),
            ("10.9.9.9", "255.255.255.255", Some("10.9.9.10")),
            ("0.0.0.0", "0.0.0.0", None),
            ("255.255.255.255", "255.255.255.255", None),
            ("fd00::7", "ff80::", Some("fd80::")),
            ("ffff::", "ffff::", None),
        ] {
            let expected = after.map(|text| text.parse::<IpAddr>().unwrap());
            assert_eq!(network(address, mask).after(), expected, "{address} {mask}");
        }
    }

    #[test]
    fn networks_meet_in_one_family_only() {
        let first = |one: Network, other: Network| {
            assert_eq!(one.first_in_both(other), other.first_in_both(one));
            one.first_in_both(other).map(|address| address.to_string())
        };
        let ten = network("10.3.0.0", "255.0.0.0");
        assert_eq!(first(ten, network("10.1.2.3", "255.255.0.0")).as_deref(), Some("10.1.0.0"));
        assert_eq!(first(ten, network("11.0.0.0", "255.0.0.0")), None);
        assert_eq!(first(ten, network("::", "::")), None);
        // Masks whose ones do not stand together.
        let fives = network("10.0.0.5", "255.0.0.255");
        assert_eq!(first(fives, network("10.7.0.0", "255.255.0.0")).as_deref(), Some("10.7.0.5"));
    }
}
