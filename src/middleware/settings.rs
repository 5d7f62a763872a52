use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{Method, Request, Response};

use crate::middleware::access::{NotAdmitted, Rule, Rules};
use crate::middleware::route_table::{Paths, RouteTable};
use crate::refusal::challenge::Challenges;
use crate::refusal::renderer::{RequestHead, answer};
use crate::refusal::table::Disclosure;
use crate::refusal::{Absent, DefaultRenderer, Refusal, Renderer, UnavailableReason};
use crate::scope::Implications;
use crate::telemetry::{count, event};
use crate::token::Claims;

/// What the operator set on a layer.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) challenges: Challenges,
    pub(crate) renderer: Arc<dyn Renderer>,
    pub(crate) verbose: bool,
    pub(crate) implications: Implications,
    pub(crate) routes: Option<RouteTable>,
    /// What every request needs that no entry of a table is for.
    pub(crate) otherwise: Rule,
    pub(crate) preflight: bool,
    pub(crate) forward: bool,
}

impl Settings {
    /// Returns the rules for a request; `None` if its path can be read in two ways.
    #[inline]
    pub(crate) fn rules<B>(&self, request: &Request<B>) -> Option<Rules<'_>> {
        match &self.routes {
            None => Some(Rules::from(&self.otherwise)),
            Some(table) => table.select(request.method(), paths(request), &self.otherwise),
        }
    }

    /// Tells whether a request is a preflight of CORS that passes: browsers send those without
    /// credentials (Fetch §4.8).
    pub(crate) fn lets_preflight_pass<B>(&self, request: &Request<B>) -> bool {
        self.preflight
            && request.method() == Method::OPTIONS
            && request.headers().contains_key(ORIGIN)
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Replaces the refusal of what hides by that of what isn't there, if it has one of its own.
    pub(crate) fn conceal(&self, hiding: NotAdmitted, token: Option<&Claims>) -> NotAdmitted {
        if hiding.hidden.is_none() {
            return hiding;
        }
        let Err(mut refused) = Rules::from(&self.otherwise).admit(token, &self.implications) else {
            return hiding;
        };
        if token.is_none() {
            refused.hidden = None;
        }
        refused
    }

    /// Answers a refusal, and tells the operator.
    pub(crate) fn refuse(
        &self,
        refusal: Refusal,
        hidden: Option<Absent>,
        request: RequestHead<'_>,
    ) -> Response<Bytes> {
        report(&refusal);
        let disclosure = Disclosure { verbose: self.verbose, hidden };
        answer(refusal, request, &*self.renderer, &self.challenges, disclosure)
    }
}

/// Answers a refusal where there is no layer, and so no settings.
pub(crate) fn refuse_without_layer(refusal: Refusal, request: RequestHead<'_>) -> Response<Bytes> {
    report(&refusal);
    answer(refusal, request, &DefaultRenderer, &Challenges::default(), Disclosure::default())
}

#[cfg(feature = "axum")]
fn paths<B>(request: &Request<B>) -> Paths<'_> {
    use axum::extract::{MatchedPath, NestedPath, OriginalUri};
    let current = request.uri().path();
    let full = request.extensions().get::<OriginalUri>().map_or(current, |uri| uri.path());
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let nested = request.extensions().get::<NestedPath>().map(NestedPath::as_str);
    Paths { full, current, matched, nested }
}

#[cfg(not(feature = "axum"))]
fn paths<B>(request: &Request<B>) -> Paths<'_> {
    let path = request.uri().path();
    Paths { full: path, current: path, matched: None, nested: None }
}

/// Returns `true` if the request may have come through a route of axum's, which adds a
/// `Content-Length` to each body whose size is known, as its fallbacks don't.
#[cfg(feature = "axum")]
pub(crate) fn may_be_routed<B>(request: &Request<B>) -> bool {
    request.extensions().get::<axum::extract::MatchedPath>().is_some()
}

#[cfg(not(feature = "axum"))]
pub(crate) const fn may_be_routed<B>(_: &Request<B>) -> bool {
    true
}

/// One event and one count for each refusal. What callers can cause at will is for `DEBUG`, so that
/// they can't fill the log.
fn report(refusal: &Refusal) {
    let code = refusal.code();
    match refusal {
        Refusal::Rejection(_) => {
            count!("token_total", "result" => "refused", "reason" => code);
            event!(DEBUG, code, reason = %refusal, "request refused");
        }
        Refusal::Unavailable(unavailable) => {
            count!("token_total", "result" => "unavailable", "reason" => code);
            // An alert goes by this one, and strangers can have requests rate-limited.
            if unavailable.reason() != UnavailableReason::RateLimited {
                count!("auth_unavailable_total");
            }
            match unavailable.reason() {
                UnavailableReason::KeysNotLoaded
                | UnavailableReason::KeysExpired
                | UnavailableReason::ShutDown => {
                    event!(WARN, code, reason = %refusal, "token can't be checked");
                }
                // Tokens with a made-up `kid` lead here, or callers with short deadlines.
                UnavailableReason::RefreshFailed
                | UnavailableReason::RefreshTimedOut
                | UnavailableReason::RateLimited
                | UnavailableReason::ServiceNotReady => {
                    event!(DEBUG, code, reason = %refusal, "token can't be checked");
                }
            }
        }
        Refusal::Misconfigured(_) => {
            event!(ERROR, code, reason = %refusal, "tower-bearer is put together wrongly");
        }
    }
}
