//! The way of a token through a validator.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::clock::UnixTime;
use crate::jose::Scratch;
use crate::jwks::LoadedKeys;
use crate::progress::{Pending, Progress};
use crate::refusal::{Refusal, Rejection, RejectionKind};
use crate::token::{AccessToken, Evidence, Lifetime, Verified};
use crate::validator::cache::Cache;
use crate::validator::handle::{Inner, Validator};
use crate::validator::presented::Presented;
use crate::validator::realm::{Realm, Seal, Unproved, Waiting};
use crate::validator::realms::{Many, Realms};
use crate::validator::unreadable::read_extra;

impl<C> Validator<C> {
    /// Returns what a token says that was verified before, if that still holds.
    #[inline]
    pub(crate) fn recall(&self, token: &[u8]) -> Option<Arc<Verified<C>>> {
        let Inner { cache, clock, realms, .. } = &*self.inner;
        let cache = cache.as_ref()?;
        // Before the lookup: to read the clock takes longer while memory is waited for.
        let now = clock.now();
        match realms {
            Realms::One(realm) => {
                let generation = realm.watch.generation_at(now);
                cache.accepted(token, |term| term.holds(now, generation))
            }
            Realms::Many(_) => Self::recall_among(cache, token, now),
        }
    }

    /// Returns what a token of one of several issuers says.
    #[cold]
    fn recall_among(cache: &Cache<C>, token: &[u8], now: UnixTime) -> Option<Arc<Verified<C>>> {
        cache.accepted(token, |term| term.stands(now))
    }

    /// Returns why a token was refused before, with its signature known, if it still would be.
    pub(crate) fn recall_refused(&self, token: &[u8]) -> Option<Rejection> {
        let Inner { cache, clock, realms, .. } = &*self.inner;
        let cache = cache.as_ref()?;
        // Only for a token that is known is the clock read.
        match realms {
            Realms::One(realm) => {
                let generation = realm.watch.generation();
                cache.refused(token, |term| term.holds(clock.now(), generation))
            }
            Realms::Many(_) => cache.refused(token, |term| term.stands(clock.now())),
        }
    }

    /// Returns why a token that was accepted would no longer be: its times have passed, or its
    /// issuer was removed.
    pub(crate) fn check_again(&self, token: &AccessToken<C>) -> Result<(), Rejection> {
        let rules = match (&self.inner.realms, token.entry()) {
            (Realms::One(realm), _) => realm.policy.times,
            (Realms::Many(_), Some(entry)) if !entry.has_ended() => entry.times(),
            (Realms::Many(many), _) => match many.of(token.issuer()) {
                Some(realm) => realm.policy.times,
                None => return Err(RejectionKind::WrongIssuer.into()),
            },
        };
        rules.check(token.times(), self.inner.clock.now())
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Validator<C> {
    /// Checks a token.
    ///
    /// This waits only for the first keys, or for a token whose `kid` is unknown and which could
    /// otherwise be valid; never longer than the key source's `request_wait`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Rejection`] if it isn't valid, [`Refusal::Unavailable`] if that can't be told.
    pub async fn validate(&self, token: &str) -> Result<AccessToken<C>, Refusal> {
        let presented = Presented::bearer(token.as_bytes());
        if let Some(token) = self.recognize(&presented) {
            self.inner.summary.accepted();
            return Ok(token);
        }
        let decided = match self.authenticate(&presented) {
            Progress::Ready(decided) => decided,
            Progress::Pending(decided) => decided.await,
        };
        match &decided {
            Ok(_) => self.inner.summary.accepted(),
            Err(refusal) => self.inner.summary.refused(refusal),
        }
        decided
    }

    /// Decides about a token, without counting it.
    pub(crate) async fn decide(&self, token: &str) -> Result<AccessToken<C>, Refusal> {
        let presented = Presented::bearer(token.as_bytes());
        match self.recognize(&presented) {
            Some(token) => Ok(token),
            None => match self.authenticate(&presented) {
                Progress::Ready(decided) => decided,
                Progress::Pending(decided) => decided.await,
            },
        }
    }

    /// Returns the token of a request, if what it presents was verified before and that still holds.
    #[inline]
    pub(crate) fn recognize(&self, presented: &Presented<'_>) -> Option<AccessToken<C>> {
        // Where tokens may be bound to a key, more is to be asked of a request.
        #[cfg(feature = "dpop")]
        if self.inner.dpop.is_some() {
            return None;
        }
        self.recall(presented.token).map(AccessToken::new)
    }

    /// Decides whether a request is authenticated by what it presents, where
    /// [`recognize`](Self::recognize) doesn't know it. Nothing waits here, and nothing is fetched.
    #[inline]
    pub(crate) fn authenticate(&self, presented: &Presented<'_>) -> Progress<AccessToken<C>> {
        #[cfg(feature = "dpop")]
        if let Some(checker) = self.dpop() {
            return self.authenticate_bound(checker, presented);
        }
        // A bearer token, with which nothing else is to be shown: one that is bound to a key (`cnf`)
        // isn't verified at all.
        self.verify(presented.token).map(AccessToken::new)
    }

    /// Verifies a token that [`recall`](Self::recall) doesn't know.
    #[inline]
    pub(crate) fn verify(&self, token: &[u8]) -> Progress<Arc<Verified<C>>> {
        #[cfg(feature = "introspection")]
        if let Some(progress) = self.verify_by_asking(token) {
            return progress;
        }
        if let Some(rejection) = self.recall_refused(token) {
            return Progress::Ready(Err(rejection.into()));
        }
        match &self.inner.realms {
            Realms::One(realm) => self.verify_by(realm, token),
            Realms::Many(many) => self.verify_among(many, token),
        }
    }

    /// Verifies a token of one of several issuers.
    #[inline(never)]
    fn verify_among(&self, many: &Many, token: &[u8]) -> Progress<Arc<Verified<C>>> {
        match many.select(token) {
            Ok(Progress::Ready(realm)) => self.verify_by(&realm, token),
            Ok(Progress::Pending(realm)) => {
                let (validator, token): (_, Box<[u8]>) = (self.clone(), token.into());
                Progress::Pending(Pending::new(async move {
                    let realm = realm.await?;
                    match validator.verify_by(&realm, &token) {
                        Progress::Ready(decided) => decided,
                        Progress::Pending(decided) => decided.await,
                    }
                }))
            }
            Err(rejection) => Progress::Ready(Err(rejection.into())),
        }
    }

    /// Verifies a token of this issuer.
    #[inline]
    pub(crate) fn verify_by(&self, realm: &Arc<Realm>, token: &[u8]) -> Progress<Arc<Verified<C>>> {
        if token.len() > realm.policy.max_token_bytes {
            return Progress::Ready(Err(RejectionKind::TokenTooLong.into()));
        }
        let mut scratch = Scratch::take(token.len());
        let unproved = match realm.read(token, &mut scratch, &*self.inner.clock) {
            Ok(unproved) => unproved,
            Err(rejection) => return Progress::Ready(Err(rejection.into())),
        };
        match realm.check(&unproved) {
            Progress::Ready(Ok(seal)) => {
                let verified = self.conclude(realm, token, &unproved, seal);
                Progress::Ready(verified.map_err(Refusal::from))
            }
            Progress::Ready(Err(refusal)) => Progress::Ready(Err(refusal)),
            Progress::Pending(keys) => {
                let (validator, realm) = (self.clone(), Arc::clone(realm));
                let (waiting, token): (_, Box<[u8]>) = (unproved.wait(), token.into());
                Progress::Pending(Pending::new(async move {
                    let keys = keys.await?;
                    // Removed meanwhile, or replaced by the same issuer with other rules.
                    if realm.has_ended() {
                        return match validator.verify(&token) {
                            Progress::Ready(decided) => decided,
                            Progress::Pending(decided) => decided.await,
                        };
                    }
                    Ok(validator.verify_with(&keys, &realm, &token, &waiting)?)
                }))
            }
        }
    }

    /// Goes on after the wait for keys.
    fn verify_with(
        &self,
        keys: &LoadedKeys,
        realm: &Realm,
        token: &[u8],
        waiting: &Waiting,
    ) -> Result<Arc<Verified<C>>, Rejection> {
        // Of many requests that waited with the same token, one checks its signature.
        if let Some(verified) = self.recall(token) {
            return Ok(verified);
        }
        let unproved = realm.resume(waiting, self.inner.clock.now())?;
        let seal = realm.check_with(keys, &unproved)?;
        self.conclude(realm, token, &unproved, seal)
    }

    /// Concludes from what the keys say, and remembers it.
    #[inline]
    fn conclude(
        &self,
        realm: &Realm,
        token: &[u8],
        unproved: &Unproved<'_>,
        seal: Seal<'_>,
    ) -> Result<Arc<Verified<C>>, Rejection> {
        let concluded = if seal.genuine {
            realm.remember_header(unproved);
            self.own(realm, token, unproved, seal.evidence)
        } else {
            Err(RejectionKind::BadSignature.into())
        };
        if let Some(cache) = &self.inner.cache {
            match &concluded {
                // Not for longer than its issuer would say so.
                #[cfg(feature = "introspection")]
                Ok(_) if realm.asks_about_jwts() => {}
                Ok((verified, held)) => cache.remember_accepted(token, seal.term, *held, verified),
                Err(rejection) => cache.remember_refused(token, seal.term, rejection),
            }
        }
        Ok(concluded?.0)
    }

    /// Builds the owned claims. The application's own claims are deserialized only after the
    /// signature was verified. Returns with them how much those hold.
    #[inline]
    fn own(
        &self,
        realm: &Realm,
        token: &[u8],
        unproved: &Unproved<'_>,
        evidence: Evidence<'_>,
    ) -> Result<(Arc<Verified<C>>, usize), Rejection> {
        let (extra, held) = read_extra(unproved.payload)?;
        let claims = realm.claims(unproved, evidence)?;
        let until = realm.policy.times.ends(unproved.claims.times);
        let lifetime = Lifetime::new(until, Arc::clone(&self.inner.clock));
        Ok((Arc::new(Verified::new(claims, extra, lifetime, token)), held))
    }
}
