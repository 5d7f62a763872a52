//! The issuers of a validator, and which one a token is held against.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::error::ConfigError;
use crate::jwks::{Health, NotReady};
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::text::Excerpt;
use crate::validator::issuers::readiness::Readiness;
use crate::validator::list::List;
use crate::validator::realm::Realm;
use crate::validator::unverified::with_unverified_iss;

/// Whose tokens are accepted.
#[derive(Debug)]
pub(crate) enum Realms {
    One(Arc<Realm>),
    Many(Many),
}

/// Several issuers, which may be replaced by others while requests are served.
pub(crate) struct Many {
    list: ArcSwap<List>,
    readiness: Readiness,
    /// Held while the list is replaced.
    changing: Mutex<()>,
}

impl Realms {
    /// Returns what this service is called, by the first of all.
    pub(crate) fn audience(&self) -> Arc<str> {
        match self {
            Self::One(realm) => realm.policy.audience(),
            Self::Many(many) => many.list().audience(),
        }
    }
}

impl Many {
    pub(crate) fn new(list: List, readiness: Readiness) -> Result<Self, ConfigError> {
        readiness.check(&list)?;
        Ok(Self { list: ArcSwap::from_pointee(list), readiness, changing: Mutex::default() })
    }

    pub(crate) async fn ready(&self, deadline: Duration) -> Result<(), NotReady> {
        self.readiness.ready(&self.list(), deadline).await
    }

    pub(crate) fn health(&self) -> Health {
        self.readiness.health(&self.list())
    }

    /// Returns the current issuers.
    pub(crate) fn list(&self) -> Arc<List> {
        self.list.load_full()
    }

    /// Replaces the issuers. The tokens of those that aren't in the new list end with this.
    pub(crate) fn replace(
        &self,
        next: impl FnOnce(&List) -> Result<List, ConfigError>,
    ) -> Result<(), ConfigError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.list.load_full();
        let next = next(&before)?;
        self.readiness.check(&next)?;
        let stays = |realm: &Arc<Realm>| next.realms().any(|it| Arc::ptr_eq(it, realm));
        let gone: Vec<_> = before.realms().filter(|realm| !stays(realm)).collect();
        // Before anything is accepted by the new list: what was replaced is never remembered beside
        // what replaces it.
        gone.iter().for_each(|realm| realm.end());
        self.list.store(Arc::new(next));
        Ok(())
    }

    /// Selects the issuer to hold a token against, by what the token says without proof.
    ///
    /// # Errors
    ///
    /// If it says none of those that are configured: after the same work, whichever it says.
    pub(crate) fn select(&self, token: &[u8]) -> Result<Arc<Realm>, Rejection> {
        let list = self.list.load();
        if token.len() > list.max_token_bytes() {
            return Err(RejectionKind::TokenTooLong.into());
        }
        with_unverified_iss(token, |iss| {
            list.of(iss).cloned().ok_or_else(|| {
                let (known, presented) = (Arc::clone(list.named()), Excerpt::new(iss));
                Rejection::with(RejectionKind::WrongIssuer, Detail::Issuer { known, presented })
            })
        })
    }
}

impl fmt::Debug for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list().realms()).finish()
    }
}
