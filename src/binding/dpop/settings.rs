use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::binding::dpop::checker::{Checker, Mode, Record};
use crate::binding::dpop::nonce::NonceKeys;
use crate::binding::dpop::target::Origins;
use crate::binding::replay::memory::Memory;
use crate::binding::replay::store::ReplayStore;
use crate::error::{ConfigError, within};
use crate::jose::{Algorithm, Backend};

/// Which DPoP-bound tokens (RFC 9449) a validator accepts, for
/// [`ValidatorBuilder::dpop`](crate::ValidatorBuilder::dpop).
///
/// | setting | default |
/// |---|---|
/// | [`public_origins`](Self::public_origins) | none: it must be set |
/// | [`algorithms`](Self::algorithms) | `ES256 ES384 EdDSA Ed25519 PS256 RS256` |
/// | [`max_age`](Self::max_age) | 60 seconds |
/// | [`clock_skew`](Self::clock_skew) | 5 seconds |
/// | [`nonces`](Self::nonces) | off |
/// | [`replay_bytes`](Self::replay_bytes) | 16 MiB in this process: a million proofs |
/// | [`replay_store`](Self::replay_store) | none |
/// | [`replay_timeout`](Self::replay_timeout) | 100 milliseconds |
#[must_use = "it does nothing until it is given to a validator"]
pub struct Dpop {
    mode: Mode,
    origins: Vec<String>,
    algorithms: Option<Vec<Algorithm>>,
    max_age: Duration,
    skew: Duration,
    nonces: Option<NonceKeys>,
    replay_bytes: Option<usize>,
    replay_store: Option<Arc<dyn ReplayStore>>,
    replay_timeout: Duration,
    fail_open: bool,
    without_replay_check: bool,
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
            algorithms: None,
            max_age: Duration::from_secs(60),
            skew: Duration::from_secs(5),
            nonces: None,
            replay_bytes: None,
            replay_store: None,
            replay_timeout: Duration::from_millis(100),
            fail_open: false,
            without_replay_check: false,
        }
    }

    /// Sets by which origins callers know this service, such as `https://api.example`: `htu` in a proof
    /// is held against them, never against what the request itself says.
    ///
    /// With one origin, that is what callers must have meant. Of several, it is the one that `Host` or
    /// `:authority` names; a request that names none of them is refused. An origin may have a path,
    /// which is what a proxy takes from the beginning of each request's path.
    ///
    /// Several calls add up.
    pub fn public_origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Accepts proofs that are signed with one of these algorithms only, and names them in challenges
    /// in this order.
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

    /// Accepts only proofs with a nonce of this service (RFC 9449 §9), so that none can be made ahead of
    /// its time. A client without one gets one with a 401, and tries again.
    pub fn nonces(mut self, keys: NonceKeys) -> Self {
        self.nonces = Some(keys);
        self
    }

    /// Sets how much memory the record of used proofs takes: 16 KiB to 4 GiB. A proof takes 16 bytes,
    /// for `max_age` and twice the skew: some 70 seconds by default.
    ///
    /// A record that is full forgets nothing before its time. Requests with a proof are answered with
    /// 503 then.
    pub fn replay_bytes(mut self, bytes: usize) -> Self {
        self.replay_bytes = Some(bytes);
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
    /// seconds.
    pub fn replay_timeout(mut self, timeout: Duration) -> Self {
        self.replay_timeout = timeout;
        self
    }

    /// Accepts proofs that the [`replay_store`](Self::replay_store) couldn't record.
    ///
    /// Who can read a request can use its token once more while the store is out of reach.
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

    /// Checks the settings. `resource` names the service, the same in all its instances.
    pub(crate) fn build(self, backend: Backend, resource: &str) -> Result<Checker, ConfigError> {
        let secs = Duration::from_secs;
        within("the max_age of DPoP proofs", self.max_age, secs(5)..=secs(300))?;
        within("the clock_skew of DPoP proofs", self.skew, secs(0)..=secs(60))?;
        let millis = Duration::from_millis;
        within("replay_timeout", self.replay_timeout, millis(1)..=millis(10_000))?;
        let record = self.record(resource)?;
        let (algorithms, names) = algorithms(self.algorithms, backend)?;
        Ok(Checker {
            mode: self.mode,
            origins: Origins::new(&self.origins)?,
            algorithms,
            names: names.into(),
            max_age: self.max_age,
            skew: self.skew,
            nonces: self.nonces,
            record,
            backend,
        })
    }

    fn record(&self, resource: &str) -> Result<Record, ConfigError> {
        if self.fail_open && (self.without_replay_check || self.replay_store.is_none()) {
            return Err(ConfigError::new(
                "dangerous_replay_fail_open is for a replay store that can fail: give one with \
                 .replay_store(…), or leave it out",
            ));
        }
        match &self.replay_store {
            Some(_) if self.without_replay_check => Err(ConfigError::new(
                "there is a replay store that dangerous_no_replay_check makes useless: leave one out",
            )),
            Some(_) if self.replay_bytes.is_some() => Err(ConfigError::new(
                "replay_bytes is for the record in memory, which a replay store replaces: leave one \
                 out",
            )),
            Some(store) => Ok(Record::Store {
                store: Arc::clone(store),
                prefix: format!("tower-bearer:dpop:{resource}:").into(),
                timeout: self.replay_timeout,
                fail_open: self.fail_open,
            }),
            None if self.without_replay_check => Ok(Record::None),
            None => Memory::new(self.replay_bytes).map(Record::Memory),
        }
    }
}

/// Returns the accepted algorithms, and their names for challenges.
fn algorithms(
    chosen: Option<Vec<Algorithm>>,
    backend: Backend,
) -> Result<(Box<[Algorithm]>, String), ConfigError> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
    let Some(chosen) = chosen else {
        let all = [ES256, ES384, EdDSA, PS256, RS256];
        // RFC 9864 gives the algorithm another name, which clients may look for.
        let both = |it: Algorithm| match it {
            EdDSA => format!("{EdDSA} {}", crate::jose::ED25519),
            other => other.name().to_owned(),
        };
        return Ok((all.into(), all.map(both).join(" ")));
    };
    if chosen.is_empty() {
        return Err(ConfigError::new("no algorithm of DPoP proofs is accepted: name at least one"));
    }
    if let Some(missing) = chosen.iter().find(|it| !backend.supports(**it)) {
        return Err(ConfigError::new(format!(
            "the crypto backend {backend:?} has no {missing}: leave it out, or use another backend"
        )));
    }
    let names: Vec<_> = chosen.iter().map(|it| it.name()).collect();
    Ok((chosen.clone().into(), names.join(" ")))
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
