//! The shared cache in Redis.

mod store;

pub use self::store::RedisStore;
