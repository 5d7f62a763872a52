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
//! # Routes for some of the issuers
//!
//! [`Access::require_issuer`](crate::Access::require_issuer) narrows an entry of a route table to one
//! issuer, [`ScopeGuardLayer::require_issuer`](crate::ScopeGuardLayer::require_issuer) a guard, and
//! the extractor [`RequireIssuer`](crate::middleware::RequireIssuer) (feature `axum`) a handler.
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
//! [`Validator::set_issuers`](crate::Validator::set_issuers) replaces the list atomically.

mod builder;
mod issuer;
pub(crate) mod readiness;
mod status;

pub use self::builder::IssuersBuilder;
pub use self::issuer::Issuer;
pub use self::readiness::Readiness;
pub use self::status::IssuerStatus;
