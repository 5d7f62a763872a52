//! The builder of a validator for several issuers, and the changes to its list while it runs.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::error::ConfigError;
use crate::jwks::Jwks;
use crate::token::NoClaims;
use crate::validator::build::validator;
use crate::validator::directory::Directory;
use crate::validator::handle::Validator;
use crate::validator::issuers::issuer::Issuer;
use crate::validator::issuers::readiness::Readiness;
use crate::validator::issuers::tenants::Tenants;
use crate::validator::list::{List, Listed};
use crate::validator::plan::realm;
use crate::validator::realms::{Many, Realms};
use crate::validator::settings::Settings;
use crate::validator::shared::{Common, Shared, shared_setters};

/// Builds a [`Validator`] for the tokens of several issuers.
///
/// What is set here applies to all of them: the cache, the clock, the application's claims.
pub struct IssuersBuilder<C = NoClaims> {
    issuers: Vec<Issuer>,
    tenants: Vec<Tenants>,
    readiness: Readiness,
    shared: Shared,
    claims: PhantomData<fn() -> C>,
}

impl Validator {
    /// Starts building a validator for the tokens of several issuers, each with its own settings.
    ///
    /// A token is checked against the one issuer that its `iss` names, character by character, and
    /// against no other: keys, audiences, budgets and outages never cross. See
    /// [`issuers`](crate::issuers).
    ///
    /// ```
    /// use tower_bearer::Validator;
    /// use tower_bearer::issuers::Issuer;
    /// use tower_bearer::token::ClientIdSource;
    ///
    /// # fn validator() -> Result<Validator, tower_bearer::ConfigError> {
    /// let users = Issuer::new("https://login.example", "https://orders.example");
    /// let pods = Issuer::new("https://kubernetes.default.svc.cluster.local", "orders")
    ///     .client_id_source(ClientIdSource::subject());
    /// Validator::issuers([users, pods]).build()
    /// # }
    /// ```
    pub fn issuers(issuers: impl IntoIterator<Item = Issuer>) -> IssuersBuilder {
        IssuersBuilder {
            issuers: issuers.into_iter().collect(),
            tenants: Vec::new(),
            readiness: Readiness::default(),
            shared: Shared::default(),
            claims: PhantomData,
        }
    }
}

impl<C> IssuersBuilder<C> {
    /// Reads the application's own claims as `D`, from the tokens of all issuers; see
    /// [`ValidatorBuilder::claims`](crate::ValidatorBuilder::claims).
    pub fn claims<D: DeserializeOwned>(self) -> IssuersBuilder<D> {
        let Self { issuers, tenants, readiness, shared, claims: _ } = self;
        IssuersBuilder { issuers, tenants, readiness, shared, claims: PhantomData }
    }

    /// Also accepts the tokens of tenants, which are resolved when their first token arrives. It may
    /// be called several times, for several patterns; the list of issuers comes first, and then the
    /// tenants in the order in which they are given.
    #[must_use]
    pub fn tenants(mut self, tenants: Tenants) -> Self {
        self.tenants.push(tenants);
        self
    }

    /// Sets which issuers must be able to check tokens for
    /// [`Validator::health`](crate::Validator::health) and
    /// [`Validator::ready`](crate::Validator::ready) to say that the service is ready. The default is
    /// [`Readiness::any`].
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    shared_setters!();

    /// Checks the settings and builds the validator, without waiting for the network; see
    /// [`ValidatorBuilder::build`](crate::ValidatorBuilder::build).
    ///
    /// # Errors
    ///
    /// If a setting can't work, there is no issuer, or one is listed twice. The error says which, and
    /// what to change.
    pub fn build(self) -> Result<Validator<C>, ConfigError> {
        let (clock, common) = (&self.shared.clock, self.shared.common());
        let list = list(self.issuers, clock, common, None)?;
        let directory = |tenants| Directory::new(tenants, clock, common).map(Arc::new);
        let directories = self.tenants.into_iter().map(directory).collect::<Result<_, _>>()?;
        let many = Many::new(list, directories, self.readiness)?;
        validator(Realms::Many(Arc::new(many)), self.shared)
    }
}

/// Builds a list that keeps the entries with unchanged settings, and their keys.
fn list(
    issuers: Vec<Issuer>,
    clock: &Arc<dyn Clock>,
    common: Common,
    before: Option<&List>,
) -> Result<List, ConfigError> {
    let mut listed: Vec<Listed> = Vec::with_capacity(issuers.len());
    for Issuer { settings, by_audience } in issuers {
        let audience = settings.audiences.first().map(String::as_str).unwrap_or_default();
        let same = before.and_then(|before| before.entry(&settings.issuer, audience));
        // Several entries of one issuer share the keys that are found by discovery.
        let sibling = listed.iter().filter(|_| by_audience).map(|it| &it.realm);
        let mut sibling = sibling.filter(|it| *it.policy.name() == *settings.issuer);
        let same = same.or_else(|| sibling.next()).cloned();
        let realm = realm(Settings { common, ..settings }, clock, same.as_ref())?;
        listed.push(Listed { realm, by_audience });
    }
    List::new(listed)
}

impl<C> Validator<C> {
    /// Replaces the list of issuers while requests are served, for all clones of the validator at
    /// once.
    ///
    /// The tokens of an issuer that isn't in the new list are refused from then on, including remembered
    /// ones. An issuer that is in both lists with the same settings is unaffected; with other
    /// settings, its tokens are verified again. Its keys needn't be fetched again if they are found by
    /// discovery, or if the same [`Jwks`] is given.
    ///
    /// # Errors
    ///
    /// If the list can't be built, or the validator is one for a single issuer
    /// ([`Validator::builder`](crate::Validator::builder)). The previous list is kept.
    pub fn set_issuers(
        &self,
        issuers: impl IntoIterator<Item = Issuer>,
    ) -> Result<(), ConfigError> {
        let Realms::Many(many) = &self.inner.realms else {
            return Err(ConfigError::new(
                "the validator was built for one issuer: build it with Validator::issuers, of one \
                 or many, to replace them later",
            ));
        };
        let issuers: Vec<Issuer> = issuers.into_iter().collect();
        let (clock, common) = (&self.inner.clock, self.inner.common);
        many.replace(|before| list(issuers, clock, common, Some(before)))?;
        self.inner.summary.attend();
        Ok(())
    }

    /// Forgets a tenant of [`Tenants`], by its issuer. Its remembered tokens become invalid at once, and the
    /// [`Resolver`](crate::issuers::Resolver) is asked again when its next token arrives.
    pub fn forget_tenant(&self, issuer: &str) {
        if let Realms::Many(many) = &self.inner.realms {
            many.forget(issuer);
        }
    }

    /// Returns the key source of this issuer; `None` if it isn't configured, or has a shared secret.
    ///
    /// Keep no clone after the issuer was removed: the task of its keys ends with the last one.
    pub fn jwks_of(&self, issuer: &str) -> Option<Jwks> {
        match &self.inner.realms {
            Realms::One(realm) => realm.jwks().filter(|_| realm.policy.is_called(issuer)).cloned(),
            Realms::Many(many) => many.named(issuer)?.jwks().cloned(),
        }
    }
}

impl<C> fmt::Debug for IssuersBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuersBuilder")
            .field("issuers", &self.issuers)
            .field("readiness", &self.readiness)
            .finish_non_exhaustive()
    }
}
