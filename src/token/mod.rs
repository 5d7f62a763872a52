//! Access tokens that were verified, and what they claim.
//!
//! [`ScopeSource`] and [`ClientIdSource`] say where the scopes and the client's id are found, which differs
//! between authorization servers; their presets are named after servers.

// A token's payload passes `raw_claims`, with the `marks` of other tokens, `confirmation` and `times`; after its
// signature was checked, it becomes `claims` within `verified`, and for an authenticated request an `access_token`.

pub(crate) mod access_token;
mod actor;
#[cfg(feature = "client")]
pub(crate) mod caller;
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
#[cfg(feature = "dpop")]
mod proving;
mod raw_claims;
mod scope_source;
mod scope_text;
mod spiffe;
mod taken;
mod times;
mod unreadable_detail;
mod verified;

pub(crate) use self::access_token::{AccessToken, NoClaims};
pub use self::actor::Actor;
#[cfg(feature = "client")]
pub(crate) use self::caller::{CallerToken, KeptText};
pub use self::claims::Claims;
pub use self::client_id_source::ClientIdSource;
#[cfg(feature = "introspection")]
pub(crate) use self::confirmation::Binding;
pub(crate) use self::confirmation::{Confirmation, Provable};
pub(crate) use self::entry::Entry;
pub use self::evidence::Evidence;
pub use self::identity::Identity;
pub(crate) use self::kept::Lookup;
pub(crate) use self::lifetime::{LONGEST_SLEEP, Lifetime};
pub(crate) use self::login::Told;
#[cfg(feature = "dpop")]
pub(crate) use self::proving::{ProofHeader, Proving};
pub(crate) use self::raw_claims::{RawClaims, Sources};
pub use self::scope_source::ScopeSource;
pub(crate) use self::spiffe::TrustDomain;
pub(crate) use self::times::TimeRules;
#[cfg(feature = "introspection")]
pub(crate) use self::times::Times;
pub use self::unreadable_detail::UnreadableDetail;
pub(crate) use self::verified::{ErasedToken, Verified};
