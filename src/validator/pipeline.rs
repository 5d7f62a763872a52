//! The path of a token through a validator: recall, verify, remember.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::clock::UnixTime;
use crate::jose::Scratch;
use crate::jwks::LoadedKeys;
use crate::progress::{Pending, Progress};
use crate::refusal::{Refusal, Rejection, RejectionKind};
use crate::token::{AccessToken, Evidence, Lifetime, RawClaims, Verified};
use crate::validator::cache::Cache;
use crate::validator::handle::{Inner, Validator};
#[cfg(feature = "introspection")]
use crate::validator::opaque::begins_as_jwt;
use crate::validator::opened::Opened;
use crate::validator::presented::Presented;
use crate::validator::realm::{Realm, SignatureCheck, UnverifiedToken, Waiting};
use crate::validator::realms::{Many, Realms};
use crate::validator::unreadable::read_extra;

impl<C> Validator<C> {
    /// Returns a token's claims that were verified before, if that is still valid.
    #[inline]
    pub(crate) fn recall(&self, token: &[u8]) -> Option<Arc<Verified<C>>> {
        let Inner { cache, clock, realms, .. } = &*self.inner;
        let cache = cache.as_ref()?;
        // Only JWTs are in this cache; other tokens are in that of the answers about them.
        #[cfg(feature = "introspection")]
        if !begins_as_jwt(token) {
            return None;
        }
        // Before the lookup: reading the clock takes longer while memory is being loaded.
        let now = clock.now();
        match realms {
            Realms::One(realm) => {
                let generation = realm.watch.generation_at(now);
                cache.accepted(token, |term| term.holds(now, generation))
            }
            Realms::Many(_) => Self::recall_among(cache, token, now),
        }
    }

    /// The same, for a token of one of several issuers.
    #[cold]
    fn recall_among(cache: &Cache<C>, token: &[u8], now: UnixTime) -> Option<Arc<Verified<C>>> {
        cache.accepted(token, |term| term.stands(now))
    }

    /// Returns why a token was refused before, with its signature known, if it still would be.
    pub(crate) fn recall_refused(&self, token: &[u8]) -> Option<Rejection> {
        let Inner { cache, clock, realms, .. } = &*self.inner;
        let cache = cache.as_ref()?;
        // The clock is read only for a token that is known.
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
            (Realms::Many(many), _) => match many.of(token) {
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
    /// [`Refusal::Rejection`] if it isn't valid, [`Refusal::Unavailable`] if that can't be determined.
    pub async fn validate(&self, token: &str) -> Result<AccessToken<C>, Refusal> {
        if let Some(token) = self.recognize(token.as_bytes()) {
            self.inner.summary.accepted();
            return Ok(token);
        }
        let presented = Presented::bearer(token.as_bytes());
        let decided = self.authenticate(&presented).settled().await;
        match &decided {
            Ok(_) => self.inner.summary.accepted(),
            Err(refusal) => self.inner.summary.refused(refusal),
        }
        decided
    }

    /// Returns the token of a request that presents nothing else, if it was verified before and that is still
    /// valid.
    #[inline]
    pub(crate) fn recognize(&self, token: &[u8]) -> Option<AccessToken<C>> {
        // If tokens may be bound, a request needs more checks.
        #[cfg(any(feature = "dpop", feature = "mtls"))]
        if self.binds() {
            return None;
        }
        self.recall(token).map(AccessToken::new)
    }

    /// Decides whether a request is authenticated by what it presents, if
    /// [`recognize`](Self::recognize) doesn't know it. Nothing waits here, and nothing is fetched.
    #[inline]
    pub(crate) fn authenticate(&self, presented: &Presented<'_>) -> Progress<AccessToken<C>> {
        #[cfg(any(feature = "dpop", feature = "mtls"))]
        if self.binds() {
            return self.authenticate_bound(presented);
        }
        // A bearer token, which needs nothing else to be shown: one that is bound (`cnf`) is never
        // verified.
        self.verify(presented.token, presented.issuer).map(AccessToken::new)
    }

    /// Verifies a token that [`recall`](Self::recall) doesn't know. `_issuer` is the one that its route
    /// names.
    #[inline]
    pub(crate) fn verify(&self, token: &[u8], _issuer: Option<&str>) -> Progress<Arc<Verified<C>>> {
        #[cfg(feature = "introspection")]
        if let Some(progress) = self.verify_by_asking(token, _issuer) {
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
        if let Err(rejection) = many.check_length(token) {
            return Progress::Ready(Err(rejection.into()));
        }
        let (mut scratch, mut claims) = (Scratch::take(token.len()), RawClaims::default());
        let mut opened = match Opened::new(token, &mut scratch) {
            Ok(opened) => opened,
            Err(rejection) => return Progress::Ready(Err(rejection.into())),
        };
        match many.select_by(&mut opened, &mut claims) {
            Ok(Progress::Ready(realm)) => self.verify_opened(&realm, token, opened, &mut claims),
            Ok(Progress::Pending(realm)) => {
                let (validator, token): (_, Box<[u8]>) = (self.clone(), token.into());
                Progress::Pending(Pending::new(async move {
                    let realm = realm.await?;
                    validator.verify_by(&realm, &token).settled().await
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
        let (mut scratch, mut claims) = (Scratch::take(token.len()), RawClaims::default());
        match Opened::new(token, &mut scratch) {
            Ok(opened) => self.verify_opened(realm, token, opened, &mut claims),
            Err(rejection) => Progress::Ready(Err(rejection.into())),
        }
    }

    /// Verifies a token of this issuer, of which something may have been read already.
    #[inline]
    fn verify_opened<'a>(
        &self,
        realm: &Arc<Realm>,
        token: &'a [u8],
        opened: Opened<'a>,
        claims: &mut RawClaims<'a>,
    ) -> Progress<Arc<Verified<C>>> {
        // Of several issuers, another may accept longer ones.
        if token.len() > realm.policy.max_token_bytes {
            return Progress::Ready(Err(RejectionKind::TokenTooLong.into()));
        }
        let unverified = match realm.read(opened, claims, &*self.inner.clock) {
            Ok(unverified) => unverified,
            Err(rejection) => return Progress::Ready(Err(rejection.into())),
        };
        match realm.check(&unverified) {
            Progress::Ready(Ok(checked)) => {
                let verified = self.finish(realm, token, &unverified, checked);
                Progress::Ready(verified.map_err(Refusal::from))
            }
            Progress::Ready(Err(refusal)) => Progress::Ready(Err(refusal)),
            Progress::Pending(keys) => {
                let (validator, realm) = (self.clone(), Arc::clone(realm));
                let (waiting, token): (_, Box<[u8]>) = (unverified.wait(), token.into());
                Progress::Pending(Pending::new(async move {
                    let keys = keys.await?;
                    // Removed meanwhile, or replaced by an entry of the same issuer with other rules.
                    if realm.has_ended() {
                        return validator.verify(&token, None).settled().await;
                    }
                    Ok(validator.verify_with(&keys, &realm, &token, &waiting)?)
                }))
            }
        }
    }

    /// Continues after the wait for keys.
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
        let mut claims = RawClaims::default();
        let unverified = realm.resume(waiting, &mut claims, self.inner.clock.now())?;
        let checked = realm.check_with(keys, &unverified)?;
        self.finish(realm, token, &unverified, checked)
    }

    /// Completes the decision after the signature check, and remembers it.
    #[inline]
    fn finish(
        &self,
        realm: &Realm,
        token: &[u8],
        unverified: &UnverifiedToken<'_, '_>,
        checked: SignatureCheck<'_>,
    ) -> Result<Arc<Verified<C>>, Rejection> {
        let finished = if checked.is_valid {
            realm.remember_header(unverified);
            self.build_verified(realm, token, unverified, checked.evidence)
        } else {
            Err(RejectionKind::BadSignature.into())
        };
        if let Some(cache) = &self.inner.cache {
            let term = (checked.term, unverified.now);
            match &finished {
                // Remembered with the issuer's answer instead, for as long as that allows.
                #[cfg(feature = "introspection")]
                Ok(_) if realm.asks_about_jwts() => {}
                Ok((verified, held)) => cache.remember_accepted(token, term, *held, verified),
                Err(rejection) => cache.remember_refused(token, term, rejection),
            }
        }
        Ok(finished?.0)
    }

    /// Builds the owned claims. The application's own claims are deserialized only after the
    /// signature was verified. Also returns how much those hold.
    #[inline]
    fn build_verified(
        &self,
        realm: &Realm,
        token: &[u8],
        unverified: &UnverifiedToken<'_, '_>,
        evidence: Evidence<'_>,
    ) -> Result<(Arc<Verified<C>>, usize), Rejection> {
        let (extra, held) = read_extra(unverified.payload)?;
        let sources = &realm.policy.sources;
        let scopes = unverified.claims.scopes(unverified.payload, &sources.scope)?;
        let until = realm.policy.times.ends(unverified.claims.times);
        let lifetime = Lifetime::new(until, Arc::clone(&self.inner.clock));
        let claims = realm.claims(unverified.claims, scopes, evidence);
        Ok((Arc::new(Verified::new(claims, extra, lifetime, token)), held))
    }
}
