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
    templates: Box<[Arc<Realm>]>,
    /// The longest token that any of them accepts.
    max_token_bytes: usize,
    /// The first few, for refusals.
    names: Arc<str>,
    /// Those that are asked about opaque tokens, the longest prefix first.
    #[cfg(feature = "introspection")]
    asked: Box<[Arc<Realm>]>,
}

impl List {
    /// Creates a list of issuers.
    ///
    /// # Errors
    ///
    /// If two of them have a spelling in common.
    pub(crate) fn new(realms: Vec<Arc<Realm>>) -> Result<Self, ConfigError> {
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
        let templates: Box<[_]> =
            realms.iter().filter(|realm| realm.policy.template.is_some()).cloned().collect();
        let bytes = realms.iter().map(|realm| realm.policy.max_token_bytes);
        let names = realms.iter().map(|realm| Excerpt::new(&realm.policy.name()));
        let names = listed(names, NAMED).into();
        let max_token_bytes = bytes.max().unwrap_or(0);
        Ok(Self {
            #[cfg(feature = "introspection")]
            asked: asked(&realms)?,
            realms: realms.into(),
            by_iss,
            templates,
            max_token_bytes,
            names,
        })
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
        let exact = self.by_iss.get(iss).filter(|realm| realm.policy.template.is_none());
        exact.or_else(|| self.templates.iter().find(|realm| realm.policy.issues(iss)))
    }

    /// Returns the issuer that is configured by this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Realm>> {
        self.by_iss.get(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.realms.is_empty()
    }

    pub(crate) const fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// Returns the first few issuers, for refusals.
    pub(crate) const fn names(&self) -> &Arc<str> {
        &self.names
    }
}

#[cfg(feature = "introspection")]
impl List {
    /// Returns `true` if any issuer is asked about tokens.
    pub(crate) fn asks(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Returns the one issuer that is asked about opaque tokens like this one.
    pub(crate) fn of_opaque(&self, token: &[u8]) -> Option<&Arc<Realm>> {
        let takes = |realm: &&Arc<Realm>| realm.asked.as_ref().is_some_and(|it| it.takes(token));
        self.asked.iter().find(takes)
    }
}

/// Orders those that are asked by their prefixes: no token is ever shown to an issuer by trial.
#[cfg(feature = "introspection")]
fn asked(realms: &[Arc<Realm>]) -> Result<Box<[Arc<Realm>]>, ConfigError> {
    fn prefix(realm: &Arc<Realm>) -> &str {
        let asked = realm.asked.as_ref();
        asked.and_then(|asked| asked.rules.prefix.as_deref()).unwrap_or_default()
    }
    let mut asked: Vec<_> = realms.iter().filter(|it| it.asked.is_some()).cloned().collect();
    asked.sort_by_key(|realm| {
        (usize::MAX.saturating_sub(prefix(realm).len()), prefix(realm).to_owned())
    });
    let twice = asked.windows(2).find_map(|pair| match pair {
        [one, other] if prefix(one) == prefix(other) => Some((one, other)),
        _ => None,
    });
    match twice {
        None => Ok(asked.into()),
        Some((one, other)) => Err(ConfigError::new(format!(
            "it can't be told which of {:?} and {:?} to ask about an opaque token, and trying both \
             would show one's tokens to the other: tell them apart with Introspection::token_prefix",
            one.policy.name(),
            other.policy.name(),
        ))),
    }
}
