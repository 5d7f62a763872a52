//! The guard layer that requires scopes on a route.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::middleware::body::ResponseBody;
use crate::middleware::bound::Bound;
use crate::middleware::conditions::Conditions;
use crate::middleware::context::{Context, refuse_where};
use crate::middleware::required_scopes::RequiredScopes;
use crate::scope::Requirement;

/// Requires scopes of the request's token, within a [`BearerAuthLayer`](crate::BearerAuthLayer).
///
/// It belongs within a [`BearerAuthLayer`](crate::BearerAuthLayer), which checks the token, for
/// instance as an axum `route_layer`; without one it answers 500 and logs what is missing.
/// If that layer accepts requests without a token, this one refuses them.
///
/// ```
/// # fn example(validator: tower_bearer::Validator) -> Result<(), tower_bearer::ConfigError> {
/// use axum::{Router, routing::get};
/// use tower_bearer::{BearerAuthLayer, Requirement, ScopeGuardLayer};
///
/// let app: Router = Router::new()
///     .route("/orders", get(|| async { "orders" }))
///     .route_layer(ScopeGuardLayer::new(Requirement::scope("orders:read")?))
///     .layer(BearerAuthLayer::new(validator));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ScopeGuardLayer {
    requirement: Arc<Requirement>,
    conditions: Option<Conditions>,
    bound: Bound,
}

impl ScopeGuardLayer {
    /// Creates a layer with this requirement.
    pub fn new(requirement: Requirement) -> Self {
        Self { requirement: Arc::new(requirement), conditions: None, bound: Bound::Nothing }
    }

    /// Requires that the token is bound to a key of the client, and comes with a proof of it (RFC 9449):
    /// see [`dpop`](mod@crate::dpop).
    #[cfg(feature = "dpop")]
    #[cfg_attr(docsrs, doc(cfg(feature = "dpop")))]
    #[must_use]
    pub fn require_dpop(self) -> Self {
        Self { bound: self.bound.max(Bound::Key), ..self }
    }

    /// Requires that the token is bound to a key or a certificate of the client, which it must show: see
    /// [`ValidatorBuilder::require_bound`](crate::ValidatorBuilder::require_bound).
    #[cfg(any(feature = "dpop", feature = "mtls"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "dpop", feature = "mtls"))))]
    #[must_use]
    pub fn require_bound(self) -> Self {
        Self { bound: self.bound.max(Bound::Anything), ..self }
    }

    /// Creates a layer that requires what `S` names; see [`scopes!`](crate::scopes).
    pub fn of<S: RequiredScopes>() -> Self {
        Self::new(S::requirement())
    }

    /// Accepts only tokens of this issuer, by the name that it is configured with. A valid token of
    /// another issuer is answered 403.
    ///
    /// ```
    /// use tower_bearer::{Requirement, ScopeGuardLayer};
    ///
    /// let staff = "https://login.staff.example";
    /// let guard = ScopeGuardLayer::new(Requirement::none()).require_issuer(staff);
    /// ```
    #[must_use]
    pub fn require_issuer(self, issuer: &str) -> Self {
        self.conditions(&Conditions::of_issuer(issuer))
    }

    /// Adds conditions that the token must also meet.
    #[must_use]
    pub fn conditions(self, conditions: &Conditions) -> Self {
        let conditions = Some(conditions.and(self.conditions.as_ref()));
        Self { conditions, ..self }
    }
}

impl<S> Layer<S> for ScopeGuardLayer {
    type Service = ScopeGuard<S>;

    fn layer(&self, inner: S) -> ScopeGuard<S> {
        let (requirement, conditions) = (Arc::clone(&self.requirement), self.conditions.clone());
        ScopeGuard { inner, requirement, conditions, bound: self.bound }
    }
}

/// The service that a [`ScopeGuardLayer`] makes.
#[derive(Clone, Debug)]
pub struct ScopeGuard<S> {
    inner: S,
    requirement: Arc<Requirement>,
    conditions: Option<Conditions>,
    bound: Bound,
}

impl<S, B, R> Service<Request<B>> for ScopeGuard<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let allowed = Context::find(request.extensions()).and_then(|context| {
            context.check_bound(self.bound)?;
            context.meet(&self.requirement, self.conditions.as_ref())
        });
        let kind = match allowed {
            Ok(_) => Kind::Inner { future: self.inner.call(request) },
            Err(refusal) => {
                // It isn't called: the readiness that it reserved is released.
                self.inner = self.inner.clone();
                let response =
                    refuse_where(self.bound, refusal, request.extensions(), (&request).into());
                Kind::Refused { response: Some(response) }
            }
        };
        GuardFuture { kind }
    }
}

pin_project! {
    /// The future of a [`ScopeGuard`]. A refusal is ready when it is first polled.
    pub struct GuardFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F> {
        Inner {
            #[pin]
            future: F,
        },
        Refused {
            response: Option<Response<Bytes>>,
        },
    }
}

impl<F, R, E> Future for GuardFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(ResponseBody::inner)))
            }
            KindProj::Refused { response } => match response.take() {
                Some(response) => {
                    Poll::Ready(Ok(response.map(|bytes| ResponseBody::refusal(bytes.into()))))
                }
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for GuardFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardFuture").finish_non_exhaustive()
    }
}
