//! Scopes for each tool, resource, prompt and method of an MCP server (Model Context Protocol, over
//! streamable HTTP).
//!
//! A [`BearerAuthLayer`](crate::BearerAuthLayer) checks tokens. An [`McpGuardLayer`] inside it reads the
//! message of each request, and forwards it to the server if the token meets the access rule of an
//! [`OperationTable`]. A refusal is a 403 with a challenge that names all scopes of the operation, so that
//! clients can request a token that has them.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_bearer::mcp::{McpGuardLayer, OperationTable, RequestBody};
//! use tower_bearer::{Access, BearerAuthLayer, Validator};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = tower_bearer::testing::TestKey::generate(tower_bearer::jose::Algorithm::EdDSA);
//! # let set = format!("{{\"keys\":[{}]}}", key.public_jwk());
//! # let token = |scope: &str| key.sign(
//! #     format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, key.kid()),
//! #     format!(r#"{{"iss":"https://issuer.example","aud":"https://api.example/mcp","exp":32503680000,"scope":"{scope}"}}"#),
//! # );
//! let validator = Validator::builder("https://issuer.example", "https://api.example/mcp")
//! #   .keys(tower_bearer::jwks::Jwks::static_set("https://issuer.example", &set)?)
//!     .build()?;
//! let operations = OperationTable::builder(Access::scope("mcp:use"))
//!     .tool("add", Access::token())
//!     .tool("wipe", Access::scope("mcp:danger"))
//!     .other_tools(Access::denied())
//!     .build()?;
//! let service = ServiceBuilder::new()
//!     .layer(BearerAuthLayer::new(validator).realm("mcp")?.fallback(Access::scope("mcp:use"))?)
//!     .layer(McpGuardLayer::new(operations)?)
//!     .service(service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
//!         // In place of rmcp's StreamableHttpService, or any other tower service.
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("the server's answer")))
//!     }));
//!
//! let call = |tool: &str, token: &str| {
//!     let params = format!(r#"{{"name":"{tool}","arguments":{{}}}}"#);
//!     Request::post("/mcp")
//!         .header("authorization", format!("Bearer {token}"))
//!         .header("content-type", "application/json")
//!         .body(Full::<Bytes>::from(format!(
//!             r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#
//!         )))
//! };
//! let token = token("mcp:use");
//! let answer = service.clone().oneshot(call("add", &token)?).await?;
//! assert_eq!(answer.status(), StatusCode::OK);
//!
//! let refused = service.oneshot(call("wipe", &token)?).await?;
//! assert_eq!(refused.status(), StatusCode::FORBIDDEN);
//! let challenge = refused.headers()["www-authenticate"].to_str()?;
//! assert!(challenge.contains(r#"scope="mcp:use mcp:danger""#));
//! # Ok(())
//! # }
//! ```
//!
//! The example `mcp_server` in the repository does this with `rmcp`.
//!
//! # The layer around it
//!
//! The outer layer decides first: the guard doesn't see requests that it refuses, such as those without a
//! token. Set its [`fallback`](crate::BearerAuthLayer::fallback) to the base, so that the challenge of the
//! first 401 names the initial scopes, unless a method needs less than the base. If there are methods that
//! need no token, set it to [`Access::optional`](crate::Access::optional).
//! [`metadata`](crate::BearerAuthLayer::metadata) publishes the authorization servers to clients, as the
//! protocol requires: give it the [scopes](OperationTable::scopes) of the operations, which the outer layer
//! doesn't know. [`resource_audiences`](crate::ValidatorBuilder::resource_audiences) accepts the server's
//! URL with and without a slash at the end, since clients differ. A CORS layer with the lists of
//! [`cors_methods`] belongs around the outer layer.
//!
//! # Within tools
//!
//! The token is in the extensions of the HTTP request: [`AccessToken::from_extensions`]. [`require`]
//! requires further scopes, when only the tool knows that they are needed.
//!
//! # Not supported
//!
//! `Origin` and `Host` are checked by the server. Names other than those of tools, prompts and resources are
//! not checked, and listings are not filtered: tools that a caller may not call are listed unless the server
//! omits them. The caller's token is for this server, and must not be forwarded to another one.
//!
//! [`AccessToken::from_extensions`]: crate::AccessToken::from_extensions

// A request passes these files in this order: `service` asks `settings`, which checks the session (`session`) and
// reads the operation from the `head` if it may. Otherwise `future` waits for the `body`, from which `call` reads it.
// `event_ids` binds the ids of events in the response. `table` has the rules, with resources compared by `uri`;
// `operation` decides, also for what a tool requires later.

mod body;
mod call;
mod cors;
mod event_ids;
mod future;
mod head;
mod layer;
mod operation;
mod service;
mod session;
mod settings;
mod table;
mod table_builder;
mod uri;

pub use self::body::RequestBody;
pub use self::cors::{cors_exposed_headers, cors_methods, cors_request_headers};
pub use self::event_ids::ResponseBody;
pub use self::future::McpGuardFuture;
pub use self::layer::McpGuardLayer;
pub use self::operation::{Shortfall, require};
pub use self::service::McpGuard;
pub use self::table::OperationTable;
pub use self::table_builder::OperationTableBuilder;
