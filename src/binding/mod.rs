//! What binds a token to whoever may use it, and how a request proves that.

pub mod dpop;
mod replay;
