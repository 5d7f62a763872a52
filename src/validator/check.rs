use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::clock::UnixTime;
use crate::jose::{Algorithm, Compact, Header, Scratch, decode_into};
use crate::jwks::{Candidates, Jwks, KeySet, KeyWait, KeysState, Miss};
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind, Unavailable, UnavailableReason};
use crate::text::Excerpt;
use crate::token::{AccessToken, Claims, RawClaims, Verified};
use crate::validator::cache::Term;
use crate::validator::handle::{Inner, Trust, Validator};
use crate::validator::metered;
use crate::validator::policy::unsupported_algorithm;
use crate::validator::table::Table;
use crate::validator::unreadable::without_values;

/// What became of a token at first sight.
#[derive(Debug)]
pub(crate) enum Check<C> {
    Done(Checked<C>),
    /// It could be valid, with a key that a refresh may bring.
    Wait(KeyWait),
}

pub(crate) type Checked<C> = Result<AccessToken<C>, Refusal>;

/// Why the pipeline stopped.
enum Stop {
    Refused(Refusal),
    Wait(KeyWait),
}

impl<T: Into<Refusal>> From<T> for Stop {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

/// The encoded headers of tokens that were accepted: an issuer sends the same few over and over,
/// and what the policy says to one depends on nothing else.
pub(crate) type Headers = Table<Arc<Vetted<'static>>>;

/// What a header says that met the policy.
#[derive(Debug)]
pub(crate) struct Vetted<'a> {
    /// `None` for the shared secret's, which is then the only one.
    algorithm: Option<Algorithm>,
    kid: Option<Cow<'a, str>>,
    /// Whether `typ` says access token.
    typed: bool,
}

/// What the keys say to a signature.
struct Seal {
    genuine: bool,
    /// Which keys said so, and how much longer they serve as they are.
    generation: u64,
    lasts: Option<Duration>,
}

impl<C> Validator<C> {
    /// Returns a token that was accepted before, if it still would be.
    pub(crate) fn recall(&self, token: &[u8]) -> Option<AccessToken<C>> {
        let Inner { cache, clock, trust, .. } = &*self.inner;
        let cache = cache.as_ref()?;
        // Before the lookup: to read the clock takes longer while memory is waited for.
        let now = clock.now();
        cache.accepted(token, || now, trust.generation_at(now))
    }

    /// Returns why a token was refused before, with its signature known, if it still would be.
    pub(crate) fn recall_refused(&self, token: &[u8]) -> Option<Rejection> {
        let Inner { cache, clock, trust, .. } = &*self.inner;
        cache.as_ref()?.refused(token, || clock.now(), trust.generation())
    }
}

impl<C: DeserializeOwned> Validator<C> {
    /// Decides at first sight about a token that [`recall`](Self::recall) doesn't know. Nothing
    /// waits here, and nothing is fetched.
    pub(crate) fn check(&self, token: &[u8]) -> Check<C> {
        if let Some(rejection) = self.recall_refused(token) {
            return Check::Done(Err(rejection.into()));
        }
        match self.run(token, false) {
            Ok(token) => Check::Done(Ok(token)),
            Err(Stop::Refused(refusal)) => Check::Done(Err(refusal)),
            Err(Stop::Wait(wait)) => Check::Wait(wait),
        }
    }

    /// Decides after the wait: now the keys are as fresh as they get.
    pub(crate) fn check_again(&self, token: &[u8]) -> Checked<C> {
        self.run(token, true).map_err(|stop| match stop {
            Stop::Refused(refusal) => refusal,
            // The keys that came are gone again. Nobody waits twice.
            Stop::Wait(_) => {
                let reason = UnavailableReason::RefreshTimedOut;
                Unavailable::new(reason, Duration::from_secs(1)).into()
            }
        })
    }

    /// The pipeline. What costs nothing comes first, and the signature last, so that a token which
    /// can't be valid costs neither a signature nor a fetch, and allocates nothing.
    fn run(&self, token: &[u8], waited: bool) -> Result<AccessToken<C>, Stop> {
        let Inner { policy, trust, clock, headers, cache } = &*self.inner;
        if token.len() > policy.max_token_bytes {
            return Err(RejectionKind::TokenTooLong.into());
        }
        let compact = Compact::split(token)?;
        let mut scratch = Scratch::take(token.len());

        let known = headers.find(compact.header, |known| Some(Arc::clone(known)));
        let (header, room) = match &known {
            Some(known) => (known.borrowed(), scratch.room()),
            None => {
                let (json, room) = decode_into(compact.header, scratch.room())?;
                (self.vet(Header::parse(json)?)?, room)
            }
        };

        let (payload, room) = decode_into(compact.payload, room)?;
        let claims = RawClaims::parse(payload, &policy.sources)?;
        let now = clock.now();
        policy.check_claims(&claims, header.typed, now)?;

        let (signature, _) = decode_into(compact.signature, room)?;
        let seal = trust.check(&header, compact.signing_input, signature, now, waited)?;

        let (from, until) = policy.term(&claims);
        let until = seal.lasts.map_or(until, |lasts| now.plus(lasts).min(until));
        let term = Term { from, until, generation: seal.generation };
        let checked = if seal.genuine {
            if known.is_none() {
                let bytes = header.kid.as_ref().map_or(0, |kid| kid.len());
                headers.insert(compact.header, bytes, Arc::new(header.to_owned()));
            }
            self.accept(&claims, payload, header)
        } else {
            Err(RejectionKind::BadSignature.into())
        };
        if let Some(cache) = cache {
            match &checked {
                Ok((accepted, held)) => cache.remember_accepted(token, term, *held, accepted),
                Err(rejection) => cache.remember_refused(token, term, rejection),
            }
        }
        Ok(checked?.0)
    }

    /// Holds a header against the policy.
    fn vet<'a>(&self, header: Header<'a>) -> Result<Vetted<'a>, Rejection> {
        let Inner { policy, trust, .. } = &*self.inner;
        let typed = policy.check_type(&header)?;
        let algorithm = match trust {
            Trust::Jwks(_) => Some(policy.check_algorithm(&header)?),
            Trust::SharedSecret(key) if header.alg == key.algorithm().name() => None,
            Trust::SharedSecret(_) => return Err(unsupported_algorithm(&header)),
        };
        Ok(Vetted { algorithm, kid: header.kid, typed })
    }

    /// Builds the owned claims. The application's own claims are deserialized only after the
    /// signature was verified. Returns with them how much those hold.
    fn accept(
        &self,
        claims: &RawClaims<'_>,
        payload: &[u8],
        header: Vetted<'_>,
    ) -> Result<(AccessToken<C>, usize), Rejection> {
        let policy = &self.inner.policy;
        let (extra, held) = metered::read(payload).map_err(|error| {
            let reason = without_values(&error.to_string()).into();
            Rejection::with(RejectionKind::MalformedClaim, Detail::Unreadable { reason })
        })?;
        let sources = &policy.sources;
        let scopes = claims.scopes(payload, &sources.scope)?;
        let client_id = claims.client_id(&sources.client_id);
        let issuer = policy.issuer_of(claims);
        let kid = header.kid.as_deref();
        let claims = Claims::new(issuer, claims, client_id, scopes, header.algorithm, kid);
        Ok((AccessToken::new(Verified { claims, extra }), held))
    }
}

impl<'a> Vetted<'a> {
    fn borrowed(&'a self) -> Self {
        let kid = self.kid.as_deref().map(Cow::Borrowed);
        Self { algorithm: self.algorithm, kid, typed: self.typed }
    }

    fn to_owned(&self) -> Vetted<'static> {
        let kid = self.kid.as_deref().map(|kid| Cow::Owned(kid.to_owned()));
        Vetted { algorithm: self.algorithm, kid, typed: self.typed }
    }
}

impl Trust {
    /// Returns the number of the keys of now.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Self::Jwks(jwks) => jwks.generation(),
            Self::SharedSecret(_) => ITS_ONLY_GENERATION,
        }
    }

    /// The same, by a caller who knows the time.
    fn generation_at(&self, now: UnixTime) -> u64 {
        match self {
            Self::Jwks(jwks) => jwks.generation_at(now),
            Self::SharedSecret(_) => ITS_ONLY_GENERATION,
        }
    }

    fn check(
        &self,
        header: &Vetted<'_>,
        message: &[u8],
        signature: &[u8],
        now: UnixTime,
        waited: bool,
    ) -> Result<Seal, Stop> {
        match (self, header.algorithm) {
            (Self::Jwks(jwks), Some(algorithm)) => {
                let kid = header.kid.as_deref();
                check_signature(jwks, (algorithm, kid), message, signature, now, waited)
            }
            (Self::SharedSecret(key), None) => {
                let genuine = key.verify(message, signature);
                Ok(Seal { genuine, generation: ITS_ONLY_GENERATION, lasts: None })
            }
            _ => Err(RejectionKind::BadSignature.into()),
        }
    }
}

/// A shared secret is never replaced.
const ITS_ONLY_GENERATION: u64 = 1;

/// Checks the signature with the issuer's keys, of which the header may name one.
fn check_signature(
    jwks: &Jwks,
    (algorithm, kid): (Algorithm, Option<&str>),
    message: &[u8],
    signature: &[u8],
    now: UnixTime,
    waited: bool,
) -> Result<Seal, Stop> {
    let loaded = jwks.load(now);
    if loaded.state() != KeysState::Serving {
        return Err(missed(jwks.wait_cold()));
    }
    match loaded.candidates(algorithm, kid) {
        Candidates::Fitting(fitting) => Ok(Seal {
            genuine: fitting.iter().any(|key| key.verify(algorithm, message, signature)),
            generation: loaded.keys().generation(),
            lasts: loaded.serve_for(),
        }),
        Candidates::TooMany => Err(RejectionKind::AmbiguousKey.into()),
        Candidates::None => match kid {
            Some(kid) if !waited => {
                match jwks.miss(&loaded, (algorithm, kid), [message, signature]) {
                    Miss::Absent => Err(unknown_key(loaded.keys(), algorithm, Some(kid)).into()),
                    other => Err(missed(other)),
                }
            }
            _ => Err(unknown_key(loaded.keys(), algorithm, kid).into()),
        },
    }
}

/// Allocates nothing: such tokens cost the sender nothing.
fn unknown_key(keys: &KeySet, algorithm: Algorithm, kid: Option<&str>) -> Rejection {
    let known = Arc::clone(keys.listed());
    let kid = kid.map(Excerpt::new);
    let detail = Detail::Key { kid, algorithm: algorithm.name(), known };
    Rejection::with(RejectionKind::UnknownKey, detail)
}

fn missed(miss: Miss) -> Stop {
    match miss {
        Miss::Absent => RejectionKind::UnknownKey.into(),
        Miss::Unavailable(unavailable) => unavailable.into(),
        Miss::Wait(wait) => Stop::Wait(wait),
    }
}
