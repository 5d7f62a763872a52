//! Decides about a token by asking its issuer, or by what was remembered of an earlier answer.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::digest::Digest;
use crate::introspection::{Answer, Found, IntrospectionErrorKind, Landing, Ticket, Trouble};
use crate::progress::{Pending, Progress};
use crate::refusal::{Refusal, Rejection, RejectionKind, Unavailable, UnavailableReason};
use crate::syntax::is_b64token;
use crate::token::{Evidence, Lifetime, RawClaims, Times, Verified};
use crate::validator::handle::Validator;
use crate::validator::opaque::asked::Asked;
use crate::validator::opaque::judge::same_binding;
use crate::validator::opaque::memory::{Decided, Keeping};
use crate::validator::opaque::shape::is_jwt;
use crate::validator::realm::Realm;
use crate::validator::realms::Realms;
use crate::validator::unreadable::read_extra;

/// The `Retry-After` if nothing else is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl<C> Validator<C> {
    /// Returns the issuer whose answer alone decides about a token; `None` if the token is a JWT that is
    /// checked, or no issuer accepts it.
    pub(crate) fn judged_by_asking(&self, token: &[u8]) -> Option<Arc<Realm>> {
        let is_jwt = is_jwt(token);
        let realm = self.select_issuer(token, is_jwt, None)?;
        let asked = realm.asked.as_ref()?;
        let alone = if is_jwt { realm.has_no_keys() } else { asked.takes(token) };
        alone.then(|| realm.into_owned())
    }

    /// Returns the issuer to ask about a token, if it is asked about any. `issuer` is the one that the
    /// token's route names.
    fn select_issuer(
        &self,
        token: &[u8],
        is_jwt: bool,
        issuer: Option<&str>,
    ) -> Option<Cow<'_, Arc<Realm>>> {
        match &self.inner.realms {
            Realms::One(realm) => Some(Cow::Borrowed(realm)),
            Realms::Many(many) if is_jwt => match many.select(token).ok()? {
                Progress::Ready(realm) => Some(Cow::Owned(realm)),
                // A tenant that isn't resolved yet isn't asked.
                Progress::Pending(_) => None,
            },
            Realms::Many(many) => many.list().of_opaque(token, issuer).cloned().map(Cow::Owned),
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static> Validator<C> {
    /// Verifies a token by asking its issuer; `None` if no issuer is asked about such tokens.
    #[inline]
    pub(crate) fn verify_by_asking(
        &self,
        token: &[u8],
        issuer: Option<&str>,
    ) -> Option<Progress<Arc<Verified<C>>>> {
        if !self.inner.realms.ask() {
            return None;
        }
        self.introspect_selected(token, issuer)
    }

    fn introspect_selected(
        &self,
        token: &[u8],
        issuer: Option<&str>,
    ) -> Option<Progress<Arc<Verified<C>>>> {
        let is_jwt = is_jwt(token);
        let realm = self.select_issuer(token, is_jwt, issuer)?;
        let asked = realm.asked.as_ref()?;
        if !is_jwt {
            return asked.takes(token).then(|| self.ask(&realm, asked, (token, issuer), None));
        }
        if realm.has_no_keys() {
            return Some(self.ask(&realm, asked, (token, issuer), None));
        }
        asked.rules.jwts.then(|| self.verify_and_ask(&realm, asked, (token, issuer)))
    }

    /// Asks about a JWT, whose signature and claims must be valid first.
    fn verify_and_ask(
        &self,
        realm: &Arc<Realm>,
        asked: &Asked,
        (token, issuer): Routed<'_>,
    ) -> Progress<Arc<Verified<C>>> {
        if let Some(decided) = self.remembered(realm, asked, &asked.key(token), token, true) {
            return Progress::Ready(decided);
        }
        if let Some(rejection) = self.recall_refused(token) {
            return Progress::Ready(Err(rejection.into()));
        }
        let keys = self.keys_of(realm);
        match self.verify_by(realm, token) {
            Progress::Ready(Ok(verified)) => {
                self.ask(realm, asked, (token, issuer), Some(Jwt { verified, keys }))
            }
            Progress::Ready(Err(refusal)) => Progress::Ready(Err(refusal)),
            Progress::Pending(verified) => {
                let (validator, realm, token) = (self.clone(), Arc::clone(realm), token.to_vec());
                let issuer = issuer.map(Box::<str>::from);
                Progress::Pending(Pending::new(async move {
                    verified.await?;
                    if realm.has_ended() {
                        return validator.verify(&token, issuer.as_deref()).settled().await;
                    }
                    let Some(asked) = &realm.asked else { return Err(no_longer_asked()) };
                    // Once more, with keys whose number is known.
                    let keys = validator.keys_of(&realm);
                    let verified = validator.verify_by(&realm, &token).settled().await?;
                    let presented = (&*token, issuer.as_deref());
                    validator
                        .ask(&realm, asked, presented, Some(Jwt { verified, keys }))
                        .settled()
                        .await
                }))
            }
        }
    }

    /// Returns the number of an issuer's keys.
    fn keys_of(&self, realm: &Realm) -> u64 {
        realm.watch.generation_at(self.inner.clock.now())
    }

    /// Decides about a token by what is remembered, or by asking its issuer. `jwt` holds its own claims,
    /// if it is a JWT that was verified.
    fn ask(
        &self,
        realm: &Arc<Realm>,
        asked: &Asked,
        (token, issuer): Routed<'_>,
        jwt: Option<Jwt<C>>,
    ) -> Progress<Arc<Verified<C>>> {
        let key = asked.key(token);
        if let Some(decided) = self.remembered(realm, asked, &key, token, jwt.is_some()) {
            return Progress::Ready(decided);
        }
        if token.len() > realm.policy.max_token_bytes {
            return Progress::Ready(Err(RejectionKind::TokenTooLong.into()));
        }
        // Text that can't be an access token isn't sent on.
        if !is_b64token(token) {
            return Progress::Ready(Err(RejectionKind::MalformedToken.into()));
        }
        let flight = self.start(realm, asked, key, token, jwt.clone());
        let (validator, realm, token) = (self.clone(), Arc::clone(realm), token.to_vec());
        let issuer = issuer.map(Box::<str>::from);
        Progress::Pending(Pending::new(async move {
            let Some(asked) = &realm.asked else { return Err(no_longer_asked()) };
            let waiting = asked.introspector.report.waiting();
            let mut decided = flight.await;
            if decided.is_none() && !realm.has_ended() {
                // The runtime of whoever asked first ended, or isn't driven.
                decided = validator.start(&realm, asked, key, &token, jwt).await;
            }
            drop(waiting);
            // Removed meanwhile, or replaced by an entry of the same issuer with other rules.
            if realm.has_ended() {
                return validator.verify(&token, issuer.as_deref()).settled().await;
            }
            decided.unwrap_or_else(|| Err(unavailable(IntrospectionErrorKind::NoRuntime.into())))
        }))
    }

    fn start(
        &self,
        realm: &Arc<Realm>,
        asked: &Asked,
        key: Digest,
        token: &[u8],
        jwt: Option<Jwt<C>>,
    ) -> Landing<Decided<C>> {
        let longest = asked.introspector.longest();
        let flights = &self.inner.opaque.memory().flights;
        flights.join(asked.flight(key), longest, |ticket| {
            let (validator, realm) = (self.clone(), Arc::clone(realm));
            let token = Zeroizing::new(token.to_vec());
            async move { validator.ask_and_remember(&realm, &key, &token, jwt, &ticket).await }
        })
    }

    /// Returns what was decided about a token, if that is still valid.
    #[inline]
    fn remembered(
        &self,
        realm: &Arc<Realm>,
        asked: &Asked,
        key: &Digest,
        token: &[u8],
        is_jwt: bool,
    ) -> Option<Decided<C>> {
        let (memory, now) = (self.inner.opaque.memory(), self.inner.clock.now());
        let keys = is_jwt.then(|| realm.watch.generation_at(now));
        let term = asked.term(keys);
        let (decided, renew) = memory.decided(key, now, term)?;
        match &decided {
            Ok(verified) => {
                asked.introspector.report.found(Found::Accepted);
                if renew {
                    let jwt = keys.map(|keys| Jwt { verified: Arc::clone(verified), keys });
                    drop(self.start(realm, asked, *key, token, jwt));
                }
            }
            Err(_) => asked.introspector.report.found(Found::Refused),
        }
        Some(decided)
    }

    async fn ask_and_remember(
        &self,
        realm: &Arc<Realm>,
        key: &Digest,
        token: &[u8],
        jwt: Option<Jwt<C>>,
        ticket: &Ticket<Decided<C>>,
    ) -> Decided<C> {
        let Some(asked) = &realm.asked else { return Err(no_longer_asked()) };
        let (memory, clock) = (self.inner.opaque.memory(), &self.inner.clock);
        let term = asked.term(jwt.as_ref().map(|jwt| jwt.keys));
        // Another request's answer may have arrived between this one's lookup and its start.
        if let Some((decided, _)) =
            memory.decided(key, clock.now(), term).filter(|(_, renew)| !renew)
        {
            return decided;
        }
        // What is remembered must not outlast a revocation by more than its time, however late the answer comes.
        let asked_at = clock.now();
        let answer = match asked.introspector.ask(token).await {
            Ok(answer) => answer,
            Err(trouble) => {
                let stale = memory.stale(key, clock.now(), term);
                let stale = stale.inspect(|_| asked.introspector.report.found(Found::Stale));
                return stale.ok_or_else(|| unavailable(trouble));
            }
        };
        let now = clock.now();
        let keeping = Keeping { now, quotas: realm.quotas() };
        match self.judge(realm, asked, (token, &answer), jwt, now) {
            Ok(Accepted { verified, times, bytes }) => {
                let lease =
                    asked.lease(times, realm.policy.times.too_old_at(times), asked_at, term);
                if !realm.has_ended() {
                    ticket.if_attached(|| memory.accept(key, lease, bytes, &verified, keeping));
                }
                Ok(verified)
            }
            Err(Refusal::Rejection(rejection)) => {
                let lease = asked.negative_lease(asked_at, term);
                ticket.if_attached(|| memory.refuse(key, lease, &rejection, keeping));
                Err(rejection.into())
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Checks an answer against the policy. One that can't be read is the issuer's fault; claims that
    /// the application can't read are the token's, as they are a JWT's.
    fn judge(
        &self,
        realm: &Realm,
        asked: &Asked,
        (token, answer): (&[u8], &Answer),
        jwt: Option<Jwt<C>>,
        now: UnixTime,
    ) -> Result<Accepted<C>, Refusal> {
        let Answer::Active(json) = answer else { return Err(RejectionKind::Inactive.into()) };
        let malformed =
            |rejection: Rejection| unavailable(asked.introspector.malformed(rejection).into());
        let claims = RawClaims::parse(json, &realm.policy.sources).map_err(malformed)?;
        asked.rules.check(&realm.policy, &claims, json, now)?;
        if let Some(Jwt { verified, .. }) = jwt {
            same_binding(&claims, &verified.claims)?;
            let ends = [claims.times.exp, verified.claims.expires_at()];
            let exp = ends.into_iter().flatten().reduce(UnixTime::min);
            let times = Times { exp, ..verified.claims.times() };
            // Its size is estimated from the answer's.
            return Ok(Accepted { verified, times, bytes: (json.len(), json.len()) });
        }
        let scopes = claims.scopes(json, &realm.policy.sources.scope).map_err(malformed)?;
        let own = realm.claims(&claims, scopes, Evidence::Introspection);
        let (extra, held) = read_extra(json)?;
        let until = realm.policy.times.ends(claims.times);
        let lifetime = Lifetime::new(until, Arc::clone(&self.inner.clock));
        let verified = Arc::new(Verified::new(own, extra, lifetime, token));
        Ok(Accepted { verified, times: claims.times, bytes: (json.len(), held) })
    }
}

/// A token, and the issuer that its route names.
type Routed<'a> = (&'a [u8], Option<&'a str>);

/// A JWT's own claims.
struct Jwt<C> {
    verified: Arc<Verified<C>>,
    /// The number of the issuer's keys, from before they were used: if it changes meanwhile, the
    /// decision isn't remembered for the new one.
    keys: u64,
}

impl<C> Clone for Jwt<C> {
    fn clone(&self) -> Self {
        Self { verified: Arc::clone(&self.verified), keys: self.keys }
    }
}

/// A token that was accepted because of an answer.
struct Accepted<C> {
    verified: Arc<Verified<C>>,
    times: Times,
    /// The sizes of the answer and of the application's claims.
    bytes: (usize, usize),
}

fn no_longer_asked() -> Refusal {
    RejectionKind::WrongIssuer.into()
}

fn unavailable(trouble: Trouble) -> Refusal {
    let reason = match trouble.error.kind() {
        IntrospectionErrorKind::CredentialsRefused | IntrospectionErrorKind::Credentials => {
            UnavailableReason::IntrospectionDenied
        }
        IntrospectionErrorKind::Overloaded => UnavailableReason::IntrospectionOverloaded,
        _ => UnavailableReason::IntrospectionFailed,
    };
    let retry_after = trouble.retry_after.unwrap_or_default().max(RETRY_AFTER);
    Unavailable::new(reason, retry_after).because(Some(Arc::new(trouble.error))).into()
}
