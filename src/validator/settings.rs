//! The settings of one issuer, and their setters, which all builders of one share.

use std::time::Duration;

use crate::jose::Algorithm;
use crate::token::Sources;
use crate::validator::key_source::KeySource;
use crate::validator::policy::RequiredClaim;
use crate::validator::shared::Common;
use crate::validator::template::TemplateSettings;

/// The settings of one issuer, unchecked.
pub(crate) struct Settings {
    /// The keys' owner; for a JWT-SVID profile, the trust domain.
    pub(crate) issuer: String,
    pub(crate) more_issuers: Vec<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) are_resources: bool,
    pub(crate) without_audience: Option<Vec<String>>,
    pub(crate) keys: Option<KeySource>,
    /// Both keys and a shared secret were given.
    pub(crate) keys_and_secret: bool,
    #[cfg(feature = "introspection")]
    pub(crate) introspection: Option<crate::introspection::Introspection>,
    pub(crate) algorithms: Option<Vec<Algorithm>>,
    pub(crate) kind: Kind,
    pub(crate) rfc9068: bool,
    pub(crate) typed: bool,
    pub(crate) required: Vec<RequiredClaim>,
    pub(crate) leeway: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) sources: Sources,
    pub(crate) max_token_bytes: usize,
    /// The settings of the validator.
    pub(crate) common: Common,
    /// The issuer is a template for those of many tenants.
    pub(crate) template: Option<TemplateSettings>,
    /// Tenants were allowed although it isn't a template.
    pub(crate) no_template: bool,
}

/// The kind of tokens to accept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    AccessToken,
    JwtSvid,
}

impl Settings {
    pub(crate) fn new(issuer: String, audience: String, kind: Kind) -> Self {
        Self {
            issuer,
            more_issuers: Vec::new(),
            audiences: vec![audience],
            are_resources: false,
            without_audience: None,
            keys: None,
            keys_and_secret: false,
            #[cfg(feature = "introspection")]
            introspection: None,
            algorithms: None,
            kind,
            rfc9068: false,
            typed: false,
            required: Vec::new(),
            leeway: Duration::from_secs(60),
            max_age: None,
            sources: Sources::default(),
            max_token_bytes: 16 * 1_024,
            common: Common::default(),
            template: None,
            no_template: false,
        }
    }

    /// Returns `true` if an answer about a token needs no audience.
    #[cfg(feature = "introspection")]
    pub(crate) fn accepts_answers_without_audience(&self) -> bool {
        let for_all = self.keys.as_ref().and_then(KeySource::introspection);
        for_all.into_iter().chain(&self.introspection).any(|it| it.accept_missing_aud)
    }

    pub(crate) fn replace_keys(&mut self, keys: KeySource) {
        let is_secret = keys.is_shared_secret();
        self.keys_and_secret |=
            self.keys.as_ref().is_some_and(|before| before.is_shared_secret() != is_secret);
        self.keys = Some(keys);
    }
}

/// The setters of one issuer's settings, for a builder with `settings`.
macro_rules! issuer_setters {
    () => {
        /// Sets where the keys come from: a [`Jwks`](crate::jwks::Jwks), or a
        /// [`JwksBuilder`](crate::jwks::JwksBuilder) of the same issuer.
        #[must_use]
        pub fn keys(mut self, keys: impl Into<$crate::validator::key_source::KeySource>) -> Self {
            self.settings.replace_keys(keys.into());
            self
        }

        /// Checks signatures with a secret that is shared with the issuer, instead of its public
        /// keys.
        ///
        /// Every party that has the secret can issue tokens: this service, and every other service that checks
        /// them this way.
        #[must_use]
        pub fn dangerous_shared_secret(
            mut self,
            algorithm: $crate::jose::HmacAlgorithm,
            secret: $crate::secret::Secret,
        ) -> Self {
            self.settings.replace_keys($crate::validator::key_source::KeySource::shared_secret(
                algorithm, secret,
            ));
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

        /// Compares audiences that are `http` or `https` URLs as resource identifiers (RFC 8707): with
        /// scheme and host in any case, and `https://api.example` as `https://api.example/`. Other
        /// paths, ports and queries must be the same.
        ///
        /// Many authorization servers put into `aud` what the client sent as `resource`, and clients
        /// write the URL of a service, such as an MCP server, in their own way. By default, audiences are
        /// compared character by character (RFC 7519 §2).
        #[must_use]
        pub fn resource_audiences(mut self) -> Self {
            self.settings.are_resources = true;
            self
        }

        /// Accepts a token without `aud` if its client's id is one of these. A token with `aud`
        /// must still name the audience.
        ///
        /// Amazon Cognito's access tokens are like that: its documentation says to check `client_id`. Such
        /// a token is valid at every service that accepts the client: a service that received it can
        /// replay it to this one.
        #[must_use]
        pub fn dangerous_clients_without_audience<I>(mut self, clients: I) -> Self
        where
            I: IntoIterator<Item: Into<String>>,
        {
            let known = self.settings.without_audience.get_or_insert_default();
            known.extend(clients.into_iter().map(Into::into));
            self
        }

        /// Accepts only these algorithms. This is the only way to accept those of ML-DSA (RFC 9964).
        #[must_use]
        pub fn algorithms(
            mut self,
            algorithms: impl IntoIterator<Item = $crate::jose::Algorithm>,
        ) -> Self {
            self.settings.algorithms = Some(algorithms.into_iter().collect());
            self
        }

        /// Accepts a token for this much longer than `exp` says, and this much sooner than `nbf` says,
        /// since clocks differ: 0 to 300 seconds.
        #[must_use]
        pub fn leeway(mut self, leeway: ::std::time::Duration) -> Self {
            self.settings.leeway = leeway;
            self
        }

        /// Accepts only access tokens that conform strictly to RFC 9068: `typ` must be `at+jwt`, and `sub`,
        /// `client_id`, `iat` and `jti` must be present.
        ///
        /// If a server leaves some of them out, use [`require_typ`](Self::require_typ) and
        /// [`require_claim`](Self::require_claim) instead.
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
        pub fn require_claim(mut self, claim: $crate::validator::policy::RequiredClaim) -> Self {
            if !self.settings.required.contains(&claim) {
                self.settings.required.push(claim);
            }
            self
        }

        /// Refuses tokens whose `iat` is longer ago than this plus the leeway, and tokens without
        /// `iat`.
        ///
        /// An `iat` in the future by more than the leeway is then refused, too: such a token
        /// would never be too old. Without a maximum age, it is accepted.
        #[must_use]
        pub fn max_age(mut self, max_age: ::std::time::Duration) -> Self {
            self.settings.max_age = Some(max_age);
            self
        }

        /// Sets where the id of the client that obtained a token is found.
        #[must_use]
        pub fn client_id_source(mut self, source: $crate::token::ClientIdSource) -> Self {
            self.settings.sources.client_id = source;
            self
        }

        /// Sets where a token's scopes are found.
        #[must_use]
        pub fn scope_source(mut self, source: $crate::token::ScopeSource) -> Self {
            self.settings.sources.scope = source;
            self
        }

        /// Keeps these claims of each token, beside the registered ones, for
        /// [`Conditions`](crate::middleware::Conditions) and for
        /// [`Claims::claim`](crate::token::Claims::claim). At most 32.
        ///
        /// For all claims of an application, a type is better:
        /// [`claims`](crate::ValidatorBuilder::claims). A token that lacks one of the kept claims is still
        /// accepted.
        ///
        /// ```
        /// use tower_bearer::Validator;
        ///
        /// # fn example() -> Result<Validator, tower_bearer::ConfigError> {
        /// let validator = Validator::builder("https://issuer.example", "https://api.example")
        ///     .keep_claims(["email_verified", "authorization_details"])
        ///     .build()?;
        /// # Ok(validator)
        /// # }
        /// ```
        #[must_use]
        pub fn keep_claims<I>(mut self, names: I) -> Self
        where
            I: IntoIterator<Item: Into<String>>,
        {
            let sources = &mut self.settings.sources;
            sources.kept = sources.kept.and(names.into_iter().map(Into::into));
            self
        }

        /// Refuses longer tokens before anything is decoded: 256 bytes to 1 MiB.
        #[must_use]
        pub fn max_token_bytes(mut self, bytes: usize) -> Self {
            self.settings.max_token_bytes = bytes;
            self
        }
    };
}

pub(crate) use issuer_setters;
