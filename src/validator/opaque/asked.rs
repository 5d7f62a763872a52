//! An issuer that is asked about tokens, and how long its answers are remembered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::UnixTime;
use crate::digest::{Digest, Parts};
use crate::introspection::{Introspection, Introspector};
use crate::token::Times;
use crate::validator::policy::RequiredClaim;

/// A token without `exp` is remembered no longer than this.
const WITHOUT_EXP: Duration = Duration::from_secs(30);

/// A clock that is set back by more than this invalidates what was remembered.
const SET_BACK: Duration = Duration::from_secs(1);

/// An opaque token doesn't depend on keys.
const OPAQUE: u64 = 0;

/// An issuer that is asked about tokens, and the rules for its answers.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) introspector: Introspector,
    pub(crate) rules: AnswerRules,
    /// The digest of a token begins with the issuer's.
    key: Key,
    generation: AtomicU64,
    settings: Digest,
}

/// What an answer must contain beyond the claims of a JWT.
#[derive(Debug)]
pub(crate) struct AnswerRules {
    pub(crate) accept_missing_aud: bool,
    pub(crate) require_exp: bool,
    pub(crate) required: Box<[RequiredClaim]>,
    pub(crate) jwts: bool,
    pub(crate) prefix: Option<Box<str>>,
    /// It is asked about opaque tokens only for routes that name it.
    pub(crate) by_route: bool,
    ttl: Duration,
    negative_ttl: Duration,
    max_stale: Duration,
    refresh_ahead: bool,
}

struct Key(Parts);

/// While a decision about a token is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    /// Not before: the clock was set back, or `nbf` is in the future.
    from: UnixTime,
    renew: UnixTime,
    until: UnixTime,
    stale_until: UnixTime,
    term: Term,
}

/// What must be unchanged for a decision to be valid: the issuer's generation, which changes when it is
/// forgotten, and for a JWT that of the issuer's keys.
pub(crate) type Term = (u64, u64);

impl Asked {
    pub(crate) fn new(
        introspector: Introspector,
        settings: &Introspection,
        required: Box<[RequiredClaim]>,
    ) -> Self {
        let rules = AnswerRules {
            accept_missing_aud: settings.accept_missing_aud,
            require_exp: settings.require_exp,
            required,
            jwts: settings.jwts,
            prefix: settings.prefix.as_deref().map(Into::into),
            by_route: settings.by_route,
            ttl: settings.ttl,
            negative_ttl: settings.negative_ttl,
            max_stale: settings.max_stale,
            refresh_ahead: settings.refresh_ahead,
        };
        let key = Key(Parts::new("introspected").part(&*introspector.issuer));
        let generation = AtomicU64::new(next_generation());
        Self { introspector, rules, key, generation, settings: settings.identity() }
    }

    /// Returns `true` if these are the settings it was built with.
    pub(crate) fn is_set_to(&self, settings: &Introspection) -> bool {
        self.settings == settings.identity()
    }

    /// Returns the key under which a token of this issuer is remembered.
    #[inline]
    pub(crate) fn key(&self, token: &[u8]) -> Digest {
        self.key.0.clone().part(token).finish()
    }

    /// Returns the key of an introspection of the token with this key.
    pub(crate) fn flight(&self, key: Digest) -> (Digest, u64) {
        (key, self.generation.load(Ordering::Acquire))
    }

    /// Returns `true` if it is asked about opaque tokens that begin like this one.
    pub(crate) fn takes(&self, token: &[u8]) -> bool {
        self.rules.prefix.as_deref().is_none_or(|prefix| token.starts_with(prefix.as_bytes()))
    }

    /// Returns what current decisions depend on. `keys` is the number of the issuer's keys, for a JWT.
    #[inline]
    pub(crate) fn term(&self, keys: Option<u64>) -> Term {
        (self.generation.load(Ordering::Acquire), keys.unwrap_or(OPAQUE))
    }

    /// Invalidates what was remembered, and what is being asked.
    pub(crate) fn forget(&self) {
        self.generation.store(next_generation(), Ordering::Release);
    }

    /// Returns how long an accepted token with these times is remembered; `until` is when its settings
    /// end it.
    pub(crate) fn lease(&self, times: Times, until: UnixTime, now: UnixTime, term: Term) -> Lease {
        let rules = &self.rules;
        // RFC 7662 §4: never beyond `exp`, to which no leeway is added here.
        let end = times.exp.unwrap_or(until).min(until);
        let ttl = if times.exp.is_some() { rules.ttl } else { rules.ttl.min(WITHOUT_EXP) };
        let fresh = now.plus(ttl);
        // A lease that ends with the token can't be renewed.
        let renews = rules.refresh_ahead && fresh < end;
        let renew = if renews { now.plus(ttl.mul_f64(0.8)) } else { end };
        Lease {
            from: now.minus(SET_BACK),
            renew,
            until: fresh.min(end),
            stale_until: fresh.plus(rules.max_stale).min(end),
            term,
        }
    }

    /// Returns how long a refused token is remembered.
    pub(crate) fn negative_lease(&self, now: UnixTime, term: Term) -> Lease {
        let until = now.plus(self.rules.negative_ttl);
        let from = now.minus(SET_BACK);
        Lease { from, renew: until, until, stale_until: until, term }
    }
}

impl Lease {
    #[inline]
    pub(crate) fn holds(&self, now: UnixTime, term: Term) -> bool {
        self.term == term && self.from <= now && now < self.until
    }

    /// Returns `true` if it may be used while the issuer can't be asked.
    pub(crate) fn holds_stale(&self, now: UnixTime, term: Term) -> bool {
        self.term == term && self.from <= now && now < self.stale_until
    }

    #[inline]
    pub(crate) fn is_to_be_renewed(&self, now: UnixTime) -> bool {
        now >= self.renew
    }

    /// Returns `true` if it can't be valid again.
    pub(crate) fn is_over(&self, now: UnixTime) -> bool {
        now >= self.stale_until
    }

    /// Returns `true` if it is never valid.
    pub(crate) fn is_empty(&self) -> bool {
        self.stale_until <= self.from.plus(SET_BACK)
    }
}

/// Every issuer that is asked has a number, and a new one each time that it is forgotten.
fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}
