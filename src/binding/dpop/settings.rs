//! The DPoP settings of a validator.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::binding::dpop::checker::Mode;
use crate::binding::dpop::forwarded::{ForwardedFields, Trusted};
use crate::binding::dpop::nonce::NonceKeys;
use crate::binding::peers::Peers;
use crate::binding::replay::store::ReplayStore;
use crate::error::ConfigError;
use crate::jose::Algorithm;

/// Which DPoP-bound tokens (RFC 9449) a validator accepts, for
/// [`ValidatorBuilder::dpop`](crate::ValidatorBuilder::dpop).
///
/// | setting | default |
/// |---|---|
/// | [`public_origins`](Self::public_origins) | none: it must be set |
/// | [`trusted_proxies`](Self::trusted_proxies) | none |
/// | [`algorithms`](Self::algorithms) | `ES256 ES384 EdDSA Ed25519 PS256 RS256` |
/// | [`max_age`](Self::max_age) | 60 seconds |
/// | [`clock_skew`](Self::clock_skew) | 5 seconds |
/// | [`nonces`](Self::nonces) | off |
/// | [`nonce_replaces_iat`](Self::nonce_replaces_iat) | off |
/// | [`replay_bytes`](Self::replay_bytes) | 16 MiB in this process: some 850 000 proofs |
/// | [`replay_quota`](Self::replay_quota) | none |
/// | [`replay_store`](Self::replay_store) | none |
/// | [`replay_timeout`](Self::replay_timeout) | 100 milliseconds |
#[must_use = "it does nothing until it is given to a validator"]
pub struct Dpop {
    pub(crate) mode: Mode,
    pub(crate) origins: Vec<String>,
    pub(crate) forwarded: Option<Trusted>,
    pub(crate) conflicting: bool,
    pub(crate) algorithms: Option<Vec<Algorithm>>,
    pub(crate) max_age: Duration,
    pub(crate) skew: Duration,
    pub(crate) nonces: Option<NonceKeys>,
    pub(crate) nonce_replaces_iat: bool,
    pub(crate) replay_bytes: Option<usize>,
    pub(crate) replay_quota: Option<u32>,
    pub(crate) replay_store: Option<Arc<dyn ReplayStore>>,
    pub(crate) replay_timeout: Duration,
    pub(crate) fail_open: bool,
    pub(crate) without_replay_check: bool,
}

impl Dpop {
    /// Accepts tokens that are bound to a key, with a proof, and others as bearer tokens.
    ///
    /// A bound token that is sent as a bearer token is refused, and so is one that isn't bound and is
    /// sent with the scheme `DPoP`.
    pub fn accept() -> Self {
        Self::new(Mode::Accept)
    }

    /// Accepts only tokens that are bound to a key, with a proof.
    pub fn require() -> Self {
        Self::new(Mode::Require)
    }

    fn new(mode: Mode) -> Self {
        Self {
            mode,
            origins: Vec::new(),
            forwarded: None,
            conflicting: false,
            algorithms: None,
            max_age: Duration::from_secs(60),
            skew: Duration::from_secs(5),
            nonces: None,
            nonce_replaces_iat: false,
            replay_bytes: None,
            replay_quota: None,
            replay_store: None,
            replay_timeout: Duration::from_millis(100),
            fail_open: false,
            without_replay_check: false,
        }
    }

    /// Sets the origins by which callers know this service, such as `https://api.example`: `htu` of a
    /// proof is compared with them, never with what the request itself says.
    ///
    /// With one origin, callers must have meant that one. Of several, it is the one that `Host` or
    /// `:authority` names; a request that names none of them is refused. An origin may have a path,
    /// the prefix that a proxy removes from each request's path.
    ///
    /// Several calls add up.
    pub fn public_origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Trusts these proxies, by the peer address of the TCP connection, to say in these fields to which
    /// host and with which scheme the client sent its request. By default no such field is
    /// read.
    ///
    /// What they say must still be one of the [`public_origins`](Self::public_origins), and takes precedence
    /// over `Host`. Of several hops, the last one counts. A proof is refused if a field occurs twice or can't be
    /// read. From other peers, the fields count as absent, as do those that the proxy doesn't send. The
    /// proxy must replace or append to what clients send under the same names. The prefix that it removes
    /// from a path is the path of an origin: `X-Forwarded-Prefix` isn't read, since many gateways pass it on
    /// as the client sent it.
    ///
    /// `address` reads the address from an extension of the request: of axum's `ConnectInfo<SocketAddr>`, of
    /// tonic's `TcpConnectInfo`. If there is none, requests with proofs are answered with 500: the service
    /// is misconfigured.
    ///
    /// Several calls add up, for the same fields.
    ///
    /// # Errors
    ///
    /// If one of them is neither an IP address nor a network, has bits beyond its prefix, or includes every
    /// address.
    ///
    /// ```
    /// # struct ConnectInfo<T>(T); // axum's
    /// # fn example() -> Result<(), tower_bearer::ConfigError> {
    /// use std::net::SocketAddr;
    ///
    /// use tower_bearer::dpop::{Dpop, ForwardedFields};
    ///
    /// let dpop = Dpop::accept()
    ///     .public_origins(["https://api.example", "https://api.example.org"])
    ///     .trusted_proxies(ForwardedFields::XForwarded, ["10.0.0.0/24"], |peer: &ConnectInfo<SocketAddr>| {
    ///         Some(peer.0.ip())
    ///     })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn trusted_proxies<I, T, F>(
        mut self,
        fields: ForwardedFields,
        networks: I,
        address: F,
    ) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item: AsRef<str>>,
        T: Send + Sync + 'static,
        F: Fn(&T) -> Option<IpAddr> + Send + Sync + 'static,
    {
        let new = Trusted { fields, peers: Peers::default() };
        let trusted = self.forwarded.get_or_insert(new);
        self.conflicting |= trusted.fields != fields;
        trusted.peers.add(networks, address)?;
        Ok(self)
    }

    /// Accepts proofs that are signed with one of these algorithms only, and names them in challenges
    /// in this order.
    ///
    /// ML-DSA-44 must be named to be accepted; its proofs have some 6 KiB. ML-DSA-65 and ML-DSA-87 are an error
    /// when the validator is built: their proofs, which hold the key as well as the signature, don't fit into
    /// the 8 KiB that are read of one.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Accepts a proof for this long after its `iat`, and for the [`clock_skew`](Self::clock_skew)
    /// beyond that: 5 to 300 seconds.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Accepts a proof whose `iat` lies this far in the future, since clocks differ: 0 to 60 seconds.
    pub fn clock_skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Accepts only proofs with a nonce of this service (RFC 9449 §9), so that none can be made in
    /// advance. A client without a nonce gets one with a 401, and tries again.
    pub fn nonces(mut self, keys: NonceKeys) -> Self {
        self.nonces = Some(keys);
        self
    }

    /// Accepts proofs whatever their `iat`, for clients whose clocks are wrong (RFC 9449 §11.1): only the
    /// nonce shows that a proof is recent. It requires [`nonces`](Self::nonces); without them, it is an
    /// error.
    ///
    /// Such a proof can be five minutes old, and is remembered for six minutes instead of
    /// [`max_age`](Self::max_age), which takes that much more of the record. `exp` and `nbf` of a proof that
    /// has them are still compared with the clock.
    pub fn nonce_replaces_iat(mut self) -> Self {
        self.nonce_replaces_iat = true;
        self
    }

    /// Sets how much memory the record of used proofs takes: 16 KiB to 4 GiB. A proof takes 19 bytes,
    /// for `max_age` and twice the skew: some 70 seconds by default. Another 64 KiB are for counting them.
    ///
    /// A full record forgets nothing early. Requests with a proof are then answered with 503.
    pub fn replay_bytes(mut self, bytes: usize) -> Self {
        self.replay_bytes = Some(bytes);
        self
    }

    /// Sets how many proofs of one key are remembered at a time, 64 to 1,000,000, so that one caller's flood
    /// of proofs can't fill the record for the others. By default there is no such bound.
    ///
    /// Requests of a key that has reached its quota are answered with 503, and with the time until some of
    /// its proofs may be forgotten: a proof counts for as long as it is remembered, and up to a quarter longer. A
    /// caller that makes `n` requests a second needs some 100 `n` with the default times. A caller that can
    /// obtain tokens bound to many keys has the quota of each.
    ///
    /// The counts take up to 48 / quota of what the record takes, and 96 KiB at least. For a key, a few proofs
    /// too many may be counted if proofs of many others are remembered: if other keys' full quotas fill the
    /// whole record, about one key in 4,096 shares all its counters with them, and is refused. Callers can't
    /// choose which one.
    pub fn replay_quota(mut self, proofs: u32) -> Self {
        self.replay_quota = Some(proofs);
        self
    }

    /// Records used proofs in a store that all instances of the service share, in place of this
    /// process's memory, so that a proof that one instance has seen is refused by the others.
    ///
    /// `RedisReplay` (feature `redis`) is such a store.
    pub fn replay_store(mut self, store: impl ReplayStore) -> Self {
        self.replay_store = Some(Arc::new(store));
        self
    }

    /// Sets how long a call to the [`replay_store`](Self::replay_store) may take: 1 millisecond to 10
    /// seconds. `RedisReplay` gives up after a second by itself.
    pub fn replay_timeout(mut self, timeout: Duration) -> Self {
        self.replay_timeout = timeout;
        self
    }

    /// Accepts proofs that the [`replay_store`](Self::replay_store) couldn't record.
    ///
    /// An attacker who can read a request can use its token once more while the store is unreachable.
    pub fn dangerous_replay_fail_open(mut self) -> Self {
        self.fail_open = true;
        self
    }

    /// Keeps no record of used proofs: each can be used again, for the same method and URL, until it is
    /// too old.
    pub fn dangerous_no_replay_check(mut self) -> Self {
        self.without_replay_check = true;
        self
    }

    /// Returns the configured algorithms, if there are any.
    pub(crate) fn chosen(&self) -> Option<&[Algorithm]> {
        self.algorithms.as_deref()
    }

    /// Restricts proofs to the FAPI 2.0 Security Profile: to its algorithms (§5.4.1), and to its clock rules
    /// (§5.3.2.1).
    pub(crate) fn by_fapi2(self, algorithms: Vec<Algorithm>) -> Self {
        let skew = self.skew.max(Duration::from_secs(10));
        Self { algorithms: Some(algorithms), skew, ..self }
    }
}

impl fmt::Debug for Dpop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dpop")
            .field("mode", &self.mode)
            .field("public_origins", &self.origins)
            .field("nonces", &self.nonces.is_some())
            .finish_non_exhaustive()
    }
}
