use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use crate::answer::RequestHead;
use crate::metadata::{Endpoint, Facts, Found, ResourceMetadata, full_uri};
use crate::middleware::routes::access::Rule;
use crate::middleware::routes::table::RouteTable;
use crate::scope::ScopeSet;

/// What a layer knows of paths.
#[derive(Clone, Debug)]
pub(crate) enum Map {
    /// Nothing.
    Plain,
    Table(RouteTable),
    /// Where its metadata is.
    Published(Arc<Published>),
}

/// The metadata of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    table: Option<RouteTable>,
    metadata: ResourceMetadata,
    issuers: Vec<String>,
    endpoint: Endpoint,
}

impl Map {
    pub(crate) fn table(&self) -> Option<&RouteTable> {
        match self {
            Self::Plain => None,
            Self::Table(table) => Some(table),
            Self::Published(published) => published.table.as_ref(),
        }
    }

    pub(crate) fn published(&self) -> Option<&Published> {
        match self {
            Self::Plain | Self::Table(_) => None,
            Self::Published(published) => Some(published),
        }
    }

    /// Replaces the table.
    pub(crate) fn with_table(&self, table: RouteTable) -> Self {
        match self {
            Self::Plain | Self::Table(_) => Self::Table(table),
            Self::Published(published) => {
                let published = Published { table: Some(table), ..(**published).clone() };
                Self::Published(Arc::new(published))
            }
        }
    }

    /// Replaces the metadata. `issuers` are those of the validator.
    pub(crate) fn with_metadata(&self, metadata: ResourceMetadata, issuers: Vec<String>) -> Self {
        let facts = Facts { issuers: Vec::new(), scopes: ScopeSet::default() };
        let endpoint = Endpoint::new(&metadata, &facts);
        let table = self.table().cloned();
        Self::Published(Arc::new(Published { table, metadata, issuers, endpoint }))
    }

    /// Makes the document anew, after the table or the rule for what isn't in it has changed.
    pub(crate) fn refreshed(&self, otherwise: &Rule) -> Self {
        let Self::Published(published) = self else { return self.clone() };
        let rules = self.table().into_iter().flat_map(RouteTable::rules).chain([otherwise]);
        let scopes: Vec<&str> = rules.flat_map(Rule::shown_scopes).collect();
        let facts =
            Facts { issuers: published.issuers.clone(), scopes: scopes.into_iter().collect() };
        let endpoint = Endpoint::new(&published.metadata, &facts);
        Self::Published(Arc::new(Published { endpoint, ..(**published).clone() }))
    }
}

impl Published {
    pub(crate) const fn metadata(&self) -> &ResourceMetadata {
        &self.metadata
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns `true` if a request asks for metadata: this one, or one that there isn't.
    pub(crate) fn is_asked_for<B>(&self, request: &Request<B>) -> bool {
        let uri = full_uri(request);
        Found::at(std::slice::from_ref(&self.endpoint), uri.path(), uri.query()).is_some()
    }

    /// Answers a request that asks for metadata.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let uri = full_uri(request);
        let found = Found::at(std::slice::from_ref(&self.endpoint), uri.path(), uri.query())?;
        let RequestHead { method, headers, .. } = request.into();
        Some(found.answer(method, headers))
    }
}
