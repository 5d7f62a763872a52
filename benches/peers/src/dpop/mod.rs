//! What `dpop` compares: tokens that are bound to a key, with a proof that was never used for each
//! request (RFC 9449).

pub mod client;
pub mod contenders;
mod seen;
pub mod subject;
