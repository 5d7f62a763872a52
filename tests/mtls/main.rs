//! Tokens that are bound to a certificate, through the whole layer: each case twice, the
//! attack and its harmless twin.
#![cfg(all(
    feature = "axum",
    feature = "dpop",
    feature = "introspection",
    feature = "mtls",
    feature = "test-util",
    feature = "tracing"
))]

mod both;
mod connection;
mod fields;
mod issuer;
mod mutations;
mod proxies;
mod requests;
mod service;
mod settings;
#[path = "../world/mod.rs"]
mod world;
