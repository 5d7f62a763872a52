//! OAuth 2.0 resource-server middleware for tower.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod clock;
mod error;
pub mod jose;
pub mod jwks;
pub mod refusal;
mod scope;
mod secret;
mod telemetry;
pub mod token;
pub mod transport;
mod validator;

pub use self::clock::{Clock, SystemClock, UnixTime};
pub use self::error::ConfigError;
pub use self::refusal::{Refusal, Rejection, RejectionKind, Unavailable};
pub use self::scope::{Implications, ImplicationsBuilder, Requirement, Scope, ScopeSet};
pub use self::secret::Secret;
pub use self::token::{AccessToken, NoClaims};
pub use self::validator::{KeySource, RequiredClaim, Validator, ValidatorBuilder};
