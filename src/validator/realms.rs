//! The issuers of a validator, and which one a token is held against.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::error::ConfigError;
use crate::jwks::{Health, NotReady};
use crate::progress::Progress;
use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::text::Excerpt;
use crate::validator::directory::{Directory, Found};
use crate::validator::issuers::readiness::Readiness;
use crate::validator::list::List;
use crate::validator::realm::Realm;
use crate::validator::unverified::with_unverified_iss;

/// The longest token that may belong to a tenant, whose own limit isn't known yet.
const MAX_TOKEN: usize = 1_024 * 1_024;

/// Whose tokens are accepted.
#[derive(Clone, Debug)]
pub(crate) enum Realms {
    One(Arc<Realm>),
    Many(Arc<Many>),
}

impl Realms {
    /// Returns all issuers of now.
    pub(crate) fn all(&self) -> Vec<Arc<Realm>> {
        match self {
            Self::One(realm) => vec![Arc::clone(realm)],
            Self::Many(many) => many.list().realms().cloned().collect(),
        }
    }
}

/// Several issuers, which may be replaced by others while requests are served.
pub(crate) struct Many {
    list: ArcSwap<List>,
    readiness: Readiness,
    /// Who may be asked for more.
    directories: Box<[Arc<Directory>]>,
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

#[cfg(feature = "introspection")]
impl Realms {
    /// Returns `true` if any issuer is asked about tokens.
    #[inline]
    pub(crate) fn ask(&self) -> bool {
        match self {
            Self::One(realm) => realm.asked.is_some(),
            Self::Many(many) => many.list.load().asks(),
        }
    }
}

impl Many {
    pub(crate) fn new(
        list: List,
        directories: Vec<Arc<Directory>>,
        readiness: Readiness,
    ) -> Result<Self, ConfigError> {
        let changing = Mutex::default();
        let directories = directories.into();
        let many = Self { list: ArcSwap::from_pointee(list), readiness, directories, changing };
        many.check(&many.list())?;
        Ok(many)
    }

    fn check(&self, list: &List) -> Result<(), ConfigError> {
        if list.is_empty() && self.directories.is_empty() {
            return Err(ConfigError::new("there is no issuer: give at least one"));
        }
        self.readiness.check(list)
    }

    /// Returns the issuer that a token of this `iss` is held against, if it is known by now.
    pub(crate) fn of(&self, iss: &str) -> Option<Arc<Realm>> {
        let live = || self.directories.iter().find_map(|directory| directory.live(iss));
        self.list.load().of(iss).cloned().or_else(live)
    }

    /// Returns the issuer that is configured by this name, or is a live tenant's.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Realm>> {
        let live = || self.directories.iter().find_map(|directory| directory.live(name));
        self.list.load().named(name).cloned().or_else(live)
    }

    /// Forgets a tenant.
    pub(crate) fn forget(&self, iss: &str) {
        self.directories.iter().for_each(|directory| directory.forget(iss));
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
        self.check(&next)?;
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
    pub(crate) fn select(
        &self,
        token: &[u8],
    ) -> Result<Progress<Arc<Realm>, Arc<Realm>>, Rejection> {
        let list = self.list.load();
        let longest = if self.directories.is_empty() { list.max_token_bytes() } else { MAX_TOKEN };
        if token.len() > longest {
            return Err(RejectionKind::TokenTooLong.into());
        }
        with_unverified_iss(token, |iss| {
            if let Some(realm) = list.of(iss) {
                return Ok(Progress::Ready(Arc::clone(realm)));
            }
            match self.directories.iter().find_map(|directory| directory.find(iss)) {
                Some(Found::Live(realm)) => Ok(Progress::Ready(realm)),
                Some(Found::Later(realm)) => Ok(Progress::Pending(realm)),
                Some(Found::Unknown) | None => {
                    let (known, presented) = (Arc::clone(list.names()), Excerpt::new(iss));
                    let detail = Detail::Issuer { known, presented };
                    Err(Rejection::with(RejectionKind::WrongIssuer, detail))
                }
            }
        })
    }
}

impl fmt::Debug for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list().realms()).finish()
    }
}
