//! The token client, from outside: against scripted answers under paused time, against the embedded
//! issuer over loopback, against raw sockets, and against protected servers.

#![cfg(all(feature = "client", feature = "reqwest", feature = "test-util"))]
#![allow(
    clippy::disallowed_methods,
    clippy::type_complexity,
    reason = "paused time, and test doubles"
)]

mod attach;
mod authentication;
mod bad_answers;
mod discovery;
mod lifetime;
mod protected;
mod refusals;
mod rotation;
mod secrets;
mod shared;
mod single_flight;
mod support;
mod tenants;
