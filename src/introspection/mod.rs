//! Tokens that aren't JWTs: their issuer is asked (RFC 7662), and may sign its answers (RFC 9701).
//!
//! ```
//! use tower_bearer::Validator;
//! use tower_bearer::client::ClientAuth;
//! use tower_bearer::introspection::Introspection;
//! # use tower_bearer::ConfigError;
//!
//! # fn main() -> Result<(), ConfigError> {
//! // JWTs by their signatures, all others by asking.
//! let validator = Validator::builder("https://issuer.example", "https://orders.example")
//!     .introspection(Introspection::discover(ClientAuth::basic("orders", "s3cret")))
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! An introspected token is an [`AccessToken`](crate::AccessToken) like any other: with claims, which
//! are the members of the answer, scopes from the same [`ScopeSource`](crate::token::ScopeSource), and
//! the application's own claims. Its [`Evidence`](crate::token::Evidence) is `Introspection`.
//!
//! # Which tokens
//!
//! A token is a JWT if it has three segments of which the first decodes to a JSON object with a string
//! `alg`. Everything else is opaque, what is encrypted included. It is never tried which it is: a JWT
//! that fails its check is refused, and its issuer isn't asked about it.
//!
//! With [`ValidatorBuilder::keys`](crate::ValidatorBuilder::keys) in place of
//! [`ValidatorBuilder::introspection`](crate::ValidatorBuilder::introspection), the issuer is asked about
//! every token: for issuers whose keys aren't published.
//!
//! # What is accepted
//!
//! `active` must be `true`. Then the answer is held against the validator's settings, as a JWT's claims
//! are: `exp` and `nbf`, `aud`, and `iss`, which may be absent, since an endpoint is one issuer's. A
//! token that the answer calls a refresh token or an ID token is refused, and so is one that is bound to
//! a key (`cnf`) which isn't shown.
//!
//! | answer | the caller gets |
//! |---|---|
//! | `{"active":false}`, or active and refused | 401 `invalid_token` |
//! | `active` that is no boolean, no JSON, another status than 200, a redirect, a timeout | 503 (`introspection_failed`) |
//! | 401 or 403, for this service's own credentials | 503 (`introspection_denied`) |
//! | nothing was asked, since too many tokens are being asked about | 503 (`introspection_overloaded`) |
//!
//! # What is remembered
//!
//! Accepted tokens for [`Introspection::ttl`], and never beyond `exp`; refused ones for
//! [`Introspection::negative_ttl`], in a table of their own; failures never. They are found by a SHA-256 of
//! the issuer and the token, which itself isn't kept. [`Validator::invalidate`](crate::Validator::invalidate)
//! and [`Validator::invalidate_all`](crate::Validator::invalidate_all) forget them.
//!
//! However many requests wait with one token, its issuer is asked once, in a task that goes on when they
//! go away.
//!
//! # When the issuer is down
//!
//! What is remembered passes. All else is answered 503 with `Retry-After`, after five failures in a row
//! at once: then one question a second goes through, until one is answered. A `Retry-After` of the issuer
//! is obeyed, up to 30 seconds.
//!
//! # Metrics and events
//!
//! With the feature `metrics`, each with the label `issuer`:
//!
//! | name | what |
//! |---|---|
//! | `tower_bearer_introspection_requests_total{result}` | questions: `active`, `inactive`, or a code of [`IntrospectionError`] |
//! | `tower_bearer_introspection_request_duration_seconds` | how long they took |
//! | `tower_bearer_introspection_credentials_refused_total` | questions for which this service's own credentials were refused: alert on it |
//! | `tower_bearer_introspection_circuit_open` | 1 while the endpoint is given a rest |
//! | `tower_bearer_introspection_cache_hits_total{result}` | tokens found in memory: `accepted`, `refused`, or `stale` |
//! | `tower_bearer_introspection_waiters` | requests that wait for an answer |
//!
//! With the feature `tracing`, the events `introspection_failed`, `introspection_credentials`,
//! `introspection_circuit`, `introspection_endpoint` and `introspection_issuer_mismatch`, which name the
//! issuer. Neither a token nor what the server sent is among it, but for the `issuer` of metadata, cut and
//! made printable.

mod answer;
mod auth;
mod build;
mod circuit;
mod endpoint;
mod error;
mod flights;
mod introspector;
mod reply;
mod report;
mod request;
mod settings;
mod signed;
mod slots;
mod status;

pub(crate) use self::answer::Answer;
pub use self::auth::IntrospectionAuth;
pub(crate) use self::build::Owner;
pub use self::error::IntrospectionError;
pub(crate) use self::error::Trouble;
pub(crate) use self::flights::{Flights, Landing, Ticket};
pub(crate) use self::introspector::Introspector;
pub(crate) use self::report::{Found, Report};
pub use self::settings::Introspection;
pub use self::status::IntrospectionStatus;
