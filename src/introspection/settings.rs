//! The public settings of introspection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::{Digest, Parts};
use crate::introspection::auth::{Caller, IntrospectionAuth};
use crate::jose::Algorithm;
use crate::transport::{Transport, printable};

/// The settings by which an issuer introspects tokens (RFC 7662).
///
/// With [`ValidatorBuilder::introspection`](crate::ValidatorBuilder::introspection), tokens that aren't JWTs
/// are introspected. With [`ValidatorBuilder::keys`](crate::ValidatorBuilder::keys), every token is,
/// whatever its format.
///
/// | setting | default | range |
/// |---|---|---|
/// | [`ttl`](Self::ttl) | 30 s | 0 to 1 h |
/// | [`negative_ttl`](Self::negative_ttl) | 10 s | 0 to 5 min |
/// | [`max_stale`](Self::max_stale) | 0 | 0 to 1 h |
/// | [`refresh_ahead`](Self::refresh_ahead) | off | |
/// | [`timeout`](Self::timeout) | 5 s | 100 ms to 30 s |
/// | [`connect_timeout`](Self::connect_timeout) | 2 s | 100 ms to `timeout` |
/// | [`concurrent`](Self::concurrent) | 64 | 1 to 1 024 |
/// | [`waiting`](Self::waiting) | 1 024 | 0 to 100 000 |
/// | [`require_exp`](Self::require_exp) | off | |
/// | [`token_type_hint`](Self::token_type_hint) | off | |
/// | [`introspect_jwts`](Self::introspect_jwts) | off | |
/// | [`token_prefix`](Self::token_prefix) | none | |
/// | [`by_route`](Self::by_route) | off | |
/// | [`signed`](Self::signed) | off | |
/// | [`signed_algorithms`](Self::signed_algorithms) | the issuer's | |
/// | [`signed_audience`](Self::signed_audience) | the client's id | |
///
/// ```
/// # fn example() -> Result<(), tower_bearer::ConfigError> {
/// use std::time::Duration;
///
/// use tower_bearer::Validator;
/// use tower_bearer::client::ClientAuth;
/// use tower_bearer::introspection::Introspection;
///
/// let introspection = Introspection::discover(ClientAuth::basic("orders", "s3cret"))
///     .ttl(Duration::from_secs(10));
/// let validator = Validator::builder("https://issuer.example", "https://orders.example")
///     .introspection(introspection)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until a validator is built with it"]
pub struct Introspection {
    pub(crate) endpoint: Option<String>,
    pub(crate) caller: Caller,
    pub(crate) ttl: Duration,
    pub(crate) negative_ttl: Duration,
    pub(crate) max_stale: Duration,
    pub(crate) refresh_ahead: bool,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) concurrent: usize,
    pub(crate) waiting: usize,
    pub(crate) require_exp: bool,
    pub(crate) accept_missing_aud: bool,
    pub(crate) hint: bool,
    pub(crate) jwts: bool,
    pub(crate) prefix: Option<String>,
    pub(crate) by_route: bool,
    pub(crate) signed: bool,
    pub(crate) signed_algorithms: Option<Vec<Algorithm>>,
    pub(crate) signed_audience: Option<String>,
    pub(crate) dangerous_http: bool,
    pub(crate) root_endpoint: bool,
    pub(crate) transport: Option<Arc<dyn Transport>>,
}

impl Introspection {
    /// Discovers the endpoint: `introspection_endpoint` of the issuer's metadata (RFC 8414 §2), from
    /// the first of its documents that has one.
    pub fn discover(auth: impl Into<IntrospectionAuth>) -> Self {
        Self::new(None, auth.into())
    }

    /// Uses the endpoint at this URL, which must be `https` or loopback.
    pub fn endpoint(url: impl Into<String>, auth: impl Into<IntrospectionAuth>) -> Self {
        Self::new(Some(url.into()), auth.into())
    }

    fn new(endpoint: Option<String>, IntrospectionAuth(caller): IntrospectionAuth) -> Self {
        Self {
            endpoint,
            caller,
            ttl: Duration::from_secs(30),
            negative_ttl: Duration::from_secs(10),
            max_stale: Duration::ZERO,
            refresh_ahead: false,
            timeout: Duration::from_secs(5),
            connect_timeout: None,
            concurrent: 64,
            waiting: 1_024,
            require_exp: false,
            accept_missing_aud: false,
            hint: false,
            jwts: false,
            prefix: None,
            by_route: false,
            signed: false,
            signed_algorithms: None,
            signed_audience: None,
            dangerous_http: false,
            root_endpoint: false,
            transport: None,
        }
    }

    /// Sets how long an accepted token is cached, and so for how long it is still accepted after it was
    /// revoked. It is never cached beyond its `exp`; zero disables the cache.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how long a refused token is cached, in a table of 4 096 entries apart from the accepted ones.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// Accepts a cached token for this long after [`ttl`](Self::ttl) while the endpoint is unavailable, but
    /// never after its `exp`.
    ///
    /// A token that was revoked meanwhile is accepted for this time as well.
    pub fn max_stale(mut self, stale: Duration) -> Self {
        self.max_stale = stale;
        self
    }

    /// Introspects a cached token again, in the background, when it is used in the last fifth of
    /// [`ttl`](Self::ttl), so that requests with a token in steady use never wait.
    pub fn refresh_ahead(mut self) -> Self {
        self.refresh_ahead = true;
        self
    }

    /// Sets how long one introspection may take, including queueing and discovery.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long establishing a connection may take.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Sets the maximum number of concurrent introspection requests.
    pub fn concurrent(mut self, questions: usize) -> Self {
        self.concurrent = questions;
        self
    }

    /// Sets how many introspections may be queued. Requests beyond that are answered 503.
    pub fn waiting(mut self, questions: usize) -> Self {
        self.waiting = questions;
        self
    }

    /// Refuses tokens whose introspection response has no `exp`.
    pub fn require_exp(mut self) -> Self {
        self.require_exp = true;
        self
    }

    /// Accepts tokens whose introspection response has no `aud`, for servers that omit it.
    ///
    /// Every token of the issuer is then accepted here, including one that a user gave to another service.
    /// An `aud` that is present must still be this service's.
    pub fn dangerous_accept_missing_aud(mut self) -> Self {
        self.accept_missing_aud = true;
        self
    }

    /// Sends `token_type_hint=access_token`. Some servers require it, and others fail on it.
    pub fn token_type_hint(mut self) -> Self {
        self.hint = true;
        self
    }

    /// Introspects JWTs as well, once their signature and claims were checked, for servers that revoke
    /// JWTs. The claims remain those of the JWT.
    pub fn introspect_jwts(mut self) -> Self {
        self.jwts = true;
        self
    }

    /// Introspects only tokens that begin with this prefix, such as `zit_`.
    ///
    /// If several issuers introspect opaque tokens, all but one need a prefix or
    /// [`by_route`](Self::by_route), so that no issuer is sent a token that may be another's. The longest
    /// matching prefix decides.
    pub fn token_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Introspects opaque tokens only on routes that accept tokens of this issuer alone, by
    /// [`Access::require_issuer`](crate::Access::require_issuer) or by conditions for the whole layer: for
    /// several issuers whose tokens no prefix distinguishes.
    ///
    /// A token with the prefix of another issuer is still that issuer's. On other routes, in
    /// [`Validator::validate`](crate::Validator::validate), and where a route is
    /// [hidden](crate::Access::hide_existence), whose existence the response would reveal, the token isn't
    /// introspected. A token of another issuer that a caller sends to such a route is disclosed to this one.
    pub fn by_route(mut self) -> Self {
        self.by_route = true;
        self
    }

    /// Requests signed responses (RFC 9701), and accepts no others. They are verified with the issuer's
    /// keys.
    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    /// Sets the algorithms of signed responses. The default is those of the issuer's tokens.
    pub fn signed_algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.signed_algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Sets the `aud` of signed responses. The default is the client's id.
    pub fn signed_audience(mut self, audience: impl Into<String>) -> Self {
        self.signed_audience = Some(audience.into());
        self
    }

    /// Allows plain `http` to every host.
    ///
    /// Anyone on the network path can then read tokens and this service's own credentials, and forge
    /// responses.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.dangerous_http = true;
        self
    }

    /// Ignores `mtls_endpoint_aliases` of the metadata when this service authenticates with a certificate,
    /// for ecosystems in which every endpoint requests certificates.
    pub fn root_endpoint(mut self) -> Self {
        self.root_endpoint = true;
        self
    }

    /// Sends requests through this transport.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("endpoint", &self.endpoint.as_deref().map(printable))
            .field("caller", &self.caller)
            .field("ttl", &self.ttl)
            .field("signed", &self.signed)
            .finish_non_exhaustive()
    }
}

impl Introspection {
    /// Returns a digest that distinguishes these settings from others.
    pub(crate) fn identity(&self) -> Digest {
        let transport = self.transport.as_ref();
        // A transport is compared by its identity.
        let transport = transport.map_or(0, |it| Arc::as_ptr(it).cast::<()>() as usize);
        let numbers = format!(
            "{:?}",
            (
                (self.ttl, self.negative_ttl, self.max_stale, self.timeout, self.connect_timeout),
                (self.concurrent, self.waiting, transport),
                [self.refresh_ahead, self.require_exp, self.accept_missing_aud, self.hint],
                [self.jwts, self.by_route, self.signed, self.dangerous_http],
                self.root_endpoint,
                &self.signed_algorithms,
            )
        );
        let texts = [&self.endpoint, &self.prefix, &self.signed_audience];
        let texts =
            texts.map(|text| text.as_deref().map_or_else(String::new, |it| format!("={it}")));
        let parts = Parts::new("introspection settings").part(numbers).list(texts.iter());
        self.caller.distinguish(parts).finish()
    }
}
