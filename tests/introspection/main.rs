//! Opaque tokens: what is asked, which answers are believed, what is remembered, and what happens when
//! the issuer is down.
#![cfg(all(feature = "introspection", feature = "test-util"))]
#![allow(clippy::disallowed_methods, reason = "the time is paused")]

mod answers;
mod embedded;
mod memory;
mod outage;
mod settings;
mod signed;
mod support;
mod which;
#[path = "../world/mod.rs"]
mod world;
