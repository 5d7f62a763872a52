//! Derives the URL of a resource's metadata from its identifier (RFC 9728 §3.1).

use http::Uri;

use crate::error::ConfigError;
use crate::transport::{PlainHttp, parse_url};

/// The well-known path below which an origin serves the metadata of its resources (RFC 9728 §3).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A resource identifier, and the URL of its metadata.
#[derive(Clone, Debug)]
pub(crate) struct MetadataUrl {
    /// The identifier, as it was configured.
    pub(crate) resource: Box<str>,
    /// Scheme and authority of the metadata's URL.
    pub(crate) origin: Box<str>,
    /// Path and query of the metadata's URL.
    pub(crate) path: Box<str>,
}

impl MetadataUrl {
    /// Derives the URL of a resource's metadata from its identifier.
    ///
    /// # Errors
    ///
    /// If the identifier isn't an absolute URL without a fragment that is `https`, or `http` on loopback.
    pub(crate) fn of_resource(resource: &str) -> Result<Self, ConfigError> {
        let uri = check_url("resource identifier", resource)?;
        if uri.path().starts_with("/.well-known/") {
            return Err(ConfigError::new(format!(
                "the resource identifier {resource:?} is the address of metadata: give the URL of the \
                 service, without \"/.well-known/…\""
            )));
        }
        let rest = resource.get(origin_of(&uri, resource).len()..).unwrap_or_default();
        // Only the slash right after the host is removed, also before a query.
        let path = match rest.strip_prefix('/') {
            Some(after) if after.is_empty() || after.starts_with('?') => after,
            _ => rest,
        };
        Ok(Self {
            resource: resource.into(),
            origin: origin_of(&uri, resource).into(),
            path: format!("{WELL_KNOWN}{path}").into(),
        })
    }

    /// Replaces the URL of the metadata by a configured one.
    pub(crate) fn moved_to(self, url: &str) -> Result<Self, ConfigError> {
        let uri = check_url("metadata URL", url)?;
        let origin = origin_of(&uri, url);
        let path = url.get(origin.len()..).filter(|path| !path.is_empty()).unwrap_or("/");
        Ok(Self { origin: origin.into(), path: path.into(), ..self })
    }

    /// Returns the URL of the metadata.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Returns `true` if the metadata is at the well-known path itself.
    pub(crate) fn is_root(&self) -> bool {
        *self.path == *WELL_KNOWN
    }
}

/// Returns scheme and authority as they are written in the text.
fn origin_of<'a>(uri: &Uri, text: &'a str) -> &'a str {
    let scheme = uri.scheme_str().map_or(0, str::len);
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let end = scheme.saturating_add("://".len()).saturating_add(authority);
    text.get(..end).unwrap_or(text)
}

/// Checks a URL that clients are told.
///
/// # Errors
///
/// If it isn't an absolute URL without a fragment that is `https`, or `http` on loopback, or if it can't be
/// sent in a challenge.
pub(crate) fn check_url(what: &str, url: &str) -> Result<Uri, ConfigError> {
    let uri = parse_url(url, PlainHttp::Loopback).map_err(|fault| fault.report(what, url, ""))?;
    let legal = |byte: u8| {
        matches!(byte, b'!'..=b'~')
            && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}')
    };
    if !url.bytes().all(legal) {
        return Err(ConfigError::new(format!(
            "the {what} {url:?} has a character that no URL has: percent-encode it (RFC 3986 section 2)"
        )));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_p8_the_well_known_part_is_inserted_after_the_host() {
        for (resource, url) in [
            ("https://h", "https://h/.well-known/oauth-protected-resource"),
            ("https://h/", "https://h/.well-known/oauth-protected-resource"),
            ("https://h/a", "https://h/.well-known/oauth-protected-resource/a"),
            ("https://h/a/", "https://h/.well-known/oauth-protected-resource/a/"),
            ("https://h/a?x=1", "https://h/.well-known/oauth-protected-resource/a?x=1"),
            ("https://h?x=1", "https://h/.well-known/oauth-protected-resource?x=1"),
            ("https://h/?x=1", "https://h/.well-known/oauth-protected-resource?x=1"),
            (
                "https://H.example:8443/a",
                "https://H.example:8443/.well-known/oauth-protected-resource/a",
            ),
            (
                "http://localhost:3000/mcp",
                "http://localhost:3000/.well-known/oauth-protected-resource/mcp",
            ),
            ("https://[::1]/a//b", "https://[::1]/.well-known/oauth-protected-resource/a//b"),
        ] {
            let place = MetadataUrl::of_resource(resource).unwrap();
            assert_eq!((place.url().as_str(), &*place.resource), (url, resource));
        }
    }

    #[test]
    fn p15_p19_urls_are_absolute_and_https() {
        for resource in [
            "",
            "/mcp",
            "api",
            "api://4a5b",
            "https://",
            "//h/a",
            "http://api.example/mcp",
            "ftp://h/a",
            "https://user@h/a",
            "https://h/a#b",
            "https://h/a#",
            "https://h/a\"b",
            "https://h/a b",
            "https://h/{a}",
            "https://h/caf\u{e9}",
            "https://h/.well-known/oauth-protected-resource/a",
        ] {
            let error = MetadataUrl::of_resource(resource).unwrap_err().to_string();
            assert!(error.contains("resource identifier"), "{resource}: {error}");
        }
        let place = MetadataUrl::of_resource("https://h/a").unwrap();
        assert!(place.clone().moved_to("/.well-known/x").is_err());
        let moved = place.moved_to("https://other.example/meta?x").unwrap();
        assert_eq!(
            (moved.url().as_str(), &*moved.path),
            ("https://other.example/meta?x", "/meta?x")
        );
        assert_eq!(&*moved.resource, "https://h/a");
    }
}
