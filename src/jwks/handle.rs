//! The key source that applications hold, and what the validator asks of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{SystemClock, UnixTime, monotonic};
use crate::error::ConfigError;
use crate::jose::{
    Algorithm, Backend, IgnoredKey, KeySetError, ParsedKeySet, Purpose, key_from_pem,
    parse_jwk_set, parse_keys,
};
use crate::jwks::config::Config;
use crate::jwks::failures::listed;
use crate::jwks::fetch::error::FetchError;
use crate::jwks::fetch::flight::REPORTED;
use crate::jwks::health::{Health, KeyStatus, State, Status};
use crate::jwks::kept::key_set::KeySet;
use crate::jwks::kept::snapshot::Snapshot;
use crate::jwks::kept::store::{LoadedKeys, Published, Tenure};
use crate::jwks::not_ready::NotReady;
use crate::jwks::refresher::SharedKeys;
use crate::jwks::timing::control::Control;
use crate::jwks::watch::Watch;
use crate::progress::Progress;
use crate::token::TrustDomain;

/// How many keys a set in the configuration may have.
const MAX_STATIC_KEYS: usize = 1_000;

/// The keys of one issuer, and the task that keeps them fresh.
///
/// Cloning is cheap. Clones share the keys and the task, so use clones of one `Jwks` for everything
/// that accepts tokens of the issuer. The task ends when the last clone is dropped, or by
/// [`shutdown`](Self::shutdown).
///
/// Fetching needs a Tokio runtime with its timer enabled (and, for the default transport, its I/O
/// driver). It needn't exist yet when the `Jwks` is built: the task starts with the first use
/// inside one, and moves to another when that ends. A runtime that is kept but not run, such as a
/// current-thread runtime after `block_on`, keeps the task from working: start it where requests are served.
#[derive(Clone)]
pub struct Jwks {
    owner: Arc<Owner>,
}

/// The handles' common owner of what they share with the task.
struct Owner {
    shared: Arc<SharedKeys>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Jwks {
    /// Takes a JWK set (RFC 7517 §5) that never changes.
    ///
    /// # Errors
    ///
    /// If it isn't a JWK set, has no usable key, or there is no crypto backend.
    pub fn static_set(issuer: impl Into<String>, json: &str) -> Result<Self, ConfigError> {
        Self::static_set_with(issuer, json, Backend::preferred_or_error()?)
    }

    /// Like [`static_set`](Self::static_set), with the crypto backend chosen.
    ///
    /// # Errors
    ///
    /// If it isn't a JWK set, or has no usable key.
    pub fn static_set_with(
        issuer: impl Into<String>,
        json: &str,
        backend: Backend,
    ) -> Result<Self, ConfigError> {
        let parsed = parse_jwk_set(json.as_bytes(), MAX_STATIC_KEYS, backend);
        Self::fixed(issuer.into(), Purpose::Signatures, parsed.map_err(no_key_set)?, backend)
    }

    /// Takes the JWT-SVID keys of a SPIFFE bundle that never changes; see
    /// [`spiffe_bundle`](Self::spiffe_bundle).
    ///
    /// # Errors
    ///
    /// If it isn't a bundle, has no usable key with `use: jwt-svid`, the trust domain's name is
    /// invalid, or there is no crypto backend.
    pub fn static_spiffe_bundle(trust_domain: &str, json: &str) -> Result<Self, ConfigError> {
        let (backend, purpose) = (Backend::preferred_or_error()?, Purpose::JwtSvids);
        let issuer = TrustDomain::parse(trust_domain)?.id().to_string();
        let parsed = parse_keys(json.as_bytes(), MAX_STATIC_KEYS, backend, purpose);
        Self::fixed(issuer, purpose, parsed.map_err(no_key_set)?, backend)
    }

    /// Takes public keys in PEM (`BEGIN PUBLIC KEY`), each with its `kid`. Keys without one are
    /// tried on tokens without one.
    ///
    /// # Errors
    ///
    /// If one isn't a usable public key, there is none at all, or there is no crypto backend.
    pub fn pem<'a>(
        issuer: impl Into<String>,
        keys: impl IntoIterator<Item = (Option<&'a str>, &'a str)>,
    ) -> Result<Self, ConfigError> {
        let backend = Backend::preferred_or_error()?;
        let keys = keys.into_iter().map(|(kid, pem)| key_from_pem(pem, kid, backend));
        let keys = keys.collect::<Result<_, _>>()?;
        let parsed = ParsedKeySet { keys, ignored: Vec::new() };
        Self::fixed(issuer.into(), Purpose::Signatures, parsed, backend)
    }

    fn fixed(
        issuer: String,
        purpose: Purpose,
        parsed: ParsedKeySet,
        backend: Backend,
    ) -> Result<Self, ConfigError> {
        if parsed.keys.is_empty() {
            let first = parsed.ignored.get(..REPORTED).unwrap_or(&parsed.ignored);
            let reasons = listed(first).unwrap_or_else(|| "it is empty".to_owned());
            return Err(ConfigError::new(format!(
                "the key set has no usable key, so no token could ever be accepted: {reasons}"
            )));
        }
        let config = Config::fixed(issuer.into(), purpose, backend, Arc::new(SystemClock));
        let published = Published {
            sequence: 0,
            keys: Arc::new(KeySet::first(parsed)),
            tenure: Tenure::Static,
            origin: None,
        };
        Ok(Self::from_parts(config, published, |_, _| {}))
    }

    /// Builds the handle, and the task if there is a runtime for it.
    pub(crate) fn from_parts(
        config: Config,
        published: Published,
        prepare: impl FnOnce(&mut Control, Instant),
    ) -> Self {
        let now = monotonic();
        let mut control = Control::new(&config, published.state(now));
        prepare(&mut control, now);
        let shared = Arc::new(SharedKeys::new(config, published, control));
        shared.report.state_now(&shared.control());
        shared.report.tell();
        shared.ensure_running();
        Self { owner: Arc::new(Owner { shared }) }
    }

    pub(crate) fn shared(&self) -> &Arc<SharedKeys> {
        &self.owner.shared
    }

    /// Returns the issuer whose keys these are.
    pub fn issuer(&self) -> &str {
        &self.shared().config.issuer
    }

    /// Returns `true` if the keys are for JWT-SVIDs only.
    pub(crate) fn is_spiffe_bundle(&self) -> bool {
        self.shared().config.purpose == Purpose::JwtSvids
    }

    /// Returns `true` if the keys are fetched, and not from public addresses only.
    pub(crate) fn may_fetch_privately(&self) -> bool {
        let fetching = self.shared().config.fetching.as_ref();
        fetching.is_some_and(|it| !it.network.limits.public_addresses_only)
    }

    /// Returns the crypto backend.
    pub fn backend(&self) -> Backend {
        self.shared().config.backend
    }

    /// Waits until tokens can be checked, for at most this long. A lazy source starts to fetch.
    ///
    /// # Errors
    ///
    /// If they can't by then. The error names the issuer, the address and the error of the last
    /// attempt.
    pub async fn ready(&self, deadline: Duration) -> Result<(), NotReady> {
        let shared = self.shared();
        shared.ready(deadline).await.map_err(|unavailable| NotReady::of(shared, unavailable))
    }

    /// Waits until the first fetch has ended, whatever its result, if one has begun.
    pub(crate) async fn attempted(&self) {
        self.shared().attempted().await;
    }

    /// Fetches the keys now, bypassing all caches, and waits for the result. The current keys are
    /// used meanwhile, and also if the fetch fails.
    ///
    /// # Errors
    ///
    /// If no set could be fetched.
    pub async fn refresh(&self) -> Result<(), FetchError> {
        self.shared().refresh().await
    }

    /// Ends the task and waits until it has ended. After that, no clone can check a token: let the
    /// server finish its requests first.
    pub async fn shutdown(&self) {
        self.shared().shutdown().await;
    }

    /// Returns the readiness of the keys, for a readiness probe.
    pub fn health(&self) -> Health {
        self.look_now().exact_state().health()
    }

    /// Returns the full status of the keys.
    pub fn status(&self) -> Status {
        let loaded = self.look_now();
        let (now, wall) = (monotonic(), self.shared().config.clock.now());
        let published = loaded.published();
        let (fresh_until, stale_until) = match published.tenure {
            Tenure::Serving(serving) => (Some(serving.fresh_until), Some(serving.stale_until)),
            Tenure::Cold | Tenure::Static | Tenure::Stopped => (None, None),
        };
        let control = self.shared().control();
        let (log, next) = (control.log.clone(), control.schedule.next());
        let refused_keys = control.unusable.iter().map(ignored_status).collect();
        drop(control);
        let at = |instant: Option<Instant>| instant.map(|instant| to_wall(instant, now, wall));
        let state = loaded.exact_state();
        Status {
            state,
            health: state.health(),
            generation: loaded.keys().generation(),
            age: published
                .origin
                .as_ref()
                .map(|origin| origin.age(now).max(wall.saturating_since(origin.fetched_at))),
            fresh_until: at(fresh_until),
            stale_until: at(stale_until),
            last_attempt: at(log.last_attempt),
            last_success: at(log.last_success),
            consecutive_failures: log.failures,
            last_error: log.last_error,
            clock_offset: log.clock_offset,
            next_refresh: at(next.filter(|_| state != State::ShutDown)),
            keys: key_status(loaded.keys()),
            refused_keys,
        }
    }

    /// Returns the current keys in a form that another process can start from; `None` while there
    /// are none, or if they are part of the configuration.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let loaded = self.look_now();
        Snapshot::of(self.issuer(), loaded.published().origin.as_ref()?)
    }

    /// Returns `true` if the two are clones of one source.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.owner, &other.owner)
    }

    /// Returns a watch that tells when tokens must be verified again. It doesn't keep the task alive.
    pub(crate) fn watch(&self) -> Watch {
        Watch::new(Arc::clone(self.shared()))
    }

    /// Returns the current keys, with their state.
    #[inline]
    pub(crate) fn load(&self, wall: UnixTime) -> LoadedKeys {
        let loaded = self.look(wall);
        if loaded.exact_state() == State::Stale {
            self.shared().report.stale_served();
        }
        loaded
    }

    #[inline]
    fn look(&self, wall: UnixTime) -> LoadedKeys {
        self.shared().ensure_running();
        if self.shared().store.is_overdue(wall) {
            self.shared().suspect();
        }
        self.shared().store.load(monotonic())
    }

    fn look_now(&self) -> LoadedKeys {
        self.look(self.shared().config.clock.now())
    }

    /// Returns the keys for a token (signed part and signature) that could be valid, but whose `kid`
    /// has no matching key in `seen`, which is serving: if the returned keys have none either, there is
    /// none.
    pub(crate) fn miss(
        &self,
        seen: LoadedKeys,
        key: (Algorithm, &str),
        token: [&[u8]; 2],
    ) -> Progress<LoadedKeys> {
        self.shared().miss(seen, key, token)
    }

    /// Waits for serving keys, while the current ones are cold, expired or shut down.
    pub(crate) fn wait_cold(&self) -> Progress<LoadedKeys> {
        self.shared().wait_cold()
    }
}

fn no_key_set(error: KeySetError) -> ConfigError {
    ConfigError::new(format!("{error}: give a JWK set (RFC 7517 §5)"))
}

fn to_wall(instant: Instant, now: Instant, wall: UnixTime) -> UnixTime {
    match instant.checked_duration_since(now) {
        Some(ahead) => wall.plus(ahead),
        None => wall.minus(now.saturating_duration_since(instant)),
    }
}

fn key_status(set: &KeySet) -> Vec<KeyStatus> {
    let usable = set.keys().map(|key| KeyStatus {
        kid: key.kid().map(str::to_owned),
        kty: Some(key.kty().to_owned()),
        alg: key.algorithm(),
        algorithms: Algorithm::ALL.iter().copied().filter(|it| key.fits(*it)).collect(),
        ignored: None,
        retiring: set.retires(key).is_some(),
    });
    usable.chain(set.ignored().iter().map(ignored_status)).collect()
}

fn ignored_status(key: &IgnoredKey) -> KeyStatus {
    KeyStatus {
        kid: key.kid.map(|kid| kid.as_str().to_owned()),
        kty: key.kty.map(|kty| kty.as_str().to_owned()),
        alg: None,
        algorithms: Vec::new(),
        ignored: Some(key.reason),
        retiring: false,
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("issuer", &self.issuer())
            .field("state", &self.shared().store.load(monotonic()).exact_state())
            .finish_non_exhaustive()
    }
}
