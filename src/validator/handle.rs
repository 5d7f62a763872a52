use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "dpop")]
use crate::binding::dpop::checker::Checker;
use crate::clock::Clock;
use crate::error::ConfigError;
#[cfg(feature = "dpop")]
use crate::jose::Backend;
use crate::jwks::{Health, Jwks, NotReady};
use crate::token::NoClaims;
use crate::validator::cache::Cache;
use crate::validator::in_force::InForce;
#[cfg(feature = "introspection")]
use crate::validator::opaque::Remembering;
use crate::validator::realms::Realms;
use crate::validator::settings::Shared;
use crate::validator::summary::Summary;

/// Checks access tokens: their issuer, audience, times and signature.
///
/// Cloning is cheap, and clones share everything. See [`Validator::builder`].
///
/// # The cache
///
/// Services receive the same token many times. The result for an accepted token is cached, so that the
/// next request with it costs a lookup in place of a signature check. The cache never accepts what
/// would be refused without it:
///
/// * An entry is found by the whole token, byte by byte, never by a hash of it alone.
/// * Each hit is checked again: `exp`, `nbf` and `max_age` against the clock, and that the current keys
///   are those that verified the token. A changed key set, keys that are too old, and
///   [`Jwks::shutdown`](crate::jwks::Jwks::shutdown) invalidate all entries at once; a refresh that
///   brings the same keys invalidates none.
/// * It belongs to one validator and its clones. A validator with another policy starts with an empty
///   cache. When an issuer is removed or its settings change, the entries of its tokens are invalid.
/// * It is bounded, in tokens ([`cache_entries`](crate::ValidatorBuilder::cache_entries), 10 000 by default)
///   and in bytes ([`cache_bytes`](crate::ValidatorBuilder::cache_bytes), 32 MiB). Entries that were not
///   used lately are evicted first (CLOCK), so that tokens that are used once don't displace those that
///   are used all the time.
/// * Only accepted tokens are stored in it. Tokens with an invalid signature, or with claims that the
///   application can't read, are cached apart, in a table of 512 tokens and 1 MiB that any caller can
///   fill, so that the same token isn't verified repeatedly. A refusal for another reason never costs a
///   signature check. Once the `exp` of such a token has passed, or the keys have changed, it is checked
///   again.
///
/// Every hit hands out the same claims: [`AccessToken`](crate::AccessToken) clones of one `Arc`.
/// The application's own claims are read once as well, not for each request: the result of their
/// `Deserialize` should depend only on the claims.
///
/// Remembered tokens are never printed, but they lie in memory until others take their place, which
/// may be after they expired.
pub struct Validator<C = NoClaims> {
    pub(crate) inner: Arc<Inner<C>>,
}

pub(crate) struct Inner<C> {
    pub(crate) realms: Realms,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None` if it is switched off.
    pub(crate) cache: Option<Cache<C>>,
    #[cfg(feature = "introspection")]
    pub(crate) opaque: Remembering<C>,
    pub(crate) summary: Arc<Summary>,
    /// `None` if it is off.
    #[cfg(feature = "dpop")]
    pub(crate) dpop: Option<Arc<Checker>>,
}

impl<C> Inner<C> {
    /// Puts the parts together.
    ///
    /// # Errors
    ///
    /// If what is set for DPoP can't work.
    pub(crate) fn new(
        realms: Realms,
        shared: Shared,
        cache: Option<Cache<C>>,
    ) -> Result<Self, ConfigError> {
        #[cfg(feature = "dpop")]
        let dpop = match shared.dpop {
            Some(dpop) => {
                let checker = dpop.build(Backend::preferred_or_error()?, &realms.audience())?;
                Some(Arc::new(checker))
            }
            None => None,
        };
        let summary = Arc::new(Summary::new(realms.clone()));
        summary.attend();
        Ok(Self {
            realms,
            summary,
            clock: shared.clock,
            cache,
            #[cfg(feature = "introspection")]
            opaque: Remembering::new(shared.cache_entries, shared.cache_bytes),
            #[cfg(feature = "dpop")]
            dpop,
        })
    }

    /// Returns `true` if tokens may be bound to a key of the client's.
    pub(crate) const fn accepts_proofs(&self) -> bool {
        #[cfg(feature = "dpop")]
        return self.dpop.is_some();
        #[cfg(not(feature = "dpop"))]
        false
    }
}

impl<C> Validator<C> {
    pub(crate) fn new(inner: Inner<C>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Returns the key source; `None` if a shared secret is used, or if the validator was built by
    /// [`issuers`](Self::issuers), where [`jwks_of`](Self::jwks_of) is for each.
    pub fn jwks(&self) -> Option<&Jwks> {
        match &self.inner.realms {
            Realms::One(realm) => realm.jwks(),
            Realms::Many(_) => None,
        }
    }

    /// Waits until the first keys are there, for at most this long. Of several issuers, those that
    /// [`readiness`](crate::issuers::IssuersBuilder::readiness) says.
    ///
    /// # Errors
    ///
    /// If they aren't there by then. The error says whose keys they are, from where, and what the
    /// last attempt failed with.
    pub async fn ready(&self, deadline: Duration) -> Result<(), NotReady> {
        match &self.inner.realms {
            Realms::One(realm) => realm.ready(deadline).await,
            Realms::Many(many) => many.ready(deadline).await,
        }
    }

    /// Returns whether tokens can be checked now, for a readiness probe. Of several issuers, see
    /// [`readiness`](crate::issuers::IssuersBuilder::readiness).
    pub fn health(&self) -> Health {
        match &self.inner.realms {
            Realms::One(realm) => realm.health(),
            Realms::Many(many) => many.health(),
        }
    }

    /// Returns what counts requests for the log.
    pub(crate) fn summary(&self) -> &Arc<Summary> {
        &self.inner.summary
    }

    /// Returns what is in force, for one line in the log.
    pub(crate) fn in_force(&self) -> InForce {
        self.inner.realms.in_force()
    }

    /// Returns the authorization servers whose tokens are accepted, without their other spellings.
    pub(crate) fn authorization_servers(&self) -> Vec<String> {
        match &self.inner.realms {
            Realms::One(realm) => vec![realm.policy.name().to_string()],
            Realms::Many(many) => {
                many.list().realms().map(|realm| realm.policy.name().to_string()).collect()
            }
        }
    }

    /// Returns the clock, and how far others may be off.
    pub(crate) fn time(&self) -> (Arc<dyn Clock>, Duration) {
        let leeway = match &self.inner.realms {
            Realms::One(realm) => realm.policy.times.leeway,
            Realms::Many(many) => {
                let list = many.list();
                list.realms().map(|realm| realm.policy.times.leeway).max().unwrap_or_default()
            }
        };
        (Arc::clone(&self.inner.clock), leeway)
    }

    pub(crate) fn audience(&self) -> Arc<str> {
        self.inner.realms.audience()
    }
}

impl<C> Clone for Validator<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C> fmt::Debug for Validator<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.realms {
            Realms::One(realm) => f
                .debug_struct("Validator")
                .field("policy", &realm.policy)
                .field("trust", &realm.trust)
                .finish_non_exhaustive(),
            Realms::Many(many) => {
                f.debug_struct("Validator").field("issuers", many).finish_non_exhaustive()
            }
        }
    }
}
