//! The credentials of this service at the introspection endpoint: a client's, or an access token.

use http::HeaderValue;
use http::header::AUTHORIZATION;

use crate::credentials::authentication::ClientAuth;
use crate::credentials::source::SecretSource;
use crate::digest::Parts;

/// The credentials of this service at the introspection endpoint (RFC 7662 §2.1).
///
/// The service authenticates either as a client of the authorization server, by any method of
/// [`ClientAuth`](crate::client::ClientAuth), or with an access token of its own.
///
/// ```
/// use tower_bearer::client::ClientAuth;
/// use tower_bearer::introspection::{Introspection, IntrospectionAuth};
///
/// let as_a_client = Introspection::discover(ClientAuth::basic("orders", "s3cret"));
/// let with_a_token = Introspection::discover(IntrospectionAuth::bearer("own-token"));
/// ```
#[derive(Clone, Debug)]
pub struct IntrospectionAuth(pub(crate) Caller);

#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Client(ClientAuth),
    Bearer(SecretSource),
}

impl IntrospectionAuth {
    /// Authenticates with an access token of this service, sent as `Authorization: Bearer`.
    ///
    /// A token from a [`SecretProvider`](crate::client::SecretProvider) can be replaced at
    /// any time.
    pub fn bearer(token: impl Into<SecretSource>) -> Self {
        Self(Caller::Bearer(token.into()))
    }
}

impl From<ClientAuth> for IntrospectionAuth {
    fn from(client: ClientAuth) -> Self {
        Self(Caller::Client(client))
    }
}

impl Caller {
    pub(crate) fn client_id(&self) -> Option<&str> {
        match self {
            Self::Client(client) => Some(client.client_id()),
            Self::Bearer(_) => None,
        }
    }

    pub(crate) const fn source(&self) -> Option<&SecretSource> {
        match self {
            Self::Client(client) => client.source(),
            Self::Bearer(token) => Some(token),
        }
    }

    /// Returns `true` if this service authenticates by the transport's TLS certificate.
    pub(crate) const fn is_by_certificate(&self) -> bool {
        match self {
            Self::Client(client) => client.is_by_certificate(),
            Self::Bearer(_) => false,
        }
    }

    /// Adds everything that distinguishes this caller from others.
    pub(crate) fn distinguish(&self, parts: Parts) -> Parts {
        match self {
            Self::Client(client) => {
                client.distinguish(parts.part("client")).part(client.identity())
            }
            Self::Bearer(token) => parts.part("bearer").part(token.identity()),
        }
    }

    /// Checks the settings, and the secret if it is known already.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Client(client) if client.is_none() => Err("the introspection endpoint needs a client \
                                                             that authenticates (RFC 7662 section 2.1)"
                .into()),
            Self::Client(client) => client.check(),
            Self::Bearer(token) => match token.fixed() {
                Some(token) if bearer(token).is_none() => Err(format!(
                    "the token for the introspection endpoint can't be sent in {AUTHORIZATION}: it is \
                     empty, or has characters that no access token has"
                )),
                _ => Ok(()),
            },
        }
    }
}

/// Returns the field's value; `None` if this can't be an access token (RFC 6750 §2.1).
pub(crate) fn bearer(token: &[u8]) -> Option<HeaderValue> {
    if !crate::syntax::is_b64token(token) {
        return None;
    }
    let mut value = HeaderValue::from_bytes(&[&b"Bearer "[..], token].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
