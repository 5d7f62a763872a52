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
//! # Which issuer a token is checked against
//!
//! The `iss` of a token is read before its signature is checked. It only selects among the configured
//! issuers, character by character (RFC 8725 §3.8): a trailing slash makes another
//! issuer. Then the token must have the selected issuer's signature, audience and so on, and its
//! `iss` is compared again with that issuer's name.
//!
//! An `iss` that isn't configured is refused with 401, after the same work whatever it is; nothing is
//! fetched because of it. One that is absent, duplicate, not a string, or longer than 2 KiB is
//! refused as well.
//!
//! A token that isn't a JWT says nothing about its issuer. It belongs to the issuer for which
//! [`Issuer::introspection`] is set; if several have it, `token_prefix` or `by_route` decides.
//!
//! # What never crosses
//!
//! * **Keys.** Each issuer's tokens are verified with its own keys only, also where two issuers use the
//!   same `kid`. They come from the configuration or from the issuer's own metadata.
//! * **Outages.** While one issuer's keys are unavailable, its tokens are answered 503, and those of the
//!   others are unaffected, also at start.
//! * **Budgets.** Made-up `kid`s in tokens of one issuer use up only its own fetches. The memory of tokens
//!   is shared, but each issuer has an equal part of it: what others don't use may be borrowed, and a flood
//!   of valid or of forged tokens evicts only its own issuer's.
//! * **Identities.** A user is an issuer *and* a subject:
//!   [`Claims::identity`](crate::token::Claims::identity).
//!
//! # Tenants
//!
//! If each tenant has an issuer of its own, there are three ways, which can be mixed:
//!
//! | the tenants | their keys | use |
//! |---|---|---|
//! | are few and known | one set each | a list of [`Issuer`]s, such as [`Issuer::keycloak`] |
//! | have an id in `iss` and `tid` that distinguishes them | one set for all | [`Issuer::entra_v2`], [`Issuer::entra_v1`], [`Issuer::template`] |
//! | come and go | one set each | [`Tenants`]: a pattern, and a [`Resolver`] that is asked once per tenant |
//!
//! # Users of one issuer and workloads of a Kubernetes cluster
//!
//! The cluster's API server returns its keys only to authenticated clients, by a token from a file that
//! is replaced all the time, and its certificate is issued by a private authority:
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
//! [`Validator::issuer_status`](crate::Validator::issuer_status) returns the status of each, for a status
//! page; [`Validator::jwks_of`](crate::Validator::jwks_of) returns each one's key source.
//!
//! # Changes while the service runs
//!
//! [`Validator::set_issuers`](crate::Validator::set_issuers) replaces the list atomically: the tokens of
//! a removed issuer are refused at once, including remembered ones, and the metadata that
//! [`BearerAuthLayer::resource`](crate::BearerAuthLayer::resource) serves names the new list.
//! [`Validator::forget_tenant`](crate::Validator::forget_tenant) forgets one tenant.

// `builder` takes each `issuer`, for which there are `presets`, and the `tenants`, whose names must match a `pattern`.
// `readiness` and `status` are for operators.

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
