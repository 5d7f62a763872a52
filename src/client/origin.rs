//! To whom tokens may be sent.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

use crate::error::ConfigError;
use crate::transport::{PlainHttp, parse_url, port, printable};

/// A scheme, a host and a port (RFC 6454 §4): `https` anywhere, or `http` to this machine.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Origin {
    https: bool,
    host: Box<str>,
    port: u16,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.contains('*') {
            return Err(ConfigError::new(format!(
                "the origin for tokens {:?} can't be used: name each host, there are no patterns",
                printable(text)
            )));
        }
        let uri = parse_url(text, PlainHttp::Loopback)
            .map_err(|fault| fault.report("origin for tokens", text, ""))?;
        let bare = uri.path_and_query().is_none_or(|rest| rest == "/");
        Self::of(&uri).filter(|_| bare).ok_or_else(|| {
            ConfigError::new(format!(
                "the origin for tokens {:?} can't be used: name it with nothing after host and port",
                printable(text)
            ))
        })
    }

    /// Returns the origin of an absolute address.
    fn of(uri: &Uri) -> Option<Self> {
        let https = is_https(uri)?;
        let host = uri.host()?.to_ascii_lowercase().into();
        Some(Self { https, host, port: port(uri)? })
    }

    /// Tells whether an absolute address is of this origin.
    pub(crate) fn contains(&self, uri: &Uri) -> bool {
        is_https(uri) == Some(self.https)
            && uri.host().is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            && port(uri) == Some(self.port)
    }
}

fn is_https(uri: &Uri) -> Option<bool> {
    let scheme = uri.scheme()?;
    (*scheme == Scheme::HTTPS).then_some(true).or((*scheme == Scheme::HTTP).then_some(false))
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
            ("https://*.example", "no patterns"),
            ("https://orders.example/v1", "nothing after"),
            ("https://orders.example?a", "nothing after"),
            ("https://canary@orders.example", "user name"),
            ("https://orders.example?canary", "nothing after"),
            ("https://orders.example:99999", "65535"),
        ] {
            let error = Origin::parse(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            // L1
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
