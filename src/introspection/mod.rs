//! Token introspection (RFC 7662), for tokens that aren't JWTs, with signed responses (RFC 9701).
//!
//! ```
//! use tower_bearer::Validator;
//! use tower_bearer::client::ClientAuth;
//! use tower_bearer::introspection::Introspection;
//! # use tower_bearer::ConfigError;
//!
//! # fn main() -> Result<(), ConfigError> {
//! // JWTs are verified by their signatures, all other tokens are introspected.
//! let validator = Validator::builder("https://issuer.example", "https://orders.example")
//!     .introspection(Introspection::discover(ClientAuth::basic("orders", "s3cret")))
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! If only one of several issuers has opaque tokens, this is set on that [`Issuer`](crate::issuers::Issuer). If
//! several have, [`Introspection::token_prefix`] or [`Introspection::by_route`] selects the issuer.
//!
//! An introspected token is an [`AccessToken`](crate::AccessToken) like any other: with claims, which
//! are the members of the answer, scopes from the same [`ScopeSource`](crate::token::ScopeSource), and
//! the application's own claims. Its [`Evidence`](crate::token::Evidence) is `Introspection`.
//!
//! # Which tokens
//!
//! A token is a JWT if it has three segments of which the first decodes to a JSON object with a string
//! `alg`. Every other token is opaque, including encrypted ones. There is no fallback: a JWT that fails its
//! checks is refused, and isn't introspected.
//!
//! With [`ValidatorBuilder::keys`](crate::ValidatorBuilder::keys) instead of
//! [`ValidatorBuilder::introspection`](crate::ValidatorBuilder::introspection), every token is introspected,
//! for issuers that publish no keys.
//!
//! # What is accepted
//!
//! `active` must be `true`. The response is then checked against the validator's settings like a JWT's
//! claims: `exp` and `nbf`, `aud`, and `iss`, which may be absent, since an endpoint belongs to one issuer. A
//! token that the response describes as a refresh token or an ID token is refused, and so is one that is
//! bound to a key (`cnf`) of which no proof is sent.
//!
//! | response | the caller gets |
//! |---|---|
//! | `{"active":false}`, or active and refused | 401 `invalid_token` |
//! | `active` that is no boolean, no JSON, another status than 200, a redirect, a timeout | 503 (`introspection_failed`) |
//! | 401 or 403, for this service's own credentials | 503 (`introspection_denied`) |
//! | none, since too many introspections are in progress | 503 (`introspection_overloaded`) |
//!
//! # The cache
//!
//! Accepted tokens are cached for [`Introspection::ttl`], and never beyond `exp`; refused ones for
//! [`Introspection::negative_ttl`], in a table of their own; failures are never cached. The key of an entry
//! is a SHA-256 of the issuer and the token; the token itself isn't stored.
//! [`Validator::invalidate`](crate::Validator::invalidate) and
//! [`Validator::invalidate_all`](crate::Validator::invalidate_all) remove entries.
//!
//! Concurrent requests with one token share one introspection, in a task that continues when they are
//! dropped.
//!
//! # When the issuer is down
//!
//! Cached tokens are accepted. All others are answered 503 with `Retry-After`; after five consecutive
//! failures immediately: one introspection a second is then tried, until one succeeds. A `Retry-After` of
//! the issuer is honored, up to 30 seconds.
//!
//! # Metrics and events
//!
//! With the feature `metrics`, each with the label `issuer`:
//!
//! | name | what |
//! |---|---|
//! | `tower_bearer_introspection_requests_total{result}` | introspections: `active`, `inactive`, or a code of [`IntrospectionErrorKind`] |
//! | `tower_bearer_introspection_request_duration_seconds` | how long they took |
//! | `tower_bearer_introspection_credentials_refused_total` | introspections for which this service's own credentials were refused: alert on it |
//! | `tower_bearer_introspection_circuit_open` | 1 while the circuit is open |
//! | `tower_bearer_introspection_cache_hits_total{result}` | tokens found in memory: `accepted`, `refused`, or `stale` |
//! | `tower_bearer_introspection_waiters` | requests that wait for a response |
//!
//! With the feature `tracing`, the events `introspection_failed`, `introspection_credentials`,
//! `introspection_circuit`, `introspection_endpoint` and `introspection_issuer_mismatch`, which name the
//! issuer. A failure is logged with the endpoint's address without its query, or that of the metadata until the
//! endpoint is known, its causes, and the setting that would help ([`IntrospectionErrorKind::remedy`]); one that
//! goes on is logged less often, whatever callers send. Neither a token nor what the server sent is among it, but
//! for the `issuer` of metadata and the name of a member that can't be read, cut and made printable.

// `build` makes an `introspector` from the `settings`. Each token joins one of the `flights`, which takes a
// slot, passes the circuit, finds the `endpoint`, sends the `request` and reads the response: `reply`,
// then `signed` or `answer`.

mod answer;
mod auth;
mod build;
mod endpoint;
mod error;
mod error_kind;
mod flights;
mod introspector;
mod reply;
mod report;
mod request;
mod settings;
mod signed;
mod status;

pub(crate) use self::answer::Answer;
pub use self::auth::IntrospectionAuth;
pub(crate) use self::build::Owner;
pub use self::error::IntrospectionError;
pub(crate) use self::error::Trouble;
pub use self::error_kind::IntrospectionErrorKind;
pub(crate) use self::flights::{Flights, Landing, Ticket};
pub(crate) use self::introspector::Introspector;
pub(crate) use self::report::Found;
pub use self::settings::Introspection;
pub use self::status::IntrospectionStatus;
