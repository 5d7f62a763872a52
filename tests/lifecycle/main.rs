//! The life of a key source: when it fetches, what it keeps, what it answers meanwhile.
//!
//! All of it runs in paused time and without a network. LC1 to LC20 are in `conformance`, but for
//! LC12 to LC15, which need sockets (`tests/transport.rs`, `src/transport/reqwest.rs`), and LC16
//! (`src/jwks/kept/store.rs`).
#![cfg(feature = "test-util")]
#![allow(clippy::disallowed_methods, reason = "the time is paused")]

mod conformance;
mod discovery;
mod ending;
mod fetching;
mod flood;
mod misses;
mod rotation;
mod start;
mod support;
mod telemetry;
