//! Compares audiences as resource identifiers (RFC 8707).

/// Returns `true` if two audiences are one resource identifier (RFC 8707 §2): URLs that differ in the case
/// of scheme and host only, or in the slash of an empty path. Other paths are compared exactly.
pub(crate) fn is_same_resource(one: &str, two: &str) -> bool {
    let (Some(one), Some(two)) = (Resource::read(one), Resource::read(two)) else { return false };
    one.scheme.eq_ignore_ascii_case(two.scheme)
        && one.authority.eq_ignore_ascii_case(two.authority)
        && one.path == two.path
}

struct Resource<'a> {
    scheme: &'a str,
    authority: &'a str,
    /// With query, if there is one.
    path: &'a str,
}

impl<'a> Resource<'a> {
    fn read(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let is_scheme = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
        // Userinfo is case-sensitive.
        let is_plain = !authority.is_empty() && !authority.contains('@') && !path.contains('#');
        let path = if path == "/" { "" } else { path };
        (is_scheme && is_plain).then_some(Self { scheme, authority, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mc3_resources_are_compared_by_their_canonical_form() {
        for (one, two, expected) in [
            ("https://h.example", "https://h.example/", true),
            ("https://h.example", "HTTPS://H.Example", true),
            ("https://h.example:8443/mcp", "https://H.example:8443/mcp", true),
            ("https://h.example/mcp", "https://h.example/mcp/", false),
            ("https://h.example/mcp", "https://h.example/MCP", false),
            ("https://h.example/mcp", "https://h.example", false),
            ("https://h.example", "https://h.example?", false),
            ("https://h.example", "http://h.example", false),
            ("https://h.example", "https://h.example:443", false),
            ("https://h.example", "https://h.example.other", false),
            ("https://u@h.example", "https://U@h.example", false),
            ("https://h.example/#a", "https://h.example/#a", false),
            ("api://A", "api://a", false),
            ("a", "A", false),
            ("https://", "https://", false),
        ] {
            assert_eq!(is_same_resource(one, two), expected, "{one} {two}");
            assert_eq!(is_same_resource(two, one), expected, "{two} {one}");
        }
    }
}
