//! The issuers of a validator at one time, by name, audience and token prefix.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::error::ConfigError;
use crate::metadata::KnownIssuers;
use crate::text::{Excerpt, any_of};
use crate::token::Sources;
use crate::validator::realm::Realm;

/// How many issuers a refusal names.
const NAMED: usize = 8;

/// The issuers at one time. Never changed, only replaced.
pub(crate) struct List {
    /// In the order in which they were given.
    realms: Box<[Arc<Realm>]>,
    /// By each of their spellings; if several share one, the first.
    by_iss: HashMap<Arc<str>, Arc<Realm>, RandomState>,
    /// Those that share a name and are selected by the audience.
    namesakes: HashMap<Arc<str>, Vec<Arc<Realm>>, RandomState>,
    templates: Box<[Arc<Realm>]>,
    /// The longest token that any of them accepts.
    max_token_bytes: usize,
    /// Where all of them find the claims that servers don't agree on; `None` if they differ.
    sources: Option<Sources>,
    /// The first few, for refusals.
    names: Arc<str>,
    /// Those that are asked about opaque tokens, the longest prefix first.
    #[cfg(feature = "introspection")]
    asked: Box<[Arc<Realm>]>,
    /// Whether there are others, which are asked for routes that name them.
    #[cfg(feature = "introspection")]
    by_route: bool,
}

/// An entry of the list.
pub(crate) struct Listed {
    pub(crate) realm: Arc<Realm>,
    /// Whether it may share a name with others, from which its audience distinguishes it.
    pub(crate) by_audience: bool,
}

impl List {
    /// Creates a list of issuers.
    ///
    /// # Errors
    ///
    /// If two of them have a spelling in common, and their audiences don't distinguish them.
    pub(crate) fn new(entries: Vec<Listed>) -> Result<Self, ConfigError> {
        let mut by_iss: HashMap<Arc<str>, Arc<Realm>, RandomState> = HashMap::default();
        let mut namesakes: HashMap<Arc<str>, Vec<Arc<Realm>>, RandomState> = HashMap::default();
        for Listed { realm, by_audience } in &entries {
            for iss in &realm.policy.issuers {
                if *by_audience && realm.policy.template.is_none() {
                    let others = namesakes.entry(Arc::clone(iss)).or_default();
                    others.iter().try_for_each(|other| check_audiences(iss, other, realm))?;
                    others.push(Arc::clone(realm));
                    if others.len() > 1 {
                        continue;
                    }
                }
                if by_iss.insert(Arc::clone(iss), Arc::clone(realm)).is_some() {
                    return Err(ConfigError::new(format!(
                        "the issuer {iss:?} is listed twice: give each once, with all of its \
                         audiences (Issuer::also_audience), or let the audience select among all its entries \
                         (Issuer::by_audience)"
                    )));
                }
            }
        }
        namesakes.retain(|_, realms| realms.len() > 1);
        let realms: Vec<_> = entries.into_iter().map(|entry| entry.realm).collect();
        let templates: Box<[_]> =
            realms.iter().filter(|realm| realm.policy.template.is_some()).cloned().collect();
        let bytes = realms.iter().map(|realm| realm.policy.max_token_bytes);
        let names = realms.iter().map(|realm| Excerpt::new(&realm.policy.name()));
        let names = any_of(names, NAMED).into();
        let max_token_bytes = bytes.max().unwrap_or(0);
        let mut sources = realms.iter().map(|realm| &realm.policy.sources);
        let sources = sources.next().filter(|first| sources.all(|other| other == *first)).cloned();
        Ok(Self {
            #[cfg(feature = "introspection")]
            asked: asked(&realms)?,
            #[cfg(feature = "introspection")]
            by_route: realms.iter().any(is_by_route),
            realms: realms.into(),
            by_iss,
            namesakes,
            templates,
            max_token_bytes,
            sources,
            names,
        })
    }

    pub(crate) fn realms(&self) -> impl ExactSizeIterator<Item = &Arc<Realm>> {
        self.realms.iter()
    }

    /// Returns the name of each issuer, once; of a template, those of the tenants if they are listed.
    pub(crate) fn authorization_servers(&self) -> KnownIssuers {
        let (mut issuers, mut known) = (KnownIssuers::default(), HashSet::new());
        for realm in &self.realms {
            let name = realm.policy.name().to_string();
            let names = match &realm.policy.template {
                None => vec![name],
                Some(template) => match template.issuers() {
                    Some(names) => {
                        issuers.has_tenants = true;
                        names
                    }
                    None => {
                        issuers.patterns.push(name);
                        Vec::new()
                    }
                },
            };
            issuers.names.extend(names.into_iter().filter(|name| known.insert(name.clone())));
        }
        issuers
    }

    /// Returns the first audience of the first issuer.
    pub(crate) fn audience(&self) -> Arc<str> {
        self.realms.first().map(|realm| realm.policy.audience()).unwrap_or_default()
    }

    /// Returns the entries that share a name, of which the audience selects one; `None` if there is only one.
    pub(crate) fn namesakes(&self, iss: &str) -> Option<&[Arc<Realm>]> {
        if self.namesakes.is_empty() {
            return None;
        }
        self.namesakes.get(iss).map(Vec::as_slice)
    }

    /// Returns the entry of this name, and of this first audience if there are several.
    pub(crate) fn entry(&self, name: &str, audience: &str) -> Option<&Arc<Realm>> {
        let found = match self.namesakes(name) {
            None => self.by_iss.get(name),
            Some(all) => all.iter().find(|realm| *realm.policy.audience() == *audience),
        };
        found.filter(|realm| *realm.policy.name() == *name)
    }

    /// Returns the issuer of tokens with this `iss`: the first, if several share the name.
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

    /// Returns by what all issuers read claims; `None` if each has its own way.
    pub(crate) const fn sources(&self) -> Option<&Sources> {
        self.sources.as_ref()
    }

    /// Returns the first few issuers, for refusals.
    pub(crate) const fn names(&self) -> &Arc<str> {
        &self.names
    }
}

/// Checks that the two share no audience.
fn check_audiences(iss: &str, one: &Realm, other: &Realm) -> Result<(), ConfigError> {
    let (one, other) = (&one.policy, &other.policy);
    let both = |aud: &&Arc<str>| one.is_for(aud) && other.is_for(aud);
    match one.audiences.iter().chain(&*other.audiences).find(both) {
        None => Ok(()),
        Some(aud) => Err(ConfigError::new(format!(
            "two entries of the issuer {iss:?} have the audience {aud:?}, so that it is unclear which \
             of them a token is for: give it to one"
        ))),
    }
}

#[cfg(feature = "introspection")]
impl List {
    /// Returns `true` if any issuer is asked about tokens.
    pub(crate) fn asks(&self) -> bool {
        self.by_route || !self.asked.is_empty()
    }

    /// Returns `true` if a route may say whom to ask.
    pub(crate) const fn asks_by_route(&self) -> bool {
        self.by_route
    }

    /// Returns the one issuer that is asked about opaque tokens like this one: by its prefix, or else the
    /// one that the route names, or else the one that takes all others.
    pub(crate) fn of_opaque(&self, token: &[u8], named: Option<&str>) -> Option<&Arc<Realm>> {
        let takes = |realm: &&Arc<Realm>| realm.asked.as_ref().is_some_and(|it| it.takes(token));
        let found = self.asked.iter().find(takes);
        if found.is_some_and(|realm| !prefix(realm).is_empty()) {
            return found;
        }
        let named = named.and_then(|name| self.named(name));
        named.filter(|realm| is_by_route(realm)).or(found)
    }
}

#[cfg(feature = "introspection")]
fn prefix(realm: &Arc<Realm>) -> &str {
    let asked = realm.asked.as_ref();
    asked.and_then(|asked| asked.rules.prefix.as_deref()).unwrap_or_default()
}

#[cfg(feature = "introspection")]
fn is_by_route(realm: &Arc<Realm>) -> bool {
    realm.asked.as_ref().is_some_and(|asked| asked.rules.by_route)
}

/// Orders the issuers that are asked by their prefixes: no token is ever sent to an issuer by trial.
#[cfg(feature = "introspection")]
fn asked(realms: &[Arc<Realm>]) -> Result<Box<[Arc<Realm>]>, ConfigError> {
    let asked = realms.iter().filter(|it| it.asked.is_some());
    let mut asked: Vec<_> = asked.filter(|realm| !is_by_route(realm)).cloned().collect();
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
            "it is unclear which of {:?} and {:?} to ask about an opaque token, and asking both \
             would show one's tokens to the other: distinguish them with Introspection::token_prefix or \
             Introspection::by_route",
            one.policy.name(),
            other.policy.name(),
        ))),
    }
}
