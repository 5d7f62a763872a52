//! Extractors for handlers that require scopes, claims or a recent login while they run.

use std::fmt;
use std::ops::Deref;
#[cfg(feature = "client")]
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::Request;
use http::request::Parts;
use serde::de::DeserializeOwned;

#[cfg(feature = "client")]
use crate::client::{OnBehalf, OnBehalfError, Token};
use crate::middleware::axum::TokenRejection;
use crate::middleware::conditions::Conditions;
use crate::middleware::context::Context;
use crate::middleware::fault::unkept;
use crate::refusal::{Detail, Misconfigured, Refusal, Rejection, RejectionKind};
#[cfg(feature = "client")]
use crate::refusal::{Unavailable, UnavailableReason};
use crate::scope::Requirement;
#[cfg(feature = "client")]
use crate::token::CallerToken;
use crate::token::{AccessToken, Claims, ErasedToken, NoClaims};

#[cfg(feature = "client")]
const NOT_KEPT: &str = "a handler asks for a token on the caller's behalf, but the layer doesn't keep \
                        callers' tokens: call BearerAuthLayer::keep_for_exchange";

/// The `Retry-After` of a failed exchange.
#[cfg(feature = "client")]
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Extracts the request's token, for handlers that learn only while they run what the request needs.
///
/// Its methods refuse as the layer does, with the same challenge and renderer, so that the requirement of
/// one handler refuses no request elsewhere:
///
/// ```
/// use axum::extract::Path;
/// use tower_bearer::middleware::{Authorized, TokenRejection};
///
/// async fn order(Path(id): Path<u64>, auth: Authorized) -> Result<String, TokenRejection> {
///     let tenant: String = auth.require_claim("tenant_id")?;
///     if id > 1_000 {
///         auth.require_scope("orders:archive")?;
///     }
///     Ok(format!("order {id} of {tenant}"))
/// }
/// ```
///
/// The claim must be one that the validator [keeps](crate::ValidatorBuilder::keep_claims).
///
/// Nothing is rolled back: what the handler did before the check is done.
pub struct Authorized<C = NoClaims> {
    token: AccessToken<C>,
    /// The head of the request, and what the layer left with it.
    parts: Parts,
}

impl<C> Authorized<C> {
    /// Returns the token.
    pub const fn token(&self) -> &AccessToken<C> {
        &self.token
    }

    /// Requires a scope.
    ///
    /// # Errors
    ///
    /// 403 with the scope in the challenge, if the token doesn't have it.
    pub fn require_scope(&self, scope: &str) -> Result<(), TokenRejection> {
        match Requirement::scope(scope) {
            Ok(requirement) => self.require(&requirement),
            Err(_) => Err(self.refuse(Misconfigured::new("a handler requires an invalid scope"))),
        }
    }

    /// Requires scopes.
    ///
    /// # Errors
    ///
    /// 403 with all scopes that would have sufficed in the challenge.
    pub fn require(&self, requirement: &Requirement) -> Result<(), TokenRejection> {
        self.ask(|context| context.meet(requirement, None).map(drop))
    }

    /// Requires conditions, such as a recent login.
    ///
    /// # Errors
    ///
    /// As [`Conditions`] say.
    pub fn require_conditions(&self, conditions: &Conditions) -> Result<(), TokenRejection> {
        self.ask(|context| context.meet(&Requirement::none(), Some(conditions)).map(drop))
    }

    /// Requires the token to be of this issuer, by the name that it is configured with.
    ///
    /// # Errors
    ///
    /// 403 if it is of another issuer.
    pub fn require_issuer(&self, issuer: &str) -> Result<(), TokenRejection> {
        self.require_conditions(&Conditions::of_issuer(issuer))
    }

    /// Requires a claim that the validator [keeps](crate::ValidatorBuilder::keep_claims), and returns it.
    ///
    /// # Errors
    ///
    /// 403, if the token doesn't have it or it can't be read as a `T`; 500 if the validator doesn't keep it.
    pub fn require_claim<T: DeserializeOwned>(&self, name: &str) -> Result<T, TokenRejection> {
        if let Some(value) = self.token.claim(name) {
            return Ok(value);
        }
        if let Some(misconfigured) = unkept(&self.token, name) {
            return Err(self.refuse(misconfigured));
        }
        let absent = !self.token.has_kept(name);
        let detail = Detail::Refused { claim: name.into(), absent };
        Err(self.refuse(Rejection::with(RejectionKind::ClaimRefused, detail)))
    }

    /// Obtains a token on the caller's behalf: see [`OnBehalf`].
    ///
    /// # Errors
    ///
    /// 401 if the authorization server doesn't accept the caller's token, 403 if the caller may not have a
    /// token for that target, 503 if none can be obtained at the moment, and 500 if the layer doesn't
    /// [keep](crate::BearerAuthLayer::keep_for_exchange) callers' tokens.
    #[cfg(feature = "client")]
    #[cfg_attr(docsrs, doc(cfg(feature = "client")))]
    pub async fn on_behalf(&self, target: &OnBehalf) -> Result<Token, TokenRejection> {
        let Some(caller) = CallerToken::from_extensions(&self.parts.extensions) else {
            return Err(self.refuse(Misconfigured::new(NOT_KEPT)));
        };
        target.token(&caller).await.map_err(|error| match error {
            OnBehalfError::CallerRefused(_) => {
                self.refuse(Rejection::new(RejectionKind::ExchangeRefused))
            }
            OnBehalfError::Forbidden(_) => {
                self.refuse(Rejection::new(RejectionKind::ExchangeForbidden))
            }
            OnBehalfError::Unavailable(cause) => {
                let after = cause.retry_after().unwrap_or(AFTER_FAILURE);
                let unavailable = Unavailable::new(UnavailableReason::ExchangeFailed, after);
                self.refuse(unavailable.because(Some(Arc::new(cause))))
            }
        })
    }

    fn ask(
        &self,
        question: impl FnOnce(&Context<'_>) -> Result<(), Refusal>,
    ) -> Result<(), TokenRejection> {
        let answer = Context::find(&self.parts.extensions).and_then(|context| question(&context));
        answer.map_err(|refusal| TokenRejection::new(refusal, &self.parts))
    }

    fn refuse(&self, refusal: impl Into<Refusal>) -> TokenRejection {
        TokenRejection::new(refusal.into(), &self.parts)
    }
}

impl<C, State> FromRequestParts<State> for Authorized<C>
where
    C: Send + Sync + 'static,
    State: Send + Sync,
{
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, TokenRejection> {
        let token =
            <AccessToken<C> as FromRequestParts<_>>::from_request_parts(parts, state).await?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = parts.method.clone();
        head.uri = parts.uri.clone();
        head.version = parts.version;
        head.headers = parts.headers.clone();
        Context::hand_on(&parts.extensions, &mut head.extensions);
        Ok(Self { token, parts: head })
    }
}

impl<C> Deref for Authorized<C> {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        self.token.claims()
    }
}

impl<C> fmt::Debug for Authorized<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorized").finish_non_exhaustive()
    }
}

/// Extracts the request's token, if its user logged in at most this many seconds ago (RFC 9470).
///
/// Otherwise the answer is 401 `insufficient_user_authentication`. Other requirements, such as
/// scopes, belong on the route, in [`Conditions`]: then one challenge names them all.
///
/// ```
/// use tower_bearer::middleware::RecentAuth;
///
/// async fn change_password(user: RecentAuth<300>) -> String {
///     format!("{:?} logged in a moment ago", user.subject())
/// }
/// ```
#[derive(Clone)]
pub struct RecentAuth<const SECONDS: u64> {
    token: ErasedToken,
}

impl<const SECONDS: u64> RecentAuth<SECONDS> {
    /// Returns the registered claims.
    pub fn claims(&self) -> &Claims {
        self.token.claims()
    }
}

impl<const SECONDS: u64, State: Send + Sync> FromRequestParts<State> for RecentAuth<SECONDS> {
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, TokenRejection> {
        let conditions = Conditions::recent(Duration::from_secs(SECONDS));
        let token = Context::find(&parts.extensions)
            .and_then(|context| context.meet(&Requirement::none(), Some(&conditions)).cloned());
        let token = token.map_err(|refusal| TokenRejection::new(refusal, parts))?;
        Ok(Self { token })
    }
}

impl<const SECONDS: u64> Deref for RecentAuth<SECONDS> {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        self.claims()
    }
}

impl<const SECONDS: u64> fmt::Debug for RecentAuth<SECONDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecentAuth").finish_non_exhaustive()
    }
}
