//! From an issuer to its token endpoint (RFC 8414 §3, OpenID Connect Discovery 1.0 §4).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use crate::client::grant::error::{DiscoveryFault, TokenError, TokenErrorKind};
use crate::clock::{UnixTime, monotonic};
use crate::credentials::authentication::ClientAuth;
use crate::issuer::{self, FaultKind, Network, Refused, Search};
use crate::telemetry::event;
use crate::transport::{Limits, PlainHttp, Transport, is_plain_loopback, parse_url};

/// How long metadata is good for; beyond that, it is used only if no newer can be had.
const TTL: Duration = Duration::from_secs(60 * 60);

/// While the token endpoint fails, and the metadata with it, it isn't asked for more often than this.
const REST_IN_DOUBT: Duration = Duration::from_secs(10);

/// Metadata is longer than a token's answer.
const MAX_BYTES: usize = 256 * 1024;

/// What discovery found.
#[derive(Debug)]
pub(crate) struct TokenMetadata {
    pub(crate) token_endpoint: Uri,
    mtls_alias: Alias,
    auth_methods: Option<Vec<String>>,
    signing_algorithms: Option<Vec<String>>,
}

/// The token endpoint for clients that present a TLS certificate (RFC 8705 §5).
#[derive(Debug, Eq, PartialEq)]
enum Alias {
    /// It is the same as for others.
    None,
    Endpoint(Uri),
    /// There is one, and it must not be used.
    Unusable,
}

/// The issuers that were looked up: each once, however many wait for it.
pub(crate) struct Discoveries {
    capacity: usize,
    known: Mutex<HashMap<Box<str>, Arc<Slot>>>,
}

struct Slot {
    search: Search,
    found: AsyncMutex<Found>,
    /// Whether it is to be looked up anew, whatever its age.
    doubted: AtomicBool,
}

#[derive(Default)]
struct Found {
    metadata: Option<(Arc<TokenMetadata>, Instant)>,
    /// Why there is no newer, and since when.
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
        let mut found = slot.found.lock().await;
        // Many may wait for an issuer that is away: not one after the other.
        if let Some((error, _)) = found.failed.as_ref().filter(|(_, at)| *at >= came) {
            return found.or_stale(error.clone());
        }
        let doubted = slot.doubted.load(Ordering::Relaxed);
        let is_young = |at: &Instant, age| monotonic().saturating_duration_since(*at) < age;
        let fresh = |at: &Instant| !doubted && is_young(at, TTL);
        if let Some((metadata, _)) = found.metadata.as_ref().filter(|(_, at)| fresh(at)) {
            return Ok(Arc::clone(metadata));
        }
        // Older metadata serves on: waiting for what can't be had would hold up each token.
        let rest = if doubted { REST_IN_DOUBT } else { TTL };
        if let Some((error, _)) = found.failed.as_ref().filter(|(_, at)| is_young(at, rest))
            && let Ok(metadata) = found.or_stale(error.clone())
        {
            return Ok(metadata);
        }
        // The issuer's address was checked: where it is plain `http`, it is allowed to be.
        let plain_http = match uri.scheme_str() {
            Some("http") if !is_plain_loopback(uri) => PlainHttp::Dangerous,
            _ => PlainHttp::Loopback.beyond(uri),
        };
        let limits = Limits { max_bytes: MAX_BYTES, ..limits };
        let network =
            Network { transport: Arc::clone(transport), limits, redirects: 0, plain_http };
        let fetched = slot.search.find(&network, now, |document| read(document, plain_http)).await;
        slot.doubted.store(false, Ordering::Relaxed);
        match fetched {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *found =
                    Found { metadata: Some((Arc::clone(&metadata), monotonic())), failed: None };
                Ok(metadata)
            }
            Err(fault) => {
                let error = error_of(issuer, fault);
                event!(WARN, issuer, %error, "client_metadata: the metadata can't be had");
                found.failed = Some((error.clone(), monotonic()));
                found.or_stale(error)
            }
        }
    }

    /// Has an issuer's metadata looked up anew the next time: its token endpoint may have moved.
    pub(crate) fn doubt(&self, issuer: &str) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = known.get(issuer) {
            slot.doubted.store(true, Ordering::Relaxed);
        }
    }

    fn slot(&self, issuer: &str, uri: &Uri) -> Arc<Slot> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = known.get(issuer) {
            return Arc::clone(slot);
        }
        if known.len() >= self.capacity {
            // Those in use stay alive with their users; which of the others goes matters little.
            let victim = known.keys().next().cloned();
            victim.map(|victim| known.remove(&victim));
        }
        let slot = Slot {
            search: Search::new(issuer, uri),
            found: AsyncMutex::default(),
            doubted: AtomicBool::new(false),
        };
        Arc::clone(known.entry(issuer.into()).or_insert_with(|| Arc::new(slot)))
    }
}

impl Found {
    /// Returns what was found before: the token endpoint itself may be in better health than the
    /// metadata. Only if that is another issuer's now, the secret goes nowhere.
    fn or_stale(&self, error: TokenError) -> Result<Arc<TokenMetadata>, TokenError> {
        let others = TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch);
        match &self.metadata {
            Some((metadata, _)) if *error.kind() != others => Ok(Arc::clone(metadata)),
            _ => Err(error),
        }
    }
}

impl TokenMetadata {
    /// Returns the token endpoint, for clients that present a certificate or for others.
    pub(crate) fn endpoint(&self, by_certificate: bool) -> Result<&Uri, TokenError> {
        match &self.mtls_alias {
            // RFC 8705 §5: a client that does mutual TLS must use the alias.
            Alias::Endpoint(alias) if by_certificate => Ok(alias),
            Alias::Unusable if by_certificate => Err(fault(DiscoveryFault::TokenEndpoint)),
            _ => Ok(&self.token_endpoint),
        }
    }

    /// Returns an error unless the issuer offers this way of authentication, as far as it says.
    pub(crate) fn check(&self, auth: &ClientAuth) -> Result<(), TokenError> {
        let offers = |list: &Option<Vec<String>>, name: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|it| it == name))
        };
        // With a certificate that the server knows by itself, the request is the same (RFC 8705 §2.2).
        let self_signed =
            auth.is_by_certificate() && offers(&self.auth_methods, "self_signed_tls_client_auth");
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
            offered = self.known_methods().join(" "),
            "client_auth_method: the issuer doesn't offer the chosen client authentication"
        );
        Err(fault(DiscoveryFault::AuthMethod))
    }
}

impl TokenMetadata {
    /// Returns the ways of authentication that the issuer offers and this client has: what else the
    /// list says is the server's, and isn't logged.
    #[cfg(feature = "tracing")]
    fn known_methods(&self) -> Vec<&'static str> {
        const KNOWN: [&str; 6] = [
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "private_key_jwt",
            "tls_client_auth",
            "self_signed_tls_client_auth",
        ];
        let offered = self.auth_methods.as_deref().unwrap_or_default();
        KNOWN.into_iter().filter(|known| offered.iter().any(|it| it == known)).collect()
    }
}

fn fault(fault: DiscoveryFault) -> TokenError {
    TokenError::new(TokenErrorKind::Discovery(fault))
}

/// Translates what the issuer's room reports.
fn error_of(_issuer: &str, found: issuer::Fault) -> TokenError {
    let kind = match found.kind {
        // What is there is no metadata, which is short and not encoded.
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

fn read(document: &[u8], plain_http: PlainHttp) -> Result<TokenMetadata, Refused> {
    #[derive(Deserialize)]
    struct Members {
        token_endpoint: Option<String>,
        mtls_endpoint_aliases: Option<serde_json::Value>,
        token_endpoint_auth_methods_supported: Option<Vec<String>>,
        token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    }
    let members: Members = issuer::read(document)?;
    let usable = |endpoint: &str| {
        parse_url(endpoint, plain_http)
            .inspect_err(|_fault| {
                event!(
                    WARN,
                    reason = %_fault,
                    "client_token_endpoint: the metadata's token_endpoint is refused"
                );
            })
            .ok()
    };
    let endpoint = members.token_endpoint.as_deref().ok_or(Refused::Unacceptable)?;
    Ok(TokenMetadata {
        token_endpoint: usable(endpoint).ok_or(Refused::Unacceptable)?,
        mtls_alias: alias(members.mtls_endpoint_aliases.as_ref(), usable),
        auth_methods: members.token_endpoint_auth_methods_supported,
        signing_algorithms: members.token_endpoint_auth_signing_alg_values_supported,
    })
}

fn alias(aliases: Option<&serde_json::Value>, usable: impl Fn(&str) -> Option<Uri>) -> Alias {
    let Some(aliases) = aliases else { return Alias::None };
    let Some(aliases) = aliases.as_object() else { return Alias::Unusable };
    match aliases.get("token_endpoint") {
        None | Some(serde_json::Value::Null) => Alias::None,
        Some(endpoint) => {
            endpoint.as_str().and_then(usable).map_or(Alias::Unusable, Alias::Endpoint)
        }
    }
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
    fn l4_the_token_endpoint_must_be_usable() {
        let read = |body: &str| read(body.as_bytes(), PlainHttp::Refused);
        let found = read(&document("https://login.example/token?a=b")).unwrap();
        assert_eq!(found.token_endpoint, "https://login.example/token?a=b");
        for (body, refused) in [
            (r#"["https://as.example/realms/a","https://as.example/token"]"#, Refused::Unreadable),
            (r#"{"token_endpoint":["https://as.example/token"]}"#, Refused::Unreadable),
            (r#"{"issuer":"https://as.example/realms/a"}"#, Refused::Unacceptable),
            (&document("http://as.example/token"), Refused::Unacceptable),
            (&document("http://127.0.0.1/token"), Refused::Unacceptable),
            (&document("/token"), Refused::Unacceptable),
            (&document("https://as.example/token#f"), Refused::Unacceptable),
        ] {
            assert_eq!(read(body).unwrap_err(), refused, "{body}");
        }
    }

    // RFC 8705 §5
    #[test]
    fn fc7_a_client_with_a_certificate_uses_the_alias_and_no_other_does() {
        const USUAL: &str = "https://as.example/token";
        let alias = |aliases: &str| {
            let document =
                format!(r#"{{"token_endpoint":"{USUAL}","mtls_endpoint_aliases":{aliases}}}"#);
            let metadata = read(document.as_bytes(), PlainHttp::Refused).unwrap();
            let by_secret = metadata.endpoint(false).unwrap();
            assert_eq!(by_secret, USUAL, "{aliases}");
            metadata.endpoint(true).ok().map(ToString::to_string)
        };
        let found = alias(r#"{"token_endpoint":"https://mtls.as.example/token"}"#);
        assert_eq!(found.as_deref(), Some("https://mtls.as.example/token"));
        for none in ["null", "{}", r#"{"token_endpoint":null}"#, r#"{"revocation_endpoint":"x"}"#] {
            assert_eq!(alias(none).as_deref(), Some(USUAL), "{none}");
        }
        for unusable in [
            r#"{"token_endpoint":"http://mtls.as.example/token"}"#,
            r#"{"token_endpoint":"/token"}"#,
            r#"{"token_endpoint":""}"#,
            r#"{"token_endpoint":7}"#,
            r#"["https://mtls.as.example/token"]"#,
            r#""https://mtls.as.example/token""#,
        ] {
            assert_eq!(alias(unusable), None, "{unusable}");
        }
    }

    // L4
    #[test]
    fn l4_a_method_that_is_not_offered_is_not_tried() {
        let metadata = |methods: &[&str]| TokenMetadata {
            token_endpoint: Uri::from_static("https://as.example/token"),
            mtls_alias: Alias::None,
            auth_methods: Some(methods.iter().map(|&method| method.into()).collect()),
            signing_algorithms: None,
        };
        let basic = ClientAuth::basic("me", "s");
        assert!(metadata(&["client_secret_post", "client_secret_basic"]).check(&basic).is_ok());
        let error = metadata(&["client_secret_post"]).check(&basic).unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Discovery(DiscoveryFault::AuthMethod));
        let silent = TokenMetadata { auth_methods: None, ..metadata(&[]) };
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
            let issuer = format!("https://{n}.example");
            discoveries.slot(&issuer, &issuer.parse().unwrap());
        }
        assert_eq!(discoveries.known.lock().unwrap().len(), 3);
    }
}
