//! The issuer's keys: fetched in the background, swapped whole, never waited for by a request whose
//! key is known.

mod handle;
mod key_set;
mod pending;
mod store;

pub use self::handle::Jwks;
