//! Reads request paths and patterns: ambiguity, escapes, parameters and segments.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a segment can't contain: all but `pchar` (RFC 3986 §3.3).
const NO_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');
const NO_PATH: &AsciiSet = &NO_SEGMENT.remove(b'/');

/// Returns `true` if routers can disagree about the segments of a path, so that none of its readings
/// can be trusted.
///
/// Such are empty segments, dot segments (also with parameters, or in percent-encoding), the
/// backslash, a backslash, NUL or, unless `encoded_slashes` are allowed, slash in percent-encoding,
/// and broken escapes. Escapes that don't affect the segments aren't ambiguous, only another spelling
/// (RFC 3986 §2.3).
pub(crate) fn is_ambiguous(path: &str, encoded_slashes: bool) -> bool {
    let mut rest = path.as_bytes();
    let mut escapes_matter = false;
    // One pass over the bytes: most paths contain none of these but slashes.
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'%' | b'\\' | b'/')) {
        let (found, after) = match rest.get(at..).and_then(<[u8]>::split_first) {
            Some((found, after)) => (*found, after),
            None => return true,
        };
        let doubtful = match found {
            b'/' => {
                let end = after.iter().position(|byte| *byte == b'/');
                let segment = after.get(..end.unwrap_or(after.len())).unwrap_or_default();
                is_odd(segment, end.is_none())
            }
            b'%' => match escaped(after) {
                Some(b'\\' | 0) | None => true,
                Some(b'/') => {
                    escapes_matter = true;
                    !encoded_slashes
                }
                Some(byte) => {
                    escapes_matter |= matches!(byte, b'.' | b';');
                    false
                }
            },
            _ => true,
        };
        if doubtful {
            return true;
        }
        rest = after;
    }
    escapes_matter && has_odd_segments(&decode(path))
}

fn has_odd_segments(path: &str) -> bool {
    let Some((_, path)) = path.split_once('/') else { return false };
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if is_odd(segment.as_bytes(), segments.peek().is_none()) {
            return true;
        }
    }
    false
}

/// Returns `true` if a segment is empty or a dot segment, its parameters aside. The last may be empty.
fn is_odd(segment: &[u8], last: bool) -> bool {
    let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    matches!(name, b"." | b"..") || (name.is_empty() && !last)
}

/// Removes the parameters of a path's segments: what follows a semicolon (RFC 3986 §3.3).
pub(crate) fn without_parameters(path: &str) -> String {
    let names = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    names.collect::<Vec<_>>().join("/")
}

/// Decodes the escapes of a path. Bytes that aren't UTF-8 become U+FFFD.
pub(crate) fn decode(path: &str) -> Cow<'_, str> {
    decode_if(path, |_| true)
}

/// Decodes the escapes of a path except for encoded slashes.
pub(crate) fn decode_within_segments(path: &str) -> Cow<'_, str> {
    decode_if(path, |byte| byte != b'/')
}

/// Decodes the escapes that are needless: those of unreserved characters (RFC 3986 §2.3).
pub(crate) fn decode_needless(path: &str) -> Cow<'_, str> {
    decode_if(path, is_unreserved)
}

fn decode_if(path: &str, wanted: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (*byte, escaped(after).filter(|byte| wanted(*byte))) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (byte, _) => decoded.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Appends a parameter's decoded value to a path: what a segment can't contain is percent-encoded.
pub(crate) fn push_encoded(path: &mut String, value: &str, slashes: bool) {
    path.extend(utf8_percent_encode(value, if slashes { NO_PATH } else { NO_SEGMENT }));
}

/// Returns a path without its first segment; `/` if that was all.
pub(crate) fn without_first_segment(path: &str) -> &str {
    let rest = path.strip_prefix('/').unwrap_or(path);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// Returns a path, then the path without one leading segment after the other.
pub(crate) fn suffixes(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| {
        let rest = without_first_segment(path);
        (rest.len() > 1).then_some(rest)
    })
}

/// Returns the number of a path's segments.
pub(crate) fn segments(path: &str) -> usize {
    path.split('/').filter(|segment| !segment.is_empty()).count()
}

fn escaped(after_percent: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*after_percent.get(at)?).to_digit(16);
    u8::try_from(digit(0)?.checked_mul(16)?.checked_add(digit(1)?)?).ok()
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Returns `true` if a path matches an axum pattern: `{name}` is a part of a segment up to
/// its end, `{*name}` the rest of the path, and `{{` is a brace. Trailing slashes don't matter: where
/// axum nests a service, its pattern has one more. What a nested router appended to `{*name}` makes
/// it a pattern that matches nothing.
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
            return after.is_empty() && !path.is_empty();
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
            "/a/..%3bx",
            "/%2e%2e%3Bx=1/b",
            "/a/%3Bx/b",
            "/%",
            "/%a",
            "/%zz",
            "/a%",
            "/a%2",
            "/%g0",
            "/a%00",
            "/%2",
        ] {
            assert!(is_ambiguous(path, false), "{path}");
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
            "/%61dmin",
            "/%41",
            "/%7e",
            "/%5F",
            "/%2d",
            "/%30",
            "/a%2Eb",
            "/%2e%2e%2e",
            "/%3Bx",
        ] {
            assert!(!is_ambiguous(path, false), "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_may_end_a_segment_that_is_one() {
        for (path, ambiguous) in [
            ("/a%2Fb", false),
            ("/a%2f", false),
            ("/a%2Fb%2Fc/d", false),
            ("/a%2F/b", true),
            ("/%2Fa", true),
            ("/a%2F%2fb", true),
            ("/a%2F..", true),
            ("/a%2F%2e%2E%2Fb", true),
            ("/a%2F..;x", true),
            ("/a%2F.%3Bx", true),
            ("/a%2Fb%5C", true),
            ("/a%2F%00", true),
        ] {
            assert_eq!(is_ambiguous(path, true), ambiguous, "{path}");
            assert!(is_ambiguous(path, false), "{path}");
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
        assert_eq!(decode_needless("/%7e%41%2F%40%2"), "/~A%2F%40%2");
        assert_eq!(decode_within_segments("/%7e%41%2F%40"), "/~A%2F@");
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
            ("/{*rest}/b", "/a/b", false),
            ("/{a}/{*rest}", "/1/2/3", true),
            ("/{{a}}/{b}", "/{a}/1", true),
            ("/{{a}}/{b}", "/x/1", false),
            ("/{a", "/1", false),
        ] {
            assert_eq!(fits(pattern, path), fit, "{pattern} {path}");
        }
    }

    #[test]
    fn segments_are_taken_off_one_after_the_other() {
        for (path, expected) in [
            ("/a/b/c", &["/a/b/c", "/b/c", "/c"][..]),
            ("/a/b/", &["/a/b/", "/b/"]),
            ("/a", &["/a"]),
            ("/", &["/"]),
            ("*", &["*"]),
            ("", &[""]),
        ] {
            assert_eq!(suffixes(path).collect::<Vec<_>>(), expected);
        }
        assert_eq!(without_first_segment("/a"), "/");
        assert_eq!(["", "/", "/a", "/a/", "/a/b"].map(segments), [0, 0, 1, 1, 2]);
    }

    #[test]
    fn a_value_is_encoded_into_its_segment() {
        for (value, slashes, expected) in [
            ("a-b.c_d~e@f:g", false, "a-b.c_d~e@f:g"),
            ("a/b", false, "a%2Fb"),
            ("a/b", true, "a/b"),
            ("%7e?#\u{e9} {", true, "%257e%3F%23%C3%A9%20%7B"),
        ] {
            let mut path = String::new();
            push_encoded(&mut path, value, slashes);
            assert_eq!(path, expected);
            assert_eq!(decode(&path), value);
        }
    }
}
