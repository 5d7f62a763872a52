//! Finds the introspection endpoint: a configured URL, or the one in the issuer's metadata (RFC 8414 §2).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use tokio::time::Instant;

use crate::clock::{UnixTime, monotonic};
use crate::introspection::error::IntrospectionError;
use crate::issuer::{FaultKind, Network, Refused, Search, read};
use crate::telemetry::{Repeats, event};
use crate::text::Excerpt;
use crate::transport::{PlainHttp, parse_url};
use crate::turns::Turns;

/// How long metadata is fresh.
const TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The least time between two fetches of metadata while the endpoint fails.
const REST: Duration = Duration::from_secs(10);

/// A search that takes this much longer than its timeout is on a runtime that isn't driven.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum EndpointFrom {
    Fixed(Uri),
    Discovered(Discovery),
}

#[derive(Debug)]
pub(crate) struct Discovery {
    search: Search,
    plain_http: PlainHttp,
    by_certificate: bool,
    found: Mutex<Found>,
    /// Held during a search.
    looking: Arc<Turns>,
    /// Whether the next call fetches it whatever its age.
    invalidated: AtomicBool,
    warned: Repeats<Box<str>>,
}

#[derive(Debug, Default)]
struct Found {
    endpoint: Option<(Uri, Instant)>,
    failed: Option<(IntrospectionError, Instant)>,
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
            Self::Discovered(discovery) => {
                discovery.found().endpoint.as_ref().map(|(uri, _)| uri.clone())
            }
        }
    }

    /// Forces rediscovery on the next request, since the endpoint may have moved.
    pub(crate) fn invalidate(&self) {
        if let Self::Discovered(discovery) = self {
            discovery.invalidated.store(true, Ordering::Relaxed);
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
            looking: Arc::default(),
            invalidated: AtomicBool::new(false),
            warned: Repeats::new(),
        }
    }

    async fn find(&self, network: &Network, now: UnixTime) -> Result<Uri, IntrospectionError> {
        let came = monotonic();
        let longest = network.limits.timeout.saturating_add(GRACE);
        let turn = self.looking.take(Some(longest)).await;
        if let Some(settled) = self.settled(came) {
            return settled;
        }
        let network = Network { plain_http: self.plain_http, ..network.clone() };
        self.invalidated.store(false, Ordering::Relaxed);
        let searched = self.search.find(&network, now, |document| self.read(document)).await;
        match searched {
            Ok(uri) => {
                self.warned.over();
                if turn.is_current() {
                    let endpoint = Some((uri.clone(), monotonic()));
                    *self.found() = Found { endpoint, failed: None };
                }
                Ok(uri)
            }
            Err(fault) => {
                if let FaultKind::IssuerMismatch(found) = &fault.kind
                    && let found = Excerpt::new(found)
                    && let Some(_times) = self.warned.came(found.as_str().into(), monotonic())
                {
                    event!(
                        WARN,
                        issuer = self.search.issuer(),
                        found = found.as_str(),
                        times = _times,
                        "introspection_issuer_mismatch: metadata of another issuer was found"
                    );
                }
                let error = IntrospectionError::of(&fault.kind);
                let mut found = self.found();
                if !turn.is_current() {
                    return Err(error);
                }
                if error == IntrospectionError::IssuerMismatch {
                    // No token may be sent there until the issuer's own metadata is found again.
                    found.endpoint = None;
                }
                found.failed = Some((error, monotonic()));
                found.or_stale(error)
            }
        }
    }

    /// Returns the endpoint or the error without a search, for a call that began at that time.
    fn settled(&self, came: Instant) -> Option<Result<Uri, IntrospectionError>> {
        let found = self.found();
        let since = |at: Instant| monotonic().saturating_duration_since(at);
        // The failure that ended while this call waited is its own too: no queue of attempts.
        if let Some((error, _)) = found.failed.filter(|(_, at)| *at >= came) {
            return Some(found.or_stale(error));
        }
        let invalidated = self.invalidated.load(Ordering::Relaxed);
        let (uri, at) = found.endpoint.as_ref()?;
        // The known endpoint stays in use: each token would otherwise wait for a fetch that fails.
        let is_usable = !invalidated && since(*at) < TTL
            || since(*at) < REST
            || found.failed.is_some_and(|(_, at)| since(at) < REST);
        is_usable.then(|| Ok(uri.clone()))
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
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
            if let Some(_times) = self.warned.came(fault.to_string().into(), monotonic()) {
                event!(
                    WARN,
                    issuer = self.search.issuer(),
                    reason = %fault,
                    times = _times,
                    "introspection_endpoint: the metadata's introspection_endpoint is refused"
                );
            }
            Refused::Unacceptable
        })
    }
}

impl Found {
    /// Returns the known endpoint, or else the error.
    fn or_stale(&self, error: IntrospectionError) -> Result<Uri, IntrospectionError> {
        match &self.endpoint {
            Some((uri, _)) => Ok(uri.clone()),
            None => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::transport::{HangsOnce, Limits, Transport, TransportErrorKind, TransportFuture};

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

    /// Answers with metadata of this issuer or of another.
    #[derive(Default)]
    struct Metadata {
        is_others: AtomicBool,
    }

    impl Transport for Metadata {
        fn send(&self, _: http::Request<bytes::Bytes>, _: Limits) -> TransportFuture {
            let host = if self.is_others.load(Ordering::SeqCst) { "b" } else { "a" };
            let document = format!(
                r#"{{"issuer":"https://{host}.example","introspection_endpoint":"https://a.example/i"}}"#
            );
            Box::pin(async { Ok(http::Response::new(document.into())) })
        }
    }

    struct Refuses;

    impl Transport for Refuses {
        fn send(&self, _: http::Request<bytes::Bytes>, _: Limits) -> TransportFuture {
            Box::pin(async { Err(TransportErrorKind::Connect.into()) })
        }
    }

    fn network_of(transport: Arc<dyn Transport>) -> Network {
        let limits = Limits::new(1_024, Duration::from_secs(5));
        Network { transport, limits, redirects: 0, plain_http: PlainHttp::Refused }
    }

    #[tokio::test(start_paused = true)]
    async fn i13_no_endpoint_is_used_until_the_metadata_is_the_issuers_again() {
        let (uri, now) = ("https://a.example".parse().unwrap(), UnixTime::from_secs(0));
        let discovery = Discovery::new("https://a.example", &uri, PlainHttp::Refused, false);
        let metadata = Arc::new(Metadata::default());
        let network = network_of(metadata.clone());
        assert!(discovery.find(&network, now).await.is_ok());
        metadata.is_others.store(true, Ordering::SeqCst);
        advance(REST).await;
        assert!(discovery.find(&network, now).await.is_ok(), "it is fresh");
        discovery.invalidated.store(true, Ordering::Relaxed);
        // Also while what was found before would still be fresh, or a failure is young.
        for pause in [Duration::from_secs(1), Duration::from_secs(2), REST, TTL] {
            advance(pause).await;
            let found = discovery.find(&network, now).await;
            assert_eq!(found, Err(IntrospectionError::IssuerMismatch), "{pause:?}");
        }
        let gone = network_of(Arc::new(Refuses));
        for _ in 0..2 {
            advance(Duration::from_secs(1)).await;
            assert_eq!(discovery.find(&gone, now).await, Err(IntrospectionError::Connect));
        }
        metadata.is_others.store(false, Ordering::SeqCst);
        advance(Duration::from_secs(1)).await;
        assert!(discovery.find(&network, now).await.is_ok());
    }

    /// Answers the first request late, and the others with metadata of another issuer.
    struct Late(Arc<tokio::sync::Notify>, AtomicBool);

    impl Transport for Late {
        fn send(&self, request: http::Request<bytes::Bytes>, limits: Limits) -> TransportFuture {
            let is_others = self.1.swap(true, Ordering::SeqCst);
            let answer = Metadata { is_others: is_others.into() }.send(request, limits);
            let release = Arc::clone(&self.0);
            Box::pin(async move {
                if !is_others {
                    release.notified().await;
                }
                answer.await
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn i13_a_search_that_was_passed_over_brings_no_endpoint_back() {
        let (uri, now) = ("https://a.example".parse().unwrap(), UnixTime::from_secs(0));
        let discovery = Discovery::new("https://a.example", &uri, PlainHttp::Refused, false);
        let release = Arc::<tokio::sync::Notify>::default();
        let network = network_of(Arc::new(Late(Arc::clone(&release), false.into())));
        let mut late = tokio_test::task::spawn(discovery.find(&network, now));
        assert!(late.poll().is_pending());
        advance(Duration::from_secs(7)).await;
        let mismatch = Err(IntrospectionError::IssuerMismatch);
        assert_eq!(discovery.find(&network, now).await, mismatch);
        release.notify_one();
        assert!(late.await.is_ok(), "for its own caller");
        advance(Duration::from_secs(1)).await;
        assert_eq!(discovery.find(&network, now).await, mismatch);
    }

    #[test]
    fn a_search_on_a_runtime_that_is_kept_and_not_run_is_passed_over() {
        let runtime = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_time().start_paused(true).build().unwrap()
        };
        let (kept, other) = (runtime(), runtime());
        let (uri, now) = ("https://a.example".parse().unwrap(), UnixTime::from_secs(0));
        let network = network_of(Arc::new(HangsOnce::default()));
        let discovery = Discovery::new("https://a.example", &uri, PlainHttp::Refused, false);
        let mut parked = tokio_test::task::spawn(discovery.find(&network, now));
        kept.block_on(async { assert!(parked.poll().is_pending()) });
        let found = other.block_on(discovery.find(&network, now));
        assert_eq!(found, Err(IntrospectionError::Connect));
    }
}
