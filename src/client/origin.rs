//! To whom tokens may be sent.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

use crate::error::ConfigError;
use crate::transport::{PlainHttp, parse_url};

/// A scheme, a host and a port (RFC 6454 §4): `https` anywhere, or `http` to this machine.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Origin {
    https: bool,
    host: Box<str>,
    port: u16,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let uri = parse_url(text, PlainHttp::Loopback)
            .map_err(|fault| fault.report("origin for tokens", text, ""))?;
        let origin = Self::of(&uri).filter(|_| matches!(uri.path(), "" | "/"));
        origin.filter(|_| uri.query().is_none()).ok_or_else(|| {
            ConfigError::new(format!(
                "the origin for tokens {text:?} can't be used: leave out what comes after host and \
                 port"
            ))
        })
    }

    /// Returns the origin of an absolute address.
    fn of(uri: &Uri) -> Option<Self> {
        let https = is_https(uri)?;
        let host = uri.host()?.to_ascii_lowercase().into();
        Some(Self { https, host, port: port(uri, https) })
    }

    /// Tells whether an absolute address is of this origin.
    pub(crate) fn contains(&self, uri: &Uri) -> bool {
        is_https(uri) == Some(self.https)
            && uri.host().is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            && port(uri, self.https) == self.port
    }
}

fn is_https(uri: &Uri) -> Option<bool> {
    let scheme = uri.scheme()?;
    (*scheme == Scheme::HTTPS).then_some(true).or((*scheme == Scheme::HTTP).then_some(false))
}

fn port(uri: &Uri, https: bool) -> u16 {
    uri.port_u16().unwrap_or(if https { 443 } else { 80 })
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(origin: &str, uri: &str) -> bool {
        Origin::parse(origin).unwrap().contains(&uri.parse().unwrap())
    }

    // E13
    #[test]
    fn e13_an_origin_is_scheme_host_and_port() {
        let origin = "https://Orders.example";
        for same in [
            "https://orders.example",
            "https://ORDERS.example/a?b=c",
            "https://orders.example:443/",
            "HTTPS://orders.example/",
        ] {
            assert!(contains(origin, same), "{same}");
        }
        for other in [
            "http://orders.example/",
            "http://orders.example:443/",
            "https://orders.example:8443/",
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
        assert!(!contains("http://127.0.0.1:8080", "http://127.0.0.1:8081/x"));
        for (bad, why) in [
            ("http://orders.example", "https"),
            ("orders.example", "https"),
            ("", "absolute"),
            ("https://orders.example/v1", "leave out"),
            ("https://orders.example?a", "leave out"),
            ("https://me:canary@orders.example", "user name"),
        ] {
            let error = Origin::parse(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            // L1
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
