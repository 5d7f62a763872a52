//! Classifies IP addresses: which may never be dialled, and which are public or loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns `true` if an address is never dialled, wherever it comes from: link-local addresses, those of
/// cloud metadata services, and those that don't name a single host.
pub(crate) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => {
            let carried = carried(v6).into_iter().chain(tunnelled(v6));
            is_forbidden_v6(v6)
                || carried.flatten().any(is_forbidden_v4)
                || local_nat64(v6).into_iter().flatten().any(is_metadata_v4)
        }
    }
}

/// Returns `true` if an address is on the public Internet.
#[cfg(feature = "reqwest")]
pub(crate) fn is_public(address: IpAddr) -> bool {
    !is_forbidden(address)
        && match address {
            IpAddr::V4(v4) => is_public_v4(v4),
            IpAddr::V6(v6) => {
                let is_global = v6.to_ipv4_mapped().is_some() || is_nat64(v6) || is_public_v6(v6);
                let carried = carried(v6).into_iter().chain(tunnelled(v6));
                is_global && carried.flatten().all(is_public_v4)
            }
        }
}

/// Returns `true` if an address is a loopback address.
#[cfg(feature = "reqwest")]
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

const fn is_forbidden_v4(v4: Ipv4Addr) -> bool {
    // 0/8 is this host (RFC 1122 §3.2.1.3).
    is_metadata_v4(v4) || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0
}

const fn is_metadata_v4(v4: Ipv4Addr) -> bool {
    // The metadata services of Alibaba and Oracle, and Azure's wire server. Most others are
    // link-local.
    v4.is_link_local()
        || matches!(v4.octets(), [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16])
}

const fn is_forbidden_v6(v6: Ipv6Addr) -> bool {
    // The addresses that Amazon, Google, Oracle, Linode and Scaleway have reserved for metadata and
    // credentials services, which have several.
    v6.is_unspecified()
        || v6.is_unicast_link_local()
        || v6.is_multicast()
        || matches!(
            v6.segments(),
            [0xfd00, 0xec2, ..]
                | [0xfd20, 0xce, ..]
                | [0xfd00, 0xc1, ..]
                | [0xfd00, 0xa9fe, 0xa9fe, ..]
                | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]
        )
}

#[cfg(feature = "reqwest")]
const fn is_public_v4(v4: Ipv4Addr) -> bool {
    // RFC 6890: private, shared (CGNAT), protocol assignments, benchmarking, reserved; RFC 7526:
    // the relays of 6to4.
    !(v4.is_loopback()
        || v4.is_private()
        || v4.is_documentation()
        || matches!(
            v4.octets(),
            [100, 64..=127, ..]
                | [192, 0, 0, _]
                | [192, 88, 99, _]
                | [198, 18 | 19, ..]
                | [240..=255, ..]
        ))
}

#[cfg(feature = "reqwest")]
const fn is_public_v6(v6: Ipv6Addr) -> bool {
    // Global unicast (RFC 4291 §2.4) without protocol assignments (RFC 2928: Teredo, benchmarking,
    // ORCHID) and documentation.
    matches!(v6.segments(), [0x2000..=0x3fff, ..])
        && !matches!(v6.segments(), [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, ..])
}

/// RFC 6052 §2.1.
#[cfg(feature = "reqwest")]
const fn is_nat64(v6: Ipv6Addr) -> bool {
    matches!(v6.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..])
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// Returns the IPv4 addresses that are embedded in an IPv6 address by its prefix: mapped, compatible and
/// translated ones (RFC 4291 §2.5.5, RFC 2765 §2.1), NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo's
/// server and client (RFC 4380 §4).
fn carried(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, .., high, low]
        | [0x64, 0xff9b, 1, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => [Some(v4(high, low)), None],
        [0x2001, 0, server_high, server_low, .., high, low] => {
            [Some(v4(server_high, server_low)), Some(v4(!high, !low))]
        }
        _ => [None, None],
    }
}

/// Returns the IPv4 address that ISATAP embeds, within any prefix (RFC 5214 §6.1).
fn tunnelled(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 1] {
    match v6.segments() {
        [.., 0 | 0x100 | 0x200 | 0x300, 0x5efe, high, low] => [Some(v4(high, low))],
        _ => [None],
    }
}

/// Returns the IPv4 addresses that a local NAT64 (RFC 8215) may map an address to. Their position depends
/// on the length of the prefix, which isn't known here (RFC 6052 §2.2).
fn local_nat64(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    if !matches!(v6.segments(), [0x64, 0xff9b, 1, ..]) {
        return [None; 4];
    }
    // Bits 64 to 71 are no part of the IPv4 address.
    let [.., a, b, _, c, d, e, f, g, h, i] = v6.octets();
    [[a, b, c, d], [b, c, d, e], [c, d, e, f], [f, g, h, i]].map(|octets| Some(octets.into()))
}

#[cfg(all(test, feature = "reqwest"))]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn metadata_services_and_link_local_addresses_are_forbidden_in_every_spelling() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "ff02::1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2001:0:4136:e378:8000:63bf:5601:5601",
            "2001:0:a9fe:a9fe::1",
            "::ffff:0.0.0.0",
            "64:ff9b::100.100.100.200",
            // FA11
            "fd00:ec2::23",
            "fd00:ec2::253",
            "fd00:ec2:0:1::23",
            "fd20:ce::1",
            "fd00:c1::1",
            "fd00:a9fe:a9fe::1",
            "fd00:42::42",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9fe:00a9:fe05::",
            "64:ff9b:1:00a9:00fe:a9fe::",
            "64:ff9b:1::00a9:fea9:fe00:0",
            "64:ff9b:1:ffff::169.254.169.254",
            "64:ff9b:1:6464:0064:c800::",
            "64:ff9b:0:1::169.254.169.254",
            "fd00::5efe:169.254.169.254",
            "fd00::200:5efe:169.254.169.254",
            "2606:4700::5efe:169.254.170.23",
            "2606:4700::200:5efe:100.100.100.200",
            "2606:4700::300:5efe:169.254.169.254",
            "2002:101:101::5efe:169.254.169.254",
            "fe80::5efe:10.0.0.1",
        ] {
            assert!(is_forbidden(ip(text)), "{text}");
            assert!(!is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn private_addresses_are_dialled_unless_only_public_ones_may_be() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "240.0.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "2001:db8::1",
            "100::1",
            "4000::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:c0a8:101::1",
            "2001:2::1",
            "3fff::1",
            // FA11
            "192.88.99.0",
            "192.88.99.1",
            "192.88.99.255",
            "2002:c058:6301::1",
            "64:ff9b::192.88.99.1",
            "64:ff9b:1::1.1.1.1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1:0a00:0000:0100::",
            "64:ff9b:1:7f00:0:0100::",
            "64:ff9b:1:ffff::1",
            "64:ff9b:0:1::1.1.1.1",
            "fd00::5efe:10.0.0.1",
            "fd00::5efe:1.1.1.1",
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::200:5efe:127.0.0.1",
            "2606:4700::5efe:192.168.1.1",
            "::1.1.1.1",
            "::ffff:0:1.1.1.1",
            "2001:0:101:101:0:0:fefe:fefe",
            "2001:1::1",
            "2001:3::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff::1",
            "5f00::1",
            "100:0:0:1::1",
        ] {
            assert!(!is_forbidden(ip(text)), "{text}");
            assert!(!is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for text in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "169.253.255.255",
            "192.0.1.1",
            "2606:4700::1111",
            "64:ff9b::1.1.1.1",
            "::ffff:1.1.1.1",
            "2002:101:101::1",
            "192.88.98.255",
            "192.88.100.0",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700::5efe:1.1.1.1",
            "2606:4700::5eff:10.0.0.1",
            "2606:4700::400:5efe:10.0.0.1",
        ] {
            assert!(!is_forbidden(ip(text)), "{text}");
            assert!(is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn fa11_a_local_nat64_isnt_taken_for_forbidden_by_chance() {
        // Where one position reads as an address, the others read as parts of it.
        for text in [
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:1:808:8:800::",
            "64:ff9b:1:1234:e0:100::",
            "64:ff9b:1:8:8:808::",
            "64:ff9b:1::8:808:800:0",
        ] {
            assert!(!is_forbidden(ip(text)), "{text}");
            assert!(!is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn loopback_is_this_machine() {
        for text in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(ip(text)), "{text}");
        }
        for text in ["128.0.0.1", "::2", "10.0.0.1", "0.0.0.0", "::"] {
            assert!(!is_loopback(ip(text)), "{text}");
        }
    }
}
