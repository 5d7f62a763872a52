//! The token client and its builder: transport, clock, cache bounds and the shared store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::grant::builder::GrantBuilder;
use crate::client::grant::definition::Grant;
use crate::client::grant::discovery::Discoveries;
use crate::client::grant::error::TokenError;
#[cfg(feature = "shared-cache")]
use crate::client::shared::cache::SharedCache;
#[cfg(feature = "shared-cache")]
use crate::client::shared::seal::Seal;
#[cfg(feature = "shared-cache")]
use crate::client::shared::store::TokenStore;
use crate::client::tokens::core::Core;
use crate::client::tokens::pool::Pool;
use crate::client::tokens::slots::Slots;
use crate::client::tokens::source::TokenSource;
use crate::client::tokens::token::Token;
use crate::clock::{Clock, SystemClock, monotonic};
use crate::error::{ConfigError, within};
#[cfg(feature = "shared-cache")]
use crate::secret::Secret;
use crate::telemetry::describe_metrics;
use crate::transport::{CONNECT_TIMEOUT, Limits, Transport, default_transport};

const HOUR: Duration = Duration::from_secs(3_600);

/// The most bytes of a token endpoint's answer.
const MAX_BYTES: usize = 64 * 1024;

/// Fetches and caches the tokens of any number of grants, kept apart from each other.
///
/// One handle serves all tenants; clones share the cache. For a single grant,
/// [`TokenSource::new`] is shorter.
///
/// A fetch runs in the Tokio runtime of the call that started it. If that runtime exists but isn't driven,
/// such as a current-thread one after `block_on`, calls elsewhere for the same token notice within two
/// seconds, and one of them fetches it instead. A runtime needs timers
/// (`Builder::enable_time`); in one without, a call that has to wait fails.
///
/// ```
/// # fn example() -> Result<(), tower_bearer::ConfigError> {
/// use tower_bearer::client::{ClientAuth, Grant, TokenClient};
///
/// let client = TokenClient::builder().capacity(10_000).per_tenant(20).build()?;
/// let grant = |tenant: &str, secret: &str| {
///     let issuer = format!("https://issuer.example/{tenant}");
///     Grant::discover(&issuer, ClientAuth::basic("billing", secret)).scope("orders:read").build()
/// };
/// let acme = client.source(&grant("acme", "one secret")?);
/// let umbrella = client.source(&grant("umbrella", "another")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenClient {
    core: Arc<Core>,
    pool: Arc<Pool>,
}

/// Builds a [`TokenClient`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct TokenClientBuilder {
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    #[cfg(feature = "shared-cache")]
    shared: Option<(Box<dyn TokenStore>, Secret)>,
    capacity: usize,
    per_tenant: usize,
    timeout: Duration,
    concurrent_fetches: usize,
    public_addresses_only: bool,
}

impl TokenClient {
    /// Starts building a client.
    pub fn builder() -> TokenClientBuilder {
        TokenClientBuilder {
            transport: None,
            clock: Arc::new(SystemClock),
            #[cfg(feature = "shared-cache")]
            shared: None,
            capacity: 1_024,
            per_tenant: 64,
            timeout: Duration::from_secs(10),
            concurrent_fetches: 64,
            public_addresses_only: false,
        }
    }

    /// Returns a source of the tokens of one grant. It is faster than [`token`](Self::token), since
    /// it skips the lookup.
    ///
    /// Two sources of equal grants share their token. A source keeps working when the cache has
    /// dropped its grant; it then shares no more.
    pub fn source(&self, grant: &Grant) -> TokenSource {
        let now = monotonic();
        let since = now.saturating_duration_since(self.core.started);
        let entry = self.pool.entry(grant, since, now);
        TokenSource::assemble(Arc::clone(&self.core), grant.clone(), entry)
    }

    /// Returns the cached token, or a new one.
    ///
    /// # Errors
    ///
    /// Those of [`TokenSource::token`].
    pub async fn token(&self, grant: &Grant) -> Result<Token, TokenError> {
        self.source(grant).token().await
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Discards, for all grants, cached failures and refusals: see [`TokenSource::reset`].
    pub fn reset(&self) {
        self.pool.reset();
    }

    /// Returns how many grants the cache holds.
    pub fn cached_grants(&self) -> usize {
        self.pool.len()
    }
}

impl TokenClientBuilder {
    /// Sends requests through this transport. The default is `ReqwestTransport`.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// Takes the time from this clock. The default is [`SystemClock`](crate::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Shares tokens with other processes through a store.
    ///
    /// What is put there is encrypted with this key, of at least 32 random bytes, which all the
    /// processes have. A store that fails costs a fetch a fifth of a second at most, is then not called
    /// for a second, and is never the cause of an error.
    #[cfg(feature = "shared-cache")]
    #[cfg_attr(docsrs, doc(cfg(feature = "shared-cache")))]
    pub fn shared(mut self, store: impl TokenStore, key: Secret) -> Self {
        self.shared = Some((Box::new(store), key));
        self
    }

    /// Sets how many grants the cache holds, at least one; 1,024 by default. Least recently used
    /// entries are evicted.
    pub fn capacity(mut self, grants: usize) -> Self {
        self.capacity = grants;
        self
    }

    /// Sets how many grants one tenant may have in the cache, at least one; 64 by default. A tenant that
    /// exceeds it evicts its own entries, and no other tenant's.
    pub fn per_tenant(mut self, grants: usize) -> Self {
        self.per_tenant = grants;
        self
    }

    /// Sets how long getting a token may take, with all attempts: up to an hour, 10 seconds by
    /// default. One exchange may take half of it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many fetches use the network at the same time, from 1 to 10,000; 64 by default. One
    /// authorization server gets half of them, rounded up.
    ///
    /// The others wait for their turn within the [timeout](Self::timeout): first those that a caller
    /// waits for, then those that replace a token ahead of its expiry.
    pub fn concurrent_fetches(mut self, fetches: usize) -> Self {
        self.concurrent_fetches = fetches;
        self
    }

    /// Dials public addresses only: for issuers that tenants configure, which could otherwise name
    /// hosts of the operator's own network.
    pub fn public_addresses_only(mut self) -> Self {
        self.public_addresses_only = true;
        self
    }

    /// Builds the client. Nothing is sent.
    ///
    /// # Errors
    ///
    /// If a bound isn't within its range, if the shared cache's key is too short, or if there is no transport.
    pub fn build(self) -> Result<TokenClient, ConfigError> {
        if self.capacity == 0 || self.per_tenant == 0 {
            return Err(ConfigError::new(
                "the cache must hold at least one grant, and one of each tenant",
            ));
        }
        within("timeout", self.timeout, Duration::from_millis(1)..=HOUR)?;
        if !(1..=10_000).contains(&self.concurrent_fetches) {
            return Err(ConfigError::new(format!(
                "{} concurrent fetches aren't possible: set a number from 1 to 10000",
                self.concurrent_fetches
            )));
        }
        #[cfg(feature = "shared-cache")]
        let shared = match self.shared {
            Some((store, key)) => Some(SharedCache::new(store, Seal::new(&key)?)),
            None => None,
        };
        #[cfg(not(feature = "shared-cache"))]
        let shared = None;
        let transport = match self.transport {
            Some(transport) => transport,
            None => default_transport(CONNECT_TIMEOUT)?,
        };
        let half = self.timeout.checked_div(2).unwrap_or_default();
        let mut limits = Limits::new(MAX_BYTES, half);
        limits.public_addresses_only = self.public_addresses_only;
        describe_metrics();
        let core = Core {
            transport,
            clock: self.clock,
            shared,
            discoveries: Discoveries::new(self.capacity),
            slots: Slots::new(self.concurrent_fetches, self.timeout),
            limits,
            timeout: self.timeout,
            started: monotonic(),
        };
        Ok(TokenClient {
            core: Arc::new(core),
            pool: Arc::new(Pool::new(self.capacity, self.per_tenant)),
        })
    }
}

impl TokenSource {
    /// Creates a source with a cache and a transport of its own.
    ///
    /// # Errors
    ///
    /// If there is no transport: without the features `reqwest` and `aws-lc-rs`, one must be given
    /// to a [`TokenClient`].
    pub fn new(grant: Grant) -> Result<Self, ConfigError> {
        Ok(TokenClient::builder().capacity(1).build()?.source(&grant))
    }

    /// Creates a source from the environment: see [`Grant::from_env`].
    ///
    /// # Errors
    ///
    /// Those of [`Grant::from_env`], [`GrantBuilder::build`] and
    /// [`new`](Self::new).
    pub fn from_env() -> Result<Self, ConfigError> {
        Grant::from_env()?.source()
    }
}

impl GrantBuilder {
    /// Builds the grant, and a source of its tokens with a cache of its own.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build) and of [`TokenSource::new`].
    pub fn source(self) -> Result<TokenSource, ConfigError> {
        TokenSource::new(self.build()?)
    }
}

impl fmt::Debug for TokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenClient")
            .field("cached_grants", &self.cached_grants())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TokenClientBuilder");
        debug
            .field("capacity", &self.capacity)
            .field("per_tenant", &self.per_tenant)
            .field("timeout", &self.timeout)
            .field("concurrent_fetches", &self.concurrent_fetches);
        #[cfg(feature = "shared-cache")]
        debug.field("shared", &self.shared.is_some());
        debug.finish_non_exhaustive()
    }
}
