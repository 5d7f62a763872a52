use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::jose::HmacKey;
use crate::jwks::{Health, Jwks, NotReady};
use crate::refusal::Refusal;
use crate::token::{AccessToken, ClientIdSource, NoClaims};
use crate::validator::builder::{Kind, ValidatorBuilder};
use crate::validator::cache::Cache;
use crate::validator::check::{Check, Headers};
use crate::validator::policy::Policy;

/// Decides whether an access token is valid: from whom it must be, for whom, signed with which
/// keys.
///
/// Cloning is cheap, and clones share everything. See [`Validator::builder`].
///
/// # The cache
///
/// A service sees the same token many times. What was decided about one is remembered, and the next
/// time costs a lookup in place of a signature. Nothing is accepted because of it that would be
/// refused without it:
///
/// * It is found by the whole token, byte by byte, never by a hash of it alone.
/// * What was accepted is looked at again each time: `exp`, `nbf` and `max_age` against the clock,
///   and that the keys are the very ones it was verified with. Another set of keys, keys that are too
///   old, and [`Jwks::shutdown`](crate::jwks::Jwks::shutdown) end all entries at once; a refresh that
///   brings the same keys ends none.
/// * It belongs to one validator and its clones. What that accepts never changes; a validator with
///   another policy begins with an empty cache.
/// * It is bounded, in tokens ([`cache_entries`](crate::ValidatorBuilder::cache_entries), 10 000 by default)
///   and in bytes ([`cache_bytes`](crate::ValidatorBuilder::cache_bytes), 32 MiB), and makes room by
///   forgetting what wasn't asked for lately (CLOCK), so that tokens that come once don't drive out
///   those that come all the time.
/// * Only accepted tokens get in. Tokens whose signature is bad, or whose claims the application
///   can't read, are remembered apart, in a table of 512 tokens and 1 MiB that everybody may fill, so
///   that the same one isn't checked again and again; what is refused for another reason never cost a
///   signature. When a bad one's `exp` has passed, or the keys are others, it is looked at anew.
///
/// Every hit hands out the same claims: [`AccessToken`](crate::AccessToken) clones of one `Arc`. The
/// application's own claims are read once as well, not for each request: what their `Deserialize`
/// makes of them should depend on nothing but them.
///
/// Remembered tokens are never printed, but they lie in memory until others take their place, which
/// may be after they expired.
pub struct Validator<C = NoClaims> {
    pub(crate) inner: Arc<Inner<C>>,
}

pub(crate) struct Inner<C> {
    pub(crate) policy: Policy,
    pub(crate) trust: Trust,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) headers: Headers,
    /// `None` if it is switched off.
    pub(crate) cache: Option<Cache<C>>,
}

/// What signatures are checked with.
#[derive(Debug)]
pub(crate) enum Trust {
    Jwks(Jwks),
    SharedSecret(HmacKey),
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

impl<C> Validator<C> {
    pub(crate) fn new(inner: Inner<C>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Returns the key source; `None` if a shared secret is used.
    pub fn jwks(&self) -> Option<&Jwks> {
        match &self.inner.trust {
            Trust::Jwks(jwks) => Some(jwks),
            Trust::SharedSecret(_) => None,
        }
    }

    /// Waits until the first keys are there, for at most this long.
    ///
    /// # Errors
    ///
    /// If they aren't there by then. The error says whose keys they are, from where, and what the
    /// last attempt failed with.
    pub async fn ready(&self, deadline: Duration) -> Result<(), NotReady> {
        match self.jwks() {
            Some(jwks) => jwks.ready(deadline).await,
            None => Ok(()),
        }
    }

    /// Tells whether tokens can be checked now.
    pub fn health(&self) -> Health {
        self.jwks().map_or(Health::Ready, Jwks::health)
    }

    pub(crate) fn audience(&self) -> &str {
        self.inner.policy.audiences.first().map_or("", AsRef::as_ref)
    }
}

impl<C: DeserializeOwned> Validator<C> {
    /// Decides whether a token is valid now.
    ///
    /// This waits only for the first keys, or for a token whose `kid` is unknown and which could
    /// otherwise be valid; never longer than the key source's `request_wait`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Rejection`] if it isn't valid, [`Refusal::Unavailable`] if that can't be told.
    pub async fn validate(&self, token: &str) -> Result<AccessToken<C>, Refusal> {
        let token = token.as_bytes();
        if let Some(token) = self.recall(token) {
            return Ok(token);
        }
        match self.check(token) {
            Check::Done(checked) => checked,
            Check::Wait(wait) => {
                wait.await?;
                self.check_again(token)
            }
        }
    }
}

impl<C> Clone for Validator<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C> fmt::Debug for Validator<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validator")
            .field("policy", &self.inner.policy)
            .field("trust", &self.inner.trust)
            .finish_non_exhaustive()
    }
}
