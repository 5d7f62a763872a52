use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::jose::Algorithm;
use crate::jose::VerificationKey;

/// How many keys are tried on one token.
const MAX: usize = 4;

/// One issuer's usable keys, as they were at one time. Never changed, only replaced.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    generation: u64,
    /// Ordered by `kid`, those without one first.
    keys: Box<[Arc<VerificationKey>]>,
    by_kid: HashMap<Box<str>, Range<usize>>,
}

/// The keys with which a token may have been signed.
#[derive(Debug)]
pub(crate) enum Candidates<'a> {
    /// No key fits.
    None,
    /// These fit, at least one.
    Fitting(Fitting<'a>),
    /// More fit than are ever tried.
    TooMany,
}

/// One to four keys.
#[derive(Debug)]
pub(crate) struct Fitting<'a> {
    keys: [Option<&'a VerificationKey>; MAX],
}

impl<'a> Fitting<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a VerificationKey> + '_ {
        self.keys.iter().copied().flatten()
    }
}

impl KeySet {
    pub(crate) fn new(generation: u64, mut keys: Vec<Arc<VerificationKey>>) -> Self {
        keys.sort_by(|a, b| a.kid().cmp(&b.kid()));
        let mut by_kid: HashMap<Box<str>, Range<usize>> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            if let Some(kid) = key.kid() {
                by_kid.entry(kid.into()).or_insert(at..at).end = at.saturating_add(1);
            }
        }
        Self { generation, keys: keys.into(), by_kid }
    }

    /// Returns the number of this set: another one whenever the keys are others.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns the keys for a token of this `alg` and `kid`. Allocates nothing.
    pub(crate) fn candidates(&self, algorithm: Algorithm, kid: Option<&str>) -> Candidates<'_> {
        let within = match kid {
            Some(kid) => self.by_kid.get(kid).cloned().and_then(|range| self.keys.get(range)),
            None => Some(&*self.keys),
        };
        let mut fitting = within.unwrap_or_default().iter().filter(|key| key.fits(algorithm));
        let mut keys = [None; MAX];
        for slot in &mut keys {
            *slot = fitting.next().map(|key| &**key);
        }
        match (keys, fitting.next()) {
            ([None, ..], _) => Candidates::None,
            (_, Some(_)) => Candidates::TooMany,
            (keys, None) => Candidates::Fitting(Fitting { keys }),
        }
    }
}
