//! Connections to Redis: one server, a cluster, or a primary behind Sentinels.
//!
//! `settings` are checked and become `servers`: one `link`, whose target may be found by `sentinel`s, or a
//! `cluster` with a link for each server. `request` sends a command over a link; `access` and `tls` make its
//! connection; `outage` logs what `failure` says.

mod access;
mod address;
mod cluster;
mod failure;
mod link;
mod map;
mod metered;
mod outage;
mod request;
mod sentinel;
mod servers;
mod settings;
mod slots;
mod tls;

pub(crate) use self::access::MAX_VALUE;
pub(crate) use self::failure::{COMMAND_FORBIDDEN, Failure, FailureKind};
pub(crate) use self::outage::User;
pub(crate) use self::request::{ask, keys_for_each, millis};
pub(crate) use self::servers::Servers;
pub use self::settings::Redis;
