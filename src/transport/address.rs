//! Which addresses may be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Tells whether an address is never dialled, whoever named it: link-local ones and those at which
/// clouds hand credentials to whoever asks, and what is no single host.
pub(crate) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_forbidden_v4(v4),
        IpAddr::V6(v6) => is_forbidden_v6(v6) || embedded(v6).into_iter().any(is_forbidden_v4),
    }
}

/// Tells whether an address is on the public Internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    !is_forbidden(address)
        && match address {
            IpAddr::V4(v4) => is_public_v4(v4),
            IpAddr::V6(v6) => {
                let embedded = embedded(v6);
                let carries = !embedded.is_empty();
                (carries || is_public_v6(v6)) && embedded.into_iter().all(is_public_v4)
            }
        }
}

/// Tells whether an address is this machine.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

const fn is_forbidden_v4(v4: Ipv4Addr) -> bool {
    // 0/8 is this host (RFC 1122 §3.2.1.3); then the metadata services of Alibaba and Oracle, and
    // Azure's wire server. Most others are link-local.
    v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || matches!(
            v4.octets(),
            [0, ..] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16]
        )
}

const fn is_forbidden_v6(v6: Ipv6Addr) -> bool {
    // The metadata services of Amazon, Google and Oracle.
    v6.is_unspecified()
        || v6.is_unicast_link_local()
        || v6.is_multicast()
        || matches!(
            v6.segments(),
            [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
                | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
                | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
        )
}

const fn is_public_v4(v4: Ipv4Addr) -> bool {
    // RFC 6890: private, shared (CGNAT), protocol assignments, benchmarking, reserved.
    !(v4.is_loopback()
        || v4.is_private()
        || v4.is_documentation()
        || matches!(
            v4.octets(),
            [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] | [240..=255, ..]
        ))
}

const fn is_public_v6(v6: Ipv6Addr) -> bool {
    // Global unicast (RFC 4291 §2.4) without documentation and benchmarking.
    matches!(v6.segments(), [0x2000..=0x3fff, ..])
        && !matches!(v6.segments(), [0x2001, 0xdb8, ..] | [0x2001, 2, 0, ..] | [0x3fff, ..])
}

/// Returns the IPv4 addresses that an IPv6 address leads to: mapped and compatible ones (RFC 4291
/// §2.5.5), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380 §4).
fn embedded(v6: Ipv6Addr) -> Vec<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => vec![],
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            vec![v4(high, low)]
        }
        [0x64, 0xff9b, 0 | 1, .., high, low] => vec![v4(high, low)],
        [0x2002, high, low, ..] => vec![v4(high, low)],
        [0x2001, 0, server_high, server_low, .., high, low] => {
            vec![v4(server_high, server_low), v4(!high, !low)]
        }
        _ => vec![],
    }
}

#[cfg(test)]
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
        ] {
            assert!(!is_forbidden(ip(text)), "{text}");
            assert!(is_public(ip(text)), "{text}");
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
