//! Several issuers behind one layer.
//!
//! [`Validator::issuers`](crate::Validator::issuers) takes a list of [`Issuer`]s, each with its own
//! audiences, algorithms, scope source, leeway, keys and limits:
//!
//! ```
//! use tower_bearer::issuers::{Issuer, Readiness};
//! use tower_bearer::token::{ClientIdSource, ScopeSource};
//! use tower_bearer::{BearerAuthLayer, ConfigError, Validator};
//!
//! # fn layer() -> Result<BearerAuthLayer, ConfigError> {
//! let staff = Issuer::new("https://example.okta.com/oauth2/default", "api://orders")
//!     .scope_source(ScopeSource::okta())
//!     .client_id_source(ClientIdSource::okta());
//! let partners = Issuer::new("https://login.partner.example", "https://orders.example");
//! let validator = Validator::issuers([staff, partners]).readiness(Readiness::all()).build()?;
//! Ok(BearerAuthLayer::new(validator))
//! # }
//! ```
//!
//! # Which issuer a token is held against
//!
//! The `iss` of a token is read before its signature is checked. It does no more than to select among
//! what is configured, character by character (RFC 8725 §3.8): a slash at the end makes another
//! issuer. Then the token must have the selected issuer's signature, audience and so on, and its
//! `iss` is compared again with that issuer's name.
//!
//! An `iss` that isn't configured is refused with 401, after the same work whichever it is; nothing is
//! fetched because of it. One that is absent, there twice, not a string, or longer than 2 KiB is
//! refused as well.
//!
//! # What never crosses
//!
//! * **Keys.** Each issuer's tokens are verified with its own keys only, also where two issuers use the
//!   same `kid`. They come from the configuration or from the issuer's own metadata.
//! * **Outages.** While one issuer's keys can't be had, its tokens are answered 503, those of the
//!   others as ever, also at start.
//! * **Budgets.** Made-up `kid`s in tokens of one issuer use up its own fetches only.
//! * **Identities.** A user is an issuer *and* a subject:
//!   [`Claims::identity`](crate::token::Claims::identity).
//!
//! # Tenants
//!
//! Where each tenant has an issuer of its own, there are three ways, which can be mixed:
//!
//! | the tenants | their keys | use |
//! |---|---|---|
//! | are few and known | one set each | a list of [`Issuer`]s, such as [`Issuer::keycloak`] |
//! | are told apart by an id in `iss` and `tid` | one set for all | [`Issuer::entra_v2`], [`Issuer::entra_v1`], [`Issuer::template`] |
//! | come and go | one set each | [`Tenants`]: a pattern, and a [`Resolver`] that is asked once a tenant |
//!
//! # Users of one issuer and workloads of a Kubernetes cluster
//!
//! The cluster's API server answers with its keys only who authenticates, by a token from a file that
//! is replaced all the time, and its certificate is of a private authority:
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # fn validator() -> Result<tower_bearer::Validator<Workload>, Box<dyn std::error::Error>> {
//! use tower_bearer::Validator;
//! use tower_bearer::issuers::Issuer;
//! use tower_bearer::jwks::Jwks;
//! use tower_bearer::token::ClientIdSource;
//! use tower_bearer::transport::ReqwestTransport;
//!
//! let mounted = "/var/run/secrets/kubernetes.io/serviceaccount";
//! let server = "https://kubernetes.default.svc";
//! let transport = ReqwestTransport::builder()
//!     .root_certificates(std::fs::read(format!("{mounted}/ca.crt"))?)
//!     .bearer_from_file(server, format!("{mounted}/token"))
//!     .build()?;
//! let cluster = "https://kubernetes.default.svc.cluster.local";
//! let keys = Jwks::url(cluster, format!("{server}/openid/v1/jwks")).transport(transport);
//! let pods = Issuer::new(cluster, "orders")
//!     .client_id_source(ClientIdSource::subject())
//!     .keys(keys);
//! let users = Issuer::new("https://login.example", "https://orders.example");
//! let validator = Validator::issuers([users, pods]).claims::<Workload>().build()?;
//! # Ok(validator)
//! # }
//!
//! #[derive(serde::Deserialize)]
//! struct Workload {
//!     /// Which namespace, pod and service account: in the pods' tokens only.
//!     #[serde(rename = "kubernetes.io")]
//!     kubernetes: Option<serde_json::Value>,
//! }
//! ```
//!
//! # Routes for some of the issuers
//!
//! [`Access::require_issuer`](crate::Access::require_issuer) narrows an entry of a route table to one
//! issuer, [`ScopeGuardLayer::require_issuer`](crate::ScopeGuardLayer::require_issuer) a guard, and
//! the extractor `RequireIssuer` (feature `axum`) a handler.
//!
//! # Readiness
//!
//! [`Validator::health`](crate::Validator::health) and [`Validator::ready`](crate::Validator::ready)
//! are about all issuers; a [`Readiness`] says how many must be able to check tokens.
//! [`Validator::issuer_status`](crate::Validator::issuer_status) tells about each, for a status page;
//! [`Validator::jwks_of`](crate::Validator::jwks_of) returns each one's key source.
//!
//! # Changes while the service runs
//!
//! [`Validator::set_issuers`](crate::Validator::set_issuers) replaces the list atomically: the tokens of
//! a removed issuer are refused at once, remembered ones too. The metadata that
//! [`BearerAuthLayer::resource`](crate::BearerAuthLayer::resource) serves names the issuers of the time
//! when the layer was built. [`Validator::forget_tenant`](crate::Validator::forget_tenant) ends one
//! tenant.

mod builder;
pub(crate) mod issuer;
pub(crate) mod pattern;
mod presets;
pub(crate) mod readiness;
mod status;
pub(crate) mod tenants;

pub use self::builder::IssuersBuilder;
pub use self::issuer::Issuer;
pub use self::readiness::Readiness;
pub use self::status::IssuerStatus;
pub use self::tenants::{ResolveError, ResolveFuture, Resolver, Tenant, Tenants};
