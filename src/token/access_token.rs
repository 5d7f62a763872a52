use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::token::claims::Claims;

/// Proof that a request came with a valid access token, and what it claims.
///
/// Nothing but a [`Validator`](crate::Validator) makes one. Cloning is cheap: the claims are
/// parsed once and shared.
///
/// The registered claims are those of [`Claims`], to which it dereferences; the application's own
/// come as a type `C` that implements `serde::Deserialize`, and is read from the whole claims
/// object. The default is to read none.
///
/// It holds neither the token nor its signature, and `Debug` shows no claim.
pub struct AccessToken<C = NoClaims> {
    verified: Arc<Verified<C>>,
}

/// The claims of one valid token.
pub(crate) struct Verified<C> {
    pub(crate) claims: Claims,
    pub(crate) extra: C,
}

impl<C> AccessToken<C> {
    pub(crate) fn new(verified: Verified<C>) -> Self {
        Self { verified: Arc::new(verified) }
    }

    /// Returns the registered claims.
    pub fn claims(&self) -> &Claims {
        &self.verified.claims
    }

    /// Returns the application's own claims.
    pub fn extra(&self) -> &C {
        &self.verified.extra
    }
}

impl<C: Send + Sync + 'static> AccessToken<C> {
    /// Returns the token of a request that came through a
    /// [`BearerAuthLayer`](crate::BearerAuthLayer), from the request's extensions.
    ///
    /// `None` if it came without a token where none is needed, if there is no such layer, or if
    /// its validator reads another type of claims than `C`.
    pub fn from_extensions(extensions: &http::Extensions) -> Option<Self> {
        extensions.get::<Authenticated>()?.token::<C>()
    }

    /// `None` if its claims are of another type.
    pub(crate) fn from_erased(token: &Arc<dyn ErasedToken>) -> Option<Self> {
        let any = Arc::clone(token).into_any();
        any.downcast().ok().map(|verified| Self { verified })
    }

    pub(crate) fn erase(self) -> Arc<dyn ErasedToken> {
        self.verified
    }
}

impl<C> Clone for AccessToken<C> {
    fn clone(&self) -> Self {
        Self { verified: Arc::clone(&self.verified) }
    }
}

impl<C> Deref for AccessToken<C> {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.verified.claims
    }
}

impl<C> fmt::Debug for AccessToken<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").finish_non_exhaustive()
    }
}

/// An access token of whatever type of claims.
pub(crate) trait ErasedToken: Send + Sync {
    fn claims(&self) -> &Claims;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    #[cfg(feature = "axum")]
    fn claims_type(&self) -> &'static str;
}

impl<C: Send + Sync + 'static> ErasedToken for Verified<C> {
    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    #[cfg(feature = "axum")]
    fn claims_type(&self) -> &'static str {
        std::any::type_name::<C>()
    }
}

/// What the middleware leaves in a request's extensions: the token, if there was one, and who let
/// the request pass.
#[derive(Clone)]
pub(crate) struct Authenticated {
    pub(crate) token: Option<Arc<dyn ErasedToken>>,
    pub(crate) by: Arc<dyn HasSettings>,
}

/// Something with settings that only the middleware knows.
pub(crate) trait HasSettings: Send + Sync {
    fn settings(&self) -> &dyn Any;
}

impl Authenticated {
    pub(crate) fn token<C: Send + Sync + 'static>(&self) -> Option<AccessToken<C>> {
        AccessToken::from_erased(self.token.as_ref()?)
    }
}

/// No claims but the registered ones.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "there is nothing in it, by definition")]
pub struct NoClaims;

impl<'de> Deserialize<'de> for NoClaims {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}
