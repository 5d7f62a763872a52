//! Resource URIs, held against prefixes in each way that they could be read.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

/// How often an escape may be escaped before nobody can say what is meant.
const MAX_READINGS: usize = 4;

/// A URI that no two readers can be trusted to read in the same way.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Unclear;

/// Returns a URI as it is written, and, where they differ, as those read it who decode escapes, remove
/// dot segments, and ignore the case of scheme and host: once, and as often as that changes it.
pub(crate) fn readings(uri: &str) -> Result<SmallVec<[Cow<'_, str>; 2]>, Unclear> {
    let mut readings = SmallVec::new();
    readings.push(Cow::Borrowed(uri));
    let mut last = normal(uri)?;
    for _ in 0..MAX_READINGS {
        let next = normal(&last)?;
        let is_stable = next == last;
        readings.push(Cow::Owned(last));
        if is_stable {
            return Ok(readings);
        }
        last = next;
    }
    Err(Unclear)
}

/// Returns `true` if a prefix is that of a URI, both as written or both normal: the URI goes on with
/// another segment, or is the prefix itself.
pub(crate) fn covers(prefix: &str, uri: &str) -> bool {
    uri.strip_prefix(prefix).is_some_and(|rest| {
        rest.is_empty() || prefix.ends_with(is_delimiter) || rest.starts_with(is_delimiter)
    })
}

const fn is_delimiter(c: char) -> bool {
    matches!(c, '/' | '?' | '#' | ':')
}

/// Returns the form in which spellings of one URI are alike. It is for comparing only.
pub(crate) fn normal(uri: &str) -> Result<String, Unclear> {
    let decoded = percent_decode_str(uri).decode_utf8().map_err(|_| Unclear)?;
    // Readers of URLs ignore some of these, wherever they are.
    if decoded.chars().any(char::is_control) || decoded.trim() != decoded {
        return Err(Unclear);
    }
    let decoded = decoded.replace('\\', "/");
    let (scheme, rest) = decoded.split_once(':').ok_or(Unclear)?;
    let mut normal = scheme.to_ascii_lowercase();
    normal.push(':');
    let is_file = normal == "file:";
    let is_rooted = rest.starts_with('/');
    let has_authority = rest.starts_with("//") && !is_file;
    let mut segments: Vec<Cow<'_, str>> = Vec::new();
    for segment in rest.split('/') {
        match segment {
            "" | "." => {}
            // Only a reader who doesn't know of hosts leaves one.
            ".." if has_authority && segments.len() < 2 => return Err(Unclear),
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment.into()),
        }
    }
    if let Some(first) = segments.first_mut()
        && (has_authority || is_file)
    {
        let host = first.rsplit_once('@').map_or(&**first, |(_, host)| host);
        let host = host.to_ascii_lowercase();
        if has_authority {
            *first = host.into();
        } else if host == "localhost" && rest.starts_with("//") {
            segments.remove(0);
        }
    }
    normal.push_str(match (is_rooted || is_file, has_authority || is_file) {
        (true, true) => "//",
        (true, false) => "/",
        (false, _) => "",
    });
    if is_file {
        normal.push('/');
    }
    normal.push_str(&segments.join("/"));
    Ok(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_uri_are_alike() {
        for (uri, expected) in [
            ("file:///secret/a", "file:///secret/a"),
            ("FILE:///secret/a", "file:///secret/a"),
            ("file:/secret/a", "file:///secret/a"),
            ("file:secret/a", "file:///secret/a"),
            ("file:////secret//a", "file:///secret/a"),
            ("file://localhost/secret/a", "file:///secret/a"),
            ("file://LocalHost/secret/a", "file:///secret/a"),
            ("file:///public/../secret/a", "file:///secret/a"),
            ("file:///public/./../secret/a/.", "file:///secret/a"),
            ("file:///public/%2e%2E/secret/a", "file:///secret/a"),
            ("file:///public%2f..%2fsecret/a", "file:///secret/a"),
            ("file:///%73ecret/a", "file:///secret/a"),
            ("file:\\\\\\secret\\a", "file:///secret/a"),
            ("file:///public/..\\secret/a", "file:///secret/a"),
            ("file:///../../secret/a", "file:///secret/a"),
            ("db://User@Host/T", "db://host/T"),
            ("db://host", "db://host"),
            ("db://host/", "db://host"),
            ("urn:isbn:1", "urn:isbn:1"),
            ("note:/a", "note:/a"),
        ] {
            assert_eq!(normal(uri).as_deref(), Ok(expected), "{uri}");
        }
        for uri in [
            "",
            "a",
            "/a",
            "file:///a\tb",
            "file:///a%0ab",
            "file:///%ff",
            " a:b",
            "a:b%20",
            "db://host/../x",
        ] {
            assert_eq!(normal(uri), Err(Unclear), "{uri}");
        }
    }

    #[test]
    fn each_reading_is_returned() {
        let readings = |uri| readings(uri).map(|all| all.iter().map(|it| it.to_string()).collect());
        assert_eq!(readings("a:/b"), Ok(vec!["a:/b".to_owned(), "a:/b".into()]));
        assert_eq!(
            readings("a:/%252e%252e/b"),
            Ok(vec!["a:/%252e%252e/b".to_owned(), "a:/%2e%2e/b".into(), "a:/b".into()])
        );
        assert_eq!(readings("a:/%25252525252e"), Err(Unclear));
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
            ("file:///a", "file:///A/b", false),
        ] {
            assert_eq!(covers(prefix, uri), expected, "{prefix} {uri}");
        }
    }
}
