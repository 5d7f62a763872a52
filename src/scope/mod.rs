//! Scopes (RFC 6749 §3.3), what a route requires of them, and which scope implies which.

mod implications;
mod requirement;
mod set;

pub use self::implications::{Implications, ImplicationsBuilder};
pub use self::requirement::Requirement;
pub use self::set::{Scope, ScopeSet};
