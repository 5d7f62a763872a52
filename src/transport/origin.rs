//! Origins that tokens may be sent to: scheme, host and port.

use std::fmt;
use std::net::Ipv6Addr;

use http::Uri;
use http::uri::Scheme;

use crate::error::ConfigError;
use crate::transport::url::{PlainHttp, parse_url, port, printable};

/// A scheme, a host and a port (RFC 6454 §4): `https` anywhere, or `http` to this machine, unless more
/// is allowed.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Origin {
    https: bool,
    host: Box<str>,
    port: u16,
}

impl Origin {
    /// Reads an origin from configuration. `allowed` is the end of the error's sentence about plain
    /// `http`, and says which setting allows it.
    pub(crate) fn parse(
        text: &str,
        plain_http: PlainHttp,
        allowed: &str,
    ) -> Result<Self, ConfigError> {
        let refused = |why: &str| {
            let text = printable(text);
            ConfigError::new(format!("the origin for tokens {text:?} can't be used: {why}"))
        };
        if text.contains('*') {
            return Err(refused("name each host; patterns aren't supported"));
        }
        let uri = parse_url(text, plain_http)
            .map_err(|fault| fault.report("origin for tokens", text, allowed))?;
        let bare = uri.path_and_query().is_none_or(|rest| rest == "/");
        let origin = Self::of(&uri).filter(|_| bare);
        origin.ok_or_else(|| refused("name it with nothing after host and port"))
    }

    /// Returns the origin of an absolute URL.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let https = is_https(uri)?;
        let host = uri.host().filter(|host| !host.is_empty())?;
        let host = match v6(host) {
            Some(address) => format!("[{address}]"),
            None => host.to_ascii_lowercase(),
        };
        Some(Self { https, host: host.into(), port: port(uri)? })
    }

    fn is_host(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.host)
            || v6(host).is_some_and(|address| v6(&self.host) == Some(address))
    }

    /// Returns `true` if `authority`, as a `Host` field has it, is this origin's: the port may be left
    /// out if it is the default.
    #[cfg(feature = "client")]
    pub(crate) fn is_at(&self, authority: &str) -> bool {
        let scheme = if self.https { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
        !authority.contains('@') && uri.is_ok_and(|uri| self.contains(&uri))
    }

    /// Returns the URL of a path within this origin, as it is sent: the port is left out if it is the
    /// default.
    #[cfg(all(feature = "client", feature = "dpop"))]
    pub(crate) fn url_of(&self, path: &str) -> String {
        let (scheme, default) = if self.https { ("https", 443) } else { ("http", 80) };
        match self.port {
            port if port == default => format!("{scheme}://{}{path}", self.host),
            port => format!("{scheme}://{}:{port}{path}", self.host),
        }
    }

    /// Returns `true` if an absolute URL has this origin.
    pub(crate) fn contains(&self, uri: &Uri) -> bool {
        is_https(uri) == Some(self.https)
            && uri.host().is_some_and(|host| self.is_host(host))
            && port(uri) == Some(self.port)
    }
}

/// Parses a host in brackets, since an IPv6 address has many spellings.
fn v6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

fn is_https(uri: &Uri) -> Option<bool> {
    let scheme = uri.scheme()?;
    (*scheme == Scheme::HTTPS).then_some(true).or((*scheme == Scheme::HTTP).then_some(false))
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(origin: &str, uri: &str) -> bool {
        Origin::parse(origin, PlainHttp::Loopback, "").unwrap().contains(&uri.parse().unwrap())
    }

    // E13
    #[test]
    fn e13_an_origin_is_scheme_host_and_port() {
        let origin = "https://Orders.example";
        for same in [
            "https://orders.example",
            "https://ORDERS.example/a?b=c",
            "https://orders.example:443/",
            "https://orders.example:0443/",
            "https://orders.example:/",
            "https://me:8443@orders.example/",
            "HTTPS://orders.example/",
        ] {
            assert!(contains(origin, same), "{same}");
        }
        for other in [
            "http://orders.example/",
            "http://orders.example:443/",
            "https://orders.example:8443/",
            "https://orders.example:99999/",
            "https://443:443@orders.example:8443/",
            "https://orders.example.evil.example/",
            "https://evil.example/orders.example",
            "https://orders.example@evil.example/",
            "https://evil-orders.example/",
            "https://orders.example./",
            "/orders",
            "orders.example:443",
        ] {
            assert!(!contains(origin, other), "{other}");
        }
        assert!(contains("https://a.example:8443/", "https://a.example:8443/x"));
    }

    // E13: https, or loopback.
    #[test]
    fn e13_plain_http_is_for_this_machine() {
        assert!(contains("http://127.0.0.1:8080", "http://127.0.0.1:8080/x"));
        assert!(contains("http://[::1]:8080", "http://[::1]:8080/x"));
        assert!(contains("http://127.9.9.9", "http://127.9.9.9:80/x"));
        assert!(contains("http://LOCALHOST", "http://localhost/x"));
        for other in [
            "http://127.0.0.1:8081/x",
            "https://127.0.0.1:8080/x",
            "http://127.0.0.2:8080/x",
            "http://localhost:8080/x",
            "http://[::1]:8080/x",
        ] {
            assert!(!contains("http://127.0.0.1:8080", other), "{other}");
        }
        for (bad, why) in [
            ("http://orders.example", "https"),
            ("http://localhost.evil.example", "https"),
            ("http://127.0.0.1.nip.io", "https"),
            ("http://[::ffff:127.0.0.1]", "https"),
            ("http://0.0.0.0", "https"),
            ("orders.example", "https"),
            ("", "absolute"),
            ("https://*.example", "patterns"),
            ("https://orders.example/v1", "nothing after"),
            ("https://orders.example?a", "nothing after"),
            ("https://canary@orders.example", "user name"),
            ("https://orders.example?canary", "nothing after"),
            ("https://orders.example:99999", "65535"),
        ] {
            let error = Origin::parse(bad, PlainHttp::Loopback, "").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            // L1
            assert!(!error.contains("canary"), "{error}");
        }
    }
    // FC14
    #[test]
    fn fc14_an_ipv6_address_is_the_same_in_every_spelling() {
        let spellings = [
            "[2001:db8::1]",
            "[2001:0db8::1]",
            "[2001:DB8:0:0:0:0:0:1]",
            "[2001:db8:0000:0000::0001]",
            "[2001:db8::0.0.0.1]",
        ];
        for origin in spellings {
            for uri in spellings {
                assert!(contains(
                    &format!("https://{origin}:8443"),
                    &format!("https://{uri}:8443/x")
                ));
            }
            for other in
                ["[2001:db8::2]:8443", "[2001:db8::1]", "[2001:db8::1]:8444", "2001.db8:8443"]
            {
                assert!(!contains(
                    &format!("https://{origin}:8443"),
                    &format!("https://{other}/x")
                ));
            }
        }
        assert!(contains("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]/x"));
        // An IPv4 address within one of IPv6 is another host.
        assert!(!contains("https://[::ffff:192.0.2.1]", "https://192.0.2.1/"));
    }

    // FC11
    #[test]
    fn fc11_plain_http_elsewhere_has_to_be_allowed() {
        let origin = Origin::parse("http://orders.mesh:8080", PlainHttp::Dangerous, "").unwrap();
        let contains = |uri: &str| origin.contains(&uri.parse().unwrap());
        assert!(contains("http://orders.mesh:8080/x"));
        for other in
            ["https://orders.mesh:8080/x", "http://orders.mesh/x", "http://evil.mesh:8080/x"]
        {
            assert!(!contains(other), "{other}");
        }
        let error = Origin::parse("http://orders.mesh:8080", PlainHttp::Loopback, ", or a setting");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("localhost), or a setting"), "{error}");
    }
}
