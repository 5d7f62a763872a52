//! The validator, its parts, and what other rooms ask of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "dpop")]
use crate::binding::dpop;
#[cfg(feature = "mtls")]
use crate::binding::mtls;
use crate::clock::Clock;
use crate::error::ConfigError;
#[cfg(feature = "dpop")]
use crate::jose::Backend;
use crate::jwks::{Health, Jwks, NotReady};
use crate::metadata::{AuthorizationServers, KnownIssuers};
use crate::token::{NoClaims, Provable};
use crate::validator::cache::Cache;
#[cfg(feature = "dpop")]
use crate::validator::fapi;
use crate::validator::in_force::InForce;
#[cfg(feature = "introspection")]
use crate::validator::opaque::Remembering;
use crate::validator::realms::Realms;
use crate::validator::shared::{Common, Shared};
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
///   used recently are evicted first (CLOCK), so that tokens that are used once don't displace those that
///   are used all the time. Of several issuers, each has an equal part: what others don't use may be
///   borrowed, and a flood of one issuer's tokens evicts only its own.
/// * Only accepted tokens are stored in it. Tokens with an invalid signature, or with claims that the
///   application can't read, are cached separately, in a table of 512 tokens and 1 MiB that any caller can
///   fill, so that the same token isn't verified repeatedly. A refusal for another reason never costs a
///   signature check. Once the `exp` of such a token has passed, or the keys have changed, it is checked
///   again.
///
/// Every hit returns the same claims: [`AccessToken`](crate::AccessToken) clones of one `Arc`.
/// The application's own claims are also read once, not for each request: the result of their
/// `Deserialize` should depend only on the claims.
///
/// Remembered tokens are never printed, but stay in memory until others replace them, which
/// may be after they expired.
pub struct Validator<C = NoClaims> {
    pub(crate) inner: Arc<Inner<C>>,
}

const NOTHING_TO_BIND_TO: &str = "only tokens that are bound to something are accepted \
                                  (require_bound, fapi2), but clients can show nothing: give .dpop(…) or \
                                  .mtls(…) as well";

pub(crate) struct Inner<C> {
    pub(crate) realms: Realms,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None` if it is disabled.
    pub(crate) cache: Option<Cache<C>>,
    #[cfg(feature = "introspection")]
    pub(crate) opaque: Remembering<C>,
    pub(crate) summary: Arc<Summary>,
    /// The rules for all tokens.
    pub(crate) common: Common,
    /// Whether tokens must be bound to something.
    #[cfg(any(feature = "dpop", feature = "mtls"))]
    pub(crate) require_bound: bool,
    /// `None` if it is off.
    #[cfg(feature = "dpop")]
    pub(crate) dpop: Option<Arc<dpop::checker::Checker>>,
    /// `None` if it is off.
    #[cfg(feature = "mtls")]
    pub(crate) mtls: Option<mtls::checker::Checker>,
}

impl<C> Inner<C> {
    /// Builds a validator from its parts.
    ///
    /// # Errors
    ///
    /// If the settings for DPoP or for mutual TLS can't work.
    pub(crate) fn new(
        realms: Realms,
        shared: Shared,
        cache: Option<Cache<C>>,
    ) -> Result<Self, ConfigError> {
        let (common, require_bound) = (shared.common(), shared.require_bound);
        if require_bound && common.provable == Provable::default() {
            return Err(ConfigError::new(NOTHING_TO_BIND_TO));
        }
        #[cfg(feature = "mtls")]
        let mtls = shared.mtls.map(mtls::Mtls::build).transpose()?;
        #[cfg(feature = "dpop")]
        let dpop = match shared.dpop {
            Some(dpop) => {
                let dpop = if common.fapi2 {
                    let algorithms = fapi::choose(dpop.chosen(), "DPoP proofs")?;
                    dpop.by_fapi2(algorithms)
                } else {
                    dpop
                };
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
            common,
            #[cfg(any(feature = "dpop", feature = "mtls"))]
            require_bound,
            #[cfg(feature = "dpop")]
            dpop,
            #[cfg(feature = "mtls")]
            mtls,
        })
    }
}

impl<C> Validator<C> {
    pub(crate) fn new(inner: Inner<C>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Returns the names of the algorithms of DPoP proofs, if those are accepted, and whether they are
    /// required.
    pub(crate) fn proofs(&self) -> Option<(Arc<str>, bool)> {
        #[cfg(feature = "dpop")]
        {
            let checker = self.inner.dpop.as_ref()?;
            let is_only_way = self.inner.require_bound && !self.accepts_certificates();
            let required = checker.mode == dpop::checker::Mode::Require || is_only_way;
            Some(((*checker.names).into(), required))
        }
        #[cfg(not(feature = "dpop"))]
        None
    }

    /// Returns `true` if tokens may be bound to a certificate.
    pub(crate) fn accepts_certificates(&self) -> bool {
        self.inner.common.provable.certificates
    }

    /// Returns the key source; `None` if a shared secret is used, or if the validator was built by
    /// [`issuers`](Self::issuers), whose key sources [`jwks_of`](Self::jwks_of) returns.
    pub fn jwks(&self) -> Option<&Jwks> {
        match &self.inner.realms {
            Realms::One(realm) => realm.jwks(),
            Realms::Many(_) => None,
        }
    }

    /// Waits until the first keys are loaded, for at most this long. With several issuers,
    /// [`readiness`](crate::issuers::IssuersBuilder::readiness) says for which of them.
    ///
    /// An issuer without keys, such as one that is asked about every token, is ready at once: nothing is sent
    /// to its introspection endpoint, which may still be unknown or fail. The first token shows that, and then
    /// the event `introspection_failed`, `health` and `introspection_status`.
    ///
    /// # Errors
    ///
    /// If they aren't loaded by then. The error names the issuer, the address and the error of the
    /// last attempt.
    pub async fn ready(&self, deadline: Duration) -> Result<(), NotReady> {
        match &self.inner.realms {
            Realms::One(realm) => realm.ready(deadline).await,
            Realms::Many(many) => many.ready(deadline).await,
        }
    }

    /// Returns whether tokens can be checked now, for a readiness probe. With several issuers, see
    /// [`readiness`](crate::issuers::IssuersBuilder::readiness).
    pub fn health(&self) -> Health {
        match &self.inner.realms {
            Realms::One(realm) => realm.health(),
            Realms::Many(many) => many.health(),
        }
    }

    /// Returns the summary that counts requests for the log.
    pub(crate) fn summary(&self) -> &Arc<Summary> {
        &self.inner.summary
    }

    /// Returns what is accepted, and where the keys are, for operators: the event `auth_in_force` says the same
    /// once per layer.
    pub fn in_force(&self) -> InForce {
        self.inner.realms.in_force()
    }

    /// Returns the authorization servers whose tokens are accepted, without their other spellings. The
    /// result follows the list of issuers.
    pub(crate) fn authorization_servers(&self) -> AuthorizationServers {
        match &self.inner.realms {
            Realms::One(realm) => {
                let names = vec![realm.policy.name().to_string()];
                AuthorizationServers::new(KnownIssuers { names, ..KnownIssuers::default() })
            }
            Realms::Many(many) => many.servers.clone(),
        }
    }

    /// Returns the clock, and how far other clocks may be off.
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
