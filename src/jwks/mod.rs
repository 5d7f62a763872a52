//! The issuer's keys: fetched in the background and swapped atomically. A request whose key is known
//! never waits for them.
//!
//! A [`Jwks`] is one issuer's key source. It finds the key set by discovery or at a given URL, and
//! refreshes it before it becomes stale:
//!
//! ```
//! use std::time::Duration;
//!
//! use tower_bearer::Validator;
//! use tower_bearer::jwks::{Health, Jwks};
//! # use tower_bearer::ConfigError;
//!
//! # fn main() -> Result<(), ConfigError> {
//! let jwks = Jwks::discover("https://issuer.example")
//!     .max_stale(Duration::from_secs(4 * 60 * 60))
//!     .build()?;
//! let validator = Validator::builder("https://issuer.example", "https://api.example")
//!     .keys(jwks.clone())
//!     .build()?;
//!
//! // Nothing was fetched yet: a readiness probe fails until it is.
//! assert_eq!(jwks.health(), Health::NotReady);
//! # Ok(())
//! # }
//! ```
//!
//! [`Jwks::ready`] waits for the first keys; its error [`NotReady`] names the issuer, the URL and the
//! last failure. A SPIFFE trust domain's keys for JWT-SVIDs come from
//! [`Jwks::spiffe_bundle`].
//!
//! # States
//!
//! | [`State`] | tokens | [`Health`] |
//! |---|---|---|
//! | `Cold`: nothing was loaded yet | 503 | not ready |
//! | `Fresh` | checked | ready |
//! | `Stale`: should have been refreshed | checked, for [`max_stale`][stale] | degraded |
//! | `Expired`: too old to be trusted | 503 | not ready |
//! | `Static`: part of the configuration | checked | ready |
//! | `ShutDown` | 503 | not ready |
//!
//! [stale]: JwksBuilder::max_stale
//!
//! The issuer's answer says how long a set is fresh (`Cache-Control`, `Expires`), within
//! [`min_ttl`](JwksBuilder::min_ttl) and [`max_ttl`](JwksBuilder::max_ttl). It is refreshed when
//! four fifths of that time are over, give or take a tenth. After a failure the next attempt follows in
//! a second, then in two, four, up to sixty, at random within that, and never later than the refresh
//! would have followed a success; `Retry-After` is obeyed, up to five minutes. For the first minute,
//! while no set was ever loaded, attempts begin at most two seconds apart.
//!
//! The time is that of the monotonic clock. If the wall clock says that fresh keys should long have been
//! refreshed, as after a suspend, they count as stale and are refreshed at once. They never expire
//! by the wall clock.
//!
//! # Rotation
//!
//! A token with an unknown `kid`, which could be valid otherwise, waits for one shared refresh, for
//! [`request_wait`](JwksBuilder::request_wait) at most: the first request after a rotation
//! succeeds. It is refused only if the key isn't in a set that was requested after the token was
//! first seen; for a [`cooldown`](JwksBuilder::cooldown) the same token is then refused at once.
//!
//! Callers can't use this to flood the issuer. Since made-up `kid`s can't be distinguished from new
//! ones, the interval between such refreshes determines for how long a flood of them can hide a rotation:
//!
//! - In the first ten seconds, refreshes begin 1.4 s apart: with an issuer that answers within half
//!   a second, no token of a new key is refused.
//! - Then they begin 7.6 s apart, and 9 s while the issuer fails: a token of a new key is answered
//!   503, with a `Retry-After`, for ten seconds at most, if the issuer answers within two.
//! - That is at most 10 refreshes in any 30 seconds, and at most 4 once a flood has lasted a minute.
//!   A `Retry-After` of the issuer is obeyed, up to five minutes.
//!
//! After a cooldown without unknown `kid`s, or 30 seconds if that is longer, refreshes are as frequent as
//! at first again.
//!
//! Sets are replaced as a whole. A key that isn't in the new set verifies nothing from then on, unless
//! [`dangerous_removed_key_grace`](JwksBuilder::dangerous_removed_key_grace) is set. One key that
//! can't be used never spoils the others, and a set without any usable key replaces nothing.
//!
//! For four cooldowns, a removed key causes no refresh. Then its `kid` is unknown like any other, so
//! that a key that the issuer has restored is found.
//!
//! ```
//! use tower_bearer::jwks::{Jwks, State};
//!
//! # fn main() -> Result<(), tower_bearer::ConfigError> {
//! let set = r#"{"keys": [
//!     {"kid": "1", "kty": "OKP", "crv": "Ed25519",
//!      "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
//!     {"kid": "2", "kty": "OKP", "crv": "Ed448", "x": "…"}
//! ]}"#;
//! let status = Jwks::static_set("https://issuer.example", set)?.status();
//! assert_eq!(status.state, State::Static);
//! assert_eq!(status.keys[0].ignored, None);
//! assert_eq!(status.keys[1].ignored.map(|reason| reason.code()), Some("unsupported_curve"));
//! # Ok(())
//! # }
//! ```
//!
//! # Metrics and events
//!
//! With the feature `metrics`, each with the label `issuer`, which is the one that the source was
//! built for. The first 256 issuers of a process have a label of their own; the counts of the others are
//! added up as `other`, and they have no state, keys or timestamp, which don't add up.
//!
//! | name | what |
//! |---|---|
//! | `tower_bearer_jwks_fetches_total{result}` | attempts: `ok`, `not_modified`, or a code of [`FetchError`] |
//! | `tower_bearer_jwks_fetch_duration_seconds` | how long they took |
//! | `tower_bearer_jwks_fetched_timestamp_seconds` | when the set was last known to be the issuer's, as Unix time |
//! | `tower_bearer_jwks_state{state}` | 1 for the current [`State`], 0 for the others |
//! | `tower_bearer_jwks_keys{kind}` | `usable` and `ignored` keys of the set |
//! | `tower_bearer_jwks_kid_misses_total{result}` | tokens with an unknown `kid`, by outcome (below) |
//! | `tower_bearer_jwks_stale_served_total` | signatures checked with stale keys |
//! | `tower_bearer_jwks_clock_offset_seconds` | by how much the issuer's clock is ahead of this one, by the `Date` of its last answer |
//! | `tower_bearer_jwks_refresh_waiters` | requests that wait for a refresh |
//!
//! An unknown `kid` is `resolved` or `absent` after a refresh; or `negative_cached`, if that was known
//! already (of the same token without a refresh, of another with the same `kid` after one). Without
//! a refresh it is a `tombstone` (removed recently) or `rate_limited`; `fetch_failed` says nothing about it.
//! Made-up `kid`s lead to `absent` and `rate_limited`: don't alert on either.
//!
//! With the feature `tracing`, the events `jwks_fetched`, `jwks_fetch_failed`, which has the address, the
//! cause and what can be done (the same cause is logged three times, then once a minute), `jwks_clock`, if the
//! issuer's clock differs by more than the leeway,
//! `jwks_state`, `jwks_changed`, `kid_reused`, `kid_ambiguous`, `jwks_key_ignored`, `jwks_content_type`,
//! `jwks_metadata`, `jwks_issuer_mismatch`, `jwks_uri` and `jwks_snapshot`, which name the issuer
//! (or, for `jwks_content_type`, the host), and a span `jwks_fetch` with the host around each
//! fetch and each search for metadata. Nothing that the issuer sent is in them, except `kid`s and the
//! `issuer` of metadata, cut and made printable.

// `builder` checks the settings and returns the `handle`. The task in `refresher` fetches (`fetch`) when `timing` says
// so, keeps the result in `kept`, and writes events and metrics with `report`. The validator reads the keys by the
// handle, and by `watch` whether they are still the same.

mod builder;
mod config;
mod failures;
mod fetch;
mod handle;
mod health;
mod insight;
mod kept;
mod keys_at;
mod not_ready;
mod refresher;
mod report;
mod timing;
mod watch;
mod watchers;

pub use self::builder::{JwksBuilder, Start};
pub use self::config::EmptySet;
pub use self::fetch::error::{FetchError, FetchErrorKind};
pub use self::handle::Jwks;
pub use self::health::{Health, KeyStatus, State, Status};
pub(crate) use self::kept::key_set::{Candidates, KeySet};
pub use self::kept::snapshot::Snapshot;
pub(crate) use self::kept::store::{KeysState, LoadedKeys};
pub use self::not_ready::NotReady;
pub(crate) use self::watch::Watch;
pub(crate) use self::watchers::Watcher;
