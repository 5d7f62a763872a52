use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::error::ConfigError;
use crate::text::{Excerpt, listed};
use crate::validator::realm::Realm;

/// How many issuers a refusal names.
const NAMED: usize = 8;

/// The issuers at one time. Never changed, only replaced.
pub(crate) struct List {
    /// In the order in which they were given.
    realms: Box<[Arc<Realm>]>,
    /// By each of their spellings.
    by_iss: HashMap<Arc<str>, Arc<Realm>, RandomState>,
    /// The longest token that any of them accepts.
    max_token_bytes: usize,
    /// The first few, for refusals.
    named: Arc<str>,
}

impl List {
    /// Creates a list of issuers.
    ///
    /// # Errors
    ///
    /// If it is empty, or two of them have a spelling in common.
    pub(crate) fn new(realms: Vec<Arc<Realm>>) -> Result<Self, ConfigError> {
        if realms.is_empty() {
            return Err(ConfigError::new("there is no issuer: give at least one"));
        }
        let mut by_iss = HashMap::default();
        for realm in &realms {
            for iss in &realm.policy.issuers {
                if by_iss.insert(Arc::clone(iss), Arc::clone(realm)).is_some() {
                    return Err(ConfigError::new(format!(
                        "the issuer {iss:?} is there twice: give each once, with all of its \
                         audiences (Issuer::also_audience)"
                    )));
                }
            }
        }
        let bytes = realms.iter().map(|realm| realm.policy.max_token_bytes);
        let names = realms.iter().map(|realm| Excerpt::new(&realm.policy.name()));
        let (max_token_bytes, named) = (bytes.max().unwrap_or(0), listed(names, NAMED).into());
        Ok(Self { realms: realms.into(), by_iss, max_token_bytes, named })
    }

    pub(crate) fn realms(&self) -> impl ExactSizeIterator<Item = &Arc<Realm>> {
        self.realms.iter()
    }

    /// Returns the first audience of the first issuer.
    pub(crate) fn audience(&self) -> Arc<str> {
        self.realms.first().map(|realm| realm.policy.audience()).unwrap_or_default()
    }

    /// Returns the issuer whose tokens say this.
    pub(crate) fn of(&self, iss: &str) -> Option<&Arc<Realm>> {
        self.by_iss.get(iss)
    }

    pub(crate) const fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// Returns the first few issuers, for refusals.
    pub(crate) const fn named(&self) -> &Arc<str> {
        &self.named
    }
}
