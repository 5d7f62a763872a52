//! Settings for tokens that are bound to a key by DPoP.

use crate::client::dpop::key::DpopKey;
use crate::client::grant::builder::GrantBuilder;

/// Tokens that can only be used with a key (RFC 9449).
#[cfg_attr(docsrs, doc(cfg(feature = "dpop")))]
impl GrantBuilder {
    /// Binds the tokens to this key: each token request, and each call with a token, has a proof that is
    /// signed with it.
    ///
    /// A `Bearer` token in answer to that isn't bound, which is an error
    /// ([`AnswerFault::Downgraded`](crate::client::AnswerFault::Downgraded)).
    ///
    /// At the authorization server, register the client with `dpop_bound_access_tokens: true` (RFC 9449
    /// §5.2), so that the server issues no token for it that isn't bound.
    pub fn dpop(mut self, key: DpopKey) -> Self {
        self.dpop = Some(key);
        self
    }

    /// Accepts tokens that the server didn't bind to the key of [`dpop`](Self::dpop), and sends them as
    /// bearer tokens: while a server is being moved to DPoP.
    ///
    /// Such a token can be used by anyone who gets hold of it, and an attacker between client and
    /// server could cause all tokens to be unbound.
    pub fn dangerous_accept_bearer(mut self) -> Self {
        self.answers.bearer_for_proof = true;
        self
    }
}
