//! To whom tokens may be sent.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

use crate::client::endpoint::parse_url;
use crate::error::ConfigError;

/// A scheme, a host and a port (RFC 6454 §4): `https` anywhere, or `http` to this machine.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Origin {
    https: bool,
    host: Box<str>,
    port: u16,
}

impl Origin {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let fault = |why: &dyn fmt::Display| {
            ConfigError::new(format!("tokens can't be sent to {text:?}: {why}"))
        };
        let uri = parse_url(text, true).map_err(|why| fault(&why))?;
        if uri.path_and_query().is_some_and(|rest| rest != "/") {
            return Err(fault(&"name an origin, with nothing after host and port"));
        }
        Self::of(&uri).ok_or_else(|| fault(&"the port must be a number up to 65535"))
    }

    /// Returns the origin of an absolute address.
    fn of(uri: &Uri) -> Option<Self> {
        let https = is_https(uri)?;
        let host = uri.host()?.to_ascii_lowercase().into();
        Some(Self { https, host, port: port(uri, https)? })
    }

    /// Tells whether an absolute address is of this origin.
    pub(crate) fn contains(&self, uri: &Uri) -> bool {
        is_https(uri) == Some(self.https)
            && uri.host().is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            && port(uri, self.https) == Some(self.port)
    }
}

fn is_https(uri: &Uri) -> Option<bool> {
    let scheme = uri.scheme()?;
    (*scheme == Scheme::HTTPS).then_some(true).or((*scheme == Scheme::HTTP).then_some(false))
}

/// Returns the port; `None` if it is no number, which `http::Uri` takes for no port at all.
fn port(uri: &Uri, https: bool) -> Option<u16> {
    let authority = uri.authority()?.as_str();
    let (_, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    match host_and_port.strip_prefix(uri.host()?)? {
        "" | ":" => Some(if https { 443 } else { 80 }),
        _ => uri.port_u16(),
    }
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
            ("https://orders.example/v1", "nothing after"),
            ("https://orders.example?a", "nothing after"),
            ("https://me@orders.example", "user name"),
            ("https://orders.example:99999", "65535"),
        ] {
            let error = Origin::parse(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
