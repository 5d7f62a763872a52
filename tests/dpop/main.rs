//! Tokens that are bound to a key, through the whole layer: each line of the checklist twice, the attack
//! and its harmless twin.
#![cfg(all(feature = "axum", feature = "dpop", feature = "test-util", feature = "tracing"))]

mod answers;
mod issuer;
mod mutations;
mod nonces;
mod presentation;
mod proofs;
mod replay;
mod routes;
mod service;
#[path = "../world/mod.rs"]
mod world;
