use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::UnixTime;
use crate::digest::{Digest, Parts};
use crate::introspection::{Introspection, Introspector};
use crate::token::Times;
use crate::validator::policy::RequiredClaim;

/// A token that names no end is remembered no longer than this.
const WITHOUT_EXP: Duration = Duration::from_secs(30);

/// A clock that is set back ends what was remembered later than this before.
const SET_BACK: Duration = Duration::from_secs(1);

/// An opaque token doesn't rest on keys.
const OPAQUE: u64 = 0;

/// An issuer that is asked about tokens, and what is made of its answers.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) introspector: Introspector,
    pub(crate) rules: AnswerRules,
    /// The digest of a token begins with the issuer's.
    key: Key,
    generation: AtomicU64,
    settings: Digest,
}

/// What an answer must say beside what a JWT must.
#[derive(Debug)]
pub(crate) struct AnswerRules {
    pub(crate) accept_missing_aud: bool,
    pub(crate) require_exp: bool,
    pub(crate) required: Box<[RequiredClaim]>,
    pub(crate) jwts: bool,
    pub(crate) prefix: Option<Box<str>>,
    ttl: Duration,
    negative_ttl: Duration,
    max_stale: Duration,
    refresh_ahead: bool,
}

struct Key(Parts);

/// While a decision about a token is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    /// Not before: the clock was set back, or `nbf` lies ahead.
    from: UnixTime,
    renew: UnixTime,
    until: UnixTime,
    stale_until: UnixTime,
    term: Term,
}

/// What must still be the same for a decision to hold: the number of what the issuer was asked for
/// since it was last forgotten and, of a JWT, that of the issuer's keys.
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

    /// Returns what a token of this issuer is remembered by.
    #[inline]
    pub(crate) fn key(&self, token: &[u8]) -> Digest {
        self.key.0.clone().part(token).finish()
    }

    /// Returns `true` if it is asked about opaque tokens that begin like this one.
    pub(crate) fn takes(&self, token: &[u8]) -> bool {
        self.rules.prefix.as_deref().is_none_or(|prefix| token.starts_with(prefix.as_bytes()))
    }

    /// Returns what decisions of now rest on. `keys` is the number of the issuer's keys, for a JWT.
    #[inline]
    pub(crate) fn term(&self, keys: Option<u64>) -> Term {
        (self.generation.load(Ordering::Acquire), keys.unwrap_or(OPAQUE))
    }

    /// Ends what was remembered, and what is being asked for.
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
        // What ends with the token can't be renewed.
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

    /// Returns `true` if it may hold where the issuer can't be asked.
    pub(crate) fn holds_stale(&self, now: UnixTime, term: Term) -> bool {
        self.term == term && self.from <= now && now < self.stale_until
    }

    #[inline]
    pub(crate) fn is_to_be_renewed(&self, now: UnixTime) -> bool {
        now >= self.renew
    }

    /// Returns `true` if it holds at no time.
    pub(crate) fn is_empty(&self) -> bool {
        self.stale_until <= self.from.plus(SET_BACK)
    }
}

/// Every issuer that is asked, and every time that one is forgotten, has a number of its own.
fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}
