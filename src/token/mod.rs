//! Access tokens that were verified, and what they claim.

mod access_token;
mod claims;
mod raw_claims;
mod scope_source;

pub use self::access_token::{AccessToken, NoClaims};
pub(crate) use self::access_token::{Authenticated, ErasedToken, HasSettings, Verified};
pub use self::claims::Claims;
pub(crate) use self::raw_claims::RawClaims;
pub use self::scope_source::ScopeSource;
