//! Which addresses may be fetched from.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Scheme;

/// Whether plain `http` is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PlainHttp {
    /// Never.
    Refused,
    /// To this machine, where nobody sits in between.
    Loopback,
    /// Everywhere: the operator said so.
    Dangerous,
}

/// Why an address may not be fetched from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UrlFault {
    NotAUrl,
    Fragment,
    Userinfo,
    Scheme,
    PlainHttp,
}

/// Reads an absolute URL and checks it.
pub(crate) fn parse_url(text: &str, plain_http: PlainHttp) -> Result<Uri, UrlFault> {
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
    match plain_http {
        PlainHttp::Dangerous => Ok(uri),
        PlainHttp::Loopback if is_loopback(authority.host()) => Ok(uri),
        PlainHttp::Loopback | PlainHttp::Refused => Err(UrlFault::PlainHttp),
    }
}

/// Tells whether plain `http` stays on this machine, so that metadata found there may name other
/// addresses of this machine.
pub(crate) fn is_plain_loopback(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTP) && uri.host().is_some_and(is_loopback)
}

/// Tells whether a host is this machine by its very spelling: 127.0.0.0/8, `[::1]`, or `localhost`,
/// of which the transport dials loopback addresses only.
fn is_loopback(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|v4: Ipv4Addr| v4.is_loopback())
        || v6.is_some_and(|v6| v6.parse().is_ok_and(|v6: Ipv6Addr| v6.is_loopback()))
}

/// Returns a URL that wasn't checked yet, without the password that there may be in it.
pub(crate) fn printable(url: &str) -> String {
    match url.rsplit_once('@') {
        None => url.to_owned(),
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}://…@{host}")
        }
    }
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
                 localhost), or after .dangerous_allow_http()"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str, plain_http: PlainHttp) -> Option<UrlFault> {
        parse_url(text, plain_http).err()
    }

    #[test]
    fn https_is_always_fine() {
        for url in ["https://a.example", "https://a.example:8443/p?q=1", "https://10.0.0.1/jwks"] {
            assert_eq!(fault(url, PlainHttp::Refused), None, "{url}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_by_its_spelling() {
        for url in [
            "http://127.0.0.1:8080/jwks",
            "http://127.8.9.1",
            "http://[::1]:1/",
            "http://localhost",
            "http://LOCALHOST:80/p",
        ] {
            assert_eq!(fault(url, PlainHttp::Loopback), None, "{url}");
            assert_eq!(fault(url, PlainHttp::Refused), Some(UrlFault::PlainHttp), "{url}");
        }
        for url in [
            "http://a.example",
            "http://127.0.0.1.nip.io",
            "http://localhost.evil.example",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://127.1/",
            "http://[::2]/",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0/",
        ] {
            assert_eq!(fault(url, PlainHttp::Loopback), Some(UrlFault::PlainHttp), "{url}");
            assert_eq!(fault(url, PlainHttp::Dangerous), None, "{url}");
        }
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for (url, expected) in [
            ("", UrlFault::NotAUrl),
            ("a.example", UrlFault::Scheme),
            ("/jwks", UrlFault::NotAUrl),
            ("https:///jwks", UrlFault::NotAUrl),
            ("https://a b/", UrlFault::NotAUrl),
            ("https://a.example/#f", UrlFault::Fragment),
            ("https://user:pw@a.example/", UrlFault::Userinfo),
            ("https://127.0.0.1@a.example/", UrlFault::Userinfo),
            ("ftp://a.example/", UrlFault::Scheme),
            ("file://localhost/etc/passwd", UrlFault::Scheme),
        ] {
            assert_eq!(fault(url, PlainHttp::Dangerous), Some(expected), "{url}");
        }
    }
}
