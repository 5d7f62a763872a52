//! Access tokens that are bound to a key of the client, and proofs that a request was sent by the holder of
//! that key (RFC 9449).
//!
//! A bearer token can be used by anyone who obtains it. A token with `cnf.jkt` can't: each
//! request carries a proof, a JWT that the client signs for one method, one URL and one token,
//! and that is accepted once.
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
//! `alg` and public `jwk`; `htm`, `htu`, `iat` (and `exp`, `nbf` if they are present) and `ath`; that the
//! key is the one that the token is bound to; the signature; the nonce, if nonces are on; finally, that
//! the proof wasn't used before. Of all this, only the token's own verdict, that the proof was used, and one
//! header are remembered: that of the first proof with the token that passed every check but the last, with its
//! key, unless it is longer than 640 bytes. The same header, byte for byte, needn't be read nor its key be parsed
//! again. Everything else that a proof says is checked each time.
//!
//! # WebSockets
//!
//! The upgrade of HTTP/1.1 is a `GET`, whose proof has `GET` as its `htm` and a URL with `https` or `wss` as its
//! `htu`. An extended CONNECT, by which a WebSocket is opened over HTTP/2 (RFC 8441), can't carry a proof that
//! is accepted: a bound token is refused there with 401, whatever the proof says. Such clients open their WebSockets
//! over HTTP/1.1, which a server asks for by not enabling the extended CONNECT.
//!
//! # Behind a proxy
//!
//! `htu` is the URL that the client sees, which can't be taken from the request itself: configure
//! it with [`Dpop::public_origins`]. Of several, `Host` names one, or a trusted proxy does
//! ([`Dpop::trusted_proxies`]).
//!
//! # Several instances
//!
//! By default each instance remembers on its own which proofs it has seen, so that a stolen proof
//! could be used once at each of the others while it is valid. A [`ReplayStore`], such as `RedisReplay`
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
//! A layer within another one with the same validator, and guards and extractors within a layer, use its
//! verdict: a proof isn't checked twice. With
//! [`forward_credentials(false)`](crate::BearerAuthLayer::forward_credentials), the field `DPoP` is removed
//! together with `Authorization`.
//!
//! # Metrics and events
//!
//! | metric | what |
//! |---|---|
//! | `tower_bearer_dpop_proofs_total{result}` | proofs that were `accepted` or `refused`, that could not be decided about (`unavailable`), or that came with a bearer token that is accepted without one (`ignored`) |
//! | `tower_bearer_dpop_replay_entries` | proofs that are remembered in memory, as it was when the first one of a second came; a few may be missing after a long silence |
//! | `tower_bearer_dpop_replay_failures_total{error}` | calls to the replay store that failed: `failed` or `timeout` |
//!
//! A request that is refused before its proof is read counts in none of them: two proofs or none, a token that
//! isn't valid, a certificate that is another one, a token that is sent with the wrong scheme. Why requests were
//! refused, those and replays among them, is counted with all other requests: see
//! [`middleware`](crate::middleware#metrics-and-events). With the feature `tracing`, the events
//! `dpop_replay_failed`, `dpop_redis_connected`, `dpop_redis_lost`, `dpop_nonce_key` and
//! `dpop_nonce_key_failed`.

// `build` turns the `settings` into a `checker`. A proof passes `proof` (its parts) and `claims`, then `target` (the
// URL, by `uri` and `forwarded`), `lifetime` and `nonce`; at last it is recorded in `binding::replay`.

mod build;
pub(crate) mod checker;
mod claims;
mod forwarded;
mod lifetime;
mod nonce;
#[cfg(any(feature = "client", feature = "introspection"))]
mod nonce_provider;
pub(crate) mod proof;
mod settings;
pub(crate) mod target;
mod uri;

pub use self::forwarded::ForwardedFields;
pub use self::nonce::NonceKeys;
pub use self::settings::Dpop;
#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use crate::binding::replay::redis::RedisReplay;
pub use crate::binding::replay::store::{ReplayError, ReplayFuture, ReplayStore};
