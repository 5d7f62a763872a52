use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::mcp::table::Needed;
use crate::middleware::{Context, insufficient_scope, no_credentials, refuse};
use crate::refusal::{Detail, Misconfigured, Refusal, Rejection, RejectionKind};
use crate::scope::{Requirement, ScopeSet};

/// The operation that a request asks for, and what was found to be missing since it began. It lies in
/// the request's extensions, and the guard looks at it when the answer begins.
#[derive(Clone)]
pub(crate) struct Operation(Arc<Inner>);

struct Inner {
    needed: Needed,
    names_granted: bool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    missing: Vec<Requirement>,
    answer: Option<Response<Bytes>>,
}

const NO_GUARD: &str = "the request didn't come through an McpGuardLayer: put \
                        .layer(McpGuardLayer::new(operations)?) around the MCP server, within the \
                        BearerAuthLayer";

impl Operation {
    pub(crate) fn new(needed: Needed, names_granted: bool) -> Self {
        let found = Mutex::default();
        Self(Arc::new(Inner { needed, names_granted, found }))
    }

    /// Decides whether a request may do this.
    pub(crate) fn admit(&self, context: &Context<'_>) -> Result<(), Refusal> {
        let mut refused = None;
        for rule in &self.0.needed {
            if let Err(refusal) = context.admit(rule) {
                let is_about_scopes = matches!(&refusal, Refusal::Rejection(rejection)
                    if matches!(rejection.detail(), Detail::Scopes { .. }));
                if !is_about_scopes {
                    // No scope would help.
                    return Err(refusal);
                }
                refused = Some(refusal);
            }
        }
        match refused {
            None => Ok(()),
            Some(_) => Err(self.refusal(context, &[])),
        }
    }

    /// Refuses a request for the scopes that it lacks, and names all of those that it needs: those of
    /// the table, and these.
    fn refusal(&self, context: &Context<'_>, also: &[Requirement]) -> Refusal {
        let listed = self.0.needed.iter().filter_map(|rule| rule.requirement());
        let all = Requirement::all(listed.chain(also).cloned());
        let Some(claims) = context.claims() else {
            let needed = all.sufficient_for(&ScopeSet::default(), context.implications());
            return no_credentials(&Arc::new(needed)).into();
        };
        if !self.0.names_granted {
            return insufficient_scope(&all, claims, context.implications()).into();
        }
        let needed = all.sufficient_for(claims.scopes(), context.implications());
        let needed = Arc::new(claims.scopes().iter().chain(needed.iter()).collect());
        Rejection::with(RejectionKind::InsufficientScope, Detail::Scopes { needed }).into()
    }

    /// Takes the answer to a request that was found to lack something.
    pub(crate) fn take_answer(&self) -> Option<Response<Bytes>> {
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner).answer.take()
    }
}

/// Requires more of the request's token, within a tool.
///
/// `parts` are those of the HTTP request. In `rmcp` they are
/// `context.extensions.get::<http::request::Parts>()`. The token itself is
/// [`AccessToken::from_extensions`](crate::AccessToken::from_extensions) of theirs.
///
/// If the token's scopes don't meet the requirement, and the answer hasn't begun, the
/// [`McpGuard`](crate::mcp::McpGuard) answers 403 with a challenge in place of whatever the server
/// answers, and clients can ask for a token with more scopes. The challenge names all that the
/// operation needs: what the table says, and what was required here. An answer that has begun, such as
/// a stream of events, stays as it is: return the error from the tool, so that the caller learns it as a
/// JSON-RPC error. `rmcp` begins its answers when the tool is done if
/// `StreamableHttpServerConfig::json_response` is on and `legacy_session_mode` is off; otherwise, for
/// protocol versions before 2026-07-28, it begins them at once.
///
/// ```
/// use tower_bearer::{Requirement, mcp};
///
/// fn wipe(parts: &http::request::Parts, disk: &str) -> Result<String, mcp::Shortfall> {
///     if disk == "production" {
///         mcp::require(parts, &Requirement::scope("disks:production").expect("a scope"))?;
///     }
///     Ok(format!("wiped {disk}"))
/// }
/// ```
///
/// # Errors
///
/// If the token doesn't meet the requirement, or the request didn't come through the layers.
pub fn require(parts: &Parts, requirement: &Requirement) -> Result<(), Shortfall> {
    let refusal = match Context::find(&parts.extensions) {
        Err(refusal) => refusal,
        Ok(context) => {
            let met = context.claims().is_some_and(|claims| {
                requirement.is_met_by(claims.scopes(), context.implications())
            });
            if met {
                return Ok(());
            }
            match parts.extensions.get::<Operation>() {
                None => Misconfigured::new(NO_GUARD).into(),
                Some(operation) => {
                    let found = &operation.0.found;
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.missing.push(requirement.clone());
                    let refusal = operation.refusal(&context, &found.missing);
                    let answer = refuse(refusal.clone(), &parts.extensions, parts.into());
                    found.answer = Some(answer);
                    refusal
                }
            }
        }
    };
    Err(Shortfall { refusal })
}

/// What [`require`] found: the token lacks something.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortfall {
    refusal: Refusal,
}

impl Shortfall {
    /// Returns the reason.
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.refusal, f)
    }
}

impl std::error::Error for Shortfall {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.refusal)
    }
}
