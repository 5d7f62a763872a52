//! Where tokens are asked about: an address given, or that of the issuer's metadata (RFC 8414 §2).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::clock::{UnixTime, monotonic};
use crate::introspection::error::IntrospectionError;
use crate::issuer::{FaultKind, Network, Refused, Search, read};
use crate::telemetry::event;
use crate::transport::{PlainHttp, parse_url};

/// How long metadata is good for.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// While the endpoint fails, the metadata isn't asked for more often than this.
const REST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) enum Place {
    Fixed(Uri),
    Discovered(Discovery),
}

#[derive(Debug)]
pub(crate) struct Discovery {
    search: Search,
    plain_http: PlainHttp,
    by_certificate: bool,
    found: Mutex<Found>,
    /// Whether it is to be looked up anew, whatever its age.
    doubted: AtomicBool,
}

#[derive(Debug, Default)]
struct Found {
    endpoint: Option<(Uri, Instant)>,
    failed: Option<(IntrospectionError, Instant)>,
}

impl Place {
    /// Returns the endpoint, which may have to be found first.
    pub(crate) async fn find(
        &self,
        network: &Network,
        now: UnixTime,
    ) -> Result<Uri, IntrospectionError> {
        match self {
            Self::Fixed(uri) => Ok(uri.clone()),
            Self::Discovered(discovery) => discovery.find(network, now).await,
        }
    }

    /// Returns the endpoint, if it is known and nobody looks for it.
    pub(crate) fn known(&self) -> Option<Uri> {
        match self {
            Self::Fixed(uri) => Some(uri.clone()),
            Self::Discovered(discovery) => {
                let found = discovery.found.try_lock().ok()?;
                found.endpoint.as_ref().map(|(uri, _)| uri.clone())
            }
        }
    }

    /// Has the endpoint looked up anew the next time: it may have moved.
    pub(crate) fn doubt(&self) {
        if let Self::Discovered(discovery) = self {
            discovery.doubted.store(true, Ordering::Relaxed);
        }
    }
}

impl Discovery {
    /// Takes an issuer whose URL was checked: it has neither query nor fragment.
    pub(crate) fn new(
        issuer: &str,
        uri: &Uri,
        plain_http: PlainHttp,
        by_certificate: bool,
    ) -> Self {
        Self {
            search: Search::new(issuer, uri),
            plain_http: plain_http.beyond(uri),
            by_certificate,
            found: Mutex::default(),
            doubted: AtomicBool::new(false),
        }
    }

    async fn find(&self, network: &Network, now: UnixTime) -> Result<Uri, IntrospectionError> {
        let came = monotonic();
        let mut found = self.found.lock().await;
        let since = |at: Instant| monotonic().saturating_duration_since(at);
        // Many may wait for an issuer that is away: not one after the other.
        if let Some((error, _)) = found.failed.filter(|(_, at)| *at >= came) {
            return found.in_spite_of(error);
        }
        let doubted = self.doubted.load(Ordering::Relaxed);
        match &found.endpoint {
            Some((uri, at)) if !doubted && since(*at) < TTL => return Ok(uri.clone()),
            // What was found before serves on: waiting for what can't be had would hold up each token.
            Some((uri, at)) if since(*at) < REST => return Ok(uri.clone()),
            Some((uri, _)) if found.failed.is_some_and(|(_, at)| since(at) < REST) => {
                return Ok(uri.clone());
            }
            _ => {}
        }
        let network = Network { plain_http: self.plain_http, ..network.clone() };
        let searched = self.search.find(&network, now, |document| self.read(document)).await;
        self.doubted.store(false, Ordering::Relaxed);
        match searched {
            Ok(uri) => {
                *found = Found { endpoint: Some((uri.clone(), monotonic())), failed: None };
                Ok(uri)
            }
            Err(fault) => {
                if let FaultKind::IssuerMismatch(_found) = &fault.kind {
                    event!(
                        WARN,
                        issuer = self.search.issuer(),
                        found = crate::text::Excerpt::new(_found).as_str(),
                        "introspection_issuer_mismatch: metadata of another issuer was found"
                    );
                }
                let error = IntrospectionError::of(&fault.kind);
                found.failed = Some((error, monotonic()));
                found.in_spite_of(error)
            }
        }
    }

    /// Reads the address. A document that names none doesn't end the search: some servers name it in
    /// one of their documents only.
    fn read(&self, document: &[u8]) -> Result<Uri, Refused> {
        #[derive(Deserialize)]
        struct Members {
            introspection_endpoint: Option<String>,
            mtls_endpoint_aliases: Option<Aliases>,
        }
        #[derive(Deserialize)]
        struct Aliases {
            introspection_endpoint: Option<String>,
        }
        let Members { introspection_endpoint, mtls_endpoint_aliases } = read(document)?;
        // RFC 8705 §5: a client that does mutual TLS must use the alias.
        let alias = mtls_endpoint_aliases.filter(|_| self.by_certificate);
        let alias = alias.and_then(|aliases| aliases.introspection_endpoint);
        let endpoint = alias.or(introspection_endpoint).ok_or(Refused::Unacceptable)?;
        parse_url(&endpoint, self.plain_http).map_err(|_fault| {
            event!(
                WARN,
                issuer = self.search.issuer(),
                reason = %_fault,
                "introspection_endpoint: the metadata's introspection_endpoint is refused"
            );
            Refused::Unacceptable
        })
    }
}

impl Found {
    /// Returns what was found before, unless the metadata there is another issuer's now: then tokens
    /// go nowhere.
    fn in_spite_of(&self, error: IntrospectionError) -> Result<Uri, IntrospectionError> {
        match &self.endpoint {
            Some((uri, _)) if error != IntrospectionError::IssuerMismatch => Ok(uri.clone()),
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(issuer: &str, by_certificate: bool, members: &str) -> Option<String> {
        let uri = issuer.parse().unwrap();
        let discovery = Discovery::new(issuer, &uri, PlainHttp::Loopback, by_certificate);
        let document = format!(r#"{{"issuer":"{issuer}"{members}}}"#);
        discovery.read(document.as_bytes()).ok().map(|uri| uri.to_string())
    }

    #[test]
    fn i9_i12_the_endpoint_of_the_metadata_is_checked_like_a_configured_one() {
        let endpoint = |issuer, url: &str| {
            read(issuer, false, &format!(r#","introspection_endpoint":{url}"#)).is_some()
        };
        assert!(endpoint("https://a.example", "\"https://b.example/i\""));
        assert!(endpoint("http://127.0.0.1:1", "\"http://127.0.0.1:1/i\""));
        for (issuer, url) in [
            ("https://a.example", "\"http://a.example/i\""),
            ("https://a.example", "\"http://127.0.0.1/i\""),
            ("https://a.example", "\"https://u:p@a.example/i\""),
            ("https://a.example", "\"/i\""),
            ("https://a.example", "null"),
            ("https://a.example", "7"),
            ("http://127.0.0.1:1", "\"http://b.example/i\""),
        ] {
            assert!(!endpoint(issuer, url), "{issuer} {url}");
        }
        assert_eq!(read("https://a.example", false, ""), None);
    }

    #[test]
    fn i6_a_caller_with_a_certificate_uses_the_alias() {
        let members = r#","introspection_endpoint":"https://a.example/i",
            "mtls_endpoint_aliases":{"introspection_endpoint":"https://mtls.a.example/i"}"#;
        let read = |by_certificate| read("https://a.example", by_certificate, members).unwrap();
        assert_eq!(read(false), "https://a.example/i");
        assert_eq!(read(true), "https://mtls.a.example/i");
    }
}
