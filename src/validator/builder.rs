use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::clock::{Clock, SystemClock};
use crate::error::ConfigError;
use crate::jose::{Algorithm, Backend, HmacAlgorithm, HmacKey};
use crate::jwks::{Jwks, JwksBuilder};
use crate::secret::Secret;
use crate::token::{NoClaims, ScopeSource};
use crate::validator::cache::Cache;
use crate::validator::check::Headers;
use crate::validator::handle::{Inner, Trust, Validator};
use crate::validator::policy::{Policy, RequiredClaim};

/// Builds a [`Validator`].
///
/// | setting | default |
/// |---|---|
/// | [`keys`](Self::keys) | found by discovery from the issuer |
/// | [`algorithms`](Self::algorithms) | all of [`Algorithm`] that the backend has |
/// | [`leeway`](Self::leeway) | 60 seconds |
/// | [`rfc9068`](Self::rfc9068) | off: `typ` may also be `JWT` or absent |
/// | [`require_claims`](Self::require_claims) | `iss`, `aud` and `exp`, which always are |
/// | [`max_age`](Self::max_age) | none |
/// | [`scope_source`](Self::scope_source) | `scope` and `scp` |
/// | [`max_token_bytes`](Self::max_token_bytes) | 16 KiB |
/// | [`cache_entries`](Self::cache_entries) | 10 000 tokens |
/// | [`cache_bytes`](Self::cache_bytes) | 32 MiB |
pub struct ValidatorBuilder<C = NoClaims> {
    issuer: String,
    audiences: Vec<String>,
    keys: Option<KeySource>,
    algorithms: Option<Vec<Algorithm>>,
    typ_required: bool,
    required: Vec<RequiredClaim>,
    leeway: Duration,
    max_age: Option<Duration>,
    scope_source: ScopeSource,
    max_token_bytes: usize,
    cache_entries: usize,
    cache_bytes: usize,
    clock: Arc<dyn Clock>,
    claims: PhantomData<fn() -> C>,
}

/// Where a validator gets its keys: made from a [`Jwks`], which other validators may share, or
/// from a [`JwksBuilder`].
#[derive(Debug)]
pub struct KeySource(Source);

#[derive(Debug)]
enum Source {
    Jwks(Jwks),
    Builder(Box<JwksBuilder>),
    SharedSecret(HmacAlgorithm, Secret),
}

impl From<Jwks> for KeySource {
    fn from(jwks: Jwks) -> Self {
        Self(Source::Jwks(jwks))
    }
}

impl From<JwksBuilder> for KeySource {
    fn from(builder: JwksBuilder) -> Self {
        Self(Source::Builder(Box::new(builder)))
    }
}

const MAX_LEEWAY: Duration = Duration::from_secs(300);

const MAX_CACHE_ENTRIES: usize = 1_000_000;

/// How many headers are remembered: an issuer sends a few for each key. Where all of them end alike,
/// because `kid` comes first, they share one set of the table: then it is 16.
const HEADERS: usize = 64;
const HEADER_BYTES: usize = 64 * 1_024;

impl ValidatorBuilder {
    pub(crate) fn new(issuer: String, audience: String) -> Self {
        Self {
            issuer,
            audiences: vec![audience],
            keys: None,
            algorithms: None,
            typ_required: false,
            required: Vec::new(),
            leeway: Duration::from_secs(60),
            max_age: None,
            scope_source: ScopeSource::standard(),
            max_token_bytes: 16 * 1_024,
            cache_entries: 10_000,
            cache_bytes: 32 * 1_024 * 1_024,
            clock: Arc::new(SystemClock),
            claims: PhantomData,
        }
    }
}

impl<C> ValidatorBuilder<C> {
    /// Reads the application's own claims as `D`, from the whole claims object, once a token.
    ///
    /// A token from which `D` can't be read is refused as `malformed_claim`.
    ///
    /// ```
    /// # use tower_bearer::{ConfigError, Validator, jwks::Jwks};
    /// #[derive(serde::Deserialize)]
    /// struct Tenant {
    ///     tenant_id: String,
    /// }
    ///
    /// # let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// let validator = Validator::builder("https://issuer.example", "https://api.example")
    ///     .claims::<Tenant>()
    /// #   .keys(Jwks::static_set("https://issuer.example", set)?)
    ///     .build()?;
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn claims<D: DeserializeOwned>(self) -> ValidatorBuilder<D> {
        ValidatorBuilder {
            issuer: self.issuer,
            audiences: self.audiences,
            keys: self.keys,
            algorithms: self.algorithms,
            typ_required: self.typ_required,
            required: self.required,
            leeway: self.leeway,
            max_age: self.max_age,
            scope_source: self.scope_source,
            max_token_bytes: self.max_token_bytes,
            cache_entries: self.cache_entries,
            cache_bytes: self.cache_bytes,
            clock: self.clock,
            claims: PhantomData,
        }
    }

    /// Sets where the keys come from: a [`Jwks`], or a [`JwksBuilder`] of the same issuer.
    #[must_use]
    pub fn keys(mut self, keys: impl Into<KeySource>) -> Self {
        self.keys = Some(keys.into());
        self
    }

    /// Checks signatures with a secret that is shared with the issuer, in place of its public
    /// keys.
    ///
    /// Whoever has the secret can make tokens, this service included, and every other service that
    /// checks them this way.
    #[must_use]
    pub fn dangerous_shared_secret(mut self, algorithm: HmacAlgorithm, secret: Secret) -> Self {
        self.keys = Some(KeySource(Source::SharedSecret(algorithm, secret)));
        self
    }

    /// Accepts another audience as well.
    #[must_use]
    pub fn also_audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// Accepts these algorithms only.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Accepts a token for this much longer than `exp` says, and this much sooner than `nbf` says,
    /// since clocks differ: 0 to 300 seconds.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Accepts access tokens by the letter of RFC 9068 only: `typ` must be `at+jwt`, and `sub`,
    /// `client_id`, `iat` and `jti` must be there.
    ///
    /// Where a server leaves some of them out, call [`require_claims`](Self::require_claims)
    /// afterwards, with those that remain.
    #[must_use]
    pub fn rfc9068(mut self) -> Self {
        self.typ_required = true;
        // By name: another claim that could be required isn't one of the RFC's.
        self.require_claims([
            RequiredClaim::Subject,
            RequiredClaim::ClientId,
            RequiredClaim::IssuedAt,
            RequiredClaim::JwtId,
        ])
    }

    /// Sets the claims that must be there beside `iss`, `aud` and `exp`.
    #[must_use]
    pub fn require_claims(mut self, claims: impl IntoIterator<Item = RequiredClaim>) -> Self {
        self.required = claims.into_iter().collect();
        self
    }

    /// Refuses tokens whose `iat` is longer ago than this, plus the leeway, and those without.
    ///
    /// An `iat` that lies in the future by more than the leeway is refused then, too: such a token
    /// would stay young for as long as its maker liked. Without a greatest age, it is accepted.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Sets where a token's scopes are found.
    #[must_use]
    pub fn scope_source(mut self, source: ScopeSource) -> Self {
        self.scope_source = source;
        self
    }

    /// Refuses longer tokens before anything is decoded: 256 bytes to 1 MiB.
    #[must_use]
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token_bytes = bytes;
        self
    }

    /// Sets how many accepted tokens are remembered, 0 to 1 000 000, so that those that come again
    /// cost no signature; 0 switches the memory off. It is rounded up to a multiple of 16.
    /// A place that is empty takes 14 bytes.
    ///
    /// See [`Validator`](Validator#the-cache) for what is remembered, and when
    /// it ends.
    #[must_use]
    pub fn cache_entries(mut self, entries: usize) -> Self {
        self.cache_entries = entries;
        self
    }

    /// Sets how many bytes the remembered tokens may hold.
    ///
    /// Each counts twice its own length and some 600 bytes for its claims, and what the
    /// application's own claims hold on the heap. That is estimated from the sizes of all values
    /// that are deserialized into them, so that it is the most that the collections of the standard
    /// library, `serde_json` and `indexmap` can take: some times of what they do take. A struct with a
    /// few texts counts for a few hundred bytes, a [`serde_json::Value`] of a usual token for some ten
    /// thousand: read what is needed, or raise this. What the claims' `Deserialize` allocates apart
    /// from what it reads isn't counted.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks the settings and builds the validator, without waiting for the network. Inside a Tokio
    /// runtime, the first fetch of the keys starts in the background, unless [`keys`](Self::keys) says
    /// otherwise.
    ///
    /// # Errors
    ///
    /// If a setting can't work. The error says which, and what to change.
    pub fn build(self) -> Result<Validator<C>, ConfigError> {
        if self.issuer.is_empty() {
            return Err(ConfigError::new(
                "the issuer is empty: give the expected value of \"iss\"",
            ));
        }
        if self.audiences.iter().any(String::is_empty) {
            return Err(ConfigError::new(
                "an audience is empty: give what the authorization server calls this service",
            ));
        }
        if let Some(audience) = self.audiences.iter().find(|audience| audience.trim() != *audience)
        {
            return Err(ConfigError::new(format!(
                "the audience {audience:?} begins or ends with a space: no token says so, take it away"
            )));
        }
        if self.leeway > MAX_LEEWAY {
            return Err(ConfigError::new(format!(
                "a leeway of {:?} is too long: use at most {MAX_LEEWAY:?}, and mend the clocks",
                self.leeway
            )));
        }
        if !(256..=1_024 * 1_024).contains(&self.max_token_bytes) {
            return Err(ConfigError::new("max_token_bytes must be between 256 bytes and 1 MiB"));
        }
        if self.cache_entries > MAX_CACHE_ENTRIES {
            return Err(ConfigError::new(format!(
                "a cache of {} tokens is too large: use at most {MAX_CACHE_ENTRIES}, or 0 for none",
                self.cache_entries
            )));
        }
        let keys = match self.keys {
            Some(KeySource(source)) => source,
            None => Source::Builder(Box::new(Jwks::discover(&self.issuer))),
        };
        let (trust, backend) = match keys {
            Source::SharedSecret(algorithm, secret) => {
                if self.algorithms.is_some() {
                    return Err(ConfigError::new(
                        "a shared secret has its one algorithm: leave .algorithms(…) out",
                    ));
                }
                let backend = Backend::preferred_or_error()?;
                (Trust::SharedSecret(HmacKey::new(algorithm, secret, backend)?), backend)
            }
            Source::Jwks(jwks) => {
                let backend = jwks.backend();
                (Trust::Jwks(jwks), backend)
            }
            Source::Builder(builder) => {
                let jwks = builder.build()?;
                let backend = jwks.backend();
                (Trust::Jwks(jwks), backend)
            }
        };
        if let Trust::Jwks(jwks) = &trust
            && jwks.issuer() != self.issuer
        {
            return Err(ConfigError::new(format!(
                "the keys are those of {:?}, but the validator is for {:?}: a key of one issuer \
                 must never verify a token of another",
                jwks.issuer(),
                self.issuer
            )));
        }
        let policy = Policy {
            issuer: self.issuer.into(),
            audiences: self.audiences.into_iter().map(Into::into).collect(),
            algorithms: choose_algorithms(self.algorithms, backend)?,
            typ_required: self.typ_required,
            required: self.required.into(),
            leeway: self.leeway,
            max_age: self.max_age,
            scope_source: self.scope_source,
            max_token_bytes: self.max_token_bytes,
        };
        let cached = self.cache_entries > 0;
        let cache = cached.then(|| Cache::new(self.cache_entries, self.cache_bytes));
        let headers = Headers::new(HEADERS, HEADER_BYTES);
        Ok(Validator::new(Inner { policy, trust, clock: self.clock, headers, cache }))
    }
}

fn choose_algorithms(
    chosen: Option<Vec<Algorithm>>,
    backend: Backend,
) -> Result<Box<[Algorithm]>, ConfigError> {
    let Some(chosen) = chosen else {
        return Ok(Algorithm::ALL.iter().copied().filter(|it| backend.supports(*it)).collect());
    };
    if chosen.is_empty() {
        return Err(ConfigError::new("no algorithm is accepted: name at least one"));
    }
    match chosen.iter().find(|it| !backend.supports(**it)) {
        None => Ok(chosen.into()),
        Some(algorithm) => Err(ConfigError::new(format!(
            "the crypto backend {backend:?} has no {algorithm}: leave it out, or use another backend"
        ))),
    }
}

impl<C> fmt::Debug for ValidatorBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidatorBuilder")
            .field("issuer", &self.issuer)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}
