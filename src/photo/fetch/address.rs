//! Which addresses a stranger's URL may lead to: those of the public internet, and no others.
//! IPv6 is refused unless it is global unicast, since there everything else is special.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 ranges that are not the public internet: IANA's special-purpose registry, less the anycast services in it,
/// and the one public address behind which a cloud answers its guests with secrets.
const REFUSED_V4: [Cidr; 16] = [
    v4(0, 0, 0, 0, 8),        // this network, unspecified
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT; Alibaba's metadata (100.100.100.200)
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // Azure's wire server
    v4(169, 254, 0, 0, 16),   // link-local; metadata of AWS, Google, Azure (169.254.169.254)
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments; Oracle's metadata (192.0.0.192)
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // 6to4 relays, deprecated
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarking
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(240, 0, 0, 0, 4),      // reserved, broadcast
];

/// Ranges inside global unicast (2000::/3) that are special all the same.
const REFUSED_V6: [Cidr; 3] = [
    v6([0x2001, 0, 0], 23),     // protocol assignments, Teredo among them
    v6([0x2001, 0xdb8, 0], 32), // documentation
    v6([0x3fff, 0, 0], 20),     // documentation
];

/// Global unicast, RFC 4291.
const GLOBAL_V6: Cidr = v6([0x2000, 0, 0], 3);
/// 6to4, RFC 3056: an IPv4 address in bits 16 to 48.
const SIX_TO_FOUR: Cidr = v6([0x2002, 0, 0], 16);
/// The well-known prefix of NAT64, RFC 6052: an IPv4 address in the last 32 bits.
const NAT64: Cidr = v6([0x64, 0xff9b, 0], 96);

/// A range of addresses: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Cidr {
    Cidr { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
}

const fn v6([a, b, c]: [u16; 3], prefix: u8) -> Cidr {
    Cidr { address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix }
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or a bare address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|&prefix| prefix <= longest)?,
            None => longest,
        };
        Some(Self { address, prefix })
    }

    /// Is `address` in the range? An IPv4-mapped address counts as the IPv4 address in it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let differing = u32::from(range) ^ u32::from(address);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let differing = u128::from(range) ^ u128::from(address);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

/// Is `address` on the public internet? IPv6 forms that carry an IPv4 address (mapped, NAT64, 6to4) are judged by
/// the address they carry.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !REFUSED_V4.iter().any(|range| range.contains(address)),
        IpAddr::V6(v6) => match carried(v6) {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => GLOBAL_V6.contains(address) && !REFUSED_V6.iter().any(|range| range.contains(address)),
        },
    }
}

fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = u128::from(address);
    if SIX_TO_FOUR.contains(IpAddr::V6(address)) {
        return Some(Ipv4Addr::from((bits >> 80) as u32));
    }
    if NAT64.contains(IpAddr::V6(address)) {
        return Some(Ipv4Addr::from(bits as u32));
    }
    address.to_ipv4_mapped()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table_of_addresses() {
        let refused = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 \
            168.63.129.16 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.168.1.1 198.18.0.1 \
            198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 \
            :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 64:ff9b::127.0.0.1 \
            64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2002:a9fe:a9fe::1 2002:c0a8:101:: 2001::1 2001:db8::1 \
            3fff::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 100::1 5f00::1 4000::1";
        for text in refused.split_whitespace() {
            assert!(!is_public(text.parse().unwrap()), "{text} is not public");
        }
        let public = "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
            169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 \
            198.20.0.0 223.255.255.255 2606:4700::1111 2a00:1450:4001::8a 2620:fe::fe ::ffff:8.8.8.8 \
            64:ff9b::8.8.8.8 2002:808:808::1 2001:200::1";
        for text in public.split_whitespace() {
            assert!(is_public(text.parse().unwrap()), "{text} is public");
        }
    }

    proptest! {
        /// No spelling of an IPv4 address gets another answer than the address itself.
        #[test]
        fn every_form_of_an_address_is_judged_alike(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let wide = u128::from(bits);
            let forms = [
                v4.to_ipv6_mapped(),
                Ipv6Addr::from(0x0064_ff9b_u128 << 96 | wide),
                Ipv6Addr::from(0x2002_u128 << 112 | wide << 80 | 1),
            ];
            for form in forms {
                prop_assert_eq!(is_public(form.into()), is_public(v4.into()), "{}", form);
            }
        }

        /// The standard library's own (stable) predicates never call public what it calls special.
        #[test]
        fn at_least_as_strict_as_the_standard_library(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            prop_assert!(!(special && is_public(v4.into())));
        }

        #[test]
        fn a_range_holds_what_shares_its_prefix(bits: u32, other: u32, prefix in 1_u8..=32) {
            let range = Cidr { address: Ipv4Addr::from(bits).into(), prefix };
            let same = bits >> (32 - prefix) == other >> (32 - prefix);
            prop_assert_eq!(range.contains(Ipv4Addr::from(other).into()), same);
        }
    }

    #[test]
    fn ranges_are_read_or_refused() {
        let range = Cidr::parse("10.0.0.0/8").unwrap();
        assert!(range.contains("10.9.8.7".parse().unwrap()));
        assert!(range.contains("::ffff:10.9.8.7".parse().unwrap()));
        assert!(!range.contains("fd00::1".parse().unwrap()));
        assert!(Cidr::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        for text in ["10.0.0.0/33", "fd00::/129", "10.0.0/8", "host", "10.0.0.0/-1", "/8"] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
