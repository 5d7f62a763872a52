//! Parses and checks the URLs that keys are fetched from, and secrets and tokens sent to.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;
use http::uri::Scheme;

use crate::error::ConfigError;

/// Whether plain `http` is allowed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum PlainHttp {
    /// Never.
    Refused,
    /// To loopback addresses only, where no network can be intercepted.
    Loopback,
    /// To any host, as the operator has configured.
    Dangerous,
}

impl PlainHttp {
    /// Returns the rule for URLs that an issuer's metadata names: metadata that was fetched over TLS
    /// may not lead away from TLS, not even to this machine.
    pub(crate) fn beyond(self, issuer: &Uri) -> Self {
        match self {
            Self::Loopback if !is_plain_loopback(issuer) => Self::Refused,
            other => other,
        }
    }
}

/// Why a URL may not be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum UrlFault {
    NotAUrl,
    Host,
    Fragment,
    Userinfo,
    Port,
    Scheme,
    PlainHttp,
}

/// Reads an absolute URL and checks it.
pub(crate) fn parse_url(text: &str, plain_http: PlainHttp) -> Result<Uri, UrlFault> {
    // `http::Uri` drops a fragment silently.
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
    let is_https = uri.scheme() == Some(&Scheme::HTTPS);
    if !is_https && uri.scheme() != Some(&Scheme::HTTP) {
        return Err(UrlFault::Scheme);
    }
    // The whole authority is checked: `http::Uri` accepts anything after "[::1]".
    let rest = authority.as_str().strip_prefix(authority.host()).ok_or(UrlFault::Host)?;
    if !is_host(authority.host()) || !(rest.is_empty() || rest.starts_with(':')) {
        return Err(UrlFault::Host);
    }
    port(&uri).ok_or(UrlFault::Port)?;
    match plain_http {
        _ if is_https => Ok(uri),
        PlainHttp::Dangerous => Ok(uri),
        PlainHttp::Loopback if is_loopback(authority.host()) => Ok(uri),
        PlainHttp::Loopback | PlainHttp::Refused => Err(UrlFault::PlainHttp),
    }
}

/// Returns `true` for a name, an IPv4 address, or an IPv6 address in brackets, without a zone.
/// Escapes (RFC 3986 §3.2.2) are refused: a client that decodes them sees another host.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']').is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok()),
        None => host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')),
    }
}

/// Returns `true` if a URL is plain `http` to a loopback address.
pub(crate) fn is_plain_loopback(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTP) && uri.host().is_some_and(is_loopback)
}

/// Returns `true` if a host is a loopback address by its spelling: 127.0.0.0/8, `[::1]`, or
/// `localhost`, for which the transport dials loopback addresses only.
fn is_loopback(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|v4: Ipv4Addr| v4.is_loopback())
        || v6.is_some_and(|v6| v6.parse().is_ok_and(|v6: Ipv6Addr| v6.is_loopback()))
}

/// Returns the port; `None` if it is no number, which `http::Uri` treats as no port.
pub(crate) fn port(uri: &Uri) -> Option<u16> {
    let authority = uri.authority()?.as_str();
    let (_, host_and_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    match host_and_port.strip_prefix(uri.host()?)? {
        "" | ":" => Some(if *uri.scheme()? == Scheme::HTTPS { 443 } else { 80 }),
        rest => {
            let digits = rest.strip_prefix(':')?;
            let legal = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| legal)
        }
    }
}

/// Removes the parts of a URL that may be secret: the query, and everything if there may be a password. The
/// URL may be malformed.
pub(crate) fn printable(url: &str) -> String {
    if url.contains('@') {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let known = ["https", "http"].contains(&scheme);
        return if known { format!("{scheme}://…@…") } else { "…@…".into() };
    }
    match url.find(['?', '#']) {
        Some(end) => format!("{}…", url.get(..=end).unwrap_or_default()),
        None => url.into(),
    }
}

impl UrlFault {
    /// Returns an error that names the URL and, for plain `http`, the setting that allows it.
    pub(crate) fn report(self, what: &str, url: &str, allowed: &str) -> ConfigError {
        let allowed = if self == Self::PlainHttp { allowed } else { "" };
        ConfigError::new(format!("the {what} {:?} can't be used: {self}{allowed}", printable(url)))
    }
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAUrl => "it must be an absolute URL with a host",
            Self::Host => {
                "the host must be a name, an IPv4 address or an IPv6 address in brackets, and \
                 nothing but a port may follow it"
            }
            Self::Fragment => "remove the fragment (\"#…\")",
            Self::Userinfo => "remove the user name and password",
            Self::Port => "the port must be a number up to 65535",
            Self::Scheme => "it must begin with \"https://\"",
            Self::PlainHttp => {
                "use \"https://\"; plain http is for loopback addresses only (127.0.0.1, [::1], \
                 localhost)"
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

    // T3
    #[test]
    fn t3_https_is_always_fine() {
        for url in ["https://a.example", "https://a.example:8443/p?q=1", "https://10.0.0.1/jwks"] {
            assert_eq!(fault(url, PlainHttp::Refused), None, "{url}");
        }
    }

    // T3
    #[test]
    fn t3_plain_http_is_for_loopback_by_its_spelling() {
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
    fn fa11_the_authority_is_compared_whole() {
        for url in [
            "http://[::1]evil.example:80/",
            "http://[::1]evil.example/",
            "http://[::1].evil.example/",
            "http://[::1]:80evil.example/",
            "http://[::1]%2eevil.example/",
            "http://[::1][::2]/",
            "http://[::1]:80:90/",
            "http://[::1]:+80/",
            "http://[::1]:-1/",
            "http://[::1%25eth0]/",
            "http://[::1%eth0]/",
            "http://[fe80::1%25lo]/",
            "http://[v1.x]/",
            "http://[127.0.0.1]/",
            "http://[::1/",
            "http://::1/",
            "http://127.0.0.1:80:90/",
            "http://127.0.0.1:+80/",
            "http://127.0.0.1,evil.example/",
            "http://127.0.0.1;evil.example/",
            "http://127.0.0.1\\evil.example/",
            "http://127%2e0%2e0%2e1/",
            "http://127.0.0.1%2eevil.example/",
            "http://127.0.0.1%00.evil.example/",
            "http://loc%61lhost/",
            "http://localhost%23.evil.example/",
        ] {
            for plain_http in [PlainHttp::Refused, PlainHttp::Loopback, PlainHttp::Dangerous] {
                let found = fault(url, plain_http);
                let refused = [Some(UrlFault::Host), Some(UrlFault::NotAUrl), Some(UrlFault::Port)];
                assert!(refused.contains(&found), "{url}: {found:?}");
                let https = url.replacen("http:", "https:", 1);
                assert!(refused.contains(&fault(&https, plain_http)), "{https}");
            }
        }
        for url in [
            "http://[::1]@evil.example/",
            "http://127.0.0.1:80@evil.example/",
            "http://evil.example@[::1]/",
        ] {
            assert_eq!(fault(url, PlainHttp::Loopback), Some(UrlFault::Userinfo), "{url}");
        }
        for url in [
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.1./",
            "http://localhost./",
            "http://a.localhost/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://[::127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::127.0.0.1]/",
        ] {
            assert_eq!(fault(url, PlainHttp::Loopback), Some(UrlFault::PlainHttp), "{url}");
        }
        for url in [
            "http://[::1]/",
            "http://[::1]",
            "http://[::1]:",
            "http://[::1]:8080/p",
            "http://[0:0:0:0:0:0:0:1]:8080/p",
            "http://127.0.0.1:/",
            "http://localhost:65535/",
        ] {
            assert_eq!(fault(url, PlainHttp::Loopback), None, "{url}");
        }
        for url in [
            "https://a_b.example/",
            "https://xn--bcher-kva.example:8443",
            "https://[2001:db8::1]:1",
        ] {
            assert_eq!(fault(url, PlainHttp::Refused), None, "{url}");
        }
    }

    // T4
    #[test]
    fn t4_a_query_is_kept_and_a_fragment_refused() {
        let uri = parse_url("https://as.example/token?tenant=a&x=%20", PlainHttp::Refused).unwrap();
        assert_eq!(uri.query(), Some("tenant=a&x=%20"));
        let fragment = fault("https://as.example/token#f", PlainHttp::Refused);
        assert_eq!(fragment, Some(UrlFault::Fragment));
    }

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for (url, expected) in [
            ("", UrlFault::NotAUrl),
            ("a.example", UrlFault::Scheme),
            ("/jwks", UrlFault::NotAUrl),
            ("https:///jwks", UrlFault::NotAUrl),
            ("https://a b/", UrlFault::NotAUrl),
            ("https://a.example:65536/", UrlFault::Port),
            ("https://a.example:x/", UrlFault::Port),
            ("https://a.example/#f", UrlFault::Fragment),
            ("https://user:pw@a.example/", UrlFault::Userinfo),
            ("https://127.0.0.1@a.example/", UrlFault::Userinfo),
            ("ftp://a.example/", UrlFault::Scheme),
            ("file://localhost/etc/passwd", UrlFault::Scheme),
        ] {
            assert_eq!(fault(url, PlainHttp::Dangerous), Some(expected), "{url}");
        }
    }

    // T3
    #[test]
    fn t3_metadata_leads_to_plain_http_only_from_plain_http_on_this_machine() {
        let (here, there) =
            (Uri::from_static("http://127.0.0.1:1/a"), Uri::from_static("https://a.example"));
        assert_eq!(PlainHttp::Loopback.beyond(&here), PlainHttp::Loopback);
        assert_eq!(PlainHttp::Loopback.beyond(&there), PlainHttp::Refused);
        assert_eq!(PlainHttp::Refused.beyond(&here), PlainHttp::Refused);
        assert_eq!(PlainHttp::Dangerous.beyond(&there), PlainHttp::Dangerous);
    }

    // L1
    #[test]
    fn l1_a_report_names_the_url_without_its_password_and_what_would_allow_it() {
        let url = "https://user:canary@a.example/t";
        let report = UrlFault::Userinfo.report("issuer", url, ", after .x()").to_string();
        assert_eq!(
            report,
            "the issuer \"https://…@…\" can't be used: remove the user name and \
             password"
        );
        let report = UrlFault::PlainHttp.report("issuer", "http://a.example", ", after .x()");
        assert!(report.to_string().ends_with("localhost), after .x()"), "{report}");
    }

    // L1
    #[test]
    fn l1_an_address_is_shown_without_what_may_be_secret() {
        for (url, shown) in [
            ("https://as.example/token", "https://as.example/token"),
            ("https://as.example/token?key=canary", "https://as.example/token?…"),
            ("https://as.example/token#canary", "https://as.example/token#…"),
            ("https://me:canary@as.example:1/t", "https://…@…"),
            ("https://me:can/ar?y@as.example", "https://…@…"),
            ("canary://me@as.example", "…@…"),
            ("me:canary@as.example", "…@…"),
            ("", ""),
        ] {
            assert_eq!(printable(url), shown);
        }
    }
}
