//! The keys of the embedded issuer, and their rotation.

use serde_json::Value;

use crate::jose::Algorithm;
use crate::testing::tokens::key::TestKey;

/// The issuer's keys, including those that it no longer publishes.
pub(crate) struct KeyRing {
    algorithms: Vec<Algorithm>,
    entries: Vec<Entry>,
    foreign: Vec<Value>,
    revision: u64,
}

struct Entry {
    key: TestKey,
    role: Role,
    published: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    /// Signs new tokens of its algorithm; there is one such key for each.
    Signing,
    /// Signs after the next activation.
    Next,
    /// Doesn't sign any more, or never will.
    Old,
}

/// One new key for each of the ring's algorithms, made before the ring is locked.
pub(crate) struct NewKeys(Vec<TestKey>);

impl NewKeys {
    pub(crate) fn generate(algorithms: &[Algorithm]) -> Self {
        Self(algorithms.iter().map(|algorithm| TestKey::generate(*algorithm)).collect())
    }
}

impl KeyRing {
    pub(crate) fn new(algorithms: Vec<Algorithm>, foreign: Vec<Value>) -> Self {
        let first = NewKeys::generate(&algorithms);
        let mut ring = Self { algorithms, entries: Vec::new(), foreign, revision: 0 };
        ring.prepublish(first);
        ring.activate();
        ring
    }

    pub(crate) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Counts the changes of what is published.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn published(&self) -> impl Iterator<Item = &TestKey> {
        self.entries.iter().filter(|entry| entry.published).map(|entry| &entry.key)
    }

    /// Returns the JWKs that a test has added.
    pub(crate) fn foreign(&self) -> &[Value] {
        &self.foreign
    }

    pub(crate) fn publish_foreign(&mut self, jwk: Value) {
        self.foreign.push(jwk);
        self.changed();
    }

    pub(crate) fn signing(&self, algorithm: Algorithm) -> Option<&TestKey> {
        let signs =
            |entry: &&Entry| entry.role == Role::Signing && entry.key.algorithm() == algorithm;
        self.entries.iter().find(signs).map(|entry| &entry.key)
    }

    /// Returns the signing key of the first algorithm. There is one, since there is an algorithm.
    pub(crate) fn default_signing(&self) -> Option<&TestKey> {
        self.algorithms.first().and_then(|algorithm| self.signing(*algorithm))
    }

    /// Returns the newest key with this `kid`, even if it is retired.
    pub(crate) fn find(&self, kid: &str) -> Option<&TestKey> {
        self.entries.iter().rev().map(|entry| &entry.key).find(|key| key.kid() == kid)
    }

    /// Publishes new keys that don't sign yet, and returns the `kid` of the first.
    pub(crate) fn prepublish(&mut self, keys: NewKeys) -> String {
        let mut first = None;
        for key in keys.0 {
            let algorithm = key.algorithm();
            let earlier =
                self.entries.iter().filter(|entry| entry.key.algorithm() == algorithm).count();
            let number = earlier.saturating_add(1);
            let kid = format!("{}-{number}", algorithm.name().to_ascii_lowercase());
            let key = key.with_kid(&kid);
            self.entries.push(Entry { key, role: Role::Next, published: true });
            first.get_or_insert(kid);
        }
        self.changed();
        first.unwrap_or_default()
    }

    /// Makes the prepublished keys sign; of several for one algorithm, the newest.
    pub(crate) fn activate(&mut self) {
        for algorithm in &self.algorithms {
            let of_it = |entry: &Entry| entry.key.algorithm() == *algorithm;
            if !self.entries.iter().any(|entry| of_it(entry) && entry.role == Role::Next) {
                continue;
            }
            let mut signs = true;
            for entry in self.entries.iter_mut().rev().filter(|entry| of_it(entry)) {
                match entry.role {
                    Role::Next if signs => {
                        entry.role = Role::Signing;
                        signs = false;
                    }
                    Role::Next | Role::Signing | Role::Old => entry.role = Role::Old,
                }
            }
        }
    }

    /// Replaces the material of every signing key, under the same `kid`.
    pub(crate) fn replace_material(&mut self, keys: NewKeys) {
        for key in keys.0 {
            let algorithm = key.algorithm();
            let signs = |entry: &&mut Entry| {
                entry.role == Role::Signing && entry.key.algorithm() == algorithm
            };
            if let Some(entry) = self.entries.iter_mut().find(signs) {
                entry.role = Role::Old;
                entry.published = false;
                let key = key.with_kid(entry.key.kid());
                self.entries.push(Entry { key, role: Role::Signing, published: true });
            }
        }
        self.changed();
    }

    /// Withdraws every key that no longer signs.
    pub(crate) fn retire_old(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.role == Role::Old) {
            entry.published = false;
        }
        self.changed();
    }

    /// Withdraws the keys with this `kid`, including one that signs. Returns `true` if there were any.
    pub(crate) fn retire(&mut self, kid: &str) -> bool {
        let mut found = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.key.kid() == kid) {
            found |= entry.published;
            entry.published = false;
            if entry.role == Role::Next {
                entry.role = Role::Old;
            }
        }
        self.changed();
        found
    }

    fn changed(&mut self) {
        self.revision = self.revision.saturating_add(1);
    }
}
