//! Checks all routes of an application against listed access rules.
//!
//! `check` makes a request for each route with each of the `tokens`, and of the `variants` of its path, `send`s
//! it, compares the answer with the `expected` one, and collects a `report`.

pub(crate) mod check;
mod expected;
pub(crate) mod report;
mod send;
pub(crate) mod sent;
mod tokens;
mod variants;
