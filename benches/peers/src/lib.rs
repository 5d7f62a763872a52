//! What the commands share.

mod stats;

pub use stats::{Spread, median, spread};
