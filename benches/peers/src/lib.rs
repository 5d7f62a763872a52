//! What the commands share: an issuer, the contenders, and the arithmetic.

pub mod contenders;
pub mod dpop;
pub mod issuer;
mod peers;
mod stats;
pub mod subject;

pub use stats::{Spread, median, spread};
