//! Access tokens that are bound to a key of the client's, and proofs that a request comes from whoever
//! has that key (RFC 9449).
//!
//! A bearer token can be used by everybody who gets hold of it. A token with `cnf.jkt` can't: each
//! request carries a proof, a JWT that the client signs anew for one method, one URL and one
//! token, and that is accepted once.
//!
//! ```
//! use tower_bearer::dpop::Dpop;
//! use tower_bearer::{ConfigError, Validator};
//!
//! # fn validator() -> Result<Validator, ConfigError> {
//! Validator::builder("https://issuer.example", "https://api.example")
//!     .dpop(Dpop::accept().public_origins(["https://api.example"]))
//!     .build()
//! # }
//! ```
//!
//! [`Dpop::accept`] takes bound and other tokens, [`Dpop::require`] bound ones only. A route can require
//! them by itself: [`Access::require_dpop`](crate::Access::require_dpop),
//! [`ScopeGuardLayer::require_dpop`](crate::ScopeGuardLayer::require_dpop).
//!
//! # What is checked
//!
//! In this order, so that a wrong proof costs no signature: one field `DPoP` with one JWT; its `typ`,
//! `alg` and public `jwk`; `htm`, `htu`, `iat` (and `exp`, `nbf` if they are there) and `ath`; that the
//! key is the one that the token is bound to; the signature; the nonce, if nonces are on; at last, that
//! the proof wasn't used before. Nothing of it is remembered for the next request but the token's own
//! verdict and that the proof was used.
//!
//! # Behind a proxy
//!
//! `htu` is the URL that the client sees, which the request itself can't be trusted to say: configure
//! it with [`Dpop::public_origins`].
//!
//! # Several instances
//!
//! By default each instance remembers by itself which proofs it has seen, so that a stolen proof
//! could be used once at each of the others within its time. A [`ReplayStore`], such as `RedisReplay`
//! (feature `redis`), closes that gap; if it fails, requests with a proof are answered with 503. Nonces
//! need no store, but the same [`NonceKeys`] everywhere.
//!
//! # Browsers
//!
//! A CORS layer must let scripts send `DPoP` and `Authorization`, and expose `WWW-Authenticate` and
//! `DPoP-Nonce`.
//!
//! # Layers
//!
//! A layer within another one with the same validator, and guards and extractors within a layer, take its
//! verdict: a proof isn't checked twice. With
//! [`forward_credentials(false)`](crate::BearerAuthLayer::forward_credentials), the field `DPoP` is removed
//! together with `Authorization`.
//!
//! # Metrics and events
//!
//! | metric | what |
//! |---|---|
//! | `tower_bearer_dpop_proofs_total{result}` | proofs that were `accepted` or `refused`, that could not be decided about (`unavailable`), or that came with a bearer token that isn't bound (`ignored`) |
//! | `tower_bearer_dpop_replay_entries` | proofs that are remembered in memory |
//! | `tower_bearer_dpop_replay_failures_total{error}` | calls to the replay store that failed: `failed` or `timeout` |
//!
//! Why requests were refused, replays among it, is counted with all other requests: see
//! [`middleware`](crate::middleware#metrics-and-events). With the feature `tracing`, the events
//! `dpop_replay_failed`, `dpop_redis_connected` and `dpop_redis_lost`.

pub(crate) mod checker;
mod claims;
mod nonce;
mod proof;
mod settings;
pub(crate) mod target;
mod uri;

pub use self::nonce::NonceKeys;
pub use self::settings::Dpop;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::binding::replay::redis::RedisReplay;
pub use crate::binding::replay::store::{ReplayError, ReplayFuture, ReplayStore};
