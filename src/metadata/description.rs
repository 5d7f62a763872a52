//! The metadata of a resource as it was built.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use crate::metadata::metadata_url::MetadataUrl;
use crate::scope::ScopeSet;

/// The metadata of a protected resource (RFC 9728 §2).
///
/// [`BearerAuthLayer::metadata`](crate::BearerAuthLayer::metadata) adds the authorization servers of its
/// validator and the scopes of its route table.
#[derive(Clone, Debug)]
pub struct ResourceMetadata {
    pub(crate) place: MetadataUrl,
    /// Members besides those that the layer adds, in the order in which they are sent.
    pub(crate) members: Vec<(Cow<'static, str>, Value)>,
    /// Authorization servers that replace the validator's issuers.
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
    /// Those of the layer, and these scopes.
    And(ScopeSet),
    Only(ScopeSet),
    Hidden,
}

impl ResourceMetadata {
    /// Returns the resource identifier as configured.
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
