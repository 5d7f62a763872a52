//! The token client, from outside: against scripted answers under paused time, against the embedded
//! issuer over loopback, against raw sockets, and against protected servers.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
#![allow(clippy::disallowed_methods, reason = "waiting is measured")]

mod attach;
mod authentication;
mod bad_answers;
mod certificates;
mod discovery;
#[cfg(feature = "dpop")]
mod dpop;
mod errors;
mod lifetime;
mod on_behalf;
mod platforms;
#[cfg(feature = "axum")]
mod protected;
mod readiness;
#[cfg(feature = "axum")]
mod redirects;
mod refusals;
mod rotation;
mod secrets;
mod servers;
mod shared;
mod single_flight;
mod support;
mod tenants;
mod trouble;
#[cfg(feature = "vault")]
mod vault;
mod vendors;
mod workload;
