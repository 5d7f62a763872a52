//! The usable keys of an issuer at one time, the lookup by `alg` and `kid`, and the change to the next set.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use crate::jose::{Algorithm, Algorithms, Identity, IgnoredKey, ParsedKeySet, VerificationKey};
use crate::text::{Excerpt, listed};

/// The most keys that are tried on one token.
const MAX_TRIED: usize = 4;

/// An issuer's usable keys at one time. Never changed, only replaced.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    generation: u64,
    /// Ordered by `kid`, those without one first.
    keys: Box<[Held]>,
    by_kid: HashMap<Box<str>, Range<usize>, RandomState>,
    ignored: Box<[IgnoredKey]>,
    /// Those of `keys` that the issuer has removed, within their grace period.
    retiring: Box<[Retiring]>,
    /// The first few keys, for refusals.
    listed: Arc<str>,
}

/// How many keys a refusal names.
const MAX_LISTED: usize = 8;

/// A key, and the algorithms that it may be used with, by which most keys are skipped.
#[derive(Debug)]
struct Held {
    fits: Algorithms,
    key: Arc<VerificationKey>,
}

impl From<Arc<VerificationKey>> for Held {
    fn from(key: Arc<VerificationKey>) -> Self {
        let fits =
            Algorithm::ALL.iter().copied().filter(|algorithm| key.fits(*algorithm)).collect();
        Self { fits, key }
    }
}

#[derive(Clone, Debug)]
struct Retiring {
    key: Arc<VerificationKey>,
    until: Instant,
}

/// The next set, and what it changed.
#[derive(Debug)]
pub(crate) struct Succession {
    pub(crate) set: Arc<KeySet>,
    /// Whether the keys differ from those before.
    pub(crate) changed: bool,
    /// The `kid`s that no longer have a key.
    pub(crate) removed: Vec<Box<str>>,
    /// The `kid`s that have other keys than before, and none of the old ones (RFC 7517 §4.5).
    pub(crate) reused: Vec<Box<str>>,
}

/// The keys that may have signed a token.
#[derive(Debug)]
pub(crate) enum Candidates<'a> {
    /// No key matches.
    None,
    /// These match.
    Fitting(Fitting<'a>),
    /// More keys match than are ever tried.
    TooMany,
}

/// One to four keys.
#[derive(Debug)]
pub(crate) struct Fitting<'a> {
    keys: [Option<&'a VerificationKey>; MAX_TRIED],
}

impl<'a> Fitting<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a VerificationKey> + '_ {
        self.keys.iter().copied().flatten()
    }
}

fn describe(key: &VerificationKey) -> String {
    let fits = key.algorithm().map_or(key.kty(), Algorithm::name);
    match key.kid() {
        Some(kid) => format!("{} {fits}", Excerpt::new(kid)),
        None => format!("(no kid) {fits}"),
    }
}

impl KeySet {
    /// Creates the first set.
    pub(crate) fn first(parsed: ParsedKeySet) -> Self {
        let keys = parsed.keys.into_iter().map(Arc::new).collect();
        Self::new(1, keys, parsed.ignored.into(), Box::default())
    }

    fn new(
        generation: u64,
        mut keys: Vec<Arc<VerificationKey>>,
        ignored: Box<[IgnoredKey]>,
        retiring: Box<[Retiring]>,
    ) -> Self {
        keys.sort_by(|a, b| a.kid().cmp(&b.kid()));
        let mut by_kid: HashMap<Box<str>, Range<usize>, RandomState> = HashMap::default();
        for (at, key) in keys.iter().enumerate() {
            if let Some(kid) = key.kid() {
                by_kid.entry(kid.into()).or_insert(at..at).end = at.saturating_add(1);
            }
        }
        let listed = listed(keys.iter().map(|key| describe(key)), MAX_LISTED).into();
        let keys = keys.into_iter().map(Held::from).collect();
        Self { generation, keys, by_kid, ignored, retiring, listed }
    }

    /// Returns the first few keys, printable: `"kid" alg`.
    pub(crate) const fn listed(&self) -> &Arc<str> {
        &self.listed
    }

    /// Builds the set that follows this one. Keys that the issuer has removed stay until
    /// `grace_ends`, if that is later than `now`; but never beside a new key of the same `kid`.
    pub(crate) fn followed_by(
        &self,
        parsed: ParsedKeySet,
        now: Instant,
        grace_ends: Instant,
    ) -> Succession {
        let mut keys: Vec<_> = parsed.keys.into_iter().map(Arc::new).collect();
        let named: HashSet<&str> = keys.iter().filter_map(|new| new.kid()).collect();
        let published = identities(keys.iter().map(AsRef::as_ref));
        let gone = |key: &VerificationKey| {
            !published.contains(&key.identity()) && key.kid().is_none_or(|kid| !named.contains(kid))
        };
        // An empty set arrives here only if it revokes all keys.
        let revoked = keys.is_empty();
        let retiring: Box<[Retiring]> = self
            .keys
            .iter()
            .map(|held| &held.key)
            .filter(|key| !revoked && gone(key))
            .map(|key| Retiring {
                key: Arc::clone(key),
                until: self.retires(key).unwrap_or(grace_ends),
            })
            .filter(|retiring| now < retiring.until)
            .collect();
        keys.extend(retiring.iter().map(|retiring| Arc::clone(&retiring.key)));
        self.replaced_by(keys, parsed.ignored.into(), retiring)
    }

    /// Builds the set without the keys whose grace period has ended, if there are any.
    pub(crate) fn without_retired(&self, now: Instant) -> Option<Succession> {
        let (over, retiring): (Vec<_>, Vec<_>) =
            self.retiring.iter().cloned().partition(|retiring| retiring.until <= now);
        if over.is_empty() {
            return None;
        }
        let keys = self.keys.iter().map(|held| &held.key);
        let keys = keys.filter(|key| !over.iter().any(|it| Arc::ptr_eq(&it.key, key)));
        Some(self.replaced_by(keys.cloned().collect(), self.ignored.clone(), retiring.into()))
    }

    fn replaced_by(
        &self,
        keys: Vec<Arc<VerificationKey>>,
        ignored: Box<[IgnoredKey]>,
        retiring: Box<[Retiring]>,
    ) -> Succession {
        let changed = keys.len() != self.keys.len()
            || identities(keys.iter().map(AsRef::as_ref)) != identities(self.keys());
        let generation = self.generation.saturating_add(u64::from(changed));
        let set = Self::new(generation, keys, ignored, retiring);
        let (mut removed, mut reused) = (Vec::new(), Vec::new());
        for kid in self.by_kid.keys() {
            let (old, new) = (self.of_kid(kid), set.of_kid(kid));
            if new.is_empty() {
                removed.push(kid.clone());
            } else if identities(old.iter().map(|held| &*held.key))
                .is_disjoint(&identities(new.iter().map(|held| &*held.key)))
            {
                reused.push(kid.clone());
            }
        }
        Succession { set: Arc::new(set), changed, removed, reused }
    }

    /// Returns the number of this set, which changes whenever the keys do.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the keys for a token of this `alg` and `kid`, without those whose grace period has ended by
    /// now, even if they have not been removed yet. Allocates nothing.
    pub(crate) fn candidates(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        now: Instant,
    ) -> Candidates<'_> {
        let within = kid.map_or(&*self.keys, |kid| self.of_kid(kid));
        let over = |held: &Held| self.retires(&held.key).is_some_and(|until| until <= now);
        let fits = |held: &&Held| held.fits.contains(algorithm) && !over(held);
        let mut fitting = within.iter().filter(fits);
        let mut keys = [None; MAX_TRIED];
        for slot in &mut keys {
            *slot = fitting.next().map(|held| &*held.key);
        }
        match (keys, fitting.next()) {
            ([None, ..], _) => Candidates::None,
            (_, Some(_)) => Candidates::TooMany,
            (keys, None) => Candidates::Fitting(Fitting { keys }),
        }
    }

    fn of_kid(&self, kid: &str) -> &[Held] {
        let range = self.by_kid.get(kid).cloned();
        range.and_then(|range| self.keys.get(range)).unwrap_or_default()
    }

    /// Returns `true` if there is a key for a token of this `alg` and `kid`.
    pub(crate) fn has(&self, algorithm: Algorithm, kid: &str) -> bool {
        self.of_kid(kid).iter().any(|held| held.fits.contains(algorithm))
    }

    pub(crate) fn kids(&self) -> impl Iterator<Item = &str> {
        self.by_kid.keys().map(|kid| &**kid)
    }

    /// Returns the `kid`s under which more than one key would be tried on one token.
    pub(crate) fn ambiguous_kids(&self) -> impl Iterator<Item = &str> {
        self.kids().filter(|kid| {
            let keys = self.of_kid(kid);
            Algorithm::ALL
                .iter()
                .any(|it| keys.iter().filter(|held| held.fits.contains(*it)).count() > 1)
        })
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &VerificationKey> {
        self.keys.iter().map(|held| &*held.key)
    }

    pub(crate) fn ignored(&self) -> &[IgnoredKey] {
        &self.ignored
    }

    /// Returns until when a key that the issuer has removed stays in use.
    pub(crate) fn retires(&self, key: &VerificationKey) -> Option<Instant> {
        let retiring = self.retiring.iter().find(|it| std::ptr::eq(&*it.key, key));
        retiring.map(|retiring| retiring.until)
    }

    /// Returns when the next key's grace period ends.
    pub(crate) fn next_retirement(&self) -> Option<Instant> {
        self.retiring.iter().map(|retiring| retiring.until).min()
    }
}

fn identities<'a>(keys: impl Iterator<Item = &'a VerificationKey>) -> HashSet<Identity<'a>> {
    keys.map(VerificationKey::identity).collect()
}
