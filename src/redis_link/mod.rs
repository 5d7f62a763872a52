//! One connection to a Redis, for whoever keeps something there.

mod failure;
mod link;
mod metered;
mod request;
mod target;

pub(crate) use self::failure::{COMMAND_FORBIDDEN, Failure, FailureKind};
pub(crate) use self::link::{Link, User};
pub(crate) use self::request::{ask, millis};
pub(crate) use self::target::{MAX_VALUE, RedisTarget};
