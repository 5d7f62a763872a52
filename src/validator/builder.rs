use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::clock::{Clock, SystemClock};
use crate::jose::{Algorithm, HmacAlgorithm};
use crate::secret::Secret;
use crate::token::{ClientIdSource, NoClaims, ScopeSource, Sources};
use crate::validator::handle::Validator;
use crate::validator::key_source::{KeySource, Source};
use crate::validator::policy::RequiredClaim;

/// Builds a [`Validator`](crate::Validator).
///
/// | setting | default |
/// |---|---|
/// | [`keys`](Self::keys) | found by discovery from the issuer |
/// | [`algorithms`](Self::algorithms) | all of [`Algorithm`] that the backend has |
/// | [`leeway`](Self::leeway) | 60 seconds |
/// | [`rfc9068`](Self::rfc9068) | off |
/// | [`require_typ`](Self::require_typ) | off: `typ` may also be `JWT` or absent |
/// | [`require_claim`](Self::require_claim) | `iss`, `aud` and `exp`, which always are |
/// | [`max_age`](Self::max_age) | none |
/// | [`scope_source`](Self::scope_source) | `scope` and `scp` |
/// | [`client_id_source`](Self::client_id_source) | `client_id` |
/// | [`max_token_bytes`](Self::max_token_bytes) | 16 KiB |
/// | [`cache_entries`](Self::cache_entries) | 10 000 tokens |
/// | [`cache_bytes`](Self::cache_bytes) | 32 MiB |
///
/// Settings that can be given several times add up, and their order never matters.
pub struct ValidatorBuilder<C = NoClaims> {
    pub(crate) settings: Settings,
    claims: PhantomData<fn() -> C>,
}

/// The settings of a [`ValidatorBuilder`], unchecked.
pub(crate) struct Settings {
    /// The keys' owner; of a JWT-SVID profile, the trust domain.
    pub(crate) issuer: String,
    pub(crate) more_issuers: Vec<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) without_audience: Option<Vec<String>>,
    pub(crate) keys: Option<KeySource>,
    pub(crate) algorithms: Option<Vec<Algorithm>>,
    pub(crate) kind: Kind,
    pub(crate) rfc9068: bool,
    pub(crate) typed: bool,
    pub(crate) required: Vec<RequiredClaim>,
    pub(crate) leeway: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) sources: Sources,
    pub(crate) max_token_bytes: usize,
    pub(crate) cache_entries: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The kind of tokens to accept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    AccessToken,
    JwtSvid,
}

impl Validator {
    /// Starts building a validator for tokens of `issuer` that are meant for `audience`.
    ///
    /// `issuer` is compared with `iss` character by character: take it from the authorization
    /// server's metadata, trailing slash and all. `audience` is what the authorization server
    /// calls this service, and one of `aud` must be the same.
    ///
    /// By default the keys are found by discovery; see [`ValidatorBuilder`] for all defaults.
    ///
    /// ```
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_bearer::Validator;
    ///
    /// let validator = Validator::builder("https://issuer.example", "https://api.example").build()?;
    /// let token = validator.validate("eyJhbGciOi…").await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(issuer: impl Into<String>, audience: impl Into<String>) -> ValidatorBuilder {
        ValidatorBuilder::new(issuer.into(), audience.into(), Kind::AccessToken)
    }

    /// Starts building a validator for the JWT-SVIDs of a SPIFFE trust domain, such as
    /// `example.org`, that are meant for `audience`, which is this workload's SPIFFE ID by custom.
    ///
    /// They differ from access tokens, and only they are accepted then: `sub` must be the SPIFFE ID
    /// of a workload of the trust domain, with a path; `iss` isn't looked at, and
    /// [`Claims::issuer`](crate::token::Claims::issuer) returns the trust domain's SPIFFE ID; `typ`
    /// is `JWT`, `JOSE` or absent; EdDSA isn't accepted. The client's id is `sub`.
    ///
    /// The keys must come from the trust domain's bundle:
    ///
    /// ```
    /// use tower_bearer::{Validator, jwks::Jwks};
    ///
    /// # fn validator() -> Result<Validator, tower_bearer::ConfigError> {
    /// Validator::jwt_svid("example.org", "spiffe://example.org/orders")
    ///     .keys(Jwks::spiffe_bundle("example.org", "https://spire.example.org/bundle"))
    ///     .build()
    /// # }
    /// ```
    pub fn jwt_svid(
        trust_domain: impl Into<String>,
        audience: impl Into<String>,
    ) -> ValidatorBuilder {
        ValidatorBuilder::new(trust_domain.into(), audience.into(), Kind::JwtSvid)
            .client_id_source(ClientIdSource::subject())
    }
}

impl ValidatorBuilder {
    fn new(issuer: String, audience: String, kind: Kind) -> Self {
        let settings = Settings {
            issuer,
            more_issuers: Vec::new(),
            audiences: vec![audience],
            without_audience: None,
            keys: None,
            algorithms: None,
            kind,
            rfc9068: false,
            typed: false,
            required: Vec::new(),
            leeway: Duration::from_secs(60),
            max_age: None,
            sources: Sources::default(),
            max_token_bytes: 16 * 1_024,
            cache_entries: 10_000,
            cache_bytes: 32 * 1_024 * 1_024,
            clock: Arc::new(SystemClock),
        };
        Self { settings, claims: PhantomData }
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
        ValidatorBuilder { settings: self.settings, claims: PhantomData }
    }

    /// Sets where the keys come from: a [`Jwks`](crate::jwks::Jwks), or a
    /// [`JwksBuilder`](crate::jwks::JwksBuilder) of the same issuer.
    #[must_use]
    pub fn keys(mut self, keys: impl Into<KeySource>) -> Self {
        self.settings.keys = Some(keys.into());
        self
    }

    /// Checks signatures with a secret that is shared with the issuer, in place of its public
    /// keys.
    ///
    /// Every party that has the secret can make tokens: this service, and every other service that checks
    /// them this way.
    #[must_use]
    pub fn dangerous_shared_secret(mut self, algorithm: HmacAlgorithm, secret: Secret) -> Self {
        self.settings.keys = Some(KeySource(Source::SharedSecret(algorithm, secret)));
        self
    }

    /// Accepts another spelling of the issuer as well, and no other: `iss` must be the same as the
    /// one or the other, character by character. The keys are those of the first.
    ///
    /// For servers whose tokens have different spellings of the issuer. Google's have
    /// `https://accounts.google.com` or `accounts.google.com`:
    ///
    /// ```
    /// # use tower_bearer::{ConfigError, Validator};
    /// # fn validator() -> Result<Validator, ConfigError> {
    /// Validator::builder("https://accounts.google.com", "https://api.example")
    ///     .also_issuer("accounts.google.com")
    ///     .build()
    /// # }
    /// ```
    #[must_use]
    pub fn also_issuer(mut self, spelling: impl Into<String>) -> Self {
        self.settings.more_issuers.push(spelling.into());
        self
    }

    /// Accepts another audience as well.
    #[must_use]
    pub fn also_audience(mut self, audience: impl Into<String>) -> Self {
        self.settings.audiences.push(audience.into());
        self
    }

    /// Accepts a token that has no `aud` at all if its client's id is one of these. A token that has
    /// one must name the audience, as ever.
    ///
    /// Amazon Cognito's access tokens are like that: its documentation says to check `client_id`. Such
    /// a token is good at every service that accepts the client: a service that it was sent to can
    /// send it on to this one.
    #[must_use]
    pub fn dangerous_clients_without_audience<I>(mut self, clients: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        let known = self.settings.without_audience.get_or_insert_default();
        known.extend(clients.into_iter().map(Into::into));
        self
    }

    /// Accepts these algorithms only.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.settings.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Accepts a token for this much longer than `exp` says, and this much sooner than `nbf` says,
    /// since clocks differ: 0 to 300 seconds.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.settings.leeway = leeway;
        self
    }

    /// Accepts only access tokens that conform strictly to RFC 9068: `typ` must be `at+jwt`, and `sub`,
    /// `client_id`, `iat` and `jti` must be there.
    ///
    /// Where a server leaves some of them out, use [`require_typ`](Self::require_typ) and
    /// [`require_claim`](Self::require_claim) in its place.
    #[must_use]
    pub fn rfc9068(mut self) -> Self {
        self.settings.rfc9068 = true;
        self
    }

    /// Requires that `typ` is `at+jwt` (RFC 9068 §2.1), so that no other token of the same issuer, such
    /// as an ID token, is taken for an access token (RFC 8725 §3.11).
    #[must_use]
    pub fn require_typ(mut self) -> Self {
        self.settings.typed = true;
        self
    }

    /// Requires another claim, beside `iss`, `aud` and `exp`, and those that
    /// [`rfc9068`](Self::rfc9068) requires.
    #[must_use]
    pub fn require_claim(mut self, claim: RequiredClaim) -> Self {
        if !self.settings.required.contains(&claim) {
            self.settings.required.push(claim);
        }
        self
    }

    /// Refuses tokens whose `iat` is longer ago than this, plus the leeway, and those without.
    ///
    /// An `iat` that lies in the future by more than the leeway is refused then, too: such a token
    /// would never be too old. Without a maximum age, it is accepted.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.settings.max_age = Some(max_age);
        self
    }

    /// Sets where the id of the client that got a token is found.
    #[must_use]
    pub fn client_id_source(mut self, source: ClientIdSource) -> Self {
        self.settings.sources.client_id = source;
        self
    }

    /// Sets where a token's scopes are found.
    #[must_use]
    pub fn scope_source(mut self, source: ScopeSource) -> Self {
        self.settings.sources.scope = source;
        self
    }

    /// Refuses longer tokens before anything is decoded: 256 bytes to 1 MiB.
    #[must_use]
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_token_bytes = bytes;
        self
    }

    /// Sets how many accepted tokens are remembered, 0 to 1 000 000, so that those that come again
    /// cost no signature; 0 switches the memory off. It is rounded up to a multiple of 16.
    /// A place that is empty takes 14 bytes.
    ///
    /// See [`Validator`](crate::Validator#the-cache) for what is remembered, and when
    /// it ends.
    #[must_use]
    pub fn cache_entries(mut self, entries: usize) -> Self {
        self.settings.cache_entries = entries;
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
        self.settings.cache_bytes = bytes;
        self
    }

    /// Takes the time from this clock, and gives it to the keys' source, if that is built by this
    /// builder and has none of its own.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }
}

impl<C> fmt::Debug for ValidatorBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidatorBuilder")
            .field("issuer", &self.settings.issuer)
            .field("audiences", &self.settings.audiences)
            .finish_non_exhaustive()
    }
}
