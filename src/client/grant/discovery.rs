//! Discovers an issuer's token endpoint and caches its metadata (RFC 8414 §3, OpenID Connect Discovery
//! 1.0 §4).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{StatusCode, Uri};
use tokio::time::Instant;

use crate::client::grant::error::{DiscoveryFault, TokenError, TokenErrorKind};
use crate::client::grant::metadata::{TokenMetadata, read};
use crate::clock::{UnixTime, monotonic};
use crate::issuer::{self, FaultKind, Network, Search};
use crate::telemetry::event;
use crate::transport::{Limits, PlainHttp, Transport, is_plain_loopback};
use crate::turns::Turns;

/// How long metadata is fresh; after that, it is used only while no newer can be fetched.
const TTL: Duration = Duration::from_secs(60 * 60);

/// The least time between two fetches of metadata while the token endpoint fails and the metadata does too.
const REST_INVALIDATED: Duration = Duration::from_secs(10);

/// A search that takes this much longer than its timeout is on a runtime that isn't driven.
const GRACE: Duration = Duration::from_secs(1);

/// The most bytes of metadata, which is longer than a token response.
const MAX_BYTES: usize = 256 * 1024;

/// The metadata of issuers. Calls that wait for the same issuer share one fetch.
pub(crate) struct Discoveries {
    capacity: usize,
    known: Mutex<HashMap<Box<str>, Arc<Slot>>>,
}

struct Slot {
    search: Search,
    found: Mutex<Found>,
    /// Held during a search.
    looking: Arc<Turns>,
    /// Whether the next call fetches it whatever its age.
    invalidated: AtomicBool,
}

#[derive(Default)]
struct Found {
    metadata: Option<(Arc<TokenMetadata>, Instant)>,
    /// Why the last fetch failed, and when.
    failed: Option<(TokenError, Instant)>,
}

impl Discoveries {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, known: Mutex::default() }
    }

    /// Returns the metadata of an issuer whose address was checked.
    pub(crate) async fn find(
        &self,
        transport: &Arc<dyn Transport>,
        limits: Limits,
        (issuer, uri): (&str, &Uri),
        now: UnixTime,
    ) -> Result<Arc<TokenMetadata>, TokenError> {
        let came = monotonic();
        let slot = self.slot(issuer, uri);
        let turn = slot.looking.take(Some(limits.timeout.saturating_add(GRACE))).await;
        if let Some(settled) = slot.settled(came) {
            return settled;
        }
        // The issuer's address was checked: where it is plain `http`, it is allowed to be.
        let plain_http = match uri.scheme_str() {
            Some("http") if !is_plain_loopback(uri) => PlainHttp::Dangerous,
            _ => PlainHttp::Loopback.beyond(uri),
        };
        let limits = Limits { max_bytes: MAX_BYTES, ..limits };
        let network =
            Network { transport: Arc::clone(transport), limits, redirects: 0, plain_http };
        slot.invalidated.store(false, Ordering::Relaxed);
        let fetched = slot.search.find(&network, now, |document| read(document, plain_http)).await;
        match fetched {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                if turn.is_current() {
                    let metadata = Some((Arc::clone(&metadata), monotonic()));
                    *slot.found() = Found { metadata, failed: None };
                }
                Ok(metadata)
            }
            Err(fault) => {
                let error = error_of(issuer, fault);
                event!(WARN, issuer, %error, "client_metadata: the metadata can't be fetched");
                let mut found = slot.found();
                if !turn.is_current() {
                    return Err(error);
                }
                if *error.kind() == TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch) {
                    // The secret must not be sent there until the issuer's own metadata is found again.
                    found.metadata = None;
                }
                found.failed = Some((error.clone(), monotonic()));
                found.or_stale(error)
            }
        }
    }

    /// Forces rediscovery on the next fetch, since the token endpoint may have moved.
    pub(crate) fn invalidate(&self, issuer: &str) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = known.get(issuer) {
            slot.invalidated.store(true, Ordering::Relaxed);
        }
    }

    fn slot(&self, issuer: &str, uri: &Uri) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = known.get(issuer) {
            return Arc::clone(slot);
        }
        if known.len() >= self.capacity {
            // Calls hold the slots that they use, so any entry may be evicted.
            let victim = known.keys().next().cloned();
            victim.map(|victim| known.remove(&victim));
        }
        let slot = Slot {
            search: Search::new(issuer, uri),
            found: Mutex::default(),
            looking: Arc::default(),
            invalidated: AtomicBool::new(false),
        };
        Arc::clone(known.entry(issuer.into()).or_insert_with(|| Arc::new(slot)))
    }
}

impl Slot {
    /// Returns what is to be used without a search, for a caller that came then.
    fn settled(&self, came: Instant) -> Option<Result<Arc<TokenMetadata>, TokenError>> {
        let found = self.found();
        // The failure that ended while this call waited is its own too: no queue of attempts.
        if let Some((error, _)) = found.failed.as_ref().filter(|(_, at)| *at >= came) {
            return Some(found.or_stale(error.clone()));
        }
        let invalidated = self.invalidated.load(Ordering::Relaxed);
        let is_young = |at: &Instant, age| monotonic().saturating_duration_since(*at) < age;
        let fresh = |at: &Instant| !invalidated && is_young(at, TTL);
        if let Some((metadata, _)) = found.metadata.as_ref().filter(|(_, at)| fresh(at)) {
            return Some(Ok(Arc::clone(metadata)));
        }
        // Stale metadata stays in use: each token would otherwise wait for a fetch that fails.
        let rest = if invalidated { REST_INVALIDATED } else { TTL };
        let (error, _) = found.failed.as_ref().filter(|(_, at)| is_young(at, rest))?;
        found.or_stale(error.clone()).ok().map(Ok)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    /// Returns the stale metadata, since the token endpoint may work while the metadata can't be fetched, or
    /// else the error.
    fn or_stale(&self, error: TokenError) -> Result<Arc<TokenMetadata>, TokenError> {
        match &self.metadata {
            Some((metadata, _)) => Ok(Arc::clone(metadata)),
            None => Err(error),
        }
    }
}

/// Maps a fault of discovery to the client's error.
fn error_of(_issuer: &str, found: issuer::Fault) -> TokenError {
    let kind = match found.kind {
        // Metadata is short and not encoded, so this is another document.
        FaultKind::Transport(error) => return TokenError::transport(error),
        FaultKind::Status(status) => match StatusCode::from_u16(status) {
            Ok(status)
                if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) =>
            {
                TokenErrorKind::Status(status)
            }
            _ => TokenErrorKind::Discovery(DiscoveryFault::NoMetadata),
        },
        FaultKind::Redirect | FaultKind::NotMetadata => {
            TokenErrorKind::Discovery(DiscoveryFault::NoMetadata)
        }
        FaultKind::Unreadable => TokenErrorKind::Discovery(DiscoveryFault::Unreadable),
        FaultKind::Unacceptable => TokenErrorKind::Discovery(DiscoveryFault::TokenEndpoint),
        FaultKind::IssuerMismatch(_other) => {
            event!(
                WARN,
                issuer = _issuer,
                found = %crate::text::plain(&_other, 256),
                "client_issuer_mismatch: metadata of another issuer was found"
            );
            TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch)
        }
    };
    TokenError::with(kind, None, found.retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::HangsOnce;

    #[test]
    fn the_known_issuers_are_bounded() {
        let discoveries = Discoveries::new(3);
        for n in 0..10 {
            let issuer = format!("https://{n}.example");
            discoveries.slot(&issuer, &issuer.parse().unwrap());
        }
        assert_eq!(discoveries.known.lock().unwrap().len(), 3);
    }

    #[test]
    fn a_search_on_a_runtime_that_is_kept_and_not_run_is_passed_over() {
        let runtime = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_time().start_paused(true).build().unwrap()
        };
        let (kept, other) = (runtime(), runtime());
        let (uri, now) = ("https://a.example".parse().unwrap(), UnixTime::from_secs(0));
        let limits = Limits::new(1_024, Duration::from_secs(5));
        let transport: Arc<dyn Transport> = Arc::new(HangsOnce::default());
        let discoveries = Discoveries::new(1);
        let find = || discoveries.find(&transport, limits, ("https://a.example", &uri), now);
        let mut parked = tokio_test::task::spawn(find());
        kept.block_on(async { assert!(parked.poll().is_pending()) });
        assert!(other.block_on(find()).is_err());
    }
}
