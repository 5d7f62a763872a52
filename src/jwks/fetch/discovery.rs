//! Finds an issuer's `jwks_uri` in its metadata (RFC 8414 §3, OpenID Connect Discovery 1.0 §4).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use tokio::time::Instant;

use crate::clock::{UnixTime, monotonic};
use crate::issuer::{FaultKind, Network, Refused, Search, read};
use crate::jwks::fetch::source::Fault;
use crate::jwks::timing::schedule::after;
use crate::telemetry::{Repeats, event, in_span};
use crate::text::Excerpt;
use crate::transport::{PlainHttp, parse_url};

/// What discovery found.
#[derive(Clone, Debug)]
pub(crate) struct JwksMetadata {
    pub(crate) jwks_uri: Uri,
    /// `None` if it must be looked up again.
    found: Option<Instant>,
}

impl JwksMetadata {
    const TTL: Duration = Duration::from_secs(24 * 60 * 60);

    /// Takes an address from a snapshot, which must be looked up again.
    pub(crate) fn remembered(jwks_uri: Uri) -> Self {
        Self { jwks_uri, found: None }
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        self.found.is_some_and(|found| now < after(found, Self::TTL))
    }
}

/// Finds the key set of one issuer.
#[derive(Debug)]
pub(crate) struct Discovery {
    search: Search,
    host: Box<str>,
    plain_http: PlainHttp,
    /// Whether the metadata is looked for by the issuer's name.
    by_issuer: bool,
    failed: Mutex<Option<Instant>>,
    warned: Repeats<Box<str>>,
}

impl Discovery {
    /// While an older address is known, unavailable metadata isn't requested again for this
    /// long: waiting for it would delay the keys.
    const REST: Duration = Duration::from_secs(60 * 60);

    /// Takes an issuer whose URL was checked: it has neither query nor fragment.
    pub(crate) fn new(issuer: &str, uri: &Uri, plain_http: PlainHttp) -> Self {
        Self {
            search: Search::new(issuer, uri),
            host: uri.host().unwrap_or_default().into(),
            plain_http: plain_http.beyond(uri),
            by_issuer: true,
            failed: Mutex::default(),
            warned: Repeats::new(),
        }
    }

    /// Takes an issuer whose metadata is at this address, which was checked.
    pub(crate) fn at(issuer: &str, document: Uri, plain_http: PlainHttp) -> Self {
        Self {
            host: document.host().unwrap_or_default().into(),
            plain_http: plain_http.beyond(&document),
            search: Search::at(issuer, document),
            by_issuer: false,
            failed: Mutex::default(),
            warned: Repeats::new(),
        }
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn issuer(&self) -> &str {
        self.search.issuer()
    }

    /// Returns where metadata is looked for first.
    pub(crate) fn first_place(&self) -> Option<&Uri> {
        self.search.first_place()
    }

    /// Returns `true` if the metadata is looked for by the issuer's name, and not at an address of its own.
    pub(crate) const fn is_by_issuer(&self) -> bool {
        self.by_issuer
    }

    pub(crate) const fn plain_http(&self) -> PlainHttp {
        self.plain_http
    }

    /// Returns `true` if the last search has failed less than [`REST`](Self::REST) ago.
    pub(crate) fn rests(&self) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| monotonic() < after(at, Self::REST))
    }

    /// Requests each place in turn where metadata may be.
    pub(crate) async fn find(
        &self,
        network: &Network,
        now: UnixTime,
    ) -> Result<JwksMetadata, Fault> {
        let search = self.search.find(network, now, |document| self.read(document));
        let found = in_span!(search, "jwks_fetch", host = &*self.host).await;
        let failed = found.is_err().then(monotonic);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        match found {
            Ok(jwks_uri) => {
                self.warned.reset();
                Ok(JwksMetadata { jwks_uri, found: Some(monotonic()) })
            }
            Err(fault) => {
                if let FaultKind::IssuerMismatch(found) = &fault.kind
                    && let found = Excerpt::new(found)
                    && let Some(_times) = self.warned.record(found.as_str().into(), monotonic())
                {
                    event!(
                        WARN,
                        issuer = self.issuer(),
                        found = found.as_str(),
                        times = _times,
                        "jwks_issuer_mismatch: metadata of another issuer was found"
                    );
                }
                Err(Fault::of(&fault))
            }
        }
    }

    fn read(&self, document: &[u8]) -> Result<Uri, Refused> {
        #[derive(Deserialize)]
        struct Members {
            jwks_uri: Option<String>,
        }
        let Members { jwks_uri } = read(document)?;
        let jwks_uri = jwks_uri.ok_or(Refused::Unacceptable)?;
        parse_url(&jwks_uri, self.plain_http).map_err(|fault| {
            if let Some(_times) = self.warned.record(fault.to_string().into(), monotonic()) {
                event!(
                    WARN,
                    issuer = self.issuer(),
                    reason = %fault,
                    times = _times,
                    "jwks_uri: the metadata's jwks_uri is refused"
                );
            }
            Refused::Unacceptable
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(issuer: &str, body: &str) -> Result<Uri, Refused> {
        let discovery = Discovery::new(issuer, &issuer.parse().unwrap(), PlainHttp::Loopback);
        discovery.read(body.as_bytes())
    }

    #[test]
    fn fb7_a_byte_order_mark_and_members_that_are_null_dont_matter() {
        let body = r#"{"issuer":"https://a.example","jwks_uri":"https://a.example/k","a":null}"#;
        for body in [body.to_owned(), format!("\u{feff}{body}")] {
            assert!(read("https://a.example", &body).is_ok(), "{body:?}");
        }
    }

    #[test]
    fn the_jwks_uri_is_checked_like_a_configured_one() {
        let try_uri = |issuer: &str, jwks_uri: &str| {
            read(issuer, &format!(r#"{{"issuer":"{issuer}","jwks_uri":{jwks_uri}}}"#)).is_ok()
        };
        assert!(try_uri("https://a.example", "\"https://b.example/k\""));
        assert!(try_uri("http://127.0.0.1:1", "\"http://127.0.0.1:1/k\""));
        assert!(try_uri("http://127.0.0.1:1", "\"https://b.example/k\""));
        for (issuer, jwks_uri) in [
            ("https://a.example", "\"http://b.example/k\""),
            ("https://a.example", "\"http://127.0.0.1/k\""),
            ("https://a.example", "\"https://u:p@b.example/k\""),
            ("https://a.example", "\"file:///etc/passwd\""),
            ("https://a.example", "\"/k\""),
            ("https://a.example", "null"),
            ("https://a.example", "[\"https://b.example/k\"]"),
            ("http://127.0.0.1:1", "\"http://b.example/k\""),
        ] {
            assert!(!try_uri(issuer, jwks_uri), "{issuer} {jwks_uri}");
        }
    }
}
