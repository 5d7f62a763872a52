//! From an issuer to its token endpoint (RFC 8414 §3, OpenID Connect Discovery 1.0 §4).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::client::authentication::ClientAuth;
use crate::client::error::{DiscoveryFault, TokenError, TokenErrorKind};
use crate::clock::monotonic;
use crate::json;
use crate::telemetry::event;
use crate::transport::{
    Limits, PlainHttp, Transport, TransportErrorKind, is_plain_loopback, metadata_places,
    parse_url, user_agent, wants_rest,
};

/// How long metadata is good for; beyond that, it is used only if no newer can be had.
const TTL: Duration = Duration::from_secs(60 * 60);

/// Metadata is longer than a token's answer.
const MAX_BYTES: usize = 256 * 1024;

/// What discovery found.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) token_endpoint: Uri,
    auth_methods: Option<Vec<String>>,
    signing_algorithms: Option<Vec<String>>,
}

/// The issuers that were looked up: each once, however many wait for it.
pub(crate) struct Discoveries {
    capacity: usize,
    known: Mutex<HashMap<Box<str>, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    found: AsyncMutex<Found>,
    /// Whether it is to be looked up anew, whatever its age.
    doubted: AtomicBool,
}

#[derive(Default)]
struct Found {
    metadata: Option<(Arc<Metadata>, Instant)>,
    /// Why there is no newer, and since when.
    failed: Option<(TokenError, Instant)>,
}

/// How to ask.
#[derive(Clone, Copy)]
pub(crate) struct Network<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) limits: Limits,
}

impl Discoveries {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, known: Mutex::default() }
    }

    /// Returns the metadata of an issuer whose address was checked.
    pub(crate) async fn find(
        &self,
        network: Network<'_>,
        issuer: &str,
        uri: &Uri,
    ) -> Result<Arc<Metadata>, TokenError> {
        let came = monotonic();
        let slot = self.slot(issuer);
        let mut found = slot.found.lock().await;
        // Many may wait for an issuer that is away: not one after the other.
        if let Some((error, _)) = found.failed.as_ref().filter(|(_, at)| *at >= came) {
            return found.in_spite_of(error.clone());
        }
        let doubted = slot.doubted.load(Ordering::Relaxed);
        let fresh = |at: &Instant| !doubted && monotonic().saturating_duration_since(*at) < TTL;
        if let Some((metadata, _)) = found.metadata.as_ref().filter(|(_, at)| fresh(at)) {
            return Ok(Arc::clone(metadata));
        }
        let fetched = fetch(network, issuer, uri).await;
        slot.doubted.store(false, Ordering::Relaxed);
        match fetched {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *found =
                    Found { metadata: Some((Arc::clone(&metadata), monotonic())), failed: None };
                Ok(metadata)
            }
            Err(error) => {
                event!(WARN, issuer, %error, "client_metadata: the metadata can't be had");
                found.failed = Some((error.clone(), monotonic()));
                found.in_spite_of(error)
            }
        }
    }

    /// Has an issuer's metadata looked up anew the next time: its token endpoint may have moved.
    pub(crate) fn doubt(&self, issuer: &str) {
        self.slot(issuer).doubted.store(true, Ordering::Relaxed);
    }

    fn slot(&self, issuer: &str) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = known.get(issuer) {
            return Arc::clone(slot);
        }
        if known.len() >= self.capacity {
            // Those in use stay alive with their users; which of the others goes matters little.
            let victim = known.keys().next().cloned();
            victim.map(|victim| known.remove(&victim));
        }
        Arc::clone(known.entry(issuer.into()).or_default())
    }
}

impl Found {
    /// Returns what was found before: the token endpoint itself may be in better health than the
    /// metadata. Only if that is another issuer's now, the secret goes nowhere.
    fn in_spite_of(&self, error: TokenError) -> Result<Arc<Metadata>, TokenError> {
        let others = TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch);
        match &self.metadata {
            Some((metadata, _)) if *error.kind() != others => Ok(Arc::clone(metadata)),
            _ => Err(error),
        }
    }
}

impl Metadata {
    /// Tells whether the issuer offers this way of authentication, as far as it says.
    pub(crate) fn check(&self, auth: &ClientAuth) -> Result<(), TokenError> {
        let offers = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|it| it == name))
        };
        // With a certificate that the server knows by itself, the request is the same (RFC 8705 §2.2).
        let self_signed = auth.name() == "tls_client_auth"
            && offers(&self.auth_methods, "self_signed_tls_client_auth");
        let algorithm = auth.assertion().map(|assertion| assertion.algorithm().name());
        if (offers(&self.auth_methods, auth.name()) || self_signed)
            && algorithm.is_none_or(|name| offers(&self.signing_algorithms, name))
        {
            return Ok(());
        }
        event!(
            WARN,
            method = auth.name(),
            algorithm,
            offered = ?self.auth_methods,
            "client_auth_method: the issuer doesn't offer the chosen client authentication"
        );
        Err(fault(DiscoveryFault::AuthMethod))
    }
}

fn fault(fault: DiscoveryFault) -> TokenError {
    TokenError::new(TokenErrorKind::Discovery(fault))
}

/// Asks in turn wherever metadata may lie. An answer that isn't this issuer's metadata counts as
/// little as a 404: some servers answer every path with 200 and a login page.
async fn fetch(network: Network<'_>, issuer: &str, uri: &Uri) -> Result<Metadata, TokenError> {
    // The issuer's address was checked: where it is plain `http`, it is allowed to be.
    let plain_http = match uri.scheme_str() {
        Some("http") if !is_plain_loopback(uri) => PlainHttp::Dangerous,
        _ => PlainHttp::Loopback.beyond(uri),
    };
    let mut worst = fault(DiscoveryFault::NoMetadata);
    for place in metadata_places(uri) {
        let error = match ask(network, place).await {
            Ok(body) => match read(&body, issuer, plain_http) {
                Ok(metadata) => return Ok(metadata),
                Err(found) => fault(found),
            },
            Err(error) if ends_the_search(&error) => return Err(error),
            Err(error) => error,
        };
        if rank(&error) > rank(&worst) {
            worst = error;
        }
    }
    Err(worst)
}

/// Returns the body of a 200.
async fn ask(network: Network<'_>, place: Uri) -> Result<Bytes, TokenError> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = place;
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    request.headers_mut().insert(USER_AGENT, user_agent());
    let mut limits = network.limits;
    limits.max_bytes = MAX_BYTES;
    let answer = network.transport.send(request, limits).await;
    let answer = answer.map_err(TokenError::transport)?;
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body()),
        status if status.is_server_error() || wants_rest(status.as_u16()) => {
            Err(TokenError::new(TokenErrorKind::Status(status)))
        }
        _ => Err(fault(DiscoveryFault::NoMetadata)),
    }
}

/// The other places are on the same server: if it can't be reached, or asks for rest, it is left
/// alone.
fn ends_the_search(error: &TokenError) -> bool {
    match error.kind() {
        // What is there is no metadata, which is short.
        TokenErrorKind::Transport(
            TransportErrorKind::TooLarge | TransportErrorKind::ContentEncoding,
        ) => false,
        TokenErrorKind::Transport(_) => true,
        TokenErrorKind::Status(status) => wants_rest(status.as_u16()),
        _ => false,
    }
}

/// How much an error tells: that there is metadata, but not ours, is more than that there is none.
fn rank(error: &TokenError) -> u8 {
    match error.kind() {
        TokenErrorKind::Discovery(DiscoveryFault::NoMetadata) => 0,
        TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch) => 3,
        TokenErrorKind::Discovery(_) => 2,
        _ => 1,
    }
}

fn read(body: &[u8], issuer: &str, plain_http: PlainHttp) -> Result<Metadata, DiscoveryFault> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        token_endpoint: Option<String>,
        token_endpoint_auth_methods_supported: Option<Vec<String>>,
        token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    }
    let document: Document = json::parse(body).map_err(|_| DiscoveryFault::NoMetadata)?;
    // RFC 8414 §3.3: identical, character by character.
    if document.issuer != issuer {
        event!(
            WARN,
            issuer,
            found = %crate::client::error::printable(&document.issuer, 256),
            "client_issuer_mismatch: metadata of another issuer was found"
        );
        return Err(DiscoveryFault::IssuerMismatch);
    }
    let endpoint = document.token_endpoint.ok_or(DiscoveryFault::TokenEndpoint)?;
    let token_endpoint = parse_url(&endpoint, plain_http).map_err(|_fault| {
        event!(
            WARN,
            issuer,
            reason = %_fault,
            "client_token_endpoint: the metadata's token_endpoint is refused"
        );
        DiscoveryFault::TokenEndpoint
    })?;
    Ok(Metadata {
        token_endpoint,
        auth_methods: document.token_endpoint_auth_methods_supported,
        signing_algorithms: document.token_endpoint_auth_signing_alg_values_supported,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://as.example/realms/a";

    fn document(token_endpoint: &str) -> String {
        format!(r#"{{"issuer":"{ISSUER}","token_endpoint":"{token_endpoint}","x":[1]}}"#)
    }

    // L4
    #[test]
    fn l4_metadata_must_be_that_of_the_issuer() {
        let read = |body: &str| read(body.as_bytes(), ISSUER, PlainHttp::Refused);
        let found = read(&document("https://login.example/token?a=b")).unwrap();
        assert_eq!(found.token_endpoint, "https://login.example/token?a=b");
        let mark = "\u{feff}";
        assert!(read(&format!("{mark}{}", document("https://as.example/token"))).is_ok());
        let with = |x: &str| document("https://as.example/token").replace("[1]", &format!("[{x}]"));
        assert!(read(&with("{\"a\":1}")).is_ok());
        let other = document("https://as.example/token").replace("realms/a", "realms/a/");
        assert_eq!(read(&other).unwrap_err(), DiscoveryFault::IssuerMismatch);
        for (body, fault) in [
            ("<html>", DiscoveryFault::NoMetadata),
            ("{}", DiscoveryFault::NoMetadata),
            (r#"[{"issuer":"https://as.example/realms/a"}]"#, DiscoveryFault::NoMetadata),
            (&with("{\"$serde_json::private::RawValue\":\"1\"}"), DiscoveryFault::NoMetadata),
            (&with("{\"a\":1,\"a\":1}"), DiscoveryFault::NoMetadata),
            (r#"{"issuer":"https://as.example/realms/a"}"#, DiscoveryFault::TokenEndpoint),
            (&document("http://as.example/token"), DiscoveryFault::TokenEndpoint),
            (&document("http://127.0.0.1/token"), DiscoveryFault::TokenEndpoint),
            (&document("/token"), DiscoveryFault::TokenEndpoint),
            (&document("https://as.example/token#f"), DiscoveryFault::TokenEndpoint),
        ] {
            assert_eq!(read(body).unwrap_err(), fault, "{body}");
        }
    }

    // L4
    #[test]
    fn l4_a_method_that_is_not_offered_is_not_tried() {
        let metadata = |methods: &[&str]| Metadata {
            token_endpoint: Uri::from_static("https://as.example/token"),
            auth_methods: Some(methods.iter().map(|&method| method.into()).collect()),
            signing_algorithms: None,
        };
        let basic = ClientAuth::basic("me", "s");
        assert!(metadata(&["client_secret_post", "client_secret_basic"]).check(&basic).is_ok());
        let error = metadata(&["client_secret_post"]).check(&basic).unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Discovery(DiscoveryFault::AuthMethod));
        let silent = Metadata { auth_methods: None, ..metadata(&[]) };
        assert!(silent.check(&basic).is_ok());
        let tls = ClientAuth::tls("me");
        assert!(metadata(&["tls_client_auth"]).check(&tls).is_ok());
        assert!(metadata(&["self_signed_tls_client_auth"]).check(&tls).is_ok());
        assert!(metadata(&["client_secret_basic"]).check(&tls).is_err());
        assert!(metadata(&["self_signed_tls_client_auth"]).check(&basic).is_err());
    }

    #[test]
    fn the_known_issuers_are_bounded() {
        let discoveries = Discoveries::new(3);
        for n in 0..10 {
            discoveries.slot(&format!("https://{n}.example"));
        }
        assert_eq!(discoveries.known.lock().unwrap().len(), 3);
    }
}
