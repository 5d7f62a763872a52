//! Checks an application's routes against listed access rules: sends requests, and judges the responses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Display;

use http::{Method, Request, Response, StatusCode, request};
use http_body::Body;
use tower_service::Service;

use crate::error::ConfigError;
use crate::middleware::routes::access::{Access, Rule, Rules};
use crate::middleware::routes::builder::RouteTableBuilder;
use crate::middleware::routes::methods::Methods;
use crate::middleware::routes::nesting::Paths;
use crate::middleware::routes::table::RouteTable;
use crate::scope::Implications;
use crate::testing::issuer::handle::TestIssuer;
use crate::testing::routes::expected::{Answer, Expected};
use crate::testing::routes::report::{RouteProblem, RouteReport};
use crate::testing::routes::send::{Prepare, send};
use crate::testing::routes::sent::SentToken;
use crate::testing::routes::tokens::{Shape, Tokens};
use crate::testing::routes::variants::{filled, variants};
use crate::testing::tokens::token::TokenBuilder;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// The most sets of scopes for which a route is requested with a sufficient token.
const MAX_GOOD: usize = 8;

/// Checks that all routes of an application enforce the access rules listed for them.
///
/// Each listed route is requested without a token, with garbage, with tokens that are expired, forged,
/// unsigned, of another issuer or for another audience, with valid tokens that lack a scope, and with
/// sufficient ones; then by other methods, and with variants of its path: an additional or missing slash at
/// the end, a doubled slash, a needless escape, a letter in the other case. [`run`](Self::run) reports the
/// responses that differ from the list.
///
/// For a route that requires bound tokens, the check sends unbound ones, and expects a refusal.
///
/// The check takes the whole application, with its layers, whose validator trusts the embedded issuer. It is
/// called in process, with empty bodies. Handlers may answer 400, but run with all their effects: give them a
/// store for tests.
///
/// ```
/// use std::time::Duration;
///
/// use axum::Router;
/// use axum::body::Body;
/// use axum::routing::get;
/// use http::Method;
/// use tower_bearer::jwks::Jwks;
/// use tower_bearer::testing::{RouteCheck, TestIssuer};
/// use tower_bearer::{Access, BearerAuthLayer, RouteTable, Validator};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = TestIssuer::start().await?;
/// let keys = Jwks::discover(issuer.issuer()).transport(issuer.transport());
/// let validator = Validator::builder(issuer.issuer(), issuer.audience()).keys(keys).build()?;
/// validator.ready(Duration::from_secs(5)).await?;
///
/// // The application.
/// let routes = RouteTable::builder()
///     .route(Method::GET, "/orders", Access::scope("orders:read"))
///     .build()?;
/// let app = Router::new()
///     .route("/orders", get(async || "two orders"))
///     .layer(BearerAuthLayer::new(validator).routes(routes.clone()))
///     .route("/admin", get(async || "unprotected: it was added after the layer"));
///
/// // Its expected access rules.
/// let check = RouteCheck::new(&issuer)
///     .routes(&routes)
///     .route(Method::GET, "/admin", Access::scope("admin"));
/// let report = check.run::<Body>(app).await?;
/// assert!(!report.holds());
/// assert!(report.to_string().contains(
///     "GET /admin without a token: should be refused with 401, was answered 200"
/// ));
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is checked until `run` is called"]
pub struct RouteCheck<'a> {
    issuer: &'a TestIssuer,
    listed: Vec<Listed>,
    served: Vec<(Method, String)>,
    encoded_slashes: bool,
    fallback: Access,
    implications: Implications,
    parameters: BTreeMap<String, String>,
    shape: Shape<'a>,
    prepare: Prepare<'a>,
}

#[derive(Clone)]
struct Listed {
    method: Option<Method>,
    pattern: String,
    access: Access,
}

impl<'a> RouteCheck<'a> {
    /// Creates a check without routes.
    pub fn new(issuer: &'a TestIssuer) -> Self {
        Self {
            issuer,
            listed: Vec::new(),
            served: Vec::new(),
            encoded_slashes: false,
            fallback: Access::token(),
            implications: Implications::default(),
            parameters: BTreeMap::new(),
            shape: Box::new(|token| token),
            prepare: Box::new(|_| ()),
        }
    }

    /// Lists all entries of a table. A table written for the test finds more mistakes than the application's
    /// own, which may have the same ones.
    pub fn routes(mut self, table: &RouteTable) -> Self {
        self.encoded_slashes |= table.table().encoded_slashes;
        self.listed.extend(table.entries().map(|entry| Listed {
            method: entry.method().cloned(),
            pattern: entry.pattern().to_owned(),
            access: entry.access(),
        }));
        self
    }

    /// Lists a route, by a pattern as in a [`RouteTable`].
    pub fn route(mut self, method: Method, pattern: &str, access: Access) -> Self {
        self.listed.push(Listed { method: Some(method), pattern: pattern.to_owned(), access });
        self
    }

    /// Declares that the application serves this route, so that a missing access rule is reported. Take them
    /// from the router, or from the application's OpenAPI document.
    pub fn served(mut self, method: Method, pattern: &str) -> Self {
        self.served.push((method, pattern.to_owned()));
        self
    }

    /// Sets the access rule of requests for which nothing is listed, as
    /// [`BearerAuthLayer::fallback`](crate::BearerAuthLayer::fallback) does. The default is any valid token.
    pub fn fallback(mut self, access: Access) -> Self {
        self.fallback = access;
        self
    }

    /// Sets which scopes imply others, as on the layer.
    pub fn implications(mut self, implications: Implications) -> Self {
        self.implications = implications;
        self
    }

    /// Sets the value of a parameter in all patterns. The default is `1`.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets how all tokens are built, apart from their scopes, such as claims that the application requires.
    pub fn tokens(
        mut self,
        shape: impl Fn(TokenBuilder<'_>) -> TokenBuilder<'_> + Send + Sync + 'a,
    ) -> Self {
        self.shape = Box::new(shape);
        self
    }

    /// Sets how all requests are built, apart from method, path and token, such as a header or an extension.
    pub fn requests(mut self, prepare: impl Fn(&mut request::Parts) + Send + Sync + 'a) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// Sends all requests, one after the other. Each is sent to a clone of the application, with the default
    /// body of type `B`, which must be named for an axum router: `run::<axum::body::Body>(app)`.
    ///
    /// # Errors
    ///
    /// If a pattern or a scope that was listed is malformed, or something is listed twice.
    pub async fn run<B: Default>(
        self,
        app: impl Service<Request<B>, Response = Response<impl Body>, Error = impl Display> + Clone,
    ) -> Result<RouteReport, ConfigError> {
        let table = self.table()?;
        let fallback = self.fallback.clone().into_rule()?;
        let run = Run { check: &self, table: &table, fallback: &fallback };
        let mut tokens = Tokens::new(self.issuer, &self.shape, run.all_scopes());
        let mut report = RouteReport::default();
        for (method, path) in &self.served {
            if !table.table().covers(method, path) {
                let unlisted = RouteProblem::unlisted(method.clone(), path.clone());
                report.problems.push(unlisted);
            }
        }
        for probe in run.probes() {
            let token = tokens.field(&probe.token);
            let sent =
                send(app.clone(), &probe.method, &probe.path, token.as_deref(), &self.prepare);
            let answer = sent.await;
            report.sent = report.sent.saturating_add(1);
            run.judge(&probe, answer, &mut report);
        }
        Ok(report)
    }

    fn table(&self) -> Result<RouteTable, ConfigError> {
        let mut builder = RouteTable::builder();
        if self.encoded_slashes {
            builder = builder.allow_encoded_slashes();
        }
        let list = |builder: RouteTableBuilder, Listed { method, pattern, access }| match method {
            Some(method) => builder.route(method, pattern, access),
            None => builder.any(pattern, access),
        };
        self.listed.iter().cloned().fold(builder, list).build()
    }
}

/// A request that is sent.
struct Probe {
    method: Method,
    path: String,
    token: SentToken,
    /// Whether the request has the listed form, so that its answer must be as listed.
    listed: bool,
    expected: Expected,
}

struct Run<'r> {
    check: &'r RouteCheck<'r>,
    table: &'r RouteTable,
    fallback: &'r Rule,
}

impl Run<'_> {
    fn rules(&self, method: &Method, path: &str) -> Option<Rules<'_>> {
        let paths =
            Paths { full: path, current: path, matched: None, nested: None, parameters: None };
        self.table.select(Methods::One(method), paths, self.fallback).ok()
    }

    /// Returns each set of scopes that is sufficient for some route.
    fn sets(&self) -> BTreeSet<String> {
        let rules = self.table.rules().chain([self.fallback]);
        let sets = rules.flat_map(|rule| alternatives(&Rules::from(rule)));
        sets.collect()
    }

    fn all_scopes(&self) -> String {
        let sets = self.sets();
        let scopes: BTreeSet<&str> = sets.iter().flat_map(|set| set.split(' ')).collect();
        scopes.into_iter().collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    fn probes(&self) -> Vec<Probe> {
        let mut probes = Vec::new();
        let sets = self.sets();
        for Listed { method, pattern, .. } in &self.check.listed {
            let path = filled(pattern, &self.check.parameters);
            let named = method.as_ref().unwrap_or(&Method::GET);
            let bad = [
                SentToken::None,
                SentToken::Garbage,
                SentToken::Expired,
                SentToken::OtherIssuer,
                SentToken::OtherAudience,
                SentToken::Forged,
                SentToken::Unsecured,
                SentToken::Scopes(String::new()),
            ];
            let good = self.rules(named, &path).map(|rules| alternatives(&rules));
            let scopes: BTreeSet<String> =
                sets.iter().cloned().chain(good.into_iter().flatten().take(MAX_GOOD)).collect();
            let scopes = scopes.into_iter().filter(|scopes| !scopes.is_empty());
            for token in bad.into_iter().chain(scopes.map(SentToken::Scopes)) {
                probes.push(self.probe(named, &path, token, true));
            }
            // Requests by other methods, or with variants of the path.
            let others = METHODS.iter().filter(|other| *other != named);
            let others = others.map(|other| (other, path.clone()));
            let spelled = variants(&path).into_iter().map(|path| (named, path));
            for (method, path) in others.chain(spelled) {
                for token in [SentToken::None, SentToken::Scopes(String::new())] {
                    probes.push(self.probe(method, &path, token, false));
                }
            }
        }
        probes
    }

    fn probe(&self, method: &Method, path: &str, token: SentToken, listed: bool) -> Probe {
        let expected = self.rules(method, path).map_or(Expected::Refused, |rules| {
            Expected::of(&rules, &token, &self.check.implications)
        });
        Probe { method: method.clone(), path: path.to_owned(), token, listed, expected }
    }

    fn judge(&self, probe: &Probe, answer: Result<Answer, String>, report: &mut RouteReport) {
        let Probe { method, path, token, listed, expected } = probe;
        let problem = |answered| RouteProblem::answered(method, path, token, *expected, answered);
        let answer = match answer {
            Ok(answer) => answer,
            Err(failed) => return report.problems.push(problem(failed)),
        };
        let holds =
            if *listed { expected.is(&answer) } else { expected.keeps_out(method, &answer) };
        if !holds {
            report.problems.push(problem(format!("answered {}", answer.status.as_u16())));
        } else if *listed && *expected == Expected::LetIn {
            let route = format!("{method} {path}");
            let absent =
                matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
            if !absent {
                report.unreached.retain(|known| *known != route);
            } else if !report.unreached.contains(&route) {
                report.unreached.push(route);
            }
        }
    }
}

/// Returns the alternative sets of sufficient scopes, each as a list.
fn alternatives(rules: &Rules<'_>) -> Vec<String> {
    let sets = rules.alternatives().into_iter();
    sets.map(|set| set.into_iter().collect::<Vec<_>>().join(" ")).collect()
}

impl fmt::Debug for RouteCheck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.listed.iter().map(|it| (&it.method, &it.pattern, &it.access));
        f.debug_list().entries(listed).finish()
    }
}
