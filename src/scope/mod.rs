//! Scopes (RFC 6749 §3.3): `set` reads a token's, `requirement` says what a route needs of them, and
//! `implications` which scope implies which.

mod implications;
mod requirement;
mod set;

pub use self::implications::{Implications, ImplicationsBuilder};
pub use self::requirement::Requirement;
pub use self::set::{Scope, ScopeSet};
