//! Builds a validator from its checked settings.

use crate::error::ConfigError;
use crate::validator::builder::ValidatorBuilder;
use crate::validator::cache::Cache;
use crate::validator::handle::{Inner, Validator};
use crate::validator::plan::only_realm;
use crate::validator::realms::Realms;
use crate::validator::settings::Settings;
use crate::validator::shared::Shared;

const MAX_CACHE_ENTRIES: usize = 1_000_000;

impl<C> ValidatorBuilder<C> {
    /// Checks the settings and builds the validator, without waiting for the network. Inside a Tokio
    /// runtime, the first fetch of the keys starts in the background, unless [`keys`](Self::keys) says
    /// otherwise.
    ///
    /// # Errors
    ///
    /// If a setting can't work. The error says which, and what to change.
    pub fn build(self) -> Result<Validator<C>, ConfigError> {
        let settings = Settings { common: self.shared.common(), ..self.settings };
        let realms = Realms::One(only_realm(settings, &self.shared.clock)?);
        validator(realms, self.shared)
    }
}

/// Builds a validator of these issuers.
pub(crate) fn validator<C>(realms: Realms, shared: Shared) -> Result<Validator<C>, ConfigError> {
    let cache = cache(&shared)?;
    Inner::new(realms, shared, cache).map(Validator::new)
}

/// Builds the cache of tokens; `None` if it is disabled.
fn cache<C>(shared: &Shared) -> Result<Option<Cache<C>>, ConfigError> {
    let Shared { cache_entries: entries, cache_bytes: bytes, .. } = *shared;
    if entries > MAX_CACHE_ENTRIES {
        return Err(ConfigError::new(format!(
            "a cache of {entries} tokens is too large: use at most {MAX_CACHE_ENTRIES}, or 0 for none",
        )));
    }
    Ok((entries > 0).then(|| Cache::new(entries, bytes)))
}
