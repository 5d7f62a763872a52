use std::any::Any;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "dpop")]
use crate::digest::sha256_base64url;
use crate::token::claims::Claims;
use crate::token::lifetime::Lifetime;

/// What a token says whose issuer and claims were found good. It may be remembered, since it depends
/// on the token alone; no request is authenticated by it yet.
pub(crate) struct Verified<C> {
    pub(crate) claims: Claims,
    pub(crate) extra: C,
    pub(crate) lifetime: Lifetime,
    /// What a proof's `ath` must be (RFC 9449 §4.2), if the token is bound to a key.
    #[cfg(feature = "dpop")]
    pub(crate) ath: Option<Box<str>>,
}

impl<C> Verified<C> {
    pub(crate) fn new(claims: Claims, extra: C, lifetime: Lifetime, _token: &[u8]) -> Self {
        #[cfg(feature = "dpop")]
        let ath = claims.key_thumbprint().map(|_| sha256_base64url(_token).into());
        Self {
            claims,
            extra,
            lifetime,
            #[cfg(feature = "dpop")]
            ath,
        }
    }
}

impl<C> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

/// An access token of whatever type of claims.
#[derive(Clone)]
pub(crate) struct ErasedToken(Arc<dyn AnyVerified>);

impl ErasedToken {
    pub(crate) fn new<C: Send + Sync + 'static>(verified: Arc<Verified<C>>) -> Self {
        Self(verified)
    }

    pub(crate) fn claims(&self) -> &Claims {
        self.0.claims()
    }

    pub(crate) fn lifetime(&self) -> &Lifetime {
        self.0.lifetime()
    }

    /// Returns `None` if the claims are of another type.
    pub(crate) fn downcast<C: Send + Sync + 'static>(&self) -> Option<Arc<Verified<C>>> {
        Arc::clone(&self.0).into_any().downcast().ok()
    }

    #[cfg(feature = "axum")]
    pub(crate) fn claims_type(&self) -> &'static str {
        self.0.claims_type()
    }
}

trait AnyVerified: Send + Sync {
    fn claims(&self) -> &Claims;
    fn lifetime(&self) -> &Lifetime;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    #[cfg(feature = "axum")]
    fn claims_type(&self) -> &'static str;
}

impl<C: Send + Sync + 'static> AnyVerified for Verified<C> {
    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn lifetime(&self) -> &Lifetime {
        &self.lifetime
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    #[cfg(feature = "axum")]
    fn claims_type(&self) -> &'static str {
        std::any::type_name::<C>()
    }
}
