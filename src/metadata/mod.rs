//! Protected-resource metadata (RFC 9728): how clients find the authorization server of a service.
//!
//! [`BearerAuthLayer::resource`](crate::BearerAuthLayer::resource) turns it on. The layer then serves the
//! document without authentication, and names its URL in each challenge, so that a client that knows only
//! the URL of the service can find the authorization server:
//!
//! ```
//! # use tower_bearer::{BearerAuthLayer, ConfigError, Validator};
//! # fn example(validator: Validator) -> Result<BearerAuthLayer, ConfigError> {
//! let layer = BearerAuthLayer::new(validator).resource("https://api.example/mcp")?;
//! # Ok(layer)
//! # }
//! ```
//!
//! ```text
//! WWW-Authenticate: Bearer realm="https://api.example/mcp",
//!     resource_metadata="https://api.example/.well-known/oauth-protected-resource/mcp"
//! ```
//!
//! The document lists the validator's issuers and the scopes of the route table; of a template, the
//! issuers of the allowed tenants. Those that are known only by a predicate or a pattern
//! ([`Tenants`](crate::issuers::Tenants)) can't be listed, which a warning says: name those that clients
//! may use with [`ResourceMetadataBuilder::authorization_servers`]. [`ResourceMetadata::builder`] adds other
//! members.
//!
//! # Where it is served
//!
//! The well-known part is inserted between host and path (RFC 9728 §3.1): the document of
//! `https://api.example/mcp` is at `/.well-known/oauth-protected-resource/mcp`, and by default at
//! `/.well-known/oauth-protected-resource` as well. The layer answers these paths itself, before it reads
//! credentials, and every other path below the well-known one with 404, since clients continue discovery
//! after a 404 but not after a 401.
//!
//! The paths are those of the public URL, which is configured: the layer never reads `Host` or a
//! forwarded field. A proxy that strips a prefix must not do so for these paths, or
//! [`ResourceMetadataBuilder::url`] must be set to the URL of the document.
//!
//! A layer that sees only some of the paths, such as one within a router nested at `/mcp`, receives no
//! requests for them. There, and where one process has several resources, a [`MetadataService`] serves them:
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # fn example(mcp: tower_bearer::Validator, api: tower_bearer::Validator)
//! #     -> Result<axum::Router, tower_bearer::ConfigError> {
//! use axum::{Router, routing::get};
//! use tower_bearer::BearerAuthLayer;
//! use tower_bearer::metadata::{MetadataService, WELL_KNOWN};
//!
//! let mcp = BearerAuthLayer::new(mcp).resource("https://api.example/mcp")?;
//! let api = BearerAuthLayer::new(api).resource("https://api.example/api")?;
//! let metadata = MetadataService::new([mcp.metadata_service(), api.metadata_service()])?;
//! let app = Router::new()
//!     .nest("/mcp", Router::new().route("/", get(|| async { "mcp" })).layer(mcp))
//!     .nest("/api", Router::new().route("/", get(|| async { "api" })).layer(api))
//!     .nest_service(WELL_KNOWN, metadata);
//! # Ok(app)
//! # }
//! ```
//!
//! [`check`] fetches a document as a client would, and reports what is wrong with it. Run it in a test of
//! the deployment.

// `builder` has the settings, `build` checks them and makes the `description`, whose `document` is served by an
// `endpoint`, within the layer or a `service`.

mod build;
mod builder;
mod check;
mod description;
mod document;
mod endpoint;
mod metadata_url;
mod servers;
mod service;

pub use self::builder::ResourceMetadataBuilder;
pub use self::check::{MetadataFault, check};
pub use self::description::ResourceMetadata;
pub(crate) use self::document::Facts;
pub(crate) use self::endpoint::{Endpoint, Found};
pub use self::metadata_url::WELL_KNOWN;
pub(crate) use self::servers::{AuthorizationServers, KnownIssuers};
pub(crate) use self::service::full_uri;
pub use self::service::{MetadataBody, MetadataFuture, MetadataService};
