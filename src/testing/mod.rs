//! An embedded authorization server for tests. **Never for production.**
//!
//! [`TestIssuer`] signs access tokens, serves discovery, a key set, introspection and the client-credentials,
//! token-exchange and JWT bearer grants over plain HTTP on loopback, rotates its keys, and injects faults. It
//! is not secure: it has no storage, no TLS and no limits, and mints any token. It is behind the feature
//! `test-util`, which belongs in `[dev-dependencies]`.
//!
//! | to | use |
//! |---|---|
//! | make a valid or an invalid token | [`TestIssuer::token`] |
//! | let a client fetch a token | [`TestIssuer::token_endpoint`], [`TestClient`] |
//! | make a valid or an invalid DPoP proof | `TestProof` (feature `dpop`) |
//! | check all routes of an application, by all methods and spellings | [`RouteCheck`] |
//! | rotate keys | [`rotate_overlapping`](TestIssuer::rotate_overlapping), [`rotate_hard`](TestIssuer::rotate_hard), [`rotate_same_kid`](TestIssuer::rotate_same_kid), [`prepublish_keys`](TestIssuer::prepublish_keys) |
//! | break an endpoint | [`TestIssuer::inject`] with a [`Fault`] |
//! | grant, introspect and revoke opaque tokens | [`TokenBuilder::opaque`], [`TestIssuer::introspection_endpoint`], [`TestIssuer::revoke`] |
//! | stop the issuer, and start it again | [`TestIssuer::stop`], [`TestIssuer::restart`] |
//! | inspect requests | [`TestIssuer::counters`], [`TestIssuer::wait_for_requests`], [`TestIssuer::last_request`] |
//! | imitate another server | [`TestIssuerBuilder`], above all its `shape_…` methods |
//! | test without sockets, or under paused time | [`TestIssuer::transport`], [`ManualClock`], [`ScriptedTransport`] |
//!
//! Each issuer has its own thread, so it works with any runtime, and while the test blocks.
//!
//! # Testing a service
//!
//! A service takes its validator as an argument, so that the test can pass one that trusts the embedded
//! issuer. Everything else is as in production.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum::body::Body;
//! use axum::routing::get;
//! use http::{Method, Request, StatusCode};
//! use tower::ServiceExt;
//! use tower_bearer::jwks::Jwks;
//! use tower_bearer::testing::TestIssuer;
//! use tower_bearer::{Access, BearerAuthLayer, ConfigError, RouteTable, Validator};
//!
//! // The service.
//! fn app(validator: Validator) -> Result<Router, ConfigError> {
//!     let routes = RouteTable::builder()
//!         .route(Method::GET, "/orders", Access::scope("orders:read"))
//!         .build()?;
//!     let auth = BearerAuthLayer::new(validator).realm("orders")?.routes(routes);
//!     Ok(Router::new().route("/orders", get(async || "two orders")).layer(auth))
//! }
//!
//! // Its test.
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = TestIssuer::start().await?;
//! // Without this transport, the keys are fetched over HTTP.
//! let keys = Jwks::discover(issuer.issuer()).transport(issuer.transport());
//! let validator = Validator::builder(issuer.issuer(), issuer.audience()).keys(keys).build()?;
//! validator.ready(Duration::from_secs(5)).await?;
//! let app = app(validator)?;
//!
//! let call = async |token: String| {
//!     let request = Request::get("/orders").header("authorization", format!("Bearer {token}"));
//!     app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
//! };
//!
//! let reader = issuer.token().subject("alice").scope("orders:read");
//! assert_eq!(call(reader.clone().sign()).await.status(), StatusCode::OK);
//!
//! let writer = issuer.token().scope("orders:write").sign();
//! assert_eq!(call(writer).await.status(), StatusCode::FORBIDDEN);
//!
//! for bad in [
//!     reader.clone().expired_for(Duration::from_secs(61)),
//!     reader.clone().audience("https://another.test"),
//!     reader.clone().without_claim("exp"),
//!     reader.clone().tampered_claim("scope", "orders:admin"),
//!     reader.clone().unsecured(),
//! ] {
//!     let refused = call(bad.sign()).await;
//!     assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//!     assert_eq!(
//!         refused.headers()["www-authenticate"],
//!         "Bearer realm=\"orders\", error=\"invalid_token\", \
//!          error_description=\"The access token is invalid\""
//!     );
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Rotation and outage
//!
//! With [`TestIssuer::transport`] and a clock that runs with tokio's, a test under paused time passes
//! hours instantly. Write `#[tokio::test(start_paused = true)]`.
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_bearer::jwks::Jwks;
//! use tower_bearer::testing::{Endpoint, ManualClock, TestIssuer};
//! use tower_bearer::{Refusal, UnixTime, Validator};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = ManualClock::running(UnixTime::from_secs(1_800_000_000));
//! let builder = TestIssuer::builder().clock(clock.clone());
//! let issuer = builder.token_lifetime(Duration::from_secs(86_400)).start().await?;
//! let keys = Jwks::discover(issuer.issuer())
//!     .max_stale(Duration::from_secs(3_600))
//!     .transport(issuer.transport())
//!     .clock(clock.clone());
//! let validator = Validator::builder(issuer.issuer(), issuer.audience())
//!     .keys(keys)
//!     .clock(clock)
//!     .build()?;
//! validator.ready(Duration::from_secs(5)).await?;
//!
//! // The keys are replaced: tokens of the new key are accepted, those of the old one refused.
//! let old = issuer.token().sign();
//! assert!(validator.validate(&old).await.is_ok());
//! issuer.rotate_hard();
//! let new = issuer.token().sign();
//! assert!(validator.validate(&new).await.is_ok());
//! assert!(matches!(validator.validate(&old).await, Err(Refusal::Rejection(_))));
//! assert_eq!(issuer.counters().requests(Endpoint::Jwks), 2);
//!
//! // The issuer is down: its keys are used for a while, then tokens can't be checked.
//! issuer.stop().await;
//! tokio::time::advance(Duration::from_secs(1_800)).await;
//! assert!(validator.validate(&new).await.is_ok());
//! tokio::time::advance(Duration::from_secs(7_200)).await;
//! assert!(matches!(validator.validate(&new).await, Err(Refusal::Unavailable(_))));
//!
//! // It is up again, and tokens are accepted.
//! issuer.restart().await?;
//! tokio::time::sleep(Duration::from_secs(120)).await;
//! assert!(validator.validate(&new).await.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # From a shell
//!
//! Any HTTP client can request a token, as from any other authorization server:
//!
//! ```text
//! curl -u test-client:test-secret -d grant_type=client_credentials -d scope=orders:read $ISSUER/token
//! ```

// `issuer` is the embedded server, `tokens` what it signs, `routes` the check of an application's routes. `clock`
// and `scripted` stand in for time and network.

mod clock;
mod issuer;
mod misuse;
mod routes;
mod scripted;
mod tokens;

pub use self::clock::ManualClock;
pub use self::issuer::builder::TestIssuerBuilder;
pub use self::issuer::client::{AuthMethod, TestClient};
pub use self::issuer::endpoint::{Counters, Endpoint};
pub use self::issuer::fault::Fault;
pub use self::issuer::handle::TestIssuer;
pub use self::issuer::in_process::IssuerTransport;
pub use self::issuer::state::Discovery;
pub use self::routes::check::RouteCheck;
pub use self::routes::report::{RouteProblem, RouteReport};
pub use self::routes::sent::SentToken;
pub use self::scripted::{Gate, ScriptedAnswer, ScriptedTransport};
pub use self::tokens::key::TestKey;
#[cfg(feature = "dpop")]
#[cfg_attr(docsrs, doc(cfg(feature = "dpop")))]
pub use self::tokens::proof::TestProof;
pub use self::tokens::token::TokenBuilder;
