//! Compares resource URIs with prefixes, in every way that a parser could read them.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

/// How often an escape may itself be escaped before a URI is ambiguous.
const MAX_READINGS: usize = 4;

/// A URI that two parsers may read differently.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Unclear;

/// Returns a URI as it is written, and, where it differs, as parsers read it that decode escapes, omit
/// empty segments, and ignore the case of scheme and host: once, and as often as that changes it.
pub(crate) fn readings(uri: &str) -> Result<SmallVec<[Cow<'_, str>; 2]>, Unclear> {
    let mut readings = SmallVec::new();
    readings.push(Cow::Borrowed(uri));
    let mut last = normal(uri)?;
    for _ in 0..MAX_READINGS {
        let next = normal(&last)?;
        let is_stable = next == last;
        readings.push(Cow::Owned(last));
        if is_stable {
            if let Some(file) = without_streams(&next) {
                readings.push(Cow::Owned(normal(&file)?));
            }
            if let Some(bare) = without_parameters(&next) {
                readings.push(Cow::Owned(normal(&bare)?));
            }
            return Ok(readings);
        }
        last = next;
    }
    Err(Unclear)
}

/// Returns `true` if a prefix matches a URI, both as written or both normal: the URI continues with
/// another segment, or is the prefix itself.
pub(crate) fn covers(prefix: &str, uri: &str) -> bool {
    uri.strip_prefix(prefix).is_some_and(|rest| {
        rest.is_empty()
            || prefix.ends_with(['/', ':'])
            || rest.starts_with(['/', '?', '#'])
            || (rest.starts_with(':') && !has_path(prefix))
    })
}

/// Returns `true` for more than a scheme and a host: there, a colon is an ordinary character.
fn has_path(prefix: &str) -> bool {
    let after = prefix.split_once(':').map_or("", |(_, after)| after);
    after.strip_prefix("//").unwrap_or(after).contains('/')
}

/// Returns the file that Windows opens for a name with a stream: `a::$DATA` is `a`. `None` if
/// nothing looks like one.
fn without_streams(normal: &str) -> Option<String> {
    let path = normal.strip_prefix("file:///").filter(|path| path.contains(':'))?;
    let mut segments = path.split('/');
    let first = segments.next().map(|first| match first.strip_suffix(':') {
        Some(drive) if drive.len() == 1 => first,
        _ => name_of(first),
    });
    let bare: Vec<&str> = first.into_iter().chain(segments.map(name_of)).collect();
    Some(format!("file:///{}", bare.join("/"))).filter(|bare| bare != normal)
}

/// Returns the URI as parsers read it that ignore what follows a semicolon in each segment. `None` if there
/// is no semicolon.
fn without_parameters(normal: &str) -> Option<String> {
    normal.contains(';').then(|| {
        let bare = normal.split('/').map(|it| it.split(';').next().unwrap_or_default());
        bare.collect::<Vec<_>>().join("/")
    })
}

fn name_of(segment: &str) -> &str {
    segment.split(':').next().unwrap_or_default()
}

/// Returns the form in which spellings of one URI are equal. It is for comparing only.
///
/// A URI whose parts parsers could separate differently is unclear: what they take for host or path
/// is unknown.
pub(crate) fn normal(uri: &str) -> Result<String, Unclear> {
    let (scheme, raw) = uri.split_once(':').filter(|it| is_scheme(it.0)).ok_or(Unclear)?;
    let rest = decode(raw)?;
    // Some parsers ignore control characters anywhere, and space at the end; some take a backslash
    // for a slash.
    let is_odd = rest.contains(|c: char| c.is_control() || c == '\\') || rest.trim_end() != rest;
    let (scheme, kind) = (scheme.to_ascii_lowercase(), Kind::of(scheme));
    let authority = raw.strip_prefix("//");
    // An escape hides the slashes from parsers that decode later.
    if is_odd || rest.starts_with("//") != authority.is_some() {
        return Err(Unclear);
    }
    let Some(after) = authority else {
        let path = segments(&rest, kind)?;
        return match kind {
            Kind::File => Ok(format!("file:///{path}")),
            Kind::Web { .. } if rest.is_empty() => Ok(format!("{scheme}://")),
            // A browser finds a host here, RFC 3986 a path.
            Kind::Web { .. } => Err(Unclear),
            Kind::Other if rest.starts_with('/') => Ok(format!("{scheme}:/{path}")),
            Kind::Other => Ok(format!("{scheme}:{path}")),
        };
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, after) = after.split_at_checked(end).ok_or(Unclear)?;
    let after = decode(after)?;
    // A parser that ends the authority only at the first slash finds another host.
    if after.split('/').next().is_some_and(|it| it.contains('@')) {
        return Err(Unclear);
    }
    let path = segments(&after, kind)?;
    let host = match kind {
        // A prefix of all such URLs.
        Kind::Web { .. } if after.is_empty() && authority.is_empty() => String::new(),
        _ => host(authority, kind)?,
    };
    let slash = if path.is_empty() && kind != Kind::File { "" } else { "/" };
    Ok(format!("{scheme}://{host}{slash}{path}"))
}

/// What parsers of URLs know about a scheme.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// A path of this machine, however many slashes there are.
    File,
    /// There is always a host.
    Web {
        /// The port that may be omitted.
        port: u16,
    },
    Other,
}

impl Kind {
    fn of(scheme: &str) -> Self {
        match &*scheme.to_ascii_lowercase() {
            "file" => Self::File,
            "ftp" => Self::Web { port: 21 },
            "http" | "ws" => Self::Web { port: 80 },
            "https" | "wss" => Self::Web { port: 443 },
            _ => Self::Other,
        }
    }
}

fn is_scheme(scheme: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && scheme.bytes().all(legal)
}

fn decode(raw: &str) -> Result<Cow<'_, str>, Unclear> {
    percent_decode_str(raw).decode_utf8().map_err(|_| Unclear)
}

/// Returns the segments of a path that all parsers find. Dot segments lead some of them elsewhere,
/// and the target depends on which of the segments before they count.
fn segments(path: &str, kind: Kind) -> Result<String, Unclear> {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').filter(|it| !it.is_empty() && *it != ".") {
        // Some parsers ignore what follows a semicolon.
        if matches!(segment.split(['?', '#', ';']).next(), Some("." | "..")) {
            return Err(Unclear);
        }
        // Windows ignores them at the end of a name, and reads `//?/` as the path of a device.
        if kind == Kind::File && (segment.ends_with(['.', ' ']) || segment == "?") {
            return Err(Unclear);
        }
        segments.push(segment);
    }
    // Some parsers read `c|` as a drive letter.
    if kind == Kind::File && path.contains('|') {
        return Err(Unclear);
    }
    Ok(segments.join("/"))
}

/// Returns the host of an authority, and its port unless it is the default.
fn host(raw: &str, kind: Kind) -> Result<String, Unclear> {
    let authority = decode(raw)?;
    let delimiters = |text: &str| text.matches(['/', '?', '#', '@', ':', '[', ']']).count();
    if authority.contains('%') || delimiters(&authority) != delimiters(raw) {
        return Err(Unclear);
    }
    let authority = authority.to_ascii_lowercase();
    if kind == Kind::File {
        // A file on another machine is this one's to parsers that ignore the host.
        let is_here = matches!(&*authority, "" | "localhost");
        return if is_here { Ok(String::new()) } else { Err(Unclear) };
    }
    let mut parts = authority.rsplit('@');
    let host = parts.next().unwrap_or_default();
    if parts.nth(1).is_some() {
        return Err(Unclear);
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let name = match name.strip_prefix('[').map(|it| it.strip_suffix(']')) {
        None => Cow::Borrowed(name),
        Some(address) => {
            let address = address.and_then(|it| it.parse::<Ipv6Addr>().ok()).ok_or(Unclear)?;
            Cow::Owned(format!("[{address}]"))
        }
    };
    let port = match (port, kind) {
        (None | Some(""), _) => None,
        (Some(port), Kind::Web { port: usual }) => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let port: u16 = port.parse().ok().filter(|_| is_number).ok_or(Unclear)?;
            (port != usual).then(|| Cow::Owned(port.to_string()))
        }
        // It may be something else.
        (Some(port), _) => Some(match port.parse::<u16>() {
            Ok(number) if !port.starts_with('+') => Cow::Owned(number.to_string()),
            _ => Cow::Borrowed(port),
        }),
    };
    if matches!(kind, Kind::Web { .. }) && !is_host(&name) {
        return Err(Unclear);
    }
    Ok(match port {
        None => name.into_owned(),
        Some(port) => format!("{name}:{port}"),
    })
}

/// Returns `true` for a name or an address in the one form that no parser rewrites: `127.1`, `0x7f000001`
/// and letters beyond ASCII become other hosts in a browser.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_'))
    };
    let is_number =
        |label: &str| label.starts_with("0x") || label.bytes().all(|byte| byte.is_ascii_digit());
    match name.rsplit('.').next() {
        _ if name.starts_with('[') => true,
        Some(last) if is_number(last) => name.parse::<Ipv4Addr>().is_ok(),
        _ => name.split('.').all(is_label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mc20_spellings_of_one_uri_are_alike() {
        for (uri, expected) in [
            ("file:///secret/a", "file:///secret/a"),
            ("FILE:///secret/a", "file:///secret/a"),
            ("file:/secret/a", "file:///secret/a"),
            ("file:secret/a", "file:///secret/a"),
            ("file:////secret//a", "file:///secret/a"),
            ("file://localhost/secret/a", "file:///secret/a"),
            ("file://LocalHost/secret/a", "file:///secret/a"),
            ("file:///./secret/a/.", "file:///secret/a"),
            ("file:///%2e/secret/a", "file:///secret/a"),
            ("file:///public%2fsecret/a", "file:///public/secret/a"),
            ("file:///%73ecret/a", "file:///secret/a"),
            ("file:", "file:///"),
            ("file://", "file:///"),
            ("db://User@Host/T", "db://host/T"),
            ("db://host", "db://host"),
            ("db://host/", "db://host"),
            ("db://host:/", "db://host"),
            ("db://host:007/a", "db://host:7/a"),
            ("db://host:main/a", "db://host:main/a"),
            ("db://h%6fst/a", "db://host/a"),
            ("db://my%20notes/a", "db://my notes/a"),
            ("db:///a", "db:///a"),
            ("db:////a", "db:///a"),
            ("db://", "db://"),
            ("db:", "db:"),
            ("db://host?a/b", "db://host/?a/b"),
            ("https:", "https://"),
            ("https://", "https://"),
            ("https://u:p@Host:443/a", "https://host/a"),
            ("https://host:/a", "https://host/a"),
            ("https://host:80/a", "https://host:80/a"),
            ("http://host:080/a", "http://host/a"),
            ("wss://host:443", "wss://host"),
            ("ws://host:80", "ws://host"),
            ("ftp://host:21", "ftp://host"),
            ("https://127.0.0.1/a", "https://127.0.0.1/a"),
            ("https://[0:0::1]:8443/a", "https://[::1]:8443/a"),
            ("https://host/@scope/a?b=c@d", "https://host/@scope/a?b=c@d"),
            ("urn:isbn:1", "urn:isbn:1"),
            ("note:/a", "note:/a"),
        ] {
            assert_eq!(normal(uri).as_deref(), Ok(expected), "{uri}");
            assert_eq!(normal(expected).as_deref(), Ok(expected), "{uri}");
        }
    }

    // Each of these is one thing to one reader and another to the next.
    #[test]
    fn mc20_what_readers_read_differently_is_unclear() {
        for uri in [
            "",
            "a",
            "/a",
            ":a",
            "1a:b",
            "a b:c",
            "f%69le:///a",
            "file%3a///a",
            "file:///a\tb",
            "file:///a%0ab",
            "file:///%ff",
            " a:b",
            "a:b%20",
            "a:b ",
            // Where `..` leads depends on what counts as a segment.
            "file:///public/../secret/a",
            "file:///public/%2e%2E/secret/a",
            "file:///public%2f..%2fsecret/a",
            "file:///public/a%2fb/../../secret",
            "file:///public/a//../../secret",
            "file:///public/x?/../../secret",
            "file:///public/x#/../../secret",
            "file:///public/x%3f/../../secret",
            "file:///public/..?x",
            "file:///public/..#x",
            "file:///public/..;x/secret",
            "file:///public/.?x",
            // What Windows leaves out, and its way to devices.
            "file:///c:/hr./a",
            "file:///c:/hr%20/a",
            "file:////%3F/c:/hr/a",
            "file:///../../secret/a",
            "db://host/../x",
            "db:..",
            "file:///public/..\\secret/a",
            "file:\\\\\\secret\\a",
            "db://a\\@b",
            "file:///a%5cb",
            // Another machine's file, or this one's.
            "file://host/secret",
            "file://127.0.0.1/secret",
            "file://u@localhost/secret",
            "file://localhost:80/secret",
            "file://c:/secret",
            "file:///c|/secret",
            // Where the host ends, and whether there is one.
            "db://public?@secret/a",
            "db://public#@secret/a",
            "db://public%2f@secret/a",
            "db://public%252f@secret/a",
            "db://public%3f@secret/a",
            "db://public%40secret/a",
            "db://a@b@c/",
            "db:%2f/secret/a",
            "db:/%2fsecret/a",
            "db:%2f%2fsecret/a",
            "https:/host/a",
            "https:host/a",
            "https:///host/a",
            "https:%2f%2fhost/a",
            // Which host it is.
            "https://127.1/a",
            "https://0x7f.1/a",
            "https://2130706433/a",
            "https://127.0.0.01/a",
            "https://host./a",
            "https://ho..st/a",
            "https://h\u{f6}st/a",
            "https://\u{ff48}ost/a",
            "https://[::1/a",
            "https://[::x]/a",
            "https://host:a/",
            "https://host:+80/",
            "https://host:65536/",
            "https://user@/a",
            "db://[::x]/a",
        ] {
            assert_eq!(normal(uri), Err(Unclear), "{uri}");
        }
    }

    #[test]
    fn each_reading_is_returned() {
        let readings = |uri| readings(uri).map(|all| all.iter().map(|it| it.to_string()).collect());
        assert_eq!(readings("a:/b"), Ok(vec!["a:/b".to_owned(), "a:/b".into()]));
        assert_eq!(
            readings("a:/%252e/b"),
            Ok(vec!["a:/%252e/b".to_owned(), "a:/%2e/b".into(), "a:/b".into()])
        );
        assert_eq!(
            readings("file:///c:/hr::$INDEX_ALLOCATION/a"),
            Ok(vec![
                "file:///c:/hr::$INDEX_ALLOCATION/a".to_owned(),
                "file:///c:/hr::$INDEX_ALLOCATION/a".into(),
                "file:///c:/hr/a".into()
            ])
        );
        for uri in ["file:///a/..:x/b", "a:/b/%252e%252e/c", "a:%252f%252fb", "a:/%25252525252e"] {
            assert_eq!(readings(uri), Err(Unclear), "{uri}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_delimiter() {
        for (prefix, uri, expected) in [
            ("file:///a", "file:///a", true),
            ("file:///a", "file:///a/b", true),
            ("file:///a", "file:///a?b", true),
            ("file:///a", "file:///ab", false),
            ("file:///a/", "file:///a/b", true),
            ("db:", "db:x", true),
            ("db", "db:x", true),
            ("https://", "https://a/b", true),
            ("db://a", "db://a:8/b", true),
            ("urn:a", "urn:a:b", true),
            ("file:///a", "file:///a:b", false),
            ("db://a/b", "db://a/b:c", false),
            ("file:///a", "file:///A", false),
            ("file:///a", "file:///A/b", false),
        ] {
            assert_eq!(covers(prefix, uri), expected, "{prefix} {uri}");
        }
    }
}
