//! Several issuers behind one layer: which one a token is held against, and that nothing crosses.
#![cfg(feature = "test-util")]

mod changes;
mod choice;
mod isolation;
mod readiness;
#[cfg(feature = "axum")]
mod routes;
mod split_horizon;
mod support;
mod templates;
mod tenants;
#[cfg(feature = "axum")]
mod workloads;
#[cfg(all(feature = "introspection", feature = "tracing"))]
#[path = "../world/mod.rs"]
mod world;
