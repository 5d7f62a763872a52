//! Access tokens that were verified, and what they claim.
//!
//! [`ScopeSource`] and [`ClientIdSource`] say where the scopes and the client's id are found, which
//! servers don't agree on; their presets are named after servers.

pub(crate) mod access_token;
mod claims;
mod client_id_source;
mod confirmation;
mod entry;
mod evidence;
mod identity;
mod kept;
mod lifetime;
mod login;
mod marks;
mod numeric_date;
mod raw_claims;
mod scope_source;
mod spiffe;
mod times;
mod verified;

pub(crate) use self::access_token::{AccessToken, NoClaims};
pub use self::claims::{Claims, UnreadableDetail};
pub use self::client_id_source::ClientIdSource;
pub(crate) use self::confirmation::Confirmation;
pub(crate) use self::entry::Entry;
pub use self::evidence::Evidence;
pub use self::identity::Identity;
pub(crate) use self::kept::Lookup;
pub(crate) use self::lifetime::{LONGEST_SLEEP, Lifetime};
pub(crate) use self::login::Told;
pub(crate) use self::raw_claims::{RawClaims, Sources};
pub use self::scope_source::ScopeSource;
pub(crate) use self::spiffe::TrustDomain;
pub(crate) use self::times::TimeRules;
#[cfg(feature = "introspection")]
pub(crate) use self::times::Times;
pub(crate) use self::verified::{ErasedToken, Verified};
