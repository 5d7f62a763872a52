//! The layer that lets requests with a valid access token through, and refuses others with the reason.
//!
//! [`BearerAuthLayer`](crate::BearerAuthLayer) wraps any service of HTTP requests: an axum router, a
//! tonic server, a tower stack. What a route needs is declared in one of three ways:
//!
//! * a [`RouteTable`](crate::RouteTable) on the layer, for all routes in one place;
//! * a [`ScopeGuardLayer`](crate::ScopeGuardLayer) on a route, within the layer;
//! * `RequireScope` among a handler's arguments (feature `axum`).
//!
//! They can be mixed; then a request must meet all that apply to it. If the layer's
//! [`fallback`](crate::BearerAuthLayer::fallback) is denied, the routes of the other two must be in
//! the table as well.
//!
//! # A table
//!
//! ```
//! use http::{Method, Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_bearer::{Access, BearerAuthLayer, RouteTable, Validator};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
//! let validator = Validator::builder("https://issuer.example", "https://api.example")
//! #   .keys(tower_bearer::jwks::Jwks::static_set("https://issuer.example", set)?)
//!     .build()?;
//! let routes = RouteTable::builder()
//!     .any("/health", Access::public())
//!     .route(Method::GET, "/orders/{id}", Access::scope("orders:read"))
//!     .subtree("/admin", Access::scope("admin"))
//!     .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(BearerAuthLayer::new(validator).realm("orders")?.routes(routes))
//!     .service(service_fn(|_: Request<String>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new(String::from("hello")))
//!     }));
//!
//! let accepted = service.clone().oneshot(Request::get("/health").body(String::new())?).await?;
//! assert_eq!(accepted.status(), StatusCode::OK);
//!
//! let refused = service.oneshot(Request::get("/orders/1").body(String::new())?).await?;
//! assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(
//!     refused.headers()["www-authenticate"],
//!     r#"Bearer realm="orders", scope="orders:read""#
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # Order of layers
//!
//! axum's `Router::layer` applies to the routes and the fallback that were added before: call it last, or
//! routes that follow are open to all.
//!
//! # Around a router
//!
//! As a layer of a router, axum adds `allow` to every answer whose method the route doesn't have, so
//! that callers without a token can tell which paths exist
//! ([`Access::hide_existence`](crate::Access::hide_existence)). Around the router, they can't, and a
//! request is refused before it is routed. `axum::serve` takes a router, so the service around one is the
//! fallback of another:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use tower::Layer;
//! use tower_bearer::BearerAuthLayer;
//!
//! # async fn serve(validator: tower_bearer::Validator) -> std::io::Result<()> {
//! let app = Router::new().route("/orders", get(async || "orders"));
//! let guarded = BearerAuthLayer::new(validator).layer(app);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, Router::new().fallback_service(guarded)).await
//! # }
//! ```
//!
//! A layer around the router sees no [`MatchedPath`]: a route table matches the paths itself.
//!
//! [`MatchedPath`]: https://docs.rs/axum/0.8/axum/extract/struct.MatchedPath.html
//!
//! # WebSockets
//!
//! Over HTTP/1.1 they begin with a `GET`, over HTTP/2 and HTTP/3 with an extended CONNECT (RFC 8441,
//! RFC 9220), and axum's `any` accepts both. An entry for `GET` applies to both. Scripts in browsers can't set
//! the `Authorization` field of one: [`WebSocketTokenLayer`] takes the token from the subprotocols.
//!
//! # Streams
//!
//! A token is checked when a request begins. A [`StreamDeadlineLayer`] ends responses that aren't
//! complete when their token expires; a handler that holds a WebSocket waits for
//! [`AccessToken::expired`](crate::AccessToken::expired). The example `streams` has both.
//!
//! # Bodies of refused requests
//!
//! A refusal reads nothing of the request's body and doesn't wait for it. Over HTTP/1.1 that closes the
//! connection while clients may still be writing: with an [`UnreadBodyLayer`] around all others, they
//! see the answer.
//!
//! # Other layers
//!
//! A CORS layer belongs outside of this one, so that it answers preflight requests itself and adds
//! its fields to refusals too; let it expose [`EXPOSED_HEADERS`](crate::answer::EXPOSED_HEADERS) to scripts,
//! and allow `Authorization` by name. If that isn't possible, see
//! [`BearerAuthLayer::allow_preflight`](crate::BearerAuthLayer::allow_preflight). A layer that rewrites paths
//! belongs outside as well.
//!
//! A limit on concurrent requests belongs within this layer: outside, requests that wait for keys
//! count, and forged tokens with made-up keys can use it up.
//!
//! # Metrics and events
//!
//! With the feature `metrics`, `tower_bearer_requests_total{result,reason}` counts each request exactly
//! once, by the final decision about it:
//!
//! | `result` | `reason` | what |
//! |---|---|---|
//! | `accepted` | `none` | the token was accepted, and nothing within refused the request |
//! | `anonymous` | `none` | accepted without reading a token, or without one: [`Access::public`](crate::Access::public), [`Access::optional`](crate::Access::optional), or a preflight |
//! | `refused` | [`Refusal::code`](crate::Refusal::code) | refused by the layer, or by a guard or an extractor within it |
//! | `unavailable` | likewise | the token couldn't be checked |
//! | `misconfigured` | `misconfigured` | answered 500, since the service is misconfigured |
//! | `abandoned` | `none` | the caller disconnected while the verdict about its token was pending |
//!
//! It is counted when the inner service has answered, or when the caller no longer waits for that; of
//! several nested layers, the outermost counts. An extractor that refuses counts as `refused`
//! also if the handler takes it as a `Result` and answers otherwise.
//!
//! Alert on the `result` `unavailable` except for the `reason` `rate_limited`, not on the number of 503
//! answers: requests with made-up `kid`s are answered 503 as well, with that reason, once the issuer can't
//! be asked more often.
//!
//! `tower_bearer_streams_expired_total{kind}` counts the bodies that a [`StreamDeadlineLayer`] cut:
//! `grpc`, `event_stream`, or `aborted`.
//!
//! The metrics of this crate are described to the recorder that is installed when a layer, a key source
//! or a token client is built: install it before.
//!
//! With the feature `tracing`, these events, whose message begins with their name:
//!
//! | name | level | what |
//! |---|---|---|
//! | `auth_in_force` | `INFO` | once per layer: issuer, audience, algorithms, where the keys are, where opaque tokens are introspected, and what requests without an entry need |
//! | `auth_summary` | `WARN` if requests with tokens came and none was accepted, else `INFO` | when a request was refused, or one is accepted after none was, once a minute at most: how many of how many, and of the three commonest reasons what was expected and presented, and the setting that would help |
//! | `request refused`, `token can't be checked` | `DEBUG` | each request that isn't accepted, with its code and what was compared, its method and the first 64 bytes of its path, without the query |
//! | | `ERROR` | the service is misconfigured |
//!
//! The first refusal is logged at once, the others within a minute and a half, by the next request that
//! is refused or the task of the key source. Callers can't cause more than that one line a minute; what
//! they send is cut in it, and made printable.

// A request passes these files in this order: `service` calls `authority`, which takes the rule from `settings`
// (`map`, `routes`), reads the credentials (`bearer`, `proof`, `possession`) and asks the validator; `conditions` and
// `fault` decide whether the rule is met. `future` waits where that takes time. `context` leaves the token for the
// guards and extractors within (`scope_guard`, `axum`, `authorized`, `require_issuer`), `additions` adds to the
// response, and `tally` counts. `deadline`, `unread` and `websocket` are layers of their own.

mod additions;
mod authority;
#[cfg(feature = "axum")]
mod authorized;
#[cfg(feature = "axum")]
pub(crate) mod axum;
mod bearer;
mod body;
mod bound;
mod conditions;
mod context;
mod deadline;
mod fault;
mod future;
mod grpc_timeout;
pub(crate) mod layer;
mod map;
mod openapi;
#[cfg(any(feature = "dpop", feature = "mtls"))]
mod possession;
#[cfg(feature = "dpop")]
mod proof;
#[cfg(feature = "axum")]
mod require_issuer;
mod required_scopes;
pub(crate) mod routes;
mod schemes;
pub(crate) mod scope_guard;
mod service;
mod settings;
mod tally;
mod unread;
mod websocket;

#[cfg(feature = "axum")]
pub use self::authorized::{Authorized, RecentAuth};
#[cfg(feature = "axum")]
pub use self::axum::TokenRejection;
pub use self::body::ResponseBody;
pub use self::conditions::{Conditions, ConditionsBuilder};
pub use self::deadline::body::{DeadlineBody, DeadlineError};
pub use self::deadline::future::DeadlineFuture;
pub use self::deadline::layer::{StreamDeadline, StreamDeadlineLayer};
pub use self::future::ResponseFuture;
pub use self::openapi::OpenApi;
#[cfg(feature = "axum")]
pub use self::require_issuer::{IssuerName, RequireIssuer};
pub use self::required_scopes::{AnyOf, RequiredScopes, ScopeName};
pub use self::routes::builder::RouteTableBuilder;
pub use self::routes::listing::RouteEntry;
pub use self::scope_guard::{GuardFuture, ScopeGuard};
pub use self::service::BearerAuth;
pub use self::unread::{UnreadBodies, UnreadBody, UnreadBodyLayer};
pub use self::websocket::{WebSocketToken, WebSocketTokenLayer};
#[cfg(feature = "mcp")]
pub(crate) use self::{
    context::{Context, refuse},
    routes::missing::{lacking, log_in_again, no_credentials},
};
