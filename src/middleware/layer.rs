//! The layer that requires access tokens, and its settings.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::answer::{AnyRenderer, Challenges, DefaultRenderer, Renderer, Space};
use crate::error::ConfigError;
use crate::metadata::{MetadataService, ResourceMetadata};
use crate::middleware::authority::Authority;
use crate::middleware::conditions::Conditions;
use crate::middleware::conditions::terms::Terms;
use crate::middleware::map::{Map, Proofs, Published};
use crate::middleware::routes::access::{Access, Rule};
use crate::middleware::routes::table::RouteTable;
use crate::middleware::service::BearerAuth;
use crate::middleware::settings::Settings;
use crate::scope::Implications;
use crate::telemetry::describe_metrics;
use crate::token::NoClaims;
use crate::validator::Validator;

/// Requires a valid access token, and refuses other requests.
///
/// By default every request needs one; for other rules, see [`routes`](Self::routes) and
/// [`fallback`](Self::fallback). The inner service, its guards and its handlers find the token in the
/// request's extensions: [`AccessToken::from_extensions`](crate::AccessToken::from_extensions).
///
/// The extensions of an accepted request hold a clone of the validator: as long as they are kept, the
/// task that refreshes its keys continues to run.
///
/// axum's `Router::layer` applies to the routes and the fallback that were added before: call it last, since
/// routes that are added after this layer are open to all.
///
/// Refused requests never reach the inner service, whose errors are passed through: a
/// refusal is a response.
pub struct BearerAuthLayer<C = NoClaims> {
    authority: Arc<Authority<C>>,
}

impl<C> BearerAuthLayer<C> {
    /// Creates a layer that accepts the validator's tokens.
    pub fn new(validator: Validator<C>) -> Self {
        describe_metrics();
        let (clock, leeway) = validator.time();
        let settings = Settings {
            realm: Challenges::realm_of_audience(&validator.audience()).into(),
            challenges: Challenges::default(),
            renderer: AnyRenderer::new(DefaultRenderer),
            verbose: false,
            terms: Terms { implications: Implications::default(), clock, leeway },
            map: Map::Plain,
            otherwise: Rule::token(),
            preflight: false,
            forward: true,
            #[cfg(feature = "client")]
            keep: false,
            proofs: validator
                .proofs()
                .map(|(algorithms, required)| Proofs { algorithms, required }),
            certificates: validator.accepts_certificates(),
            summary: Arc::clone(validator.summary()),
        };
        Self { authority: Arc::new(Authority::new(validator, settings)) }.set(|_| ())
    }

    /// Names the protection space in challenges: `WWW-Authenticate: Bearer realm="…"`.
    ///
    /// The default is the validator's audience, since a challenge must have one parameter at least
    /// (RFC 6750 §3); or `api`, if the audience has other characters than printable ASCII.
    ///
    /// # Errors
    ///
    /// If the realm is empty or has other characters than printable ASCII, or contains `scope=`, `error=` or
    /// `resource_metadata=`: some clients search the whole challenge for these.
    pub fn realm(self, realm: &str) -> Result<Self, ConfigError> {
        Challenges::new(Space::of(realm), [])?;
        Ok(self.set(|settings| settings.realm = realm.into()))
    }

    /// Serves protected-resource metadata (RFC 9728) for this resource, and names it in each challenge:
    /// see [`metadata`](mod@crate::metadata).
    ///
    /// The identifier is the public URL of the service, such as `https://api.example/mcp`; the `aud` of its
    /// tokens is set on the validator. Other settings: [`metadata`](Self::metadata).
    ///
    /// # Errors
    ///
    /// If it isn't an absolute `https` URL without a fragment. `http` is allowed for this machine only.
    pub fn resource(self, identifier: &str) -> Result<Self, ConfigError> {
        Ok(self.metadata(ResourceMetadata::new(identifier)?))
    }

    /// Serves this protected-resource metadata, and names it in each challenge; see
    /// [`resource`](Self::resource).
    #[must_use]
    pub fn metadata(self, metadata: ResourceMetadata) -> Self {
        let issuers = self.authority.validator.authorization_servers();
        self.set(|settings| settings.map = settings.map.with_metadata(metadata, issuers))
    }

    /// Returns a service that serves the metadata where this layer doesn't see its path: within a nested
    /// router, or beside other resources. Without metadata, it answers everything with 404.
    ///
    /// Later settings of the layer don't affect it.
    pub fn metadata_service(&self) -> MetadataService {
        MetadataService::of(self.authority.settings.map.published().map(Published::endpoint))
    }

    /// Sets what single routes need; all others need the [`fallback`](Self::fallback).
    #[must_use]
    pub fn routes(self, routes: RouteTable) -> Self {
        self.set(|settings| settings.map = settings.map.with_table(routes))
    }

    /// Sets the access rule for requests that match no entry of [`routes`](Self::routes). The default
    /// is any valid token.
    ///
    /// It applies before guards and extractors: with [`Access::denied`], routes that have one must be
    /// listed, too, as [`Access::token`].
    ///
    /// # Errors
    ///
    /// If it names an invalid scope.
    pub fn fallback(self, access: Access) -> Result<Self, ConfigError> {
        let rule = access.into_rule()?;
        Ok(self.set(|settings| settings.otherwise = rule))
    }

    /// Sets conditions for the tokens of all requests, beside what their routes require. A request that needs
    /// no token, and has none, need not meet them.
    #[must_use]
    pub fn conditions(self, conditions: &Conditions) -> Self {
        self.set(|settings| settings.map = settings.map.with_conditions(conditions))
    }

    /// Declares which scope implies which, for all requirements of the table, and those of guards
    /// and extractors within this layer.
    #[must_use]
    pub fn implications(self, implications: Implications) -> Self {
        self.set(|settings| settings.terms.implications = implications)
    }

    /// Lets preflight requests of CORS through without a token: those of the method `OPTIONS` with
    /// the fields `Origin` and `Access-Control-Request-Method`.
    ///
    /// Browsers send them without credentials. This is needed only if the CORS layer lies within
    /// this one; whatever else answers `OPTIONS` there answers them too.
    #[must_use]
    pub fn allow_preflight(self) -> Self {
        self.set(|settings| settings.preflight = true)
    }

    /// Sets whether the response for an expired token says that it expired, instead of that it is
    /// invalid. Off by default.
    #[must_use]
    pub fn verbose_errors(self, verbose: bool) -> Self {
        self.set(|settings| settings.verbose = verbose)
    }

    /// Sets how refusals are rendered: a closure, or a type that implements [`Renderer`]. The default is
    /// [`DefaultRenderer`].
    #[must_use]
    pub fn renderer(self, renderer: impl Renderer) -> Self {
        self.set(|settings| settings.renderer = AnyRenderer::new(renderer))
    }

    /// Sets whether the inner service gets the `Authorization` field, which is then marked as
    /// sensitive. Otherwise it is removed, whatever its scheme, and with it the field `DPoP` if proofs
    /// are accepted. On by default.
    #[must_use]
    pub fn forward_credentials(self, forward: bool) -> Self {
        self.set(|settings| settings.forward = forward)
    }

    /// Returns the validator and the settings.
    pub(crate) fn parts(&self) -> (&Validator<C>, &Settings) {
        (&self.authority.validator, &self.authority.settings)
    }

    /// Keeps the token of each request as long as its extensions live, for obtaining other tokens on the
    /// caller's behalf: see [`OnBehalf`](crate::client::OnBehalf). It can't be used for anything else, and
    /// is never printed. Off by default.
    #[cfg(feature = "client")]
    #[cfg_attr(docsrs, doc(cfg(feature = "client")))]
    #[must_use]
    pub fn keep_for_exchange(self) -> Self {
        self.set(|settings| settings.keep = true)
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        let settings = &mut Arc::make_mut(&mut self.authority).settings;
        change(settings);
        // Everything that can fail was checked when it was set.
        let _ = settings.refresh();
        self
    }
}

impl<S, C> Layer<S> for BearerAuthLayer<C> {
    type Service = BearerAuth<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        // axum calls this for each request to a handler.
        self.authority.announce();
        BearerAuth::new(inner, Arc::clone(&self.authority))
    }
}

impl<C> Clone for BearerAuthLayer<C> {
    fn clone(&self) -> Self {
        Self { authority: Arc::clone(&self.authority) }
    }
}

impl<C> fmt::Debug for BearerAuthLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerAuthLayer")
            .field("validator", &self.authority.validator)
            .field("settings", &self.authority.settings)
            .finish()
    }
}
