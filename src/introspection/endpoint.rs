//! Finds the introspection endpoint: a configured URL, or the one in the issuer's metadata (RFC 8414 §2).

use std::fmt;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;

use crate::clock::{UnixTime, monotonic};
use crate::introspection::error::IntrospectionError;
#[cfg(feature = "tracing")]
use crate::introspection::error_kind::IntrospectionErrorKind;
use crate::issuer::{Fault, FaultKind, Kept, Network, Refused, Search, read};
use crate::telemetry::{Repeats, event};
use crate::text::Excerpt;
use crate::transport::{PlainHttp, parse_url, printable};

/// How long metadata is fresh.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) enum EndpointFrom {
    Fixed(Uri),
    Discovered(Discovery),
}

/// Where the endpoint is, or is looked for, in a form that may be logged.
#[derive(Debug)]
pub(crate) struct EndpointAt {
    url: String,
    named_by: NamedBy,
}

/// What names the address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum NamedBy {
    /// The setting of the endpoint's URL.
    Setting,
    /// The metadata that was found.
    Metadata,
    /// The issuer, at one of whose well-known locations its metadata is looked for first.
    Issuer,
}

impl EndpointAt {
    /// Returns the address, without its query.
    #[cfg(feature = "tracing")]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns what can be done about a failure, with the name of the setting that it is about.
    #[cfg(feature = "tracing")]
    pub(crate) fn remedy(&self, kind: IntrospectionErrorKind) -> String {
        let name = match self.named_by {
            NamedBy::Setting => "the URL given to Introspection::endpoint",
            NamedBy::Metadata => "the introspection_endpoint of the metadata",
            NamedBy::Issuer => "the issuer",
        };
        kind.remedy().replace("the address", name)
    }
}

impl fmt::Display for EndpointAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.named_by {
            NamedBy::Setting | NamedBy::Metadata => write!(f, "at {}", self.url),
            NamedBy::Issuer => write!(f, "by discovery from {} on", self.url),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Discovery {
    plain_http: PlainHttp,
    by_certificate: bool,
    endpoint: Kept<Uri, IntrospectionError>,
    warned: Repeats<Box<str>>,
}

impl fmt::Debug for EndpointFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.known().map(|uri| printable(&uri.to_string()));
        f.debug_struct("EndpointFrom").field("known", &known).finish_non_exhaustive()
    }
}

impl EndpointFrom {
    /// Returns the endpoint, after discovering it if need be.
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

    /// Returns the endpoint, if it is known.
    pub(crate) fn known(&self) -> Option<Uri> {
        match self {
            Self::Fixed(uri) => Some(uri.clone()),
            Self::Discovered(discovery) => discovery.endpoint.known(),
        }
    }

    /// Returns where the endpoint is, or is looked for.
    pub(crate) fn place(&self) -> EndpointAt {
        let (url, named_by) = match self {
            Self::Fixed(uri) => (Some(uri.clone()), NamedBy::Setting),
            Self::Discovered(discovery) => match discovery.endpoint.known() {
                Some(uri) => (Some(uri), NamedBy::Metadata),
                None => (discovery.endpoint.first_place().cloned(), NamedBy::Issuer),
            },
        };
        let url = url.map(|uri| printable(&uri.to_string())).unwrap_or_default();
        EndpointAt { url, named_by }
    }

    /// Forces rediscovery on the next request, since the endpoint may have moved.
    pub(crate) fn invalidate(&self) {
        if let Self::Discovered(discovery) = self {
            discovery.endpoint.invalidate();
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
            plain_http: plain_http.beyond(uri),
            by_certificate,
            endpoint: Kept::new(Search::new(issuer, uri), LIFETIME),
            warned: Repeats::new(),
        }
    }

    async fn find(&self, network: &Network, now: UnixTime) -> Result<Uri, IntrospectionError> {
        let network = Network { plain_http: self.plain_http, ..network.clone() };
        let read = |document: &[u8]| self.read(document);
        self.endpoint.find(&network, now, read, |fault| self.failed(&fault)).await
    }

    fn failed(&self, fault: &Fault) -> IntrospectionError {
        if let FaultKind::IssuerMismatch(found) = &fault.kind
            && let found = Excerpt::new(found)
            && let Some(_times) = self.warned.record(found.as_str().into(), monotonic())
        {
            event!(
                WARN,
                issuer = self.endpoint.issuer(),
                found = found.as_str(),
                times = _times,
                "introspection_issuer_mismatch: metadata of another issuer was found"
            );
        }
        IntrospectionError::of(&fault.kind)
    }

    /// Reads the endpoint's URL. A document without one doesn't end the search, since some servers have it in
    /// only one of their documents.
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
        parse_url(&endpoint, self.plain_http).map_err(|fault| {
            if let Some(_times) = self.warned.record(fault.to_string().into(), monotonic()) {
                event!(
                    WARN,
                    issuer = self.endpoint.issuer(),
                    reason = %fault,
                    times = _times,
                    "introspection_endpoint: the metadata's introspection_endpoint is refused"
                );
            }
            Refused::Unacceptable
        })
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
