//! Discovers an issuer's token endpoint and caches its metadata (RFC 8414 §3, OpenID Connect Discovery
//! 1.0 §4).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{StatusCode, Uri};

use crate::client::grant::error::{DiscoveryFault, TokenError, TokenErrorKind};
use crate::client::grant::metadata::{TokenMetadata, read};
use crate::clock::{UnixTime, monotonic};
use crate::issuer::{self, FaultKind, Kept, Network, Search};
use crate::telemetry::{Repeats, event};
use crate::text::plain;
use crate::transport::{Limits, PlainHttp, Transport, is_plain_loopback};

/// How long metadata is fresh; after that, it is used only while no newer can be fetched.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// The most bytes of metadata, which is longer than a token response.
const MAX_BYTES: usize = 256 * 1024;

/// The metadata of issuers. Calls that wait for the same issuer share one fetch.
pub(crate) struct Discoveries {
    capacity: usize,
    known: Mutex<HashMap<Box<str>, Arc<Issuer>>>,
}

/// One issuer's metadata.
struct Issuer {
    metadata: Kept<Arc<TokenMetadata>, TokenError>,
    warned: Repeats<Box<str>>,
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
        // The issuer's address was checked: where it is plain `http`, it is allowed to be.
        let plain_http = match uri.scheme_str() {
            Some("http") if !is_plain_loopback(uri) => PlainHttp::Dangerous,
            _ => PlainHttp::Loopback.beyond(uri),
        };
        let limits = Limits { max_bytes: MAX_BYTES, ..limits };
        let network =
            Network { transport: Arc::clone(transport), limits, redirects: 0, plain_http };
        let known = self.issuer(issuer, uri);
        let warned = &known.warned;
        let read = |document: &[u8]| read(document, plain_http, warned).map(Arc::new);
        let failed = |fault| {
            let error = error_of(issuer, fault, warned);
            if let Some(_times) = warned.record(error.to_string().into(), monotonic()) {
                event!(
                    WARN,
                    issuer,
                    %error,
                    times = _times,
                    "client_metadata: the metadata can't be fetched"
                );
            }
            error
        };
        known.metadata.find(&network, now, read, failed).await
    }

    /// Forces rediscovery on the next fetch, since the token endpoint may have moved.
    pub(crate) fn invalidate(&self, issuer: &str) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(issuer) = known.get(issuer) {
            issuer.metadata.invalidate();
        }
    }

    fn issuer(&self, issuer: &str, uri: &Uri) -> Arc<Issuer> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(issuer) {
            return Arc::clone(known);
        }
        if known.len() >= self.capacity {
            // Calls hold what they use, so any entry may be evicted.
            let victim = known.keys().next().cloned();
            victim.map(|victim| known.remove(&victim));
        }
        let metadata = Kept::new(Search::new(issuer, uri), LIFETIME);
        let new = Arc::new(Issuer { metadata, warned: Repeats::new() });
        Arc::clone(known.entry(issuer.into()).or_insert(new))
    }
}

/// Maps a fault of discovery to the client's error.
fn error_of(_issuer: &str, found: issuer::Fault, warned: &Repeats<Box<str>>) -> TokenError {
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
        FaultKind::IssuerMismatch(other) => {
            let found = plain(&other, 256);
            if let Some(_times) = warned.record(found.clone(), monotonic()) {
                event!(
                    WARN,
                    issuer = _issuer,
                    found = &*found,
                    times = _times,
                    "client_issuer_mismatch: metadata of another issuer was found"
                );
            }
            TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch)
        }
    };
    TokenError::with(kind, None, found.retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_issuers_are_bounded() {
        let discoveries = Discoveries::new(3);
        for n in 0..10 {
            let issuer = format!("https://{n}.example");
            discoveries.issuer(&issuer, &issuer.parse().unwrap());
        }
        assert_eq!(discoveries.known.lock().unwrap().len(), 3);
    }
}
