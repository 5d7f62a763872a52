#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without a backend nothing can be built, and what is behind building isn't reached.
#![cfg_attr(
    not(any(feature = "aws-lc-rs", feature = "rust-crypto")),
    allow(dead_code, unreachable_code, unused_variables)
)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

/// For this crate's own conformance tests; no part of its interface.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod __private {
    pub use crate::jose::bare::{count_keys, verify_hmac_jws, verify_jws, verify_raw};
}
pub mod answer;
#[cfg(feature = "client")]
mod cause;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
mod clock;
#[cfg(feature = "client")]
mod credentials;
#[cfg(feature = "client")]
mod digest;
mod error;
mod issuer;
pub mod jose;
mod json;
pub mod jwks;
mod kinds;
pub mod middleware;
mod progress;
pub mod refusal;
mod scope;
mod secret;
mod telemetry;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod testing;
mod text;
pub mod token;
pub mod transport;
mod validator;

pub use self::clock::{Clock, SystemClock, UnixTime};
pub use self::error::ConfigError;
pub use self::middleware::BearerAuthLayer;
#[cfg(feature = "axum")]
pub use self::middleware::RequireScope;
pub use self::refusal::fault::{Refusal, Unavailable};
pub use self::refusal::kind::RejectionKind;
pub use self::refusal::rejection::Rejection;
pub use self::scope::{Implications, ImplicationsBuilder, Requirement, Scope, ScopeSet};
pub use self::secret::Secret;
pub use self::token::{AccessToken, NoClaims};
pub use self::validator::{KeySource, RequiredClaim, Validator, ValidatorBuilder};
