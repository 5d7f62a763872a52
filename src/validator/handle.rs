use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::jwks::{Health, Jwks, NotReady};
use crate::token::NoClaims;
use crate::validator::cache::Cache;
use crate::validator::realms::Realms;

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
/// * It belongs to one validator and its clones. A validator with another policy begins with an empty
///   cache; an issuer that is removed, or gets other settings, ends what was remembered of its tokens.
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
    pub(crate) realms: Realms,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None` if it is switched off.
    pub(crate) cache: Option<Cache<C>>,
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
            Realms::One(realm) => match realm.jwks() {
                Some(jwks) => jwks.ready(deadline).await,
                None => Ok(()),
            },
            Realms::Many(many) => many.ready(deadline).await,
        }
    }

    /// Returns what a readiness probe should say: whether tokens can be checked now. Of several
    /// issuers, see [`readiness`](crate::issuers::IssuersBuilder::readiness).
    pub fn health(&self) -> Health {
        match &self.inner.realms {
            Realms::One(realm) => realm.health(),
            Realms::Many(many) => many.health(),
        }
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
        match &self.inner.realms {
            Realms::One(realm) => realm.policy.audience(),
            Realms::Many(many) => many.list().audience(),
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
