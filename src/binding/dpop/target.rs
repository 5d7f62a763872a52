//! Compares `htu` of a proof with the URL that the request was sent to.

use http::header::{HOST, UPGRADE};
use http::{HeaderMap, Method, Uri};

use crate::binding::dpop::uri::{Authority, Scheme, Url, paths_are_equal};
use crate::error::ConfigError;

/// The parts of a request that a proof is for.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) method: &'a Method,
    /// The path on the wire.
    pub(crate) path: &'a str,
    /// Where the caller says that it sent the request to: it is compared, never trusted.
    pub(crate) authority: Option<&'a str>,
    pub(crate) opens_web_socket: bool,
    /// What a trusted proxy says about it.
    pub(crate) place: SentTo<'a>,
}

/// Where a trusted proxy says that the client sent the request to: it is compared as well.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SentTo<'a> {
    /// No such proxy says anything.
    Unsaid,
    /// What it says can't be read.
    Unreadable,
    Said {
        host: Option<&'a str>,
        proto: Option<&'a str>,
    },
}

impl<'a> Target<'a> {
    /// `uri` is the original one, before any router took a prefix from its path.
    pub(crate) fn new(method: &'a Method, uri: &'a Uri, headers: &'a HeaderMap) -> Self {
        let authority = match uri.authority() {
            // RFC 9112 §3.2.2: it takes precedence over `Host`.
            Some(authority) => Some(authority.as_str()),
            None => {
                let mut hosts = headers.get_all(HOST).iter();
                let one = hosts.next().filter(|_| hosts.next().is_none());
                one.and_then(|host| host.to_str().ok())
            }
        };
        let is_upgrade = |value: &http::HeaderValue| {
            value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket")
        };
        let opens_web_socket =
            method == Method::GET && headers.get(UPGRADE).is_some_and(is_upgrade);
        Self { method, path: uri.path(), authority, opens_web_socket, place: SentTo::Unsaid }
    }

    pub(crate) const fn at(self, place: SentTo<'a>) -> Self {
        Self { place, ..self }
    }

    /// Returns the scheme of the request that opens a URL with this scheme.
    const fn scheme_of_request(&self, scheme: Scheme) -> Scheme {
        match self.opens_web_socket {
            true => scheme.of_opening_request(),
            false => scheme,
        }
    }

    /// Returns `true` if there is a URL that a proof could be for. Neither `OPTIONS *` (RFC 9112
    /// §3.2.4) nor a CONNECT, extended or not, has one.
    fn has_url(&self) -> bool {
        self.method != Method::CONNECT && self.path.starts_with('/')
    }
}

/// A [`Target`] that outlives its request's first poll.
pub(crate) struct OwnTarget {
    method: Method,
    path: Box<str>,
    authority: Option<Box<str>>,
    opens_web_socket: bool,
    place: OwnPlace,
}

enum OwnPlace {
    Unsaid,
    Unreadable,
    Said([Option<Box<str>>; 2]),
}

impl Target<'_> {
    pub(crate) fn to_owned(self) -> OwnTarget {
        OwnTarget {
            method: self.method.clone(),
            path: self.path.into(),
            authority: self.authority.map(Into::into),
            opens_web_socket: self.opens_web_socket,
            place: match self.place {
                SentTo::Unsaid => OwnPlace::Unsaid,
                SentTo::Unreadable => OwnPlace::Unreadable,
                SentTo::Said { host, proto } => {
                    OwnPlace::Said([host, proto].map(|it| it.map(Into::into)))
                }
            },
        }
    }
}

impl OwnTarget {
    pub(crate) fn borrow(&self) -> Target<'_> {
        Target {
            method: &self.method,
            path: &self.path,
            authority: self.authority.as_deref(),
            opens_web_socket: self.opens_web_socket,
            place: match &self.place {
                OwnPlace::Unsaid => SentTo::Unsaid,
                OwnPlace::Unreadable => SentTo::Unreadable,
                OwnPlace::Said([host, proto]) => {
                    SentTo::Said { host: host.as_deref(), proto: proto.as_deref() }
                }
            },
        }
    }
}

/// The origins by which callers know this service.
#[derive(Clone, Debug)]
pub(crate) struct Origins(Box<[Origin]>);

#[derive(Clone, Debug)]
struct Origin {
    scheme: Scheme,
    authority: Authority<'static>,
    /// The prefix that a proxy removes from the path.
    prefix: Box<str>,
}

impl Origins {
    /// Checks the origins.
    ///
    /// # Errors
    ///
    /// If there is none, one isn't an origin, or `Host` can't distinguish two.
    pub(crate) fn new(origins: &[String]) -> Result<Self, ConfigError> {
        if origins.is_empty() {
            return Err(ConfigError::new(
                "DPoP proofs name the URL of the request, which can't be taken from the request \
                 itself: name the origins by which callers know this service, with \
                 .public_origins([\"https://api.example\"])",
            ));
        }
        let mut known: Vec<Origin> = Vec::with_capacity(origins.len());
        for text in origins {
            let origin = Origin::parse(text).ok_or_else(|| {
                ConfigError::new(format!(
                    "{text:?} isn't a public origin: write it like https://api.example, with its port if it \
                     has one, and with the path prefix that a proxy removes, if it does"
                ))
            })?;
            let alike = |other: &Origin| {
                let (one, other) = (&origin, other);
                one.authority == other.authority
                    || one.authority.is(&other.authority, one.scheme)
                    || one.authority.is(&other.authority, other.scheme)
            };
            if known.iter().any(alike) {
                return Err(ConfigError::new(format!(
                    "the public origin {text:?} has the same host and port as another one, so that \
                     requests can't be attributed to one of them: leave one out"
                )));
            }
            known.push(origin);
        }
        Ok(Self(known.into()))
    }

    /// Returns the origin that a request was sent to; of several, the one that the request or the proxy
    /// names.
    fn of(&self, target: &Target<'_>) -> Result<&Origin, &'static str> {
        let (host, proto) = match target.place {
            SentTo::Unreadable => {
                return Err("the proxy's forwarded fields can't be read, or one occurs twice");
            }
            SentTo::Unsaid => (None, None),
            SentTo::Said { host, proto } => (host, proto),
        };
        let origin = match (&*self.0, host) {
            ([only], None) => only,
            (_, host) => self.named(host.or(target.authority))?,
        };
        let scheme = proto.map(|proto| Some(target.scheme_of_request(Scheme::parse(proto)?)));
        if scheme.is_some_and(|scheme| scheme != Some(origin.scheme)) {
            return Err("the proxy says another scheme than that of the public origin");
        }
        Ok(origin)
    }

    fn named(&self, host: Option<&str>) -> Result<&Origin, &'static str> {
        let host = host.and_then(Authority::parse);
        let host = host.ok_or("the request names no host, or several")?;
        let mut of = self.0.iter().filter(|it| it.authority.is(&host, it.scheme));
        of.next().ok_or("the request's host is none of the public origins")
    }

    /// Compares `htu` with the URL of the request (RFC 9449 §4.3, check 9).
    ///
    /// # Errors
    ///
    /// What differs.
    pub(crate) fn check(&self, htu: &str, target: &Target<'_>) -> Result<(), &'static str> {
        if !target.has_url() {
            return Err("the request has no URL that a proof could be for");
        }
        let origin = self.of(target)?;
        let url = Url::parse(htu).ok_or("htu isn't an absolute URL")?;
        let scheme = target.scheme_of_request(url.scheme);
        if scheme != origin.scheme || !origin.authority.is(&url.authority, scheme) {
            return Err("htu has another origin than the request");
        }
        if !paths_are_equal([&origin.prefix, target.path], url.path) {
            return Err("htu has another path than the request");
        }
        Ok(())
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text)?;
        let prefix = url.path.strip_suffix('/').unwrap_or(url.path);
        let legal = matches!(url.scheme, Scheme::Http | Scheme::Https)
            && !text.contains(['?', '#', '%'])
            && is_prefix(prefix);
        let authority = url.authority.into_owned();
        legal.then(|| Self { scheme: url.scheme, authority, prefix: prefix.into() })
    }
}

/// Returns `true` if a path can be a prefix of others.
fn is_prefix(path: &str) -> bool {
    let is_plain = path.is_empty() || path.starts_with('/');
    is_plain && !path.contains(['?', '#', '%']) && !path.contains("/.") && !path.contains("//")
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};

    use super::*;

    fn origins(origins: &[&str]) -> Result<Origins, ConfigError> {
        Origins::new(&origins.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
    }

    fn check(public: &[&str], request: &Request<()>, htu: &str) -> bool {
        let target = Target::new(request.method(), request.uri(), request.headers());
        origins(public).unwrap().check(htu, &target).is_ok()
    }

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn d39_dpop_without_a_public_origin_is_an_error() {
        assert!(origins(&[]).unwrap_err().to_string().contains(".public_origins"));
        for origin in [
            "",
            "api.example",
            "//api.example",
            "ftp://api.example",
            "wss://api.example",
            "https://u@api.example",
            "https://api.example?q",
            "https://api.example#f",
            "https://api.example:0x50",
            "https://api.example:99999",
            "https://*.example",
            "https://api.example/../b",
            "https://api.example//b",
        ] {
            assert!(origins(&[origin]).is_err(), "{origin}");
        }
        for origin in [
            "https://api.example",
            "https://api.example/",
            "https://API.example:443/v1/",
            "http://127.0.0.1:3000",
            "https://[::1]:8443",
        ] {
            assert!(origins(&[origin]).is_ok(), "{origin}");
        }
    }

    #[test]
    fn d40_origins_that_host_cannot_tell_apart_are_an_error() {
        for [one, other] in [
            ["https://api.example", "https://API.example"],
            ["https://api.example", "https://api.example:443"],
            ["https://api.example", "http://api.example"],
            ["https://api.example/a", "https://api.example/b"],
            ["https://[::1]", "https://[0::1]"],
        ] {
            assert!(origins(&[one, other]).is_err(), "{one} {other}");
        }
        for [one, other] in [
            ["https://api.example", "https://api.example:8443"],
            ["https://a.example", "https://b.example"],
            ["https://api.example", "http://localhost:3000"],
        ] {
            assert!(origins(&[one, other]).is_ok(), "{one} {other}");
        }
    }

    #[test]
    fn d39_one_origin_stands_whatever_host_says() {
        let public = &["https://api.example"];
        for host in ["api.example", "evil.example", "10.0.0.1:3000", "x@y"] {
            let request = request("GET", "/a", &[("host", host)]);
            assert!(check(public, &request, "https://api.example/a"), "{host}");
            assert!(
                !check(public, &request, &format!("https://{host}/a")) || host == "api.example"
            );
        }
    }

    #[test]
    fn d40_of_several_origins_the_named_one_counts() {
        let public = &["https://one.example", "https://two.example:8443", "http://localhost:3000"];
        for (host, htu, good) in [
            (Some("one.example"), "https://one.example/a", true),
            (Some("ONE.example:443"), "https://one.example/a", true),
            (Some("two.example:8443"), "https://two.example:8443/a", true),
            (Some("localhost:3000"), "http://localhost:3000/a", true),
            (Some("one.example"), "https://two.example:8443/a", false),
            (Some("two.example"), "https://two.example:8443/a", false),
            (Some("one.example:80"), "https://one.example/a", false),
            (Some("evil.example"), "https://evil.example/a", false),
            (Some("evil.example"), "https://one.example/a", false),
            (Some("u@one.example"), "https://one.example/a", false),
            (Some(""), "https://one.example/a", false),
            (None, "https://one.example/a", false),
        ] {
            let fields: Vec<_> = host.iter().map(|host| ("host", *host)).collect();
            assert_eq!(check(public, &request("GET", "/a", &fields), htu), good, "{host:?} {htu}");
        }
        let twice = request("GET", "/a", &[("host", "one.example"), ("host", "one.example")]);
        assert!(!check(public, &twice, "https://one.example/a"));
    }

    #[test]
    fn d43_http2_and_the_absolute_form_give_the_same_url() {
        let public = &["https://one.example", "https://two.example"];
        for fields in [&[][..], &[("host", "two.example")]] {
            let mut request = request("GET", "https://one.example/a?q", fields);
            *request.version_mut() = Version::HTTP_2;
            assert!(check(public, &request, "https://one.example/a"));
            assert!(!check(public, &request, "https://two.example/a"));
        }
    }

    #[test]
    fn d43_d45_what_has_no_url_carries_no_proof() {
        let public = &["https://api.example"];
        for (method, uri, good) in [
            ("OPTIONS", "*", false),
            ("OPTIONS", "/", true),
            ("CONNECT", "api.example:443", false),
            ("CONNECT", "https://api.example/", false),
            ("GET", "https://api.example", true),
        ] {
            let request = request(method, uri, &[]);
            assert_eq!(check(public, &request, "https://api.example/"), good, "{method} {uri}");
        }
    }

    #[test]
    fn d45_a_web_socket_may_be_named_by_its_own_scheme() {
        let public = &["https://api.example"];
        let upgrade = request("GET", "/ws", &[("upgrade", "WebSocket")]);
        assert!(check(public, &upgrade, "https://api.example/ws"));
        assert!(check(public, &upgrade, "wss://api.example/ws"));
        assert!(check(public, &upgrade, "wss://api.example:443/ws"));
        assert!(!check(public, &upgrade, "ws://api.example/ws"));
        assert!(!check(public, &upgrade, "ws://api.example:443/ws"));
        for request in
            [request("GET", "/ws", &[]), request("POST", "/ws", &[("upgrade", "websocket")])]
        {
            assert!(check(public, &request, "https://api.example/ws"));
            assert!(!check(public, &request, "wss://api.example/ws"));
        }
    }

    #[test]
    fn d41_what_a_trusted_proxy_says_is_held_against_the_origins() {
        let said = |host, proto| SentTo::Said { host, proto };
        let (one, both) =
            (&["https://one.example"][..], ["https://one.example", "https://two.example"]);
        for (public, place, htu, good) in [
            (one, SentTo::Unsaid, "https://one.example/a", true),
            (one, SentTo::Unreadable, "https://one.example/a", false),
            (one, said(Some("one.example"), Some("https")), "https://one.example/a", true),
            (one, said(Some("ONE.example:443"), Some("HTTPS")), "https://one.example/a", true),
            (one, said(Some("one.example"), Some("http")), "https://one.example/a", false),
            (one, said(Some("one.example"), Some("ftp")), "https://one.example/a", false),
            (one, said(Some("evil.example"), None), "https://evil.example/a", false),
            (one, said(Some("evil.example"), None), "https://one.example/a", false),
            (one, said(Some("one.example:8443"), None), "https://one.example/a", false),
            (one, said(Some("u@one.example"), None), "https://one.example/a", false),
            // The one origin stands if the proxy says no host; of several, that of the request's own.
            (one, said(None, Some("https")), "https://one.example/a", true),
            (one, said(None, Some("https")), "https://two.example/a", false),
            (one, said(None, Some("http")), "https://one.example/a", false),
            (&both, SentTo::Unsaid, "https://two.example/a", true),
            (&both, SentTo::Unsaid, "https://one.example/a", false),
            (&both, said(Some("one.example"), None), "https://one.example/a", true),
            (&both, said(Some("one.example"), None), "https://two.example/a", false),
            (&both, said(None, Some("https")), "https://two.example/a", true),
            (
                &["https://one.example/v1"],
                said(Some("one.example"), None),
                "https://one.example/v1/a",
                true,
            ),
        ] {
            let request = request("GET", "/a", &[("host", "two.example")]);
            let target = Target::new(request.method(), request.uri(), request.headers()).at(place);
            let origins = origins(public).unwrap();
            assert_eq!(origins.check(htu, &target).is_ok(), good, "{place:?} {htu}");
            let owned = target.to_owned();
            assert_eq!(origins.check(htu, &owned.borrow()).is_ok(), good, "{place:?} {htu}");
        }
    }

    #[test]
    fn d41_d45_a_proxy_may_name_a_web_socket_by_its_own_scheme() {
        for (public, upgrade, proto, good) in [
            ("https://api.example", true, "wss", true),
            ("https://api.example", true, "WSS", true),
            ("https://api.example", true, "https", true),
            ("https://api.example", true, "ws", false),
            ("https://api.example", false, "wss", false),
            ("https://api.example", false, "https", true),
            ("http://api.example", true, "ws", true),
            ("http://api.example", true, "wss", false),
            ("http://api.example", false, "ws", false),
        ] {
            let fields: &[_] = if upgrade { &[("upgrade", "websocket")] } else { &[] };
            let request = request("GET", "/a", fields);
            let place = SentTo::Said { host: Some("api.example"), proto: Some(proto) };
            let target = Target::new(request.method(), request.uri(), request.headers()).at(place);
            let checked = origins(&[public]).unwrap().check(&format!("{public}/a"), &target);
            assert_eq!(checked.is_ok(), good, "{public} {upgrade} {proto}");
        }
    }

    #[test]
    fn d42_a_prefix_that_a_proxy_takes_is_put_in_front() {
        let public = &["https://api.example/v1/"];
        let request = request("GET", "/a", &[]);
        assert!(check(public, &request, "https://api.example/v1/a"));
        assert!(!check(public, &request, "https://api.example/a"));
        assert!(!check(public, &request, "https://api.example/v1//a"));
    }
}
