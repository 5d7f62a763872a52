//! A token whose signature and claims were checked, which may be remembered for other requests.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "client")]
use std::sync::OnceLock;

#[cfg(feature = "client")]
use crate::digest::Digest;
use crate::token::claims::Claims;
use crate::token::lifetime::Lifetime;
#[cfg(feature = "dpop")]
use crate::token::proving::Proving;

/// A token whose issuer and claims were checked. It may be remembered, since it depends on the
/// token alone; it doesn't authenticate a request yet.
pub(crate) struct Verified<C> {
    pub(crate) claims: Claims,
    pub(crate) extra: C,
    pub(crate) lifetime: Lifetime,
    /// What proofs are held against, if the token is bound to a key.
    #[cfg(feature = "dpop")]
    pub(crate) proving: Option<Box<Proving>>,
    /// A digest that identifies the token, computed when it is first needed.
    #[cfg(feature = "client")]
    pub(crate) digest: OnceLock<Box<Digest>>,
}

impl<C> Verified<C> {
    pub(crate) fn new(claims: Claims, extra: C, lifetime: Lifetime, _token: &[u8]) -> Self {
        #[cfg(feature = "dpop")]
        let proving = claims.key_thumbprint().map(|_| Box::new(Proving::by(_token)));
        Self {
            claims,
            extra,
            lifetime,
            #[cfg(feature = "dpop")]
            proving,
            #[cfg(feature = "client")]
            digest: OnceLock::new(),
        }
    }

    /// Returns what it may come to hold beside its claims.
    pub(crate) fn proving_bytes(&self) -> usize {
        #[cfg(feature = "dpop")]
        return self.proving.as_ref().map_or(0, |_| Proving::MAX_BYTES);
        #[cfg(not(feature = "dpop"))]
        0
    }
}

impl<C> fmt::Debug for Verified<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

/// An access token with claims of any type.
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

    #[cfg(feature = "client")]
    pub(crate) fn digest(&self) -> &OnceLock<Box<Digest>> {
        self.0.digest()
    }

    /// Returns `None` if the claims are of another type.
    pub(crate) fn downcast<C: Send + Sync + 'static>(&self) -> Option<Arc<Verified<C>>> {
        let any: Arc<dyn Any + Send + Sync> = Arc::<dyn AnyVerified>::clone(&self.0);
        any.downcast().ok()
    }

    #[cfg(feature = "axum")]
    pub(crate) fn claims_type(&self) -> &'static str {
        self.0.claims_type()
    }
}

trait AnyVerified: Any + Send + Sync {
    fn claims(&self) -> &Claims;
    fn lifetime(&self) -> &Lifetime;
    #[cfg(feature = "client")]
    fn digest(&self) -> &OnceLock<Box<Digest>>;
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

    #[cfg(feature = "client")]
    fn digest(&self) -> &OnceLock<Box<Digest>> {
        &self.digest
    }

    #[cfg(feature = "axum")]
    fn claims_type(&self) -> &'static str {
        std::any::type_name::<C>()
    }
}
