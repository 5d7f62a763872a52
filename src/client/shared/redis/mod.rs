//! The shared cache in Redis, through the connections of `redis_link`.

mod store;

pub use self::store::RedisStore;
pub use crate::redis_link::Redis;
