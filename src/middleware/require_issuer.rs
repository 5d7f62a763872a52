//! The axum extractor that accepts tokens of one issuer only.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::middleware::axum::TokenRejection;
use crate::middleware::conditions::set::require_issuer;
use crate::middleware::context::Context;
use crate::scope::Requirement;
use crate::token::Claims;
use crate::token::ErasedToken;

/// Names an issuer for [`RequireIssuer`].
pub trait IssuerName {
    /// Returns the name that the issuer is configured with.
    fn issuer() -> &'static str;
}

/// Extracts the request's token, if it is of the issuer that `I` names. A valid token of another
/// issuer is answered 403.
///
/// ```
/// use tower_bearer::middleware::{IssuerName, RequireIssuer};
///
/// struct Staff;
///
/// impl IssuerName for Staff {
///     fn issuer() -> &'static str {
///         "https://login.staff.example"
///     }
/// }
///
/// async fn dashboard(token: RequireIssuer<Staff>) -> String {
///     format!("dashboard of {:?}", token.subject())
/// }
/// ```
///
/// It needs a [`BearerAuthLayer`](crate::BearerAuthLayer) around the handler, as
/// [`RequireScope`](crate::RequireScope) does.
pub struct RequireIssuer<I> {
    token: ErasedToken,
    issuer: PhantomData<fn() -> I>,
}

impl<I> RequireIssuer<I> {
    /// Returns the registered claims.
    pub fn claims(&self) -> &Claims {
        self.token.claims()
    }
}

impl<I> Deref for RequireIssuer<I> {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        self.claims()
    }
}

impl<I> Clone for RequireIssuer<I> {
    fn clone(&self) -> Self {
        Self { token: self.token.clone(), issuer: PhantomData }
    }
}

impl<I> fmt::Debug for RequireIssuer<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireIssuer").finish_non_exhaustive()
    }
}

impl<I: IssuerName, State: Send + Sync> FromRequestParts<State> for RequireIssuer<I> {
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, TokenRejection> {
        let token = Context::find(&parts.extensions).and_then(|context| {
            let token = context.require(|_, _| true, Requirement::none)?;
            require_issuer(token.claims(), &[I::issuer()])?;
            Ok(token)
        });
        let token = token.map_err(|refusal| TokenRejection::new(refusal, parts))?;
        Ok(Self { token: token.clone(), issuer: PhantomData })
    }
}
