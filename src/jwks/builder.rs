//! The settings of a key source.

mod build;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::jose::{Backend, Purpose};
use crate::jwks::config::EmptySet;
use crate::jwks::fetch::target::KeysFrom;
use crate::jwks::handle::Jwks;
use crate::jwks::kept::snapshot::Snapshot;
use crate::transport::{Transport, printable};

/// When the keys are first fetched.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Start {
    /// At once, in the background. Requests that arrive earlier wait for the keys, or are answered 503.
    #[default]
    Eager,
    /// When the first request needs them, or [`Jwks::ready`] is called. A probe that only
    /// polls [`Jwks::health`] never succeeds, since no request starts the fetch.
    Lazy,
    /// At once, while stale keys of an earlier run are used.
    ///
    /// A snapshot of another issuer or another URL is a configuration error. One that is older
    /// than `max_stale`, or dated in the future, or that has no usable key, is ignored.
    Seeded(Snapshot),
}

/// Builds a [`Jwks`].
///
/// | setting | default | range |
/// |---|---|---|
/// | [`ttl`](Self::ttl) | 10 minutes | 1 s to 24 h |
/// | [`min_ttl`](Self::min_ttl), [`max_ttl`](Self::max_ttl) | 60 s, 1 hour | 1 s to 24 h |
/// | [`max_stale`](Self::max_stale) | 1 hour | 0 to 7 days |
/// | [`timeout`](Self::timeout) | 5 s | 1 s to 30 s |
/// | [`connect_timeout`](Self::connect_timeout) | 3 s | 100 ms to `timeout` |
/// | [`request_wait`](Self::request_wait) | 2 s | 0 to `timeout` |
/// | [`cooldown`](Self::cooldown) | 30 s | 1 s to 1 h |
/// | [`max_bytes`](Self::max_bytes) | 256 KiB | 1 byte to 16 MiB |
/// | [`max_keys`](Self::max_keys) | 100 | 1 to 1000 |
/// | [`redirects`](Self::redirects) | 0 | 0 to 3 |
/// | [`dangerous_removed_key_grace`](Self::dangerous_removed_key_grace) | 0 | 0 to 24 h |
/// | [`empty_set`](Self::empty_set) | [`EmptySet::Keep`] | |
/// | [`start`](Self::start) | [`Start::Eager`] | |
pub struct JwksBuilder {
    issuer: String,
    place: KeysFrom,
    /// The issuer has a placeholder, and must have one.
    is_template: bool,
    purpose: Purpose,
    ttl: Option<Duration>,
    min_ttl: Option<Duration>,
    max_ttl: Option<Duration>,
    max_stale: Duration,
    timeout: Duration,
    connect_timeout: Option<Duration>,
    request_wait: Option<Duration>,
    cooldown: Duration,
    max_bytes: usize,
    max_keys: usize,
    redirects: u8,
    removed_key_grace: Duration,
    empty_set: EmptySet,
    start: Start,
    public_addresses_only: bool,
    dangerous_http: bool,
    transport: Option<Arc<dyn Transport>>,
    clock: Option<Arc<dyn Clock>>,
    backend: Option<Backend>,
}

impl Jwks {
    /// Finds the issuer's keys by discovery (RFC 8414, then OpenID Connect Discovery).
    pub fn discover(issuer: impl Into<String>) -> JwksBuilder {
        JwksBuilder::new(issuer.into(), KeysFrom::Issuer)
    }

    /// Finds the issuer's keys by discovery, with its metadata at this address and no other.
    ///
    /// For an issuer whose public name this service can't reach, or shouldn't: `iss` and the
    /// metadata's `issuer` are the public name, the document and its `jwks_uri` may be internal.
    /// The document's `issuer` must be `issuer`, character by character, whatever address it is at.
    ///
    /// ```
    /// use tower_bearer::jwks::Jwks;
    ///
    /// let keys = Jwks::discover_at(
    ///     "https://login.example/realms/shop",
    ///     "https://keycloak.internal:8443/realms/shop/.well-known/openid-configuration",
    /// );
    /// ```
    pub fn discover_at(issuer: impl Into<String>, document_url: impl Into<String>) -> JwksBuilder {
        JwksBuilder::new(issuer.into(), KeysFrom::Document(document_url.into()))
    }

    /// Finds the keys that many issuers share, by the metadata at this address, whose `issuer`
    /// must be the template, character by character (the one exception from RFC 8414 §3.3).
    ///
    /// They can only be used with [`Issuer::template`](crate::issuers::Issuer::template) and the same template.
    pub fn discover_template(
        template: impl Into<String>,
        document_url: impl Into<String>,
    ) -> JwksBuilder {
        let place = KeysFrom::Document(document_url.into());
        JwksBuilder { is_template: true, ..JwksBuilder::new(template.into(), place) }
    }

    /// Takes the issuer's keys from this URL.
    pub fn url(issuer: impl Into<String>, url: impl Into<String>) -> JwksBuilder {
        JwksBuilder::new(issuer.into(), KeysFrom::KeySet(url.into()))
    }

    /// Takes the JWT-SVID keys of a SPIFFE trust domain, such as `example.org`, from its bundle at
    /// this URL: those with `use: jwt-svid` (SPIFFE Trust Domain and Bundle §4.2), and no others.
    ///
    /// They can only be used with [`Validator::jwt_svid`](crate::Validator::jwt_svid) and the same trust
    /// domain.
    pub fn spiffe_bundle(trust_domain: impl Into<String>, url: impl Into<String>) -> JwksBuilder {
        JwksBuilder::bundle(trust_domain.into(), url.into())
    }
}

impl JwksBuilder {
    fn new(issuer: String, place: KeysFrom) -> Self {
        Self {
            issuer,
            place,
            is_template: false,
            purpose: Purpose::Signatures,
            ttl: None,
            min_ttl: None,
            max_ttl: None,
            max_stale: Duration::from_secs(60 * 60),
            timeout: Duration::from_secs(5),
            connect_timeout: None,
            request_wait: None,
            cooldown: Duration::from_secs(30),
            max_bytes: 256 * 1_024,
            max_keys: 100,
            redirects: 0,
            removed_key_grace: Duration::ZERO,
            empty_set: EmptySet::Keep,
            start: Start::Eager,
            public_addresses_only: false,
            dangerous_http: false,
            transport: None,
            clock: None,
            backend: None,
        }
    }

    fn bundle(trust_domain: String, url: String) -> Self {
        Self { purpose: Purpose::JwtSvids, ..Self::new(trust_domain, KeysFrom::KeySet(url)) }
    }

    /// Sets how long a key set is fresh if the issuer's answer doesn't say. Below
    /// [`min_ttl`](Self::min_ttl) or above [`max_ttl`](Self::max_ttl) it moves those with it,
    /// unless they are set too.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the shortest time for which a set is fresh, whatever the answer says.
    #[must_use]
    pub fn min_ttl(mut self, min_ttl: Duration) -> Self {
        self.min_ttl = Some(min_ttl);
        self
    }

    /// Sets the longest time for which a set is fresh, whatever the answer says. A key that the
    /// issuer removes verifies for up to this time.
    #[must_use]
    pub fn max_ttl(mut self, max_ttl: Duration) -> Self {
        self.max_ttl = Some(max_ttl);
        self
    }

    /// Sets how long stale keys are used while the issuer can't be reached. With zero, an outage of
    /// the issuer is an outage of the service.
    #[must_use]
    pub fn max_stale(mut self, max_stale: Duration) -> Self {
        self.max_stale = max_stale;
        self
    }

    /// Sets how long one exchange with the issuer may take in all.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long connecting to the issuer may take. A transport that is set by
    /// [`transport`](Self::transport) may have a limit of its own instead, as
    /// `ReqwestTransport` does.
    #[must_use]
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = Some(connect_timeout);
        self
    }

    /// Sets how long a request may wait: for the first keys, or for a refresh that may bring the
    /// key of its token.
    #[must_use]
    pub fn request_wait(mut self, request_wait: Duration) -> Self {
        self.request_wait = Some(request_wait);
        self
    }

    /// Sets how long a token whose key the issuer doesn't have is refused without another fetch, and
    /// for how long, though at least 30 seconds, no unknown `kid` must arrive until fetches for them
    /// are as frequent as at first.
    /// A key that the issuer has removed causes no fetch for four cooldowns.
    #[must_use]
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets the maximum size of an answer, after decompression.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Sets the maximum number of keys in a set.
    #[must_use]
    pub fn max_keys(mut self, max_keys: usize) -> Self {
        self.max_keys = max_keys;
        self
    }

    /// Sets how many redirects are followed, on the same scheme, host and port only.
    #[must_use]
    pub fn redirects(mut self, redirects: u8) -> Self {
        self.redirects = redirects;
        self
    }

    /// Lets keys verify for this long after the issuer has removed them.
    #[must_use]
    pub fn dangerous_removed_key_grace(mut self, grace: Duration) -> Self {
        self.removed_key_grace = grace;
        self
    }

    /// Sets how an empty key set is treated.
    #[must_use]
    pub fn empty_set(mut self, empty_set: EmptySet) -> Self {
        self.empty_set = empty_set;
        self
    }

    /// Sets when the keys are first fetched.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Fetches from public addresses only, for an issuer that isn't part of the operator's own
    /// configuration. Proxies of the environment aren't used then.
    #[must_use]
    pub fn public_addresses_only(mut self) -> Self {
        self.public_addresses_only = true;
        self
    }

    /// Allows plain `http` to other machines than this one. Anyone on the network path can substitute
    /// keys, and forge any token with them.
    #[must_use]
    pub fn dangerous_allow_http(mut self) -> Self {
        self.dangerous_http = true;
        self
    }

    /// Fetches through this transport.
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Takes the time from this clock. The default is that of the validator which builds the source, or
    /// else [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Takes the time from this clock, unless another was set.
    pub(crate) fn clock_unless_set(mut self, clock: &Arc<dyn Clock>) -> Self {
        self.clock.get_or_insert_with(|| Arc::clone(clock));
        self
    }

    /// Fetches lazily, through this transport if none was set, and from public addresses
    /// unless private ones are allowed.
    pub(crate) fn for_a_tenant(
        mut self,
        transport: Option<&Arc<dyn Transport>>,
        private_addresses: bool,
    ) -> Self {
        if matches!(self.start, Start::Eager) {
            self.start = Start::Lazy;
        }
        self.transport = self.transport.or_else(|| transport.cloned());
        self.public_addresses_only |= !private_addresses;
        self
    }

    /// Sets the crypto backend.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }
}

impl fmt::Debug for JwksBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksBuilder")
            .field("issuer", &printable(&self.issuer))
            .field(
                "place",
                &match &self.place {
                    KeysFrom::Issuer => "discovery".to_owned(),
                    KeysFrom::Document(url) | KeysFrom::KeySet(url) => printable(url),
                },
            )
            .finish_non_exhaustive()
    }
}
