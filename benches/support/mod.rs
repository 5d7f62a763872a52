//! What the benches share: deterministic tokens, the router that is protected, ways to count and to
//! measure.

pub mod case;
pub mod scripted;
pub mod service;
pub mod tokens;
pub mod turns;
