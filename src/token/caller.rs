//! The caller's token itself, for exchanging it and for nothing else.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::digest::{Digest, Parts};
use crate::token::claims::Claims;
use crate::token::verified::ErasedToken;

/// A token's text, wiped when the last clone is dropped.
pub(crate) type KeptText = Arc<Zeroizing<Vec<u8>>>;

/// The caller's access token, for getting another one on the caller's behalf
/// ([`OnBehalf`](crate::client::OnBehalf)) and for nothing else: there is no way to read it.
///
/// It is found in the extensions of a request that came through a
/// [`BearerAuthLayer`](crate::BearerAuthLayer) which
/// [keeps it](crate::BearerAuthLayer::keep_for_exchange), and only if the request was authenticated. It
/// dereferences to the token's claims. The text is never printed, and wiped from memory when the last
/// clone is dropped; an [`AccessToken`](crate::AccessToken) has the claims alone.
#[derive(Clone)]
pub struct CallerToken {
    token: ErasedToken,
    text: KeptText,
}

impl CallerToken {
    pub(crate) const fn new(token: ErasedToken, text: KeptText) -> Self {
        Self { token, text }
    }

    /// Returns the registered claims.
    pub fn claims(&self) -> &Claims {
        self.token.claims()
    }

    pub(crate) const fn text(&self) -> &KeptText {
        &self.text
    }

    /// Returns a digest that identifies the token: computed once, however often the token is sent.
    pub(crate) fn digest(&self) -> &Digest {
        self.token
            .digest()
            .get_or_init(|| Box::new(Parts::new("caller").part(&**self.text).finish()))
    }
}

impl Deref for CallerToken {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        self.claims()
    }
}

impl fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerToken").finish_non_exhaustive()
    }
}
