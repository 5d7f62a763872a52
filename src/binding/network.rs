//! Parses the addresses and networks of trusted proxies.

use std::net::IpAddr;

use crate::error::ConfigError;

/// A network of IP addresses, or one address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Network {
    family: Family,
    /// The address, right-aligned.
    bits: u128,
    /// How many of its last bits are ignored.
    free: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    V4,
    V6,
}

impl Network {
    /// Reads `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32` and the like. An IPv4-mapped IPv6 address
    /// (`::ffff:192.0.2.1`) is read as the IPv4 address, as that of a peer is.
    ///
    /// # Errors
    ///
    /// If it is neither, or includes every address.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let malformed = || {
            ConfigError::new(format!(
                "the trusted proxy {text:?} is no IP address and no network: write it as 10.0.0.7 or \
                 10.0.0.0/8"
            ))
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let (family, bits) = split(address);
        let written: u32 = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => written,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| malformed())?
            }
            Some(_) => return Err(malformed()),
        };
        let free = written.checked_sub(length).ok_or_else(malformed)?;
        if length == 0 || free >= family.width() {
            return Err(ConfigError::new(format!(
                "the trusted proxies {text:?} are every address, so that any client could send any \
                 certificate: name the network that the proxies are in"
            )));
        }
        if bits & !mask(free) != 0 {
            return Err(ConfigError::new(format!(
                "the network of trusted proxies {text:?} has bits beyond its prefix: is it one address, \
                 or a larger prefix?"
            )));
        }
        Ok(Self { family, bits, free })
    }

    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let (family, bits) = split(address);
        self.family == family && (self.bits ^ bits) & mask(self.free) == 0
    }
}

impl Family {
    const fn width(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

fn split(address: IpAddr) -> (Family, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (Family::V4, u32::from(address).into()),
        IpAddr::V6(address) => (Family::V6, address.into()),
    }
}

fn mask(free: u32) -> u128 {
    u128::MAX.checked_shl(free).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mt14_a_network_holds_its_addresses_only() {
        for (network, within, without) in [
            (
                "192.0.2.1",
                &["192.0.2.1", "::ffff:192.0.2.1"][..],
                &["192.0.2.0", "::1", "::192.0.2.1"][..],
            ),
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255"],
                &["11.0.0.0", "9.255.255.255", "::a00:1"],
            ),
            ("10.1.2.0/23", &["10.1.2.0", "10.1.3.255"], &["10.1.4.0", "10.1.1.255"]),
            ("192.0.2.1/32", &["192.0.2.1"], &["192.0.2.2"]),
            ("::ffff:10.0.0.0/104", &["10.9.9.9", "::ffff:10.0.0.1"], &["11.0.0.0"]),
            ("::1", &["::1"], &["::2", "127.0.0.1", "0.0.0.1"]),
            ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::", "32.1.13.184"]),
            ("fe80::/10", &["fe80::1", "febf::1"], &["fec0::1"]),
            ("::/64", &["::1", "::5"], &["0.0.0.5", "::ffff:0.0.0.5", "10.0.0.1"]),
        ] {
            let parsed = Network::parse(network).unwrap();
            for address in within {
                assert!(parsed.contains(address.parse().unwrap()), "{network} {address}");
            }
            for address in without {
                assert!(!parsed.contains(address.parse().unwrap()), "{network} {address}");
            }
        }
    }

    #[test]
    fn mt14_what_is_no_network_is_refused() {
        for (text, why) in [
            ("", "is no IP address"),
            ("proxy.internal", "is no IP address"),
            ("10.0.0.1:8080", "is no IP address"),
            ("10.0.0.0/33", "is no IP address"),
            ("10.0.0.0/+8", "is no IP address"),
            ("10.0.0.0/", "is no IP address"),
            ("10.0.0.0/8/8", "is no IP address"),
            ("10.0.0/8", "is no IP address"),
            ("::1/129", "is no IP address"),
            ("fe80::1%eth0", "is no IP address"),
            (" 10.0.0.1", "is no IP address"),
            ("10.0.0.1/8", "bits beyond its prefix"),
            ("2001:db8::1/32", "bits beyond its prefix"),
            ("0.0.0.0/0", "are every address"),
            ("::/0", "are every address"),
            ("::ffff:0.0.0.0/96", "are every address"),
            ("::ffff:0.0.0.0/90", "are every address"),
        ] {
            let error = Network::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
