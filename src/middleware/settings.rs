//! The settings of a layer, and its answers to refusals.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{Method, Request, Response};

use crate::answer::{
    Absent, AnyRenderer, Challenges, DefaultRenderer, Disclosure, RequestHead, Schemes, Space,
    respond,
};
use crate::error::ConfigError;
use crate::metadata::ResourceMetadata;
use crate::middleware::conditions::terms::Terms;
use crate::middleware::map::{Extras, Map, Proofs, Published};
use crate::middleware::routes::access::{NotAdmitted, Rule, Rules};
use crate::middleware::routes::methods::Methods;
use crate::middleware::routes::nesting::{Doubt, Paths, with_parameters};
use crate::middleware::routes::table::RouteTable;
use crate::middleware::tally::count_without_layer;
use crate::refusal::{Detail, Refusal, Rejection, RejectionKind};
use crate::scope::ScopeSet;
use crate::telemetry::event;
use crate::text::Excerpt;
use crate::token::Claims;
use crate::validator::{InForce, Summary};

/// The settings of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) realm: Arc<str>,
    /// Of the realm, the metadata and the rules: see [`refresh`](Self::refresh).
    pub(crate) challenges: Challenges,
    pub(crate) renderer: AnyRenderer,
    pub(crate) verbose: bool,
    pub(crate) terms: Terms,
    pub(crate) map: Map,
    /// What requests need that no entry of a table covers.
    pub(crate) otherwise: Rule,
    pub(crate) preflight: bool,
    pub(crate) forward: bool,
    #[cfg(feature = "client")]
    pub(crate) keep: bool,
    /// `None` where no proof is accepted.
    pub(crate) proofs: Option<Proofs>,
    /// Whether tokens may be bound to a certificate.
    pub(crate) certificates: bool,
    /// The counts for the log.
    pub(crate) summary: Arc<Summary>,
}

impl Settings {
    /// Renders what depends on several settings, after one of them has changed.
    ///
    /// # Errors
    ///
    /// If the realm can't be sent in a challenge.
    pub(crate) fn refresh(&mut self) -> Result<(), ConfigError> {
        self.map = self.map.refreshed(&self.otherwise, self.proofs.as_ref(), self.certificates);
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

    /// Returns the rules for a request; `None` if it is for metadata, or it is unclear where its path
    /// leads.
    #[inline]
    pub(crate) fn rules<B>(&self, request: &mut Request<B>) -> Option<Rules<'_>> {
        let table = match &self.map {
            Map::Plain => return Some(Rules::from(&self.otherwise)),
            Map::Table(table) => table,
            Map::Extras(extras) => return self.rules_of_extras(extras, request),
        };
        self.select(table, request)
    }

    /// Returns the rules for a request where there is more than a table.
    #[cold]
    fn rules_of_extras<'a, B>(
        &'a self,
        extras: &'a Extras,
        request: &mut Request<B>,
    ) -> Option<Rules<'a>> {
        if extras.published().is_some_and(|published| published.is_asked_for(request)) {
            return None;
        }
        let mut rules = match self.map.table() {
            Some(table) => self.select(table, request)?,
            None => Rules::from(&self.otherwise),
        };
        // Conditions don't apply to a request that needs no token.
        if let Some(rule) = extras.rule()
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
        match table.select(Methods::of(request), Paths::of(request, None), &self.otherwise) {
            Ok(rules) => Some(rules),
            Err(Doubt::Ambiguous) => None,
            Err(Doubt::Parameters) => with_parameters(request, |request, parameters| {
                let paths = Paths::of(request, Some(parameters));
                table.select(Methods::of(request), paths, &self.otherwise).ok()
            }),
        }
    }

    /// Logs what is in force.
    pub(crate) fn announce(&self, in_force: &InForce) {
        let fallback = self.otherwise.to_string();
        let routes = self.map.table().map_or(0, |table| table.rules().count());
        let InForce { issuer, audience, algorithms, keys, introspection, leeway, .. } = in_force;
        event!(
            INFO,
            issuer,
            audience,
            algorithms,
            keys,
            introspection = introspection.as_deref(),
            leeway_s = %leeway,
            routes,
            fallback,
            "auth_in_force: how requests are checked; fallback is what those need that no route covers"
        );
        #[cfg(not(feature = "tracing"))]
        let _ = (fallback, routes, issuer, audience, algorithms, keys, introspection, leeway);
    }

    /// Adds to a refusal that the table has no entry for the request, if that is the reason.
    pub(crate) fn explain<B>(
        &self,
        mut refused: NotAdmitted,
        rules: &Rules<'_>,
        request: &Request<B>,
    ) -> NotAdmitted {
        if self.map.table().is_some() && rules.is_denied_by(&refused, &self.otherwise) {
            let request = format!("{} {}", request.method(), Paths::of(request, None).full);
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

    /// Replaces the refusal of a hidden route by that of an absent one, if it has one of its own.
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
    /// hidden routes, which need what an absent path does.
    pub(crate) fn needed(&self, rules: &Rules<'_>) -> Option<Arc<ScopeSet>> {
        self.map.published()?;
        let needed = if rules.iter().any(Rule::hides) {
            self.otherwise.needed()
        } else {
            rules.iter().find_map(Rule::needed)
        };
        needed.cloned()
    }

    /// Answers a refusal, and reports it.
    pub(crate) fn refuse(
        &self,
        refusal: Refusal,
        hidden: Option<Absent>,
        needed: Option<&ScopeSet>,
        asked: Schemes,
        request: RequestHead<'_>,
    ) -> Response<Bytes> {
        report(&refusal, request);
        self.summary.refused(&refusal);
        let disclosure = Disclosure { verbose: self.verbose, hidden };
        respond(refusal, request, &*self.renderer, &self.challenges, disclosure, needed, asked)
    }
}

/// Answers a refusal where there is no layer, and so no settings.
pub(crate) fn refuse_without_layer(refusal: Refusal, request: RequestHead<'_>) -> Response<Bytes> {
    count_without_layer(&refusal);
    report(&refusal, request);
    let (challenges, disclosure) = (Challenges::default(), Disclosure::default());
    respond(refusal, request, &DefaultRenderer, &challenges, disclosure, None, Schemes::Bearer)
}

/// Returns `true` if the request may have come through an axum route, which adds a
/// `Content-Length` to each body whose size is known, as its fallbacks don't.
#[cfg(feature = "axum")]
pub(crate) fn may_be_routed<B>(request: &Request<B>) -> bool {
    request.extensions().get::<axum::extract::MatchedPath>().is_some()
}

#[cfg(not(feature = "axum"))]
pub(crate) const fn may_be_routed<B>(_: &Request<B>) -> bool {
    true
}

/// Returns the path of the request before a router removed a prefix, without the query, which may hold secrets.
#[cfg(feature = "tracing")]
fn full_path(request: RequestHead<'_>) -> &str {
    #[cfg(feature = "axum")]
    let uri =
        request.extensions.get::<axum::extract::OriginalUri>().map_or(request.uri, |it| &it.0);
    #[cfg(not(feature = "axum"))]
    let uri = request.uri;
    uri.path()
}

/// One event for each refusal, at `DEBUG`: callers can't fill the log, nor can an outage.
/// The summary has what operators need of it.
fn report(refusal: &Refusal, _request: RequestHead<'_>) {
    let _code = refusal.code();
    macro_rules! tell {
        ($message:literal) => {
            event!(
                DEBUG,
                code = _code,
                reason = %crate::cause::Report(refusal),
                method = %Excerpt::new(_request.method.as_str()),
                path = %Excerpt::new(full_path(_request)),
                $message
            )
        };
    }
    match refusal {
        Refusal::Rejection(_) => tell!("request refused"),
        Refusal::Unavailable(_) => tell!("token can't be checked"),
        // Without the path, which may be a secret by itself: this is in every log.
        Refusal::Misconfigured(_) => event!(
            ERROR,
            code = _code,
            reason = %crate::cause::Report(refusal),
            "tower-bearer is misconfigured"
        ),
    }
}
