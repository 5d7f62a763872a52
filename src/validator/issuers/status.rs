//! The status of each issuer, for a status page.

use std::sync::Arc;

use serde::Serialize;

#[cfg(feature = "introspection")]
use crate::introspection::IntrospectionStatus;
use crate::jwks::{Health, Jwks, Status};
use crate::validator::handle::Validator;
use crate::validator::realm::Realm;
use crate::validator::realms::Realms;

/// The status of one issuer. It serializes, for a status page.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IssuerStatus {
    /// The configured name of the issuer.
    pub issuer: String,
    /// Whether its tokens can be checked now.
    pub health: Health,
    /// Everything about its keys; `None` for a shared secret, or if it is asked about every token.
    pub keys: Option<Status>,
    /// The status of its introspection endpoint; `None`, and then not serialized, if it isn't asked.
    #[cfg(feature = "introspection")]
    #[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection: Option<IntrospectionStatus>,
}

impl IssuerStatus {
    fn of(realm: &Arc<Realm>) -> Self {
        let (issuer, health) = (realm.policy.name().to_string(), realm.health());
        Self {
            issuer,
            health,
            keys: realm.jwks().map(Jwks::status),
            #[cfg(feature = "introspection")]
            introspection: realm.asked.as_ref().map(|asked| asked.introspector.status()),
        }
    }
}

impl<C> Validator<C> {
    /// Returns the status of each issuer, in the order in which they were given. A validator
    /// for one issuer returns that one.
    pub fn issuer_status(&self) -> Vec<IssuerStatus> {
        match &self.inner.realms {
            Realms::One(realm) => vec![IssuerStatus::of(realm)],
            Realms::Many(many) => many.list().realms().map(IssuerStatus::of).collect(),
        }
    }
}
