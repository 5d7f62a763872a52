//! What the interop tests share: authorization servers as child processes, a resource server over
//! real HTTP, a load of requests that counts what it is answered, and the scenarios that hold for
//! every authorization server.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::arithmetic_side_effects, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "processes live in real time")]

pub(crate) mod authorization_server;
pub(crate) mod browser;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod resource_server;
pub(crate) mod scenarios;
