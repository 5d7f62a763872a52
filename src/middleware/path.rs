use std::borrow::Cow;

/// Tells whether a path can be read in two ways: what the table takes for one route, the router
/// behind may take for another.
///
/// Doubtful are empty segments, dot segments (parameters of a segment don't change that), the
/// backslash, a slash, backslash or NUL in percent-encoding, characters that need no encoding but
/// have one (RFC 3986 §2.3), and broken escapes.
pub(crate) fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut rest = bytes;
    // One pass over the bytes: most paths have none of these.
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'%' | b'\\' | b'/')) {
        let (found, after) = match rest.get(at..).and_then(<[u8]>::split_first) {
            Some((found, after)) => (*found, after),
            None => return true,
        };
        let doubtful = match found {
            b'/' => {
                let end = after.iter().position(|byte| *byte == b'/');
                let segment = after.get(..end.unwrap_or(after.len())).unwrap_or_default();
                let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
                matches!(name, b"." | b"..") || (name.is_empty() && end.is_some())
            }
            b'%' => match escaped(after) {
                Some(b'/' | b'\\' | 0) | None => true,
                Some(byte) => is_unreserved(byte),
            },
            _ => true,
        };
        if doubtful {
            return true;
        }
        rest = after;
    }
    false
}

/// Takes the parameters off a path's segments: what follows a semicolon (RFC 3986 §3.3).
pub(crate) fn without_parameters(path: &str) -> String {
    let names = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    names.collect::<Vec<_>>().join("/")
}

/// Decodes the escapes of a path that isn't ambiguous. Bytes that aren't UTF-8 become U+FFFD.
pub(crate) fn decode(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (*byte, escaped(after)) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (byte, _) => decoded.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Returns what is left of a path without as many segments as a prefix has.
pub(crate) fn without_prefix<'a>(path: &'a str, prefix: &str) -> &'a str {
    let segments = prefix.split('/').filter(|segment| !segment.is_empty());
    segments.fold(path, |rest, _| {
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default()
    })
}

fn escaped(after_percent: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*after_percent.get(at)?).to_digit(16);
    u8::try_from(digit(0)?.checked_mul(16)?.checked_add(digit(1)?)?).ok()
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Tells whether a path is of the form of an axum pattern: `{name}` is a part of a segment up to its
/// end, `{*name}` the rest of the path, and `{{` is a brace. Slashes at the end don't matter: where
/// axum nests a service, its pattern has one more.
pub(crate) fn fits(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.trim_end_matches('/'), path.trim_end_matches('/'));
    loop {
        let literal = pattern.find(['{', '}']).unwrap_or(pattern.len());
        let (before, special) = pattern.split_at_checked(literal).unwrap_or((pattern, ""));
        let Some(after) = path.strip_prefix(before) else {
            return false;
        };
        path = after;
        if special.is_empty() {
            return path.is_empty();
        }
        if let Some(after) = special.strip_prefix("{{").or_else(|| special.strip_prefix("}}")) {
            let Some(rest) = path.strip_prefix(special.get(..1).unwrap_or_default()) else {
                return false;
            };
            (pattern, path) = (after, rest);
            continue;
        }
        let Some((name, after)) = special.split_once('}') else {
            return false;
        };
        if name.starts_with("{*") {
            return !path.is_empty();
        }
        let end = path.find('/').unwrap_or(path.len());
        let (value, rest) = path.split_at_checked(end).unwrap_or((path, ""));
        if value.is_empty() {
            return false;
        }
        (pattern, path) = (after, rest);
    }
}

/// Decodes the escapes of a pattern. A brace that was encoded is a brace, not a parameter.
pub(crate) fn decode_pattern(pattern: &str) -> String {
    let mut pattern = pattern.to_owned();
    for (escape, brace) in [("%7B", "{{"), ("%7b", "{{"), ("%7D", "}}"), ("%7d", "}}")] {
        pattern = pattern.replace(escape, brace);
    }
    decode(&pattern).into_owned()
}

/// Returns the form of a pattern: its parameters without their names.
pub(crate) fn form(pattern: &str) -> String {
    let mut form = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, special)) = rest.find('{').and_then(|at| rest.split_at_checked(at)) {
        form.push_str(before);
        if let Some(after) = special.strip_prefix("{{") {
            form.push_str("{{");
            rest = after;
            continue;
        }
        form.push_str(if special.starts_with("{*") { "{*}" } else { "{}" });
        rest = special.split_once('}').map_or("", |(_, after)| after);
    }
    form.push_str(rest);
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_pattern_has_no_names() {
        for (pattern, expected) in [
            ("/", "/"),
            ("/a/{id}", "/a/{}"),
            ("/a/{id}/b/{*rest}", "/a/{}/b/{*}"),
            ("/a/x_{id}", "/a/x_{}"),
            ("/{{a}}/{b}", "/{{a}}/{}"),
        ] {
            assert_eq!(form(pattern), expected);
        }
        assert_eq!(decode_pattern("/caf%C3%A9/{id}/%7Bx%7d"), "/caf\u{e9}/{id}/{{x}}");
    }

    #[test]
    fn paths_with_two_readings_are_ambiguous() {
        for path in [
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/.",
            "/a/..",
            "/a/./b",
            "/a/../b",
            "/..;/b",
            "/;/b",
            "/a/;x=1/b",
            "/a/..;x=1/b",
            "/a/.;/b",
            "/%2e/b",
            "/%2E%2e/b",
            "/.%2e/b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a%5Cb",
            "/a\\b",
            "/a\\..\\b",
            "/%61dmin",
            "/%41",
            "/%7e",
            "/%5F",
            "/%2d",
            "/%30",
            "/%",
            "/%a",
            "/%zz",
            "/a%",
            "/a%2",
            "/%g0",
            "/a%00",
            "/%2",
        ] {
            assert!(is_ambiguous(path), "{path}");
        }
        for path in [
            "",
            "*",
            "/",
            "/a",
            "/a/",
            "/a/b",
            "/a.b",
            "/.well-known/x",
            "/..a",
            "/a..",
            "/...",
            "/a%20b",
            "/%C3%A9",
            "/%c3%a9",
            "/%40",
            "/100%25",
            "/a;b=c",
            "/~user",
            "/a:b@c,d",
            "/%252e%252e/b",
            "/pkg.Service/Method",
            "/%7Bid%7D",
        ] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }

    #[test]
    fn parameters_are_taken_off() {
        for (path, expected) in
            [("/a;x", "/a"), ("/a;x=1;y/b;z", "/a/b"), ("/a/;x", "/a/"), ("/;", "/"), (";", "")]
        {
            assert_eq!(without_parameters(path), expected);
        }
    }

    #[test]
    fn escapes_are_decoded() {
        assert!(matches!(decode("/a/b"), Cow::Borrowed("/a/b")));
        assert_eq!(decode("/%40me/caf%c3%A9"), "/@me/caf\u{e9}");
        assert_eq!(decode("/%25%32"), "/%2");
        assert_eq!(decode("/%ff"), "/\u{fffd}");
        assert_eq!(decode("/%"), "/%");
        assert_eq!(decode("/%4"), "/%4");
    }

    #[test]
    fn patterns_fit_as_axum_reads_them() {
        for (pattern, path, fit) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/bc", false),
            ("/a/{id}", "/a/1", true),
            ("/a/{id}", "/a/", false),
            ("/a/{id}", "/a/1/", true),
            ("/a/{id}/", "/a/1", true),
            ("/a/{id}", "/a/1/2", false),
            ("/a/{id}/b", "/a/1/b", true),
            ("/a/{id}/b", "/a/1/c", false),
            ("/a/x_{id}", "/a/x_1", true),
            ("/a/x_{id}", "/a/x_", false),
            ("/{*rest}", "/a/b", true),
            ("/{*rest}", "/", false),
            ("/{a}/{*rest}", "/1/2/3", true),
            ("/{{a}}/{b}", "/{a}/1", true),
            ("/{{a}}/{b}", "/x/1", false),
            ("/{a", "/1", false),
        ] {
            assert_eq!(fits(pattern, path), fit, "{pattern} {path}");
        }
    }

    #[test]
    fn a_prefix_takes_away_as_many_segments_as_it_has() {
        for (path, prefix, expected) in [
            ("/a/b", "", "/a/b"),
            ("/a/b", "/", "/a/b"),
            ("/a/b", "/a", "/b"),
            ("/a/b", "/a/", "/b"),
            ("/a/b", "/{x}", "/b"),
            ("/a/b/", "/a/b", "/"),
            ("/a/b", "/a/b", ""),
            ("/a/b", "/a/b/c", ""),
            ("*", "", "*"),
            ("", "", ""),
        ] {
            assert_eq!(without_prefix(path, prefix), expected, "{path} {prefix}");
        }
    }
}
