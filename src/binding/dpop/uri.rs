//! Parses URLs and compares them after normalization (RFC 3986 §6.2.2, §6.2.3).

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The scheme of a URL that requests can be sent to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    Http,
    Https,
    /// Plain WebSockets.
    Ws,
    /// WebSockets over TLS.
    Wss,
}

impl Scheme {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all = [(Self::Http, "http"), (Self::Https, "https"), (Self::Ws, "ws")];
        let mut all = all.into_iter().chain([(Self::Wss, "wss")]);
        all.find(|(_, name)| text.eq_ignore_ascii_case(name)).map(|(scheme, _)| scheme)
    }

    /// Returns the scheme of the request that opens a WebSocket (RFC 6455 §4.1).
    pub(crate) const fn of_opening_request(self) -> Self {
        match self {
            Self::Ws => Self::Http,
            Self::Wss => Self::Https,
            other => other,
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::Ws => 80,
            Self::Https | Self::Wss => 443,
        }
    }
}

/// A host, and a port if one is named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Authority<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

/// A host, in any spelling.
#[derive(Clone, Debug)]
enum Host<'a> {
    Name(Cow<'a, str>),
    V6(Ipv6Addr),
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(other)) => one.eq_ignore_ascii_case(other),
            (Self::V6(one), Self::V6(other)) => one == other,
            (Self::Name(_), Self::V6(_)) | (Self::V6(_), Self::Name(_)) => false,
        }
    }
}

impl Eq for Host<'_> {}

impl<'a> Authority<'a> {
    /// Reads `host[:port]`. Userinfo, escapes and zones are refused: another parser could see another
    /// host in them.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(v6) => {
                let (v6, rest) = v6.split_once(']')?;
                (Host::V6(v6.parse().ok()?), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (host, rest) = text.split_at_checked(end)?;
                let legal =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                if host.is_empty() || !host.bytes().all(legal) {
                    return None;
                }
                (Host::Name(Cow::Borrowed(host)), rest)
            }
        };
        let port = match rest {
            "" | ":" => None,
            rest => {
                let digits = rest.strip_prefix(':')?;
                let legal = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
                Some(digits.parse().ok().filter(|_| legal)?)
            }
        };
        Some(Self { host, port })
    }

    pub(crate) fn into_owned(self) -> Authority<'static> {
        let host = match self.host {
            Host::Name(name) => Host::Name(Cow::Owned(name.into_owned())),
            Host::V6(address) => Host::V6(address),
        };
        Authority { host, port: self.port }
    }

    /// Returns `true` if both name the same place for this scheme.
    pub(crate) fn is(&self, other: &Authority<'_>, scheme: Scheme) -> bool {
        let port = |it: Option<u16>| it.unwrap_or(scheme.default_port());
        self.host == other.host && port(self.port) == port(other.port)
    }
}

/// An absolute URL without its query and fragment.
#[derive(Clone, Debug)]
pub(crate) struct Url<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority<'a>,
    /// As it was written.
    pub(crate) path: &'a str,
}

impl<'a> Url<'a> {
    /// Reads an absolute URL; `None` if it is anything else.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if !text.bytes().all(|byte| matches!(byte, 0x21..=0x7e)) {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        let scheme = Scheme::parse(scheme)?;
        let rest = rest.strip_prefix("//")?;
        let rest = rest.find(['?', '#']).map_or(Some(rest), |end| rest.get(..end))?;
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        Some(Self { scheme, authority: Authority::parse(authority)?, path })
    }
}

/// Returns `true` if two paths are the same after normalization. The first may be in two parts.
pub(crate) fn paths_are_equal(one: [&str; 2], other: &str) -> bool {
    let [start, end] = one;
    let plain = |path: &str| !path.contains('%') && !path.contains("/.") && path.starts_with('/');
    if other.strip_prefix(start) == Some(end) && plain(other) {
        return true;
    }
    let joined = [start, end].concat();
    matches!((normal(&joined), normal(other)), (Some(one), Some(other)) if one == other)
}

/// Returns a path with no needless escapes, upper-case ones where they are needed, and no dot segments
/// (RFC 3986 §6.2.2, §5.2.4); `None` if an escape is broken.
fn normal(path: &str) -> Option<Vec<u8>> {
    let mut rest = path.as_bytes();
    let mut plain = Vec::with_capacity(path.len());
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first != b'%' {
            plain.push(first);
            continue;
        }
        let (&[high, low], more) = rest.split_first_chunk::<2>()?;
        rest = more;
        let byte = hex_digit(high)?.checked_mul(16)?.checked_add(hex_digit(low)?)?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            plain.push(byte);
        } else {
            plain.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
        }
    }
    let Some(segments) = plain.strip_prefix(b"/") else {
        // RFC 3986 §6.2.3: no path is the root's.
        return plain.is_empty().then(|| b"/".to_vec());
    };
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = segments.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_dots = matches!(segment, b"." | b"..");
        if segment == b".." {
            kept.pop();
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push(b"");
        }
    }
    let mut normal = Vec::with_capacity(plain.len());
    for segment in kept {
        normal.push(b'/');
        normal.extend_from_slice(segment);
    }
    Some(normal)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn equal(one: &str, other: &str) -> bool {
        let (Some(one), Some(other)) = (Url::parse(one), Url::parse(other)) else { return false };
        one.scheme == other.scheme
            && one.authority.is(&other.authority, one.scheme)
            && paths_are_equal(["", one.path], other.path)
    }

    // T1
    #[test]
    fn d38_urls_that_are_equal() {
        const URL: &str = "https://API.example:443/a/b";
        for other in [
            URL,
            "HTTPS://api.example/a/b",
            "https://api.example/a/b",
            "https://api.example:/a/b",
            "https://api.example/%61/b",
            "https://api.example/x/../a/b",
            "https://api.example/./a/./b",
            "https://api.example/../a/b",
            "https://api.example/%2e%2E/a/b",
            "https://api.example/a/b?q=1",
            "https://api.example/a/b#f",
            "https://api.example/a/b?q=/../x#f?g",
        ] {
            assert!(equal(URL, other) && equal(other, URL), "{other}");
        }
        for (one, other) in [
            ("https://h/a%2fb", "https://h/a%2Fb"),
            ("https://h", "https://h/"),
            ("https://h?q", "https://h/"),
            ("https://h/a/", "https://h/a/b/.."),
            ("https://h/a/", "https://h/a/."),
            ("https://h/", "https://h/a/.."),
            ("https://[::1]/a", "https://[0:0::1]/a"),
            ("https://[::1]:8443/a", "https://[0:0:0:0:0:0:0:1]:8443/a"),
            ("https://h/%7e", "https://h/~"),
            ("http://h:80/", "http://h/"),
        ] {
            assert!(equal(one, other) && equal(other, one), "{one} {other}");
        }
    }

    // T1
    #[test]
    fn d38_urls_that_differ_or_are_refused() {
        const URL: &str = "https://API.example:443/a/b";
        for other in [
            "https://api.example/A/b",
            "https://api.example/a/b/",
            "https://api.example//a/b",
            "https://api.example/a//b",
            "https://api.example/a%2Fb",
            "https://api.example/a%252Fb",
            "https://api.example:8443/a/b",
            "https://api.example:80/a/b",
            "http://api.example/a/b",
            "http://api.example:443/a/b",
            "wss://api.example/a/b",
            "https://u@api.example/a/b",
            "https://u:p@api.example/a/b",
            "https://@api.example/a/b",
            "https://api.example:99999/",
            "https://api.example:99999/a/b",
            "https://api.example:65979/a/b",
            "https://api.example:+443/a/b",
            "https://api.example:000443/a/b",
            "https://api.example:443:443/a/b",
            "/a/b",
            "//api.example/a/b",
            "api.example/a/b",
            "https:/a/b",
            "https:a/b",
            "https:///a/b",
            "https://:443/a/b",
            "",
            "https",
            "https://",
            "https://api.example/%zz",
            "https://api.example/a/b%",
            "https://api.example/a/b%4",
            "https://api.example\\@evil.example/a/b",
            "https://api.example\\/a/b",
            "https://api.example%2f/a/b",
            "https://%61pi.example/a/b",
            "https://api.example./a/b",
            "https://xapi.example/a/b",
            "https://api.example.evil.example/a/b",
            "https://api.example/a/b ",
            " https://api.example/a/b",
            "https://api.example/a/b\n",
            "https://api.example/\u{e4}/b",
            "https://\u{430}pi.example/a/b",
            "ftp://api.example/a/b",
            "javascript://api.example/a/b",
            "https://[::1%25eth0]/a/b",
            "https://[::1/a/b",
            "https://[::1]x/a/b",
        ] {
            assert!(!equal(URL, other) && !equal(other, URL), "{other:?}");
        }
        assert!(!equal("https://h/%zz", "https://h/%zz"), "even if both are the same");
    }

    #[test]
    fn d42_a_prefix_stands_before_the_path() {
        assert!(paths_are_equal(["/api", "/a"], "/api/a"));
        assert!(paths_are_equal(["/api", "/a"], "/%61pi/x/../a"));
        assert!(paths_are_equal(["/api", "/"], "/api/"));
        for other in ["/a", "/api", "/api//a", "/apia", "api/a"] {
            assert!(!paths_are_equal(["/api", "/a"], other), "{other}");
        }
    }

    proptest! {
        // The short cut says what the long way says.
        #[test]
        fn d38_equality_is_that_of_normal_paths(
            one in "(/[ab.%26]{0,3}){0,4}", other in "(/[ab.%26]{0,3}){0,4}",
        ) {
            let normal = |path: &str| normal(path);
            let expected = matches!((normal(&one), normal(&other)), (Some(a), Some(b)) if a == b);
            prop_assert_eq!(paths_are_equal(["", &one], &other), expected);
            prop_assert_eq!(paths_are_equal(["", &one], &one), normal(&one).is_some());
        }

        #[test]
        fn d38_a_normal_path_is_its_own_normal(path in "(/[ab.%26eE]{0,4}){0,5}") {
            if let Some(once) = normal(&path) {
                let text = String::from_utf8(once.clone()).unwrap();
                // One round may uncover another escape, as `%2561` does: it isn't decoded again.
                prop_assert!(text.starts_with('/') && !text.contains("/../") && !text.contains("/./"));
            }
        }

        #[test]
        fn d84_whatever_text_arrives_nothing_panics(text in ".{0,60}", path in "https?://[a-z.:@/%\\[\\]0-9?#]{0,40}") {
            let _ = (Url::parse(&text), Url::parse(&path).map(|url| normal(url.path)));
            let _ = normal(&text);
        }
    }
}
