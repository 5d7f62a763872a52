use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use crate::metadata::place::Place;
use crate::scope::ScopeSet;

/// What clients are told about a protected resource, beside what its layer knows.
///
/// [`BearerAuthLayer::metadata`](crate::BearerAuthLayer::metadata) takes it, and adds the authorization
/// servers of its validator and the scopes of its route table.
#[derive(Clone, Debug)]
pub struct ResourceMetadata {
    pub(crate) place: Place,
    /// Members beside those that the layer knows, in the order in which they are sent.
    pub(crate) members: Vec<(Cow<'static, str>, Value)>,
    /// In place of the validator's issuers.
    pub(crate) authorization_servers: Option<Vec<String>>,
    pub(crate) scopes: Scopes,
    /// The scopes that a challenge names if the request needs no others.
    pub(crate) challenge_scopes: ScopeSet,
    pub(crate) root_alias: bool,
    pub(crate) cache_for: Duration,
}

/// The scopes that the document lists.
#[derive(Clone, Debug)]
pub(crate) enum Scopes {
    /// Those of the layer, and these.
    And(ScopeSet),
    Only(ScopeSet),
    Hidden,
}

impl ResourceMetadata {
    /// Returns the resource identifier, as it was configured.
    pub fn resource(&self) -> &str {
        &self.place.resource
    }

    /// Returns the URL of the document, which challenges name.
    pub fn url(&self) -> String {
        self.place.url()
    }

    /// Returns the scopes that a challenge names if the request needs no others.
    pub(crate) const fn challenge_scopes(&self) -> &ScopeSet {
        &self.challenge_scopes
    }
}
