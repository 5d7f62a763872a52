//! Which addresses the client's secret and tokens may be sent to.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Scheme;

/// Why an address may not be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UrlFault {
    NotAUrl,
    Fragment,
    Userinfo,
    Scheme,
    PlainHttp,
}

/// Reads an absolute URL; plain `http` only to this machine, and only where that is allowed.
pub(crate) fn parse_url(text: &str, loopback_http: bool) -> Result<Uri, UrlFault> {
    // `http::Uri` drops a fragment without a word.
    if text.contains('#') {
        return Err(UrlFault::Fragment);
    }
    let uri: Uri = text.parse().map_err(|_| UrlFault::NotAUrl)?;
    let authority = uri.authority().ok_or(UrlFault::NotAUrl)?;
    if authority.as_str().contains('@') {
        return Err(UrlFault::Userinfo);
    }
    if authority.host().is_empty() {
        return Err(UrlFault::NotAUrl);
    }
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return Ok(uri);
    }
    if uri.scheme() != Some(&Scheme::HTTP) {
        return Err(UrlFault::Scheme);
    }
    if loopback_http && is_loopback(authority.host()) {
        return Ok(uri);
    }
    Err(UrlFault::PlainHttp)
}

/// Tells whether a host is this machine by its very spelling: 127.0.0.0/8, `[::1]`, `localhost`.
pub(crate) fn is_loopback(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|v4: Ipv4Addr| v4.is_loopback())
        || v6.is_some_and(|v6| v6.parse().is_ok_and(|v6: Ipv6Addr| v6.is_loopback()))
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUrl => "it must be an absolute URL with a host",
            Self::Fragment => "take the fragment (\"#…\") away",
            Self::Userinfo => "take the user name and password away",
            Self::Scheme => "it must begin with \"https://\"",
            Self::PlainHttp => {
                "use \"https://\"; plain http is for loopback addresses only (127.0.0.1, [::1], \
                 localhost), after .allow_loopback_http()"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // T3
    #[test]
    fn t3_https_or_loopback_by_choice() {
        assert!(parse_url("https://as.example/token", false).is_ok());
        for url in ["http://127.0.0.1:1/", "http://[::1]/t", "http://localhost", "http://LOCALHOST"]
        {
            assert!(parse_url(url, true).is_ok(), "{url}");
            assert_eq!(parse_url(url, false), Err(UrlFault::PlainHttp), "{url}");
        }
        for url in [
            "http://as.example/token",
            "http://127.0.0.1.nip.io/",
            "http://localhost.example/",
            "http://127.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0/",
        ] {
            assert_eq!(parse_url(url, true), Err(UrlFault::PlainHttp), "{url}");
        }
    }

    // T4
    #[test]
    fn t4_a_query_is_kept_and_a_fragment_refused() {
        let uri = parse_url("https://as.example/token?tenant=a&x=%20", false).unwrap();
        assert_eq!(uri.query(), Some("tenant=a&x=%20"));
        assert_eq!(parse_url("https://as.example/token#f", false), Err(UrlFault::Fragment));
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for (url, fault) in [
            ("", UrlFault::NotAUrl),
            ("/token", UrlFault::NotAUrl),
            ("as.example", UrlFault::Scheme),
            ("ftp://as.example/", UrlFault::Scheme),
            ("https://me:pw@as.example/", UrlFault::Userinfo),
            ("https://127.0.0.1@as.example/", UrlFault::Userinfo),
        ] {
            assert_eq!(parse_url(url, true), Err(fault), "{url}");
        }
    }
}
