//! Everything that is measured, in the order of the tables.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::Request;
use tower::{Layer, Service};
use tower_bearer::jwks::Jwks;
use tower_bearer::{BearerAuthLayer, Validator, ValidatorBuilder};

use crate::issuer::{AUDIENCE, Issuer, signed};
use crate::peers;
use crate::subject::{Raw, Served, Subject};

/// How the tables' derived rows find their contenders.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    Bare,
    Raw,
    Control,
    ControlAround,
    Seen,
    SeenAround,
    New,
    NewAround,
    Churn,
    Peer,
}

impl Role {
    /// Whether an answer takes a microsecond rather than a signature's time.
    pub fn is_quick(self) -> bool {
        matches!(
            self,
            Self::Bare | Self::Control | Self::ControlAround | Self::Seen | Self::SeenAround
        )
    }

    pub fn checks_tokens(self) -> bool {
        !matches!(self, Self::Bare | Self::Raw | Self::Control | Self::ControlAround)
    }
}

pub struct Contender {
    pub name: &'static str,
    pub role: Role,
    pub subject: Box<dyn Subject>,
}

pub(crate) fn contender(
    name: &'static str,
    role: Role,
    subject: impl Subject + 'static,
) -> Contender {
    Contender { name, role, subject: Box::new(subject) }
}

pub(crate) async fn handler() -> &'static str {
    "ok"
}

pub(crate) fn router() -> Router {
    Router::new().route("/orders", get(handler))
}

/// What the control inserts: about what an accepted token is.
#[derive(Clone, Default)]
struct Claims {
    _claims: [u64; 32],
}

/// The control: inserts the same claims into every request and looks at nothing.
#[derive(Clone, Default)]
struct Constant(Arc<Claims>);

#[derive(Clone)]
struct ConstantService<S>(S, Arc<Claims>);

impl<S> Layer<S> for Constant {
    type Service = ConstantService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConstantService(inner, Arc::clone(&self.0))
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for ConstantService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.1));
        self.0.call(request)
    }
}

/// `cache_entries`: `None` for the default.
pub(crate) fn validator(issuer: &Issuer, cache_entries: Option<usize>) -> ValidatorBuilder {
    let keys = Jwks::discover(issuer.url()).dangerous_allow_http();
    let builder = Validator::builder(issuer.url(), AUDIENCE).keys(keys);
    match cache_entries {
        Some(entries) => builder.cache_entries(entries),
        None => builder,
    }
}

/// The layer, once it has its keys.
pub(crate) async fn ready(builder: ValidatorBuilder) -> BearerAuthLayer {
    let validator = builder.build().expect("a validator");
    validator.ready(Duration::from_secs(10)).await.expect("keys");
    BearerAuthLayer::new(validator)
}

async fn bearer(issuer: &Issuer, cache_entries: Option<usize>) -> BearerAuthLayer {
    ready(validator(issuer, cache_entries)).await
}

/// Builds everything, with the keys loaded, to be asked with this many tokens in turn. Must be
/// called in the runtime that will serve it.
pub async fn all(issuer: &Issuer, tokens: usize) -> Vec<Contender> {
    // More than the small cache holds, so that none is found in it.
    let many = issuer.tokens(512.max(tokens));
    let tokens = &many[..tokens];
    let signed = tokens.iter().map(|token| signed(token)).collect();
    let raw = Raw { key: issuer.public_key(), signed, next: 0 };
    let small = bearer(issuer, Some(64)).await;
    let (cached, uncached) = (bearer(issuer, None).await, bearer(issuer, Some(0)).await);
    let control = Constant::default();

    let mut all = vec![
        contender("bare router", Role::Bare, Served::new(router(), tokens)),
        contender("the signature alone", Role::Raw, raw),
        contender("control, `.layer`", Role::Control, {
            Served::new(router().layer(control.clone()), tokens)
        }),
        contender("control, around", Role::ControlAround, {
            Served::new(control.layer(router()), tokens)
        }),
        contender("tower-bearer, token seen before, `.layer`", Role::Seen, {
            Served::new(router().layer(cached.clone()), tokens)
        }),
        contender("tower-bearer, token seen before, around", Role::SeenAround, {
            Served::new(cached.layer(router()), tokens)
        }),
        contender("tower-bearer, no cache, `.layer`", Role::New, {
            Served::new(router().layer(uncached.clone()), tokens)
        }),
        contender("tower-bearer, no cache, around", Role::NewAround, {
            Served::new(uncached.layer(router()), tokens)
        }),
        contender("tower-bearer, full cache, every token new, `.layer`", Role::Churn, {
            Served::new(router().layer(small), &many)
        }),
    ];
    all.extend(peers::all(issuer, tokens).await);
    all
}
