//! What a request needs, kept in its extensions so that a tool can require more scopes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::mcp::table::Needed;
use crate::middleware::{Context, lacking, log_in_again, no_credentials, refuse};
use crate::refusal::{Detail, Misconfigured, Refusal, RejectionKind};
use crate::scope::{Requirement, ScopeSet};
use crate::token::Claims;

/// The operation of a request, and what was found to be missing since it began. It is in the request's
/// extensions, and the guard reads it when the response begins.
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

    /// Decides whether a request may perform the operation.
    pub(crate) fn admit(&self, context: &Context<'_>) -> Result<(), Refusal> {
        let (mut lacks_scopes, mut login) = (false, None);
        for rule in &self.0.needed {
            let Err(refusal) = context.admit(rule) else { continue };
            match &refusal {
                Refusal::Rejection(rejection) => match rejection.detail() {
                    _ if rejection.kind() == RejectionKind::NoCredentials => lacks_scopes = true,
                    Detail::Scopes { .. } => lacks_scopes = true,
                    Detail::Login { .. } => login = login.or(Some(rejection.clone())),
                    // Neither a scope nor a login would help.
                    _ => return Err(refusal),
                },
                _ => return Err(refusal),
            }
        }
        match (login, context.claims()) {
            // A login brings a new token: the scopes of the failed rule aren't all that the operation needs.
            (Some(rejection), Some(claims)) => {
                let scopes = self.sufficient(&self.all(&[]), claims, context);
                Err(log_in_again(&rejection, scopes).into())
            }
            (None, _) if !lacks_scopes => Ok(()),
            _ => Err(self.refusal(context, &[])),
        }
    }

    /// Returns all scopes that a request needs: those of the table, and these.
    fn all(&self, also: &[Requirement]) -> Requirement {
        let listed = self.0.needed.iter().filter_map(|rule| rule.requirement());
        Requirement::all(listed.chain(also).cloned())
    }

    /// Returns scopes with which a token would meet all of that, as challenges name them.
    fn sufficient(&self, all: &Requirement, claims: &Claims, context: &Context<'_>) -> ScopeSet {
        let needed = all.sufficient_for(claims.scopes(), context.implications());
        if self.0.names_granted {
            claims.scopes().iter().chain(needed.iter()).collect()
        } else {
            needed
        }
    }

    /// Refuses a request for the scopes that it lacks, and names all those that it needs: those of
    /// the table, and these.
    fn refusal(&self, context: &Context<'_>, also: &[Requirement]) -> Refusal {
        let all = self.all(also);
        match context.claims() {
            None => {
                let needed = all.sufficient_for(&ScopeSet::default(), context.implications());
                no_credentials(&Arc::new(needed)).into()
            }
            Some(claims) => lacking(self.sufficient(&all, claims, context), claims).into(),
        }
    }

    /// Takes the answer to a request that lacks something.
    pub(crate) fn take_answer(&self) -> Option<Response<Bytes>> {
        self.0.found.lock().unwrap_or_else(PoisonError::into_inner).answer.take()
    }
}

/// Requires further scopes from within a tool.
///
/// `parts` is the head of the HTTP request; with `rmcp`,
/// `context.extensions.get::<http::request::Parts>()`. Its extensions hold the token:
/// [`AccessToken::from_extensions`](crate::AccessToken::from_extensions).
///
/// If the token's scopes don't meet the requirement, and the answer hasn't begun, the
/// [`McpGuard`](crate::mcp::McpGuard) answers 403 with a challenge instead of the server's response, so
/// that clients can request a token with more scopes. The challenge names all scopes of the operation:
/// those of the table, and those required here. A response that has begun, such as an event stream, is left
/// unchanged: return the error from the tool, so that the caller receives it as a JSON-RPC error. `rmcp`
/// begins its responses when the tool is done if
/// `StreamableHttpServerConfig::json_response` is on and `legacy_session_mode` is off; otherwise, for
/// protocol versions before 2026-07-28, it begins them immediately.
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
/// If the token doesn't meet the requirement, or the request didn't pass the layers.
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

/// The error of [`require`]: the token lacks scopes.
#[derive(Clone, PartialEq)]
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

/// `main` prints the `Debug` of the error that it returns.
impl fmt::Debug for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.refusal, f)
    }
}

impl std::error::Error for Shortfall {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // `Display` prints the refusal, so its source follows directly.
        self.refusal.source()
    }
}
