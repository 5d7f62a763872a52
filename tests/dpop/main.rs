//! Tokens that are bound to a key, through the whole layer: each case twice, the attack
//! and its harmless twin.
#![cfg(all(feature = "axum", feature = "dpop", feature = "test-util", feature = "tracing"))]

mod answers;
#[cfg(feature = "introspection")]
mod introspected;
mod issuer;
#[cfg(feature = "metrics")]
mod metrics;
mod mutations;
mod nonces;
mod presentation;
mod proofs;
mod replay;
mod requests;
mod routes;
mod rows;
mod service;
#[path = "../world/mod.rs"]
mod world;
