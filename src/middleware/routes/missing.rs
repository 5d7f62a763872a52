use std::sync::Arc;

use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::scope::{Implications, Requirement, ScopeSet};
use crate::token::Claims;

/// Refuses a caller without a token, who may be told what scopes to ask for.
pub(crate) fn no_credentials(needed: &Arc<ScopeSet>) -> Rejection {
    if needed.is_empty() {
        return Rejection::new(RejectionKind::NoCredentials);
    }
    let needed = Arc::clone(needed);
    Rejection::with(RejectionKind::NoCredentials, Detail::Scopes { needed })
}

/// Refuses a caller whose token lacks a scope, and names those that would have sufficed.
pub(crate) fn insufficient_scope(
    requirement: &Requirement,
    claims: &Claims,
    implications: &Implications,
) -> Rejection {
    let needed = Arc::new(requirement.sufficient_for(claims.scopes(), implications));
    Rejection::with(RejectionKind::InsufficientScope, Detail::Scopes { needed })
}
