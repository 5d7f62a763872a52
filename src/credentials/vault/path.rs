//! Percent-encodes the paths of Vault's API.

use crate::credentials::form::{Space, encode_into};
use crate::error::ConfigError;

/// Returns a path of Vault's API in percent-encoding, without a slash at either end.
///
/// # Errors
///
/// If it has an empty segment, a dot segment or a control character, and so could name another path.
pub(crate) fn encoded(what: &str, path: &str) -> Result<String, ConfigError> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut encoded = Vec::new();
    for segment in path.split('/') {
        if matches!(segment, "" | "." | "..") || segment.chars().any(char::is_control) {
            return Err(ConfigError::new(format!(
                "the {what} {path:?} can't be used: give segments with one slash between two, none of \
                 them \".\" or \"..\", and no control characters"
            )));
        }
        if !encoded.is_empty() {
            encoded.push(b'/');
        }
        encode_into(&mut encoded, segment.as_bytes(), Space::Percent20);
    }
    // The encoded path is ASCII.
    Ok(String::from_utf8_lossy(&encoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_encoded_and_none_leads_elsewhere() {
        for (path, expected) in [
            ("secret", "secret"),
            ("/team/kv/", "team/kv"),
            ("oauth/billing", "oauth/billing"),
            ("a b/c?d=e#f", "a%20b/c%3Fd%3De%23f"),
            ("a%2Fb/\u{e9}", "a%252Fb/%C3%A9"),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(encoded("path", path).unwrap(), expected);
        }
        for path in ["", "/", "//", "a//b", "a/../b", ".", "..", "a/.", "//a", "a\nb", "a/\u{0}"] {
            assert!(encoded("path", path).is_err(), "{path:?}");
        }
    }
}
