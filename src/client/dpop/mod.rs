//! Tokens that are bound to a private key of the client (RFC 9449).
//!
//! `key` is that key, `proof` writes one proof, `nonces` keeps what servers want in it, and `binding` ties the
//! three to a grant. Without the feature `dpop`, `absent` has types of the same names without values.

#[cfg(not(feature = "dpop"))]
pub(crate) mod absent;
#[cfg(feature = "dpop")]
pub(crate) mod binding;
#[cfg(feature = "dpop")]
pub(crate) mod key;
#[cfg(feature = "dpop")]
pub(crate) mod nonces;
#[cfg(feature = "dpop")]
mod proof;
pub(crate) mod side;

#[cfg(not(feature = "dpop"))]
pub(crate) use self::absent::{Dpop, Key, token_hash};
#[cfg(feature = "dpop")]
pub(crate) use self::binding::{Dpop, token_hash};
pub(crate) use self::side::{Side, Target};
#[cfg(feature = "dpop")]
pub(crate) use crate::jose::OwnKey as Key;
