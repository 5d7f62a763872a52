//! The issuer's keys: fetched in the background, swapped whole, never waited for by a request whose
//! key is known.

mod handle;
mod key_set;
mod store;

mod stub;

pub use self::handle::Jwks;
pub(crate) use self::handle::{KeyWait, Miss};
pub(crate) use self::key_set::Candidates;
pub(crate) use self::store::KeysState;
pub use self::stub::{Health, JwksBuilder};
