//! How a refusal is answered over HTTP and gRPC.
//!
//! One table gives each [`Refusal`](crate::Refusal) its HTTP status, RFC 6750 code and gRPC code:
//!
//! | refused because | HTTP | `error` | gRPC | `ErrorInfo.reason` |
//! |---|---|---|---|---|
//! | no bearer token | 401 | – (body: `unauthorized`) | `UNAUTHENTICATED` | `CREDENTIALS_MISSING` |
//! | malformed field, two fields | 400 | `invalid_request` | `UNAUTHENTICATED` | `CREDENTIALS_MALFORMED` |
//! | ambiguous path | 400 | `invalid_request` | `UNIMPLEMENTED` | `PATH_AMBIGUOUS` |
//! | invalid token | 401 | `invalid_token` | `UNAUTHENTICATED` | `ACCESS_TOKEN_INVALID` |
//! | expired, if told | 401 | `invalid_token` | `UNAUTHENTICATED` | `ACCESS_TOKEN_EXPIRED` |
//! | encrypted, ID token, bound to what isn't shown | 401 | `invalid_token` | `UNAUTHENTICATED` | `ACCESS_TOKEN_TYPE_UNSUPPORTED` |
//! | bad DPoP proof | 401 | `invalid_dpop_proof` | `UNAUTHENTICATED` | `DPOP_PROOF_INVALID` |
//! | DPoP proof without a nonce | 401 | `use_dpop_nonce` | `UNAUTHENTICATED` | `DPOP_NONCE_REQUIRED` |
//! | scope missing | 403 | `insufficient_scope` | `PERMISSION_DENIED` | `ACCESS_TOKEN_SCOPE_INSUFFICIENT` |
//! | login too old or too weak | 401 | `insufficient_user_authentication` | `UNAUTHENTICATED` | `LOGIN_INSUFFICIENT` |
//! | claim or client not allowed | 403 | – (body: `access_denied`) | `PERMISSION_DENIED` | `ACCESS_DENIED` |
//! | denied for all | 403 | – (body: `access_denied`) | `PERMISSION_DENIED` | `ACCESS_DENIED` |
//! | the four above, and a token that isn't bound as it must be, hidden | as [`Absent`] says | | | |
//! | keys unavailable | 503 | – (body: `temporarily_unavailable`) | `UNAVAILABLE` | `AUTH_UNAVAILABLE` |
//! | misconfigured | 500 | – (body: `server_error`) | `INTERNAL` | – |
//!
//! The request determines the form of the response:
//!
//! | told by | answered as |
//! |---|---|
//! | `POST` with `application/grpc` | gRPC: 200, trailers-only |
//! | `POST` with `application/grpc-web`, or `-text` | gRPC-Web: the same, with the request's content type |
//! | `Connect-Protocol-Version`, or a `GET` with `connect=v1` | Connect: the code's HTTP status, and JSON |
//! | `POST` with `application/connect+…` | Connect, streaming: 200, and an end-of-stream message |
//! | anything else | the HTTP status, and JSON |
//!
//! All of them have the challenges as header fields. Scripts of other origins see those that a CORS layer
//! around exposes: [`EXPOSED_HEADERS`].
//!
//! A [`Renderer`], which can be a closure, replaces these answers by the application's own. The table
//! and the challenges reach it in its [`RefusalContext`].

// A refusal passes these files in this order: `protocol` tells how the call is answered, `wire` has the row of
// the table (status, codes and text for all protocols), `challenges` the header fields, the body's length
// among them. `renderer` calls `plain`, `grpc`, `connect` or `absent`; `respond` enforces what holds for every
// renderer.

mod absent;
mod challenge;
mod challenges;
mod connect;
mod context;
mod exposed;
mod grpc;
mod head;
mod plain;
mod protocol;
mod renderer;
mod respond;
mod step_up;
mod wire;

pub use self::absent::Absent;
pub(crate) use self::challenges::{Challenges, Schemes, Space};
pub use self::context::RefusalContext;
pub use self::exposed::EXPOSED_HEADERS;
pub(crate) use self::grpc::expired_trailers;
pub(crate) use self::head::RequestHead;
pub(crate) use self::protocol::is_grpc;
pub(crate) use self::renderer::AnyRenderer;
pub use self::renderer::{DefaultRenderer, Renderer};
pub(crate) use self::respond::respond;
pub(crate) use self::wire::{Disclosure, wire};
