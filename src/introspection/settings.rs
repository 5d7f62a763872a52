use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::digest::{Digest, Parts};
use crate::introspection::auth::{Caller, IntrospectionAuth};
use crate::jose::Algorithm;
use crate::transport::{Transport, printable};

/// How an issuer is asked about tokens that aren't JWTs (RFC 7662).
///
/// It is given to [`ValidatorBuilder::introspection`](crate::ValidatorBuilder::introspection), beside
/// the issuer's keys, or to [`ValidatorBuilder::keys`](crate::ValidatorBuilder::keys) in their place:
/// then the issuer is asked about every token, whatever it looks like.
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
#[must_use = "nobody is asked until a validator is built with it"]
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
    pub(crate) signed: bool,
    pub(crate) signed_algorithms: Option<Vec<Algorithm>>,
    pub(crate) signed_audience: Option<String>,
    pub(crate) dangerous_http: bool,
    pub(crate) transport: Option<Arc<dyn Transport>>,
}

impl Introspection {
    /// Finds the endpoint by discovery: `introspection_endpoint` of the issuer's metadata (RFC 8414
    /// §2), in whichever of its documents names one.
    pub fn discover(auth: impl Into<IntrospectionAuth>) -> Self {
        Self::new(None, auth.into())
    }

    /// Asks at this URL. It must be `https`, or on this machine.
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
            signed: false,
            signed_algorithms: None,
            signed_audience: None,
            dangerous_http: false,
            transport: None,
        }
    }

    /// Sets how long an accepted token is remembered, and so for how long one that is revoked may
    /// still pass. It is never remembered beyond its `exp`; zero remembers none.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how long a refused token is remembered, in a table of 4 096 that is apart from the
    /// accepted ones.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// Lets a remembered token pass for this long beyond [`ttl`](Self::ttl) while the issuer can't be
    /// asked; never beyond its `exp`.
    ///
    /// A token that was revoked meanwhile passes as long.
    pub fn max_stale(mut self, stale: Duration) -> Self {
        self.max_stale = stale;
        self
    }

    /// Asks about a remembered token anew, in the background, when it is used in the last fifth of
    /// [`ttl`](Self::ttl): a token in steady use then never waits.
    pub fn refresh_ahead(mut self) -> Self {
        self.refresh_ahead = true;
        self
    }

    /// Sets how long one question may take, its wait for a place and discovery included.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long connecting may take.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Sets how many questions may be under way at the same time.
    pub fn concurrent(mut self, questions: usize) -> Self {
        self.concurrent = questions;
        self
    }

    /// Sets how many questions may wait for a place. Requests beyond that are answered 503.
    pub fn waiting(mut self, questions: usize) -> Self {
        self.waiting = questions;
        self
    }

    /// Refuses tokens whose answer has no `exp`.
    pub fn require_exp(mut self) -> Self {
        self.require_exp = true;
        self
    }

    /// Accepts tokens whose answer has no `aud`, for servers that leave it out.
    ///
    /// Then every token of the issuer is good here, also one that a user gave to another service.
    /// An `aud` that is there must still be this service's.
    pub fn dangerous_accept_missing_aud(mut self) -> Self {
        self.accept_missing_aud = true;
        self
    }

    /// Sends `token_type_hint=access_token` along. Some servers need it, and others fail on it.
    pub fn token_type_hint(mut self) -> Self {
        self.hint = true;
        self
    }

    /// Asks about JWTs too, once their signature and claims were found good: for servers that revoke
    /// JWTs. The claims stay those of the JWT.
    pub fn introspect_jwts(mut self) -> Self {
        self.jwts = true;
        self
    }

    /// Asks only about tokens that begin with this, such as `zit_`.
    ///
    /// Where several issuers are asked about opaque tokens, all but one need a prefix: no issuer is
    /// ever shown a token that may be another's. The longest prefix that fits decides.
    pub fn token_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Asks for signed answers (RFC 9701), and accepts no other. They are checked with the issuer's
    /// keys.
    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }

    /// Sets the algorithms that signed answers may have, in place of those that the issuer's tokens
    /// may have.
    pub fn signed_algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.signed_algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Sets the `aud` of signed answers, where it isn't the client's id.
    pub fn signed_audience(mut self, audience: impl Into<String>) -> Self {
        self.signed_audience = Some(audience.into());
        self
    }

    /// Allows plain `http` to every host.
    ///
    /// Whoever is on the network between can then read tokens and this service's own credentials, and
    /// answer in the server's place.
    pub fn dangerous_allow_http(mut self) -> Self {
        self.dangerous_http = true;
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
    /// Returns what these settings are told apart by from others.
    pub(crate) fn identity(&self) -> Digest {
        let transport = self.transport.as_ref();
        // Only whether it is the same one matters.
        let transport = transport.map_or(0, |it| Arc::as_ptr(it).cast::<()>() as usize);
        let numbers = format!(
            "{:?}",
            (
                (self.ttl, self.negative_ttl, self.max_stale, self.timeout, self.connect_timeout),
                (self.concurrent, self.waiting, transport),
                [self.refresh_ahead, self.require_exp, self.accept_missing_aud, self.hint],
                [self.jwts, self.signed, self.dangerous_http],
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
