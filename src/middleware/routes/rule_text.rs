//! How a rule reads in logs and listings.

use std::fmt;

use crate::middleware::routes::access::{Kind, Rule};

/// For operators: what a caller needs.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Public => f.write_str("no token (public)"),
            Kind::Optional => f.write_str("no token, or a valid one (optional)"),
            Kind::AnyToken => f.write_str("a valid token"),
            Kind::Token { needed, .. } => write!(f, "a valid token with scope \"{needed}\""),
            Kind::Conditioned { .. } => f.write_str("a valid token that meets conditions"),
            Kind::Denied => f.write_str("an entry: it is denied"),
        }
    }
}
