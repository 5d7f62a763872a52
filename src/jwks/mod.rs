//! The issuer's keys: fetched in the background, swapped whole, never waited for by a request whose
//! key is known.

mod builder;
mod config;
mod control;
mod discovery;
mod endpoint;
mod fetch_error;
mod flight;
mod freshness;
mod handle;
mod health;
mod key_set;
mod lru;
mod misses;
mod refresher;
mod report;
mod schedule;
mod seed;
mod snapshot;
mod source;
mod store;
mod wait;

pub use self::builder::{JwksBuilder, Start};
pub use self::config::EmptySet;
pub use self::fetch_error::FetchError;
pub use self::handle::Jwks;
pub use self::health::{Health, KeyStatus, State, Status};
pub(crate) use self::key_set::Candidates;
pub use self::snapshot::Snapshot;
pub(crate) use self::store::KeysState;
pub(crate) use self::wait::{KeyWait, Miss};
