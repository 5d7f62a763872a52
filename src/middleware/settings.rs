use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{Method, Request, Response, Version};
#[cfg(feature = "axum")]
use smallvec::SmallVec;

use crate::answer::{
    Absent, AnyRenderer, Asked, Challenges, DefaultRenderer, Disclosure, RequestHead, Space,
    respond,
};
use crate::error::ConfigError;
use crate::metadata::ResourceMetadata;
use crate::middleware::conditions::terms::Terms;
use crate::middleware::map::{Map, More, Proofs, Published};
use crate::middleware::routes::access::{NotAdmitted, Rule, Rules};
use crate::middleware::routes::methods::Methods;
use crate::middleware::routes::nesting::{Doubt, Parameters, Paths};
use crate::middleware::routes::table::RouteTable;
use crate::middleware::tally::count_without_layer;
use crate::refusal::{Detail, Misconfigured, Refusal, Rejection, RejectionKind};
use crate::scope::ScopeSet;
use crate::telemetry::event;
use crate::text::Excerpt;
use crate::token::Claims;
use crate::validator::{InForce, Summary};

const NO_PROOFS: &str = "a route requires DPoP, but the validator accepts no proofs: give it a Dpop \
                         with ValidatorBuilder::dpop";

/// What the operator set on a layer.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) realm: Arc<str>,
    /// Of the realm, the metadata and the rules: see [`refresh`](Self::refresh).
    pub(crate) challenges: Challenges,
    pub(crate) renderer: AnyRenderer,
    pub(crate) verbose: bool,
    pub(crate) terms: Terms,
    pub(crate) map: Map,
    /// What every request needs that no entry of a table is for.
    pub(crate) otherwise: Rule,
    pub(crate) preflight: bool,
    pub(crate) forward: bool,
    /// `None` where no proof is accepted.
    pub(crate) proofs: Option<Proofs>,
    /// What counts for the log.
    pub(crate) summary: Arc<Summary>,
}

impl Settings {
    /// Renders what depends on several settings, after one of them has changed.
    ///
    /// # Errors
    ///
    /// If the realm can't be sent in a challenge.
    pub(crate) fn refresh(&mut self) -> Result<(), ConfigError> {
        self.map = self.map.refreshed(&self.otherwise, self.proofs.as_ref());
        let metadata = self.map.published().map(Published::metadata);
        let url = metadata.map(ResourceMetadata::url);
        let space = Space {
            realm: &self.realm,
            metadata: url.as_deref(),
            scopes: metadata.map(ResourceMetadata::challenge_scopes),
            proofs: self.proofs.as_ref().map(|proofs| &*proofs.algorithms),
        };
        let rules = self.map.table().into_iter().flat_map(RouteTable::rules);
        let sets = rules.chain([&self.otherwise]).filter_map(Rule::needed);
        self.challenges = Challenges::new(space, sets.map(|set| &**set))?;
        Ok(())
    }

    /// Returns the rules for a request; `None` if it asks for metadata, or it can't be told where its path
    /// leads.
    #[inline]
    pub(crate) fn rules<B>(&self, request: &mut Request<B>) -> Option<Rules<'_>> {
        let table = match &self.map {
            Map::Plain => return Some(Rules::from(&self.otherwise)),
            Map::Table(table) => table,
            Map::More(more) => return self.rules_of_more(more, request),
        };
        self.select(table, request)
    }

    /// Returns the rules for a request where there is more than a table.
    #[cold]
    fn rules_of_more<'a, B>(
        &'a self,
        more: &'a More,
        request: &mut Request<B>,
    ) -> Option<Rules<'a>> {
        if more.published().is_some_and(|published| published.is_asked_for(request)) {
            return None;
        }
        let mut rules = match self.map.table() {
            Some(table) => self.select(table, request)?,
            None => Rules::from(&self.otherwise),
        };
        // What needs no token isn't asked what it says.
        if let Some(rule) = more.rule()
            && !rules.are_public()
        {
            rules.also(rule);
        }
        Some(rules)
    }

    #[inline]
    fn select<'a, B>(
        &'a self,
        table: &'a RouteTable,
        request: &mut Request<B>,
    ) -> Option<Rules<'a>> {
        match table.select(methods(request), paths(request, None), &self.otherwise) {
            Ok(rules) => Some(rules),
            Err(Doubt::Ambiguous) => None,
            Err(Doubt::Parameters) => with_parameters(request, |request, parameters| {
                let paths = paths(request, Some(parameters));
                table.select(methods(request), paths, &self.otherwise).ok()
            }),
        }
    }

    /// Tells the log what is in force.
    pub(crate) fn announce(&self, in_force: &InForce) {
        let fallback = self.otherwise.to_string();
        let routes = self.map.table().map_or(0, |table| table.rules().count());
        let InForce { issuer, audience, algorithms, keys, leeway } = in_force;
        event!(
            INFO,
            issuer,
            audience,
            algorithms,
            keys,
            leeway_s = %leeway,
            routes,
            fallback,
            "auth_in_force: what requests are checked by; fallback is what those need that no route covers"
        );
        #[cfg(not(feature = "tracing"))]
        let _ = (fallback, routes, issuer, audience, algorithms, keys, leeway);
    }

    /// Adds to a refusal that the table has no entry for the request, if that is why.
    pub(crate) fn explain<B>(
        &self,
        mut refused: NotAdmitted,
        rules: &Rules<'_>,
        request: &Request<B>,
    ) -> NotAdmitted {
        if self.map.table().is_some() && rules.is_denied_by(&refused, &self.otherwise) {
            let request = format!("{} {}", request.method(), paths(request, None).full);
            let request = Excerpt::new(&request);
            refused.rejection =
                Rejection::with(RejectionKind::Denied, Detail::NotListed { request });
        }
        refused
    }

    /// Returns `true` if a request is a CORS preflight that passes: browsers send those without
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
        let Err(mut refused) = Rules::from(&self.otherwise).admit(token, &self.terms) else {
            return hiding;
        };
        if token.is_none() {
            refused.hidden = None;
        }
        refused
    }

    /// Returns the scopes that the challenge of a refusal names which doesn't depend on them, as clients
    /// with metadata expect: what the request needs. `None` stands for those of all requests, and for
    /// what hides: that needs what an absent path does.
    pub(crate) fn needed(&self, rules: &Rules<'_>) -> Option<Arc<ScopeSet>> {
        self.map.published()?;
        let needed = if rules.iter().any(Rule::hides) {
            self.otherwise.needed()
        } else {
            rules.iter().find_map(Rule::needed)
        };
        needed.cloned()
    }

    /// Returns `true` if the challenge is that of DPoP alone, whatever is wrong. For what hides, it is as
    /// for an absent path.
    pub(crate) fn is_for_bound_tokens(&self, rules: &Rules<'_>) -> bool {
        if rules.iter().any(Rule::hides) {
            self.otherwise.is_for_bound_tokens()
        } else {
            rules.iter().any(Rule::is_for_bound_tokens)
        }
    }

    /// Refuses a bearer token where only tokens are accepted that are bound to a key.
    pub(crate) fn not_bound(&self) -> Refusal {
        match self.proofs {
            Some(_) => RejectionKind::TokenNotBound.into(),
            None => Misconfigured::new(NO_PROOFS).into(),
        }
    }

    /// Returns which challenges a refusal is answered with. `proved` says whether the scheme DPoP was
    /// used, `bound` whether the route accepts no other.
    pub(crate) fn asked(&self, refusal: &Refusal, proved: bool, bound: bool) -> Asked {
        let Some(Proofs { required, .. }) = self.proofs else { return Asked::Bearer };
        let is_unbound = matches!(
            refusal,
            Refusal::Rejection(rejection) if rejection.kind() == RejectionKind::TokenNotBound
        );
        if required || bound || (is_unbound && !proved) {
            Asked::OnlyDpop
        } else if proved {
            Asked::Dpop
        } else {
            Asked::Bearer
        }
    }

    /// Answers a refusal, and tells the operator.
    pub(crate) fn refuse(
        &self,
        refusal: Refusal,
        hidden: Option<Absent>,
        needed: Option<&ScopeSet>,
        asked: Asked,
        request: RequestHead<'_>,
    ) -> Response<Bytes> {
        report(&refusal);
        self.summary.refused(&refusal);
        let disclosure = Disclosure { verbose: self.verbose, hidden };
        respond(refusal, request, &*self.renderer, &self.challenges, disclosure, needed, asked)
    }
}

/// Answers a refusal where there is no layer, and so no settings.
pub(crate) fn refuse_without_layer(refusal: Refusal, request: RequestHead<'_>) -> Response<Bytes> {
    count_without_layer(&refusal);
    report(&refusal);
    let (challenges, disclosure) = (Challenges::default(), Disclosure::default());
    respond(refusal, request, &DefaultRenderer, &challenges, disclosure, None, Asked::Bearer)
}

/// Returns the methods that a request counts as. `CONNECT` has a path only if it is extended, and only
/// HTTP/2 and HTTP/3 extend it (RFC 8441 §4, RFC 9220 §3).
fn methods<B>(request: &Request<B>) -> Methods<'_> {
    let extended = *request.method() == Method::CONNECT
        && matches!(request.version(), Version::HTTP_2 | Version::HTTP_3)
        && !request.uri().path().is_empty();
    if extended { Methods::ExtendedConnect } else { Methods::One(request.method()) }
}

#[cfg(feature = "axum")]
fn paths<'a, B>(request: &'a Request<B>, parameters: Option<&'a Parameters<'a>>) -> Paths<'a> {
    use axum::extract::{MatchedPath, NestedPath, OriginalUri};
    let current = request.uri().path();
    let full = request.extensions().get::<OriginalUri>().map_or(current, |uri| uri.path());
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let nested = request.extensions().get::<NestedPath>().map(NestedPath::as_str);
    Paths { full, current, matched, nested, parameters }
}

#[cfg(not(feature = "axum"))]
fn paths<'a, B>(request: &'a Request<B>, parameters: Option<&'a Parameters<'a>>) -> Paths<'a> {
    let path = request.uri().path();
    Paths { full: path, current: path, matched: None, nested: None, parameters }
}

/// Looks at a request with the parameters of all patterns that axum has matched; `None` if they aren't
/// UTF-8.
#[cfg(feature = "axum")]
fn with_parameters<B, T>(
    request: &mut Request<B>,
    look: impl FnOnce(&Request<B>, &Parameters<'_>) -> Option<T>,
) -> Option<T> {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use axum::extract::rejection::RawPathParamsRejection;
    use axum::extract::{FromRequestParts as _, RawPathParams};

    let (mut parts, ()) = Request::new(()).into_parts();
    std::mem::swap(&mut parts.extensions, request.extensions_mut());
    let found = {
        // It has nothing to wait for.
        let extract = pin!(RawPathParams::from_request_parts(&mut parts, &()));
        extract.poll(&mut Context::from_waker(Waker::noop()))
    };
    std::mem::swap(&mut parts.extensions, request.extensions_mut());
    match found {
        Poll::Ready(Ok(found)) => {
            let parameters: SmallVec<[_; 8]> = found.iter().collect();
            look(request, &parameters)
        }
        Poll::Ready(Err(RawPathParamsRejection::MissingPathParams(_))) => look(request, &[]),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

/// Without axum, nothing is nested, and no parameters are asked for.
#[cfg(not(feature = "axum"))]
fn with_parameters<B, T>(
    _: &mut Request<B>,
    _: impl FnOnce(&Request<B>, &Parameters<'_>) -> Option<T>,
) -> Option<T> {
    None
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

/// One event for each refusal, for `DEBUG`: callers can't fill the log, nor can an outage.
/// What operators need of it, the summary says.
fn report(refusal: &Refusal) {
    let _code = refusal.code();
    match refusal {
        Refusal::Rejection(_) => {
            event!(DEBUG, code = _code, reason = %crate::cause::Report(refusal), "request refused");
        }
        Refusal::Unavailable(_) => {
            event!(DEBUG, code = _code, reason = %crate::cause::Report(refusal), "token can't be checked");
        }
        Refusal::Misconfigured(_) => {
            event!(ERROR, code = _code, reason = %crate::cause::Report(refusal), "tower-bearer is put together wrongly");
        }
    }
}
