//! The configuration and state of the embedded issuer.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::{Map, Value};
use tokio::sync::watch;

#[cfg(feature = "dpop")]
use crate::binding::dpop::checker::Checker;
#[cfg(feature = "dpop")]
use crate::binding::dpop::proof::every_short;
#[cfg(feature = "dpop")]
use crate::binding::dpop::{Dpop, NonceKeys};
use crate::clock::{Clock, SystemClock, UnixTime};
#[cfg(feature = "dpop")]
use crate::jose::Backend;
use crate::testing::issuer::client::TestClient;
use crate::testing::issuer::endpoint::{Counters, Endpoint};
use crate::testing::issuer::fault::{Fault, Faults};
use crate::testing::issuer::ring::{KeyRing, NewKeys};
use crate::testing::misuse::lock;

/// The default audience of tokens.
pub(crate) const DEFAULT_AUDIENCE: &str = "https://api.test";

/// Changes a JSON object before it is used.
pub(crate) type Shape = Arc<dyn Fn(&mut Map<String, Value>) + Send + Sync>;

/// Changes the header and the claims of a JWT before it is signed.
pub(crate) type JwtShape =
    Arc<dyn Fn(&mut Map<String, Value>, &mut Map<String, Value>) + Send + Sync>;

/// Which metadata documents the embedded issuer serves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Discovery {
    /// Both documents, as with most servers.
    #[default]
    Both,
    /// Only that of RFC 8414; the other is 404.
    OAuth,
    /// Only that of OpenID Connect Discovery; the other is 404.
    OpenId,
    /// None: clients must know the URL of the key set.
    None,
}

/// The configuration, which doesn't change while the issuer exists.
pub(crate) struct Config {
    /// The issuer identifier.
    pub(crate) issuer: String,
    /// Scheme, host and port.
    pub(crate) root: String,
    /// The issuer's path without a slash at its end.
    pub(crate) path: String,
    pub(crate) discovery: Discovery,
    pub(crate) audience: String,
    pub(crate) typ: String,
    pub(crate) lifetime: Duration,
    pub(crate) jwks_headers: HeaderMap,
    pub(crate) etag: bool,
    pub(crate) clients: Vec<TestClient>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The nonces that proofs for token requests need.
    #[cfg(feature = "dpop")]
    pub(crate) nonces: Option<NonceKeys>,
    pub(crate) shape_jwk: Shape,
    pub(crate) shape_header: Shape,
    pub(crate) shape_claims: Shape,
    pub(crate) shape_introspection: Shape,
    pub(crate) shape_signed_introspection: JwtShape,
    /// Whether the token endpoint grants opaque tokens.
    pub(crate) opaque_tokens: bool,
}

impl Default for Config {
    fn default() -> Self {
        let unshaped: Shape = Arc::new(|_| {});
        Self {
            issuer: String::new(),
            root: String::new(),
            path: String::new(),
            discovery: Discovery::default(),
            audience: DEFAULT_AUDIENCE.into(),
            typ: "at+jwt".into(),
            lifetime: Duration::from_secs(600),
            jwks_headers: HeaderMap::new(),
            etag: true,
            clients: Vec::new(),
            clock: Arc::new(SystemClock),
            #[cfg(feature = "dpop")]
            nonces: None,
            shape_jwk: Arc::clone(&unshaped),
            shape_header: Arc::clone(&unshaped),
            shape_claims: Arc::clone(&unshaped),
            shape_introspection: unshaped,
            shape_signed_introspection: Arc::new(|_, _| {}),
            opaque_tokens: false,
        }
    }
}

impl Config {
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{}/{name}", self.root, self.path)
    }
}

/// The issuer's state, which its handle, its server and its token builders share.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) ring: Mutex<KeyRing>,
    /// Members of the metadata that a test has set; `null` removes one.
    pub(crate) metadata: Mutex<Map<String, Value>>,
    pub(crate) counters: watch::Sender<Counters>,
    pub(crate) faults: watch::Sender<Faults>,
    pub(crate) last: Mutex<HashMap<Endpoint, Request<Bytes>>>,
    /// The assertions that were used, until they expire: client and `jti`.
    pub(crate) assertions: Mutex<HashMap<(String, String), UnixTime>>,
    /// The checker of DPoP proofs; `None` if the issuer's URL has no origin, and proofs are refused.
    #[cfg(feature = "dpop")]
    pub(crate) proofs: Option<Checker>,
    /// The claims of opaque tokens.
    pub(crate) opaque: Mutex<HashMap<String, Map<String, Value>>>,
    pub(crate) revoked: Mutex<HashSet<String>>,
    running: Arc<AtomicBool>,
    /// Other issuers at the same address.
    pub(crate) realms: Mutex<Vec<Arc<Self>>>,
}

impl State {
    pub(crate) fn new(config: Config, ring: KeyRing, metadata: Map<String, Value>) -> Self {
        #[cfg(feature = "dpop")]
        let proofs = {
            let dpop =
                Dpop::accept().public_origins([config.root.as_str()]).algorithms(every_short());
            let dpop = config.nonces.iter().fold(dpop, |dpop, keys| dpop.nonces(keys.clone()));
            dpop.build(Backend::AwsLcRs, &config.issuer).ok()
        };
        Self {
            #[cfg(feature = "dpop")]
            proofs,
            config,
            ring: Mutex::new(ring),
            metadata: Mutex::new(metadata),
            counters: watch::Sender::default(),
            faults: watch::Sender::default(),
            last: Mutex::default(),
            assertions: Mutex::default(),
            opaque: Mutex::default(),
            revoked: Mutex::default(),
            running: Arc::new(AtomicBool::new(true)),
            realms: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.config.clock.now()
    }

    /// Generates a key for each algorithm, without locking the ring, since that takes a while.
    pub(crate) fn new_keys(&self) -> NewKeys {
        let algorithms = lock(&self.ring).algorithms().to_vec();
        NewKeys::generate(&algorithms)
    }

    /// Runs and stops together with another issuer from now on.
    pub(crate) fn run_with(mut self, other: &Self) -> Self {
        self.running = Arc::clone(&other.running);
        self
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(crate) fn set_running(&self, running: bool) {
        self.running.store(running, Ordering::Release);
    }

    /// Counts a request, keeps it for `last_request`, and returns the fault for it.
    pub(crate) fn arrived(&self, endpoint: Endpoint, request: Request<Bytes>) -> Option<Fault> {
        lock(&self.last).insert(endpoint, request);
        let mut fault = None;
        self.faults.send_if_modified(|faults| {
            fault = faults.take(endpoint);
            false
        });
        // Notified last, so that a test that waits for this request sees all of the above.
        self.counters.send_modify(|counters| counters.count(endpoint));
        fault
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("issuer", &self.config.issuer).finish_non_exhaustive()
    }
}
