//! What the benches share: deterministic tokens, the router that is protected, ways to count and to
//! measure.

pub mod alloc;
pub mod callgrind;
pub mod case;
pub mod counts;
pub mod floors;
pub mod scripted;
pub mod service;
pub mod tokens;
pub mod turns;
