//! Clients that are registered with the embedded issuer.

use serde_json::{Value, json};

#[cfg(feature = "mtls")]
use crate::binding::mtls::Certificate;
use crate::scope::ScopeSet;
use crate::secret::Secret;
use crate::testing::tokens::key::TestKey;

/// The identifier and secret of the client that is registered by default.
pub(crate) const DEFAULT_ID: &str = "test-client";
pub(crate) const DEFAULT_SECRET: &str = "test-secret";

/// How a client authenticates to the token endpoint.
///
/// The names are those of the IANA registry "OAuth Token Endpoint Authentication Methods".
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AuthMethod {
    /// HTTP Basic, with identifier and secret form-encoded before they are joined (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the body (RFC 6749 §2.3.1).
    ClientSecretPost,
    /// A signed assertion (RFC 7523 §2.2).
    PrivateKeyJwt,
    /// None: the client is public, and gets tokens only by an exchange or for an assertion.
    None,
}

impl AuthMethod {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }
}

/// A client that is registered with the embedded issuer.
///
/// ```
/// use tower_bearer::jose::Algorithm;
/// use tower_bearer::testing::{AuthMethod, TestClient, TestKey};
///
/// // May authenticate only by Basic, and get only these two scopes for this audience.
/// let billing = TestClient::secret("billing", "s3cret")
///     .auth([AuthMethod::ClientSecretBasic])
///     .scopes(["orders:read", "orders:write"])
///     .audiences(["https://orders.test"]);
///
/// // Authenticates with assertions signed by this key.
/// let key = TestKey::generate(Algorithm::ES256);
/// let reporting = TestClient::key("reporting", &key);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a client does nothing until it is registered"]
pub struct TestClient {
    pub(crate) id: String,
    pub(crate) secret: Option<Secret>,
    pub(crate) jwks: Value,
    pub(crate) auth: Vec<AuthMethod>,
    /// The `iss` and `sub` of the client's assertions, if a platform signs them and not the client
    /// itself.
    pub(crate) platform: Option<(String, String)>,
    pub(crate) scopes: Option<ScopeSet>,
    pub(crate) audiences: Option<Vec<String>>,
    #[cfg(feature = "mtls")]
    pub(crate) certificate: Option<Certificate>,
}

impl TestClient {
    /// Creates a client with a secret, which it may send by Basic or in the body.
    pub fn secret(id: &str, secret: &str) -> Self {
        let auth = vec![AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost];
        Self { secret: Some(Secret::new(secret)), auth, ..Self::new(id) }
    }

    /// Creates a client that signs assertions with this key.
    pub fn key(id: &str, key: &TestKey) -> Self {
        Self::jwks(id, json!({ "keys": [key.public_jwk()] }))
    }

    /// Creates a client that signs assertions with any of the keys of this JWK set.
    pub fn jwks(id: &str, jwks: Value) -> Self {
        Self { jwks, auth: vec![AuthMethod::PrivateKeyJwt], ..Self::new(id) }
    }

    /// Creates a client that doesn't authenticate.
    pub fn public(id: &str) -> Self {
        Self { auth: vec![AuthMethod::None], ..Self::new(id) }
    }

    fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            secret: None,
            jwks: Value::Null,
            auth: Vec::new(),
            platform: None,
            scopes: None,
            audiences: None,
            #[cfg(feature = "mtls")]
            certificate: None,
        }
    }

    /// Sets which methods the client may authenticate by, instead of all that it can.
    pub fn auth(mut self, methods: impl IntoIterator<Item = AuthMethod>) -> Self {
        self.auth = methods.into_iter().collect();
        self
    }

    /// Sets which scopes the client may have; it gets all of them if it asks for none.
    ///
    /// By default, it gets the scopes that it asks for.
    pub fn scopes<'a>(mut self, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        self.scopes = Some(scopes.into_iter().collect());
        self
    }

    /// Binds the client's tokens to its certificate (`cnf.x5t#S256`, RFC 8705 §3). The embedded issuer has no
    /// TLS, and assumes that the client has presented it.
    #[cfg(feature = "mtls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "mtls")))]
    pub fn bound_to_certificate(mut self, certificate: &Certificate) -> Self {
        self.certificate = Some(*certificate);
        self
    }

    /// Sets the audiences for which the client may get tokens; without an audience in the request, it gets
    /// the first.
    ///
    /// By default, it gets the audience that it asks for, or else the issuer's default.
    pub fn audiences<'a>(mut self, audiences: impl IntoIterator<Item = &'a str>) -> Self {
        self.audiences = Some(audiences.into_iter().map(Into::into).collect());
        self
    }
}
