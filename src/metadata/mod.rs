//! Protected-resource metadata (RFC 9728): how clients find the authorization server of a service.
//!
//! [`BearerAuthLayer::resource`](crate::BearerAuthLayer::resource) turns it on. The layer then serves the
//! document to everyone, and names its URL in each challenge, so that a client which knows only the URL
//! of the service finds its way to a token:
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
//! What the document lists is what the layer really does: the validator's issuers, and the scopes of the
//! route table. [`ResourceMetadata::builder`] adds the rest.
//!
//! # Where it is served
//!
//! The well-known part is inserted between host and path (RFC 9728 §3.1): the document of
//! `https://api.example/mcp` is at `/.well-known/oauth-protected-resource/mcp`, and by default at
//! `/.well-known/oauth-protected-resource` as well. The layer answers these paths itself, before it looks
//! at credentials, and every other path below the well-known one with 404, since clients go on after a
//! 404 but not after a 401.
//!
//! The paths are those of the public URL, which is configuration: the layer never reads `Host` or a
//! forwarded field. A proxy that takes a prefix away must leave these paths alone, or
//! [`ResourceMetadataBuilder::url`] says where the document is.
//!
//! A layer that sees only a part of the paths, such as one within a router that is nested at `/mcp`, isn't
//! asked for them. There, and where one process has several resources, a [`MetadataService`] serves them:
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
//! [`check`] fetches a document as a client would, and says what is wrong with it: run it in a test of the
//! deployment.

mod build;
mod builder;
mod check;
mod description;
mod document;
mod endpoint;
mod place;
mod service;

pub use self::builder::ResourceMetadataBuilder;
pub use self::check::{MetadataFault, check};
pub use self::description::ResourceMetadata;
pub(crate) use self::document::Facts;
pub(crate) use self::endpoint::{Endpoint, Found};
pub use self::place::WELL_KNOWN;
pub(crate) use self::service::full_uri;
pub use self::service::{MetadataBody, MetadataFuture, MetadataService};
