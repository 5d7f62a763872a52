//! The access token that handlers receive: its claims, and the application's own.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::token::claims::Claims;
use crate::token::verified::{ErasedToken, Verified};

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

impl<C> AccessToken<C> {
    /// Only for an authenticated request: a verified token isn't enough.
    pub(crate) const fn new(verified: Arc<Verified<C>>) -> Self {
        Self { verified }
    }

    /// Returns the registered claims.
    pub fn claims(&self) -> &Claims {
        &self.verified.claims
    }

    /// Returns the application's own claims.
    pub fn extra(&self) -> &C {
        &self.verified.extra
    }

    /// Waits until the token would no longer be accepted: until `exp`, or the validator's `max_age` if
    /// that is earlier, plus the leeway. If the token has ended already, it returns at once.
    ///
    /// For connections that outlive the request, such as WebSockets: close them then, with the code 4401
    /// by custom. The wall clock decides, and is read every minute at least.
    ///
    /// # Panics
    ///
    /// If it is polled outside of a tokio runtime with its timer enabled.
    ///
    /// ```
    /// # async fn receive() -> Option<String> { None }
    /// # async fn close(code: u16) {}
    /// async fn serve(token: tower_bearer::AccessToken) {
    ///     let mut expired = std::pin::pin!(token.expired());
    ///     loop {
    ///         tokio::select! {
    ///             () = &mut expired => return close(4401).await,
    ///             message = receive() => {
    ///                 let Some(_message) = message else { return };
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    pub async fn expired(&self) {
        self.verified.lifetime.ended().await;
    }
}

impl<C: Send + Sync + 'static> AccessToken<C> {
    pub(crate) fn erase(self) -> ErasedToken {
        ErasedToken::new(self.verified)
    }

    /// Returns `None` if its claims are of another type.
    pub(crate) fn from_erased(token: &ErasedToken) -> Option<Self> {
        token.downcast().map(Self::new)
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

/// No claims but the registered ones.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "there is nothing in it, by definition")]
pub struct NoClaims;

impl<'de> Deserialize<'de> for NoClaims {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}
