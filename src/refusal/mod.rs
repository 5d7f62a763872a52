//! Refusals, and how they are put into HTTP and gRPC answers.
//!
//! Three faults, three types: a [`Rejection`] is the caller's, [`Unavailable`] is ours or the
//! authorization server's, [`Misconfigured`] is the operator's. One table gives each its HTTP
//! status, RFC 6750 code and gRPC code.
//!
//! | refused because | HTTP | `error` | gRPC | `ErrorInfo.reason` |
//! |---|---|---|---|---|
//! | no bearer token | 401 | – (body: `unauthorized`) | `UNAUTHENTICATED` | `CREDENTIALS_MISSING` |
//! | malformed field, two fields | 400 | `invalid_request` | `UNAUTHENTICATED` | `CREDENTIALS_MALFORMED` |
//! | ambiguous path | 400 | `invalid_request` | `UNIMPLEMENTED` | `PATH_AMBIGUOUS` |
//! | invalid token | 401 | `invalid_token` | `UNAUTHENTICATED` | `ACCESS_TOKEN_INVALID` |
//! | expired, if told | 401 | `invalid_token` | `UNAUTHENTICATED` | `ACCESS_TOKEN_EXPIRED` |
//! | encrypted, ID token, bound to a key | 401 | `invalid_token` | `UNAUTHENTICATED` | `ACCESS_TOKEN_TYPE_UNSUPPORTED` |
//! | scope missing | 403 | `insufficient_scope` | `PERMISSION_DENIED` | `ACCESS_TOKEN_SCOPE_INSUFFICIENT` |
//! | denied for all | 403 | – (body: `access_denied`) | `PERMISSION_DENIED` | `ACCESS_DENIED` |
//! | the two above, hidden | as [`Absent`] says | | | |
//! | keys unavailable | 503 | – (body: `temporarily_unavailable`) | `UNAVAILABLE` | `AUTH_UNAVAILABLE` |
//! | misconfigured | 500 | – (body: `server_error`) | `INTERNAL` | – |
//!
//! The typed reason lies in the response's extensions, for logs and tests:
//!
//! ```
//! use tower_bearer::{Refusal, RejectionKind};
//!
//! fn was_expired<B>(response: &http::Response<B>) -> bool {
//!     match response.extensions().get::<Refusal>() {
//!         Some(Refusal::Rejection(rejection)) => rejection.kind() == RejectionKind::Expired,
//!         _ => false,
//!     }
//! }
//! # assert!(!was_expired(&http::Response::new(())));
//! ```

mod absent;
pub(crate) mod challenge;
mod grpc;
mod http;
mod kind;
pub(crate) mod renderer;
pub(crate) mod table;

pub use self::absent::Absent;
pub use self::kind::{
    Detail, Misconfigured, Refusal, Rejection, RejectionKind, Unavailable, UnavailableReason,
};
pub use self::renderer::{DefaultRenderer, RefusalContext, Renderer};
pub use crate::text::{Excerpt, Excerpts};
