//! OAuth 2.0 resource-server middleware for [tower](https://docs.rs/tower).
//!
//! [`BearerAuthLayer`] lets requests with a valid access token through to the service and refuses the
//! others with RFC 6750 challenges or gRPC statuses. A [`Validator`] checks the tokens, JWTs of one
//! issuer or several, against keys that are fetched and refreshed in the background, or asks their issuer
//! about them. The feature `client` gets tokens for calling such services.
//!
//! ```no_run
//! # #[cfg(feature = "axum")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use tower_bearer::{AccessToken, BearerAuthLayer, Validator};
//!
//! let validator = Validator::builder("https://issuer.example", "https://api.example").build()?;
//! let app: Router = Router::new()
//!     .route("/", get(async |token: AccessToken| format!("{:?}", token.subject())))
//!     .layer(BearerAuthLayer::new(validator)); // applies to the routes added before
//! # Ok(())
//! # }
//! ```
//!
//! | to | see |
//! |---|---|
//! | require scopes: a table, a guard, an extractor; order of layers, events and metrics | [`middleware`] |
//! | configure checks, claims and the cache | [`ValidatorBuilder`], [`token`] |
//! | see which signature algorithms there are, and choose a crypto backend | [`jose`] |
//! | accept tokens of several issuers | [`issuers`] |
//! | configure discovery and refresh of keys | [`jwks`] |
//! | accept opaque tokens | `introspection` (feature of that name) |
//! | accept tokens that are bound to a key | `dpop` (feature of that name) |
//! | accept tokens that are bound to a certificate | `mtls` (feature of that name) |
//! | protect an MCP server's tools | `mcp` (feature of that name) |
//! | serve protected-resource metadata, which leads clients to a token | [`metadata`] |
//! | see or change what callers are answered | [`answer`], [`Refusal`], [`refusal`] |
//! | call protected services | `client` (feature `client`) |
//! | test with an in-process issuer | `testing` (feature `test-util`) |
//!
//! A request is refused and the caller learns no reason: run with the feature `tracing` and
//! `RUST_LOG=info,tower_bearer=debug`. The [README](https://docs.rs/crate/tower-bearer/latest) is a guide, with
//! what isn't supported and settings for common authorization servers; the
//! [features](https://docs.rs/crate/tower-bearer/latest/features) are there, too.

#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a backend nothing can be built, and what is behind building isn't reached.
#![cfg_attr(
    not(any(feature = "aws-lc-rs", feature = "rust-crypto")),
    allow(dead_code, unreachable_code, unused_variables)
)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

/// Compiles the code in README and in `docs`.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/client.md")]
#[doc = include_str!("../docs/recipes/auth0.md")]
#[doc = include_str!("../docs/recipes/authentik.md")]
#[doc = include_str!("../docs/recipes/cognito.md")]
#[doc = include_str!("../docs/recipes/entra.md")]
#[doc = include_str!("../docs/recipes/github-actions.md")]
#[doc = include_str!("../docs/recipes/google.md")]
#[doc = include_str!("../docs/recipes/grpc.md")]
#[doc = include_str!("../docs/recipes/keycloak.md")]
#[doc = include_str!("../docs/recipes/kubernetes.md")]
#[doc = include_str!("../docs/recipes/okta.md")]
#[doc = include_str!("../docs/recipes/openapi.md")]
#[doc = include_str!("../docs/recipes/proxy.md")]
#[doc = include_str!("../docs/recipes/spiffe.md")]
#[doc = include_str!("../docs/recipes/split-horizon.md")]
#[doc = include_str!("../docs/recipes/streams.md")]
#[doc = include_str!("../docs/recipes/zitadel.md")]
mod readme {}

/// For this crate's own conformance tests; no part of its interface.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod __private {
    pub use crate::jose::bare::{count_keys, verify_hmac_jws, verify_jws, verify_raw};
}

// Some unit tests share files with those of `tests`, which name the crate.
#[cfg(test)]
extern crate self as tower_bearer;

pub mod answer;
mod binding;
mod cause;
#[cfg(any(feature = "client", feature = "introspection"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "client", feature = "introspection"))))]
pub mod client;
mod clock;
#[cfg(any(feature = "client", feature = "introspection"))]
mod credentials;
#[cfg(any(
    feature = "client",
    feature = "dpop",
    feature = "introspection",
    feature = "mcp",
    feature = "mtls"
))]
mod digest;
mod error;
pub mod explain;
#[cfg(any(feature = "client", feature = "introspection", feature = "reqwest"))]
mod file;
#[cfg(feature = "introspection")]
#[cfg_attr(docsrs, doc(cfg(feature = "introspection")))]
pub mod introspection;
mod issuer;
pub mod jose;
mod json;
pub mod jwks;
mod kinds;
#[cfg(feature = "mcp")]
#[cfg_attr(docsrs, doc(cfg(feature = "mcp")))]
pub mod mcp;
pub mod metadata;
pub mod middleware;
mod progress;
#[cfg(feature = "redis")]
mod redis_link;
pub mod refusal;
mod scope;
mod secret;
mod slots;
mod syntax;
mod telemetry;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod testing;
mod text;
pub mod token;
pub mod transport;
#[cfg(any(feature = "client", feature = "introspection", feature = "reqwest"))]
mod turns;
mod validator;

#[cfg(feature = "dpop")]
#[cfg_attr(docsrs, doc(cfg(feature = "dpop")))]
pub use self::binding::dpop;
#[cfg(feature = "mtls")]
#[cfg_attr(docsrs, doc(cfg(feature = "mtls")))]
pub use self::binding::mtls;
pub use self::clock::{Clock, SystemClock, UnixTime};
pub use self::error::ConfigError;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use self::middleware::axum::RequireScope;
pub use self::middleware::layer::BearerAuthLayer;
pub use self::middleware::routes::access::Access;
pub use self::middleware::routes::table::RouteTable;
pub use self::middleware::scope_guard::ScopeGuardLayer;
pub use self::refusal::fault::{Refusal, Unavailable};
pub use self::refusal::kind::RejectionKind;
pub use self::refusal::rejection::Rejection;
pub use self::scope::{Implications, ImplicationsBuilder, Requirement, Scope, ScopeSet};
pub use self::secret::Secret;
pub use self::token::access_token::{AccessToken, NoClaims};
pub use self::validator::issuers;
pub use self::validator::{KeySource, RequiredClaim, Validator, ValidatorBuilder};
