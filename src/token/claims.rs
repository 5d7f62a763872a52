use std::fmt;
use std::sync::Arc;

use crate::clock::UnixTime;
use crate::jose::Algorithm;
use crate::scope::ScopeSet;

/// The registered claims of a valid access token (RFC 7519 §4.1, RFC 9068 §2.2).
///
/// `Debug` shows none of them: they say who somebody is.
pub struct Claims {
    pub(crate) issuer: Arc<str>,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) audience: Box<[Box<str>]>,
    pub(crate) expires_at: UnixTime,
    pub(crate) not_before: Option<UnixTime>,
    pub(crate) issued_at: Option<UnixTime>,
    pub(crate) jwt_id: Option<Box<str>>,
    pub(crate) scopes: ScopeSet,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) key_id: Option<Box<str>>,
}

impl Claims {
    /// Returns `iss`, which is the configured issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns `sub`: the user on whose behalf the client calls, or, with the client-credentials
    /// grant, the client itself.
    ///
    /// Which of the two it is can't be told from this claim alone: an authorization server may let
    /// a client choose an identifier that is also a user's (RFC 9068 §5). Look at
    /// [`client_id`](Self::client_id) too before taking a subject for a user.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Returns `client_id`: the client that got the token (RFC 8693 §4.3).
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Returns `aud`, one or many. At least one is the configured audience.
    pub fn audience(&self) -> impl ExactSizeIterator<Item = &str> {
        self.audience.iter().map(AsRef::as_ref)
    }

    /// Returns `exp`.
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// Returns `nbf`.
    pub const fn not_before(&self) -> Option<UnixTime> {
        self.not_before
    }

    /// Returns `iat`.
    pub const fn issued_at(&self) -> Option<UnixTime> {
        self.issued_at
    }

    /// Returns `jti`.
    pub fn jwt_id(&self) -> Option<&str> {
        self.jwt_id.as_deref()
    }

    /// Returns the scopes that the token grants, from wherever the validator's
    /// [`ScopeSource`](crate::token::ScopeSource) takes them.
    pub const fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Tells whether the token grants this scope by name. Implications are the layer's to know.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }

    /// Returns the algorithm that the token is signed with; `None` for a shared secret.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Returns the `kid` of the key that the token is signed with, if the token names one.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}
