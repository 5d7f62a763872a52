//! The refusals of callers that lack a token, a scope or a recent login.

use std::sync::Arc;

use crate::refusal::{Detail, Rejection, RejectionKind};
use crate::scope::{Implications, Requirement, ScopeSet};
use crate::text::Excerpt;
use crate::token::Claims;

/// Refuses a caller without a token, and names the scopes to request.
pub(crate) fn no_credentials(needed: &Arc<ScopeSet>) -> Rejection {
    if needed.is_empty() {
        return Rejection::new(RejectionKind::NoCredentials);
    }
    let needed = Arc::clone(needed);
    Rejection::with(RejectionKind::NoCredentials, Detail::Scopes { needed, presented: None })
}

/// Refuses a caller whose token lacks a scope, and names those that would have sufficed.
pub(crate) fn insufficient_scope(
    requirement: &Requirement,
    claims: &Claims,
    implications: &Implications,
) -> Rejection {
    let needed = requirement.sufficient_for(claims.scopes(), implications);
    lacking(needed, claims)
}

/// Refuses a caller whose token lacks a scope, and names these.
pub(crate) fn lacking(needed: ScopeSet, claims: &Claims) -> Rejection {
    let presented = Some(Excerpt::new(claims.scopes().as_str()));
    let detail = Detail::Scopes { needed: Arc::new(needed), presented };
    Rejection::with(RejectionKind::InsufficientScope, detail)
}

/// Refuses a caller whose login isn't accepted, and names these scopes.
#[cfg(feature = "mcp")]
pub(crate) fn log_in_again(rejection: &Rejection, scopes: ScopeSet) -> Rejection {
    match rejection.detail() {
        Detail::Login { acr_values, max_age, .. } => {
            let (acr_values, scopes) = (Arc::clone(acr_values), Arc::new(scopes));
            let detail = Detail::Login { acr_values, max_age: *max_age, scopes };
            Rejection::with(rejection.kind(), detail)
        }
        _ => rejection.clone(),
    }
}
