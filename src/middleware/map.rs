//! Which rule and which metadata belong to a path of the layer.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use crate::answer::RequestHead;
use crate::metadata::{AuthorizationServers, Endpoint, Facts, Found, ResourceMetadata, full_uri};
use crate::middleware::conditions::Conditions;
use crate::middleware::routes::access::Rule;
use crate::middleware::routes::table::RouteTable;

/// The parts about DPoP in challenges and metadata.
#[derive(Clone, Debug)]
pub(crate) struct Proofs {
    /// The names of the algorithms, separated by spaces.
    pub(crate) algorithms: Arc<str>,
    /// Whether bearer tokens are refused.
    pub(crate) required: bool,
}

/// What a layer knows about paths.
#[derive(Clone, Debug)]
pub(crate) enum Map {
    /// Nothing.
    Plain,
    Table(RouteTable),
    /// Metadata and layer-wide conditions, which most layers have none of.
    Extras(Arc<Extras>),
}

/// The metadata of a layer, and conditions for all of its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    table: Option<RouteTable>,
    published: Option<Published>,
    /// The conditions that requests must meet beside their own rules.
    rule: Option<Rule>,
}

/// The metadata of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    metadata: ResourceMetadata,
    issuers: AuthorizationServers,
    endpoint: Endpoint,
}

impl Map {
    pub(crate) fn table(&self) -> Option<&RouteTable> {
        match self {
            Self::Plain => None,
            Self::Table(table) => Some(table),
            Self::Extras(extras) => extras.table.as_ref(),
        }
    }

    pub(crate) fn published(&self) -> Option<&Published> {
        match self {
            Self::Plain | Self::Table(_) => None,
            Self::Extras(extras) => extras.published(),
        }
    }

    fn extras(&self) -> Extras {
        match self {
            Self::Plain | Self::Table(_) => {
                Extras { table: self.table().cloned(), ..Extras::default() }
            }
            Self::Extras(extras) => (**extras).clone(),
        }
    }

    /// Replaces the table.
    pub(crate) fn with_table(&self, table: RouteTable) -> Self {
        match self {
            Self::Plain | Self::Table(_) => Self::Table(table),
            Self::Extras(_) => {
                Self::Extras(Arc::new(Extras { table: Some(table), ..self.extras() }))
            }
        }
    }

    /// Replaces the metadata. `issuers` are those of the validator.
    pub(crate) fn with_metadata(
        &self,
        metadata: ResourceMetadata,
        issuers: AuthorizationServers,
    ) -> Self {
        metadata.check_issuers(&issuers.now());
        let facts = Facts::default();
        let endpoint = Endpoint::new(&metadata, &facts);
        let published = Some(Published { metadata, issuers, endpoint });
        Self::Extras(Arc::new(Extras { published, ..self.extras() }))
    }

    /// Adds conditions.
    pub(crate) fn with_conditions(&self, conditions: &Conditions) -> Self {
        let mut extras = self.extras();
        let rule = extras.rule.take().unwrap_or_else(Rule::optional);
        extras.rule = Some(rule.with_conditions(conditions));
        Self::Extras(Arc::new(extras))
    }

    /// Builds the document again, after the table or the fallback rule has changed.
    pub(crate) fn refreshed(
        &self,
        otherwise: &Rule,
        proofs: Option<&Proofs>,
        certificates: bool,
    ) -> Self {
        let Some(published) = self.published() else { return self.clone() };
        let rules = self.table().into_iter().flat_map(RouteTable::rules).chain([otherwise]);
        let scopes: Vec<&str> = rules.flat_map(Rule::shown_scopes).collect();
        let algorithms = proofs.iter().flat_map(|proofs| proofs.algorithms.split(' '));
        let facts = Facts {
            issuers: published.issuers.clone(),
            scopes: scopes.into_iter().collect(),
            proofs: algorithms.map(str::to_owned).collect(),
            all_are_proved: proofs.is_some_and(|proofs| proofs.required),
            certificates,
        };
        let endpoint = Endpoint::new(&published.metadata, &facts);
        let published = Some(Published { endpoint, ..published.clone() });
        Self::Extras(Arc::new(Extras { published, ..self.extras() }))
    }
}

impl Extras {
    pub(crate) const fn published(&self) -> Option<&Published> {
        self.published.as_ref()
    }

    pub(crate) const fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }
}

impl Published {
    pub(crate) const fn metadata(&self) -> &ResourceMetadata {
        &self.metadata
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Returns `true` if a request is for metadata: this layer's, or one that doesn't exist.
    pub(crate) fn is_asked_for<B>(&self, request: &Request<B>) -> bool {
        let uri = full_uri(request);
        Found::at(std::slice::from_ref(&self.endpoint), uri.path(), uri.query()).is_some()
    }

    /// Answers a request for metadata.
    pub(crate) fn answer<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        let uri = full_uri(request);
        let found = Found::at(std::slice::from_ref(&self.endpoint), uri.path(), uri.query())?;
        let RequestHead { method, headers, .. } = request.into();
        Some(found.answer(method, headers))
    }
}
