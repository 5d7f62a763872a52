//! Scopes of MCP operations: the guard between the layer and a server that keeps what it was sent.
#![cfg(all(feature = "mcp", feature = "test-util"))]

mod bodies;
mod operations;
mod protocol;
mod sessions;
mod shortfalls;
mod stub;
#[path = "../world/mod.rs"]
mod world;
