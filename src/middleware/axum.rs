//! The axum extractors: the token, and the token with required scopes.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::middleware::context::{Context, refuse};
use crate::middleware::required_scopes::RequiredScopes;
use crate::middleware::routes::missing::no_credentials;
use crate::refusal::Refusal;
use crate::scope::ScopeSet;
use crate::token::{AccessToken, Claims, ErasedToken};

/// Extracts the request's token, if it grants the scopes that `S` names.
///
/// `S` is a type declared with [`scopes!`](crate::scopes), a tuple for all of several, or
/// [`AnyOf`](crate::middleware::AnyOf). It dereferences to the registered claims; for the
/// application's own claims, the handler takes an [`AccessToken`] as well.
///
/// It needs a [`BearerAuthLayer`](crate::BearerAuthLayer) around the handler; without one it answers
/// 500 and logs what is missing.
///
/// ```
/// # fn example(validator: tower_bearer::Validator) {
/// use axum::{Router, routing::{get, post}};
/// use tower_bearer::{BearerAuthLayer, RequireScope};
///
/// tower_bearer::scopes! {
///     OrdersRead = "orders:read";
///     OrdersWrite = "orders:write";
/// }
///
/// async fn list(token: RequireScope<OrdersRead>) -> String {
///     format!("orders of {:?}", token.client_id())
/// }
///
/// async fn create(_: RequireScope<(OrdersRead, OrdersWrite)>) {}
///
/// let app: Router = Router::new()
///     .route("/orders", get(list).post(create))
///     .layer(BearerAuthLayer::new(validator));
/// # }
/// ```
// The bound is on the type itself so that the compiler reports a missing declaration where the type
// is written, not where the handler is routed.
pub struct RequireScope<S: RequiredScopes> {
    token: ErasedToken,
    scopes: PhantomData<fn() -> S>,
}

impl<S: RequiredScopes> RequireScope<S> {
    /// Returns the registered claims.
    pub fn claims(&self) -> &Claims {
        self.token.claims()
    }

    /// Returns the token, with the application's own claims; `None` if `C` isn't the type of claims
    /// that the layer's validator reads.
    pub fn token<C: Send + Sync + 'static>(&self) -> Option<AccessToken<C>> {
        AccessToken::from_erased(&self.token)
    }
}

impl<S: RequiredScopes> Deref for RequireScope<S> {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        self.claims()
    }
}

impl<S: RequiredScopes> Clone for RequireScope<S> {
    fn clone(&self) -> Self {
        Self { token: self.token.clone(), scopes: PhantomData }
    }
}

impl<S: RequiredScopes> fmt::Debug for RequireScope<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireScope").finish_non_exhaustive()
    }
}

impl<S, State> FromRequestParts<State> for RequireScope<S>
where
    S: RequiredScopes,
    State: Send + Sync,
{
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, TokenRejection> {
        let token = Context::find(&parts.extensions)
            .and_then(|context| context.require(S::are_in, S::requirement))
            .map_err(|refusal| TokenRejection::new(refusal, parts))?;
        Ok(Self { token: token.clone(), scopes: PhantomData })
    }
}

impl<C, State> FromRequestParts<State> for AccessToken<C>
where
    C: Send + Sync + 'static,
    State: Send + Sync,
{
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, TokenRejection> {
        match Self::from_extensions(&parts.extensions) {
            Some(token) => Ok(token),
            None => Err(without_token::<C>(parts)),
        }
    }
}

/// `None` only if the request came without a token, where the layer lets such requests through, or
/// on a public route, where the layer doesn't read tokens.
impl<C, State> OptionalFromRequestParts<State> for AccessToken<C>
where
    C: Send + Sync + 'static,
    State: Send + Sync,
{
    type Rejection = TokenRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &State,
    ) -> Result<Option<Self>, TokenRejection> {
        find_token(parts)
    }
}

/// Returns why there is no token with such claims.
#[cold]
fn without_token<C: Send + Sync + 'static>(parts: &Parts) -> TokenRejection {
    let nothing = || no_credentials(&Arc::new(ScopeSet::default())).into();
    find_token::<C>(parts).err().unwrap_or_else(|| TokenRejection::new(nothing(), parts))
}

fn find_token<C: Send + Sync + 'static>(
    parts: &Parts,
) -> Result<Option<AccessToken<C>>, TokenRejection> {
    Context::find(&parts.extensions)
        .and_then(|context| context.token())
        .map_err(|refusal| TokenRejection::new(refusal, parts))
}

/// The rejection of an extractor: the reason, and the response.
///
/// The answer is rendered as the layer's own, with its realm and renderer.
pub struct TokenRejection {
    refusal: Refusal,
    response: Box<Response<Bytes>>,
}

impl TokenRejection {
    pub(crate) fn new(refusal: Refusal, parts: &Parts) -> Self {
        let response = Box::new(refuse(refusal.clone(), &parts.extensions, parts.into()));
        Self { refusal, response }
    }

    /// Returns the reason.
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl IntoResponse for TokenRejection {
    fn into_response(self) -> Response<Body> {
        self.response.map(Body::from)
    }
}

impl fmt::Debug for TokenRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.refusal, f)
    }
}

impl fmt::Display for TokenRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.refusal, f)
    }
}

impl std::error::Error for TokenRejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The refusal already is this error's sentence.
        std::error::Error::source(&self.refusal)
    }
}
