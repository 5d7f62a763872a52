//! The shared cache in Redis.

mod failure;
mod link;
mod metered;
mod store;
mod target;

pub use self::store::RedisStore;
