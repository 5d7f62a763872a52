//! The builder of an access token, valid or invalid in one respect.

use std::time::Duration;

use serde_json::{Value, json};

#[cfg(feature = "mtls")]
use crate::binding::mtls::Certificate;
use crate::jose::{Algorithm, HmacAlgorithm};
use crate::testing::issuer::state::State;
use crate::testing::misuse::{lock, misuse};
use crate::testing::tokens::key::TestKey;
use crate::testing::tokens::mint::{Recipe, Seal, mint, register};
#[cfg(feature = "dpop")]
use crate::testing::tokens::proof::thumbprint;

/// Builds one access token, valid or invalid, without a request to the token endpoint.
///
/// [`sign`](Self::sign) alone yields a valid token of the profile of RFC 9068, with `iss`,
/// `sub`, `aud`, `client_id`, `iat`, `exp` and `jti`. Every other method changes one thing.
/// [`claim`](Self::claim) and [`header`](Self::header), and their opposites, override the others.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_bearer::ConfigError> {
/// use std::time::Duration;
///
/// use serde_json::json;
/// use tower_bearer::testing::TestIssuer;
///
/// let issuer = TestIssuer::start().await?;
/// let good = issuer.token().subject("alice").scope("orders:read").claim("tenant", "a").sign();
/// let expired = issuer.token().expired_for(Duration::from_secs(61)).sign();
/// let forged = issuer.token().scope("orders:admin").wrong_signature().sign();
/// let mistyped = issuer.token().claim("exp", json!("tomorrow")).sign();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is made until `sign` is called"]
pub struct TokenBuilder<'a> {
    state: &'a State,
    recipe: Recipe,
}

impl<'a> TokenBuilder<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        Self { state, recipe: Recipe::default() }
    }

    /// Sets `sub`.
    pub fn subject(self, subject: &str) -> Self {
        self.usual("sub", subject)
    }

    /// Sets `client_id`.
    pub fn client_id(self, client_id: &str) -> Self {
        self.usual("client_id", client_id)
    }

    /// Sets `scope`, a space-delimited list. An empty one removes the claim.
    pub fn scope(mut self, scopes: &str) -> Self {
        if scopes.is_empty() {
            self.recipe.usual.remove("scope");
            return self;
        }
        self.usual("scope", scopes)
    }

    /// Sets `aud` to a string, instead of the issuer's default.
    pub fn audience(self, audience: &str) -> Self {
        self.usual("aud", audience)
    }

    /// Sets `aud` to a string if there is one audience, else to an array.
    pub fn audiences<'b>(self, audiences: impl IntoIterator<Item = &'b str>) -> Self {
        let audiences: Vec<&str> = audiences.into_iter().collect();
        match audiences.as_slice() {
            [one] => self.audience(one),
            several => self.usual("aud", json!(several)),
        }
    }

    /// Sets `exp` to this long from now.
    pub fn expires_in(self, lifetime: Duration) -> Self {
        let expires = self.state.now().plus(lifetime).as_secs();
        self.usual("exp", expires)
    }

    /// Sets `exp` to this long ago, and `iat` to a lifetime before that.
    pub fn expired_for(self, ago: Duration) -> Self {
        let expired = self.state.now().minus(ago);
        let issued = expired.minus(self.state.config.lifetime);
        self.usual("exp", expired.as_secs()).usual("iat", issued.as_secs())
    }

    /// Sets `nbf`, which is absent otherwise, to this long from now.
    pub fn not_before_in(self, wait: Duration) -> Self {
        let not_before = self.state.now().plus(wait).as_secs();
        self.usual("nbf", not_before)
    }

    /// Sets `iat` to this long ago.
    pub fn issued_ago(self, ago: Duration) -> Self {
        let issued = self.state.now().minus(ago).as_secs();
        self.usual("iat", issued)
    }

    /// Binds the token to a key of the client (`cnf.jkt`, RFC 9449 §6.1).
    #[cfg(feature = "dpop")]
    #[cfg_attr(docsrs, doc(cfg(feature = "dpop")))]
    pub fn bound_to(self, key: &TestKey) -> Self {
        self.bound_to_thumbprint(&thumbprint(key))
    }

    #[cfg(feature = "dpop")]
    pub(crate) fn bound_to_thumbprint(self, jkt: &str) -> Self {
        self.confirmed("jkt", jkt)
    }

    /// Binds the token to a certificate of the client (`cnf.x5t#S256`, RFC 8705 §3.1), in addition to a key if
    /// it is bound to one.
    #[cfg(feature = "mtls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "mtls")))]
    pub fn bound_to_certificate(self, certificate: &Certificate) -> Self {
        self.confirmed("x5t#S256", certificate.thumbprint())
    }

    #[cfg(any(feature = "dpop", feature = "mtls"))]
    fn confirmed(mut self, name: &str, thumbprint: &str) -> Self {
        let cnf = self.recipe.usual.entry("cnf").or_insert_with(|| json!({}));
        if let Some(cnf) = cnf.as_object_mut() {
            cnf.insert(name.into(), thumbprint.into());
        }
        self
    }

    fn usual(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.recipe.usual.insert(name.into(), value.into());
        self
    }

    /// Sets a claim, of whatever type.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.recipe.without_claims.retain(|other| other != name);
        self.recipe.claims.insert(name.into(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without_claim(mut self, name: &str) -> Self {
        self.recipe.claims.remove(name);
        self.recipe.without_claims.push(name.into());
        self
    }

    /// Sets the header's `typ`.
    pub fn typ(self, typ: &str) -> Self {
        self.header("typ", typ)
    }

    /// Sets the header's `kid`, regardless of the signing key.
    pub fn kid(self, kid: &str) -> Self {
        self.header("kid", kid)
    }

    /// Leaves `kid` out of the header.
    pub fn no_kid(self) -> Self {
        self.without_header("kid")
    }

    /// Sets the header's `alg`, regardless of the algorithm of the signing key.
    ///
    /// `Ed25519` is the other valid name of EdDSA (RFC 9864); any other is wrong.
    pub fn alg(self, name: &str) -> Self {
        self.header("alg", name)
    }

    /// Sets a header parameter, of whatever type.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.recipe.without_header.retain(|other| other != name);
        self.recipe.header.insert(name.into(), value.into());
        self
    }

    /// Leaves a header parameter out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.recipe.header.remove(name);
        self.recipe.without_header.push(name.into());
        self
    }

    /// Signs with the issuer's key for this algorithm, instead of that for its first.
    ///
    /// # Panics
    ///
    /// If the issuer has no key for it: name it in
    /// [`TestIssuerBuilder::algorithms`](crate::testing::TestIssuerBuilder::algorithms).
    #[track_caller]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.recipe.key = lock(&self.state.ring).signing(algorithm).cloned();
        if self.recipe.key.is_none() {
            misuse(&format!("the embedded issuer was started without a key for {algorithm}"));
        }
        self
    }

    /// Signs with this key, and names its `kid` and its algorithm in the header.
    ///
    /// It may be one of the issuer's, such as one that has been retired, or a foreign one.
    pub fn signed_with(mut self, key: &TestKey) -> Self {
        self.recipe.key = Some(key.clone());
        self
    }

    /// Puts the public key that signs into the header's `jwk`, which verifiers must ignore
    /// (RFC 8725 §3.10).
    pub fn embed_jwk(mut self) -> Self {
        self.recipe.embed_jwk = true;
        self
    }

    /// Uses this text as the header, verbatim.
    pub fn raw_header(mut self, header: &str) -> Self {
        self.recipe.raw_header = Some(header.into());
        self
    }

    /// Uses this text as the payload, verbatim: a claim named twice, a number of a
    /// thousand digits, no JSON at all.
    pub fn raw_payload(mut self, payload: &str) -> Self {
        self.recipe.raw_payload = Some(payload.into());
        self
    }

    /// Changes a claim after signing, so that the signature is that of another payload.
    pub fn tampered_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.recipe.tampered = Some((name.into(), value.into()));
        self
    }

    /// Flips one bit of the signature.
    pub fn wrong_signature(mut self) -> Self {
        self.recipe.seal = Seal::Broken;
        self
    }

    /// Makes it an unsecured JWS (RFC 7515 appendix A.5): `alg` is `none`, the signature is empty.
    pub fn unsecured(mut self) -> Self {
        self.recipe.seal = Seal::Unsecured;
        self.alg("none")
    }

    /// Signs by HMAC with the public key's PEM as the secret: the attack on verifiers that let the token
    /// choose between HMAC and RSA.
    pub fn hmac_with_public_key(mut self) -> Self {
        self.recipe.seal = Seal::PublicKeyHmac;
        self.alg(HmacAlgorithm::HS256.name())
    }

    /// Builds an opaque token with these claims, which only the introspection endpoint knows.
    ///
    /// Settings of the header and the signature have no effect on it.
    ///
    /// # Panics
    ///
    /// If the operating system has no random numbers left.
    #[track_caller]
    pub fn opaque(self) -> String {
        register(self.state, &self.recipe)
    }

    /// Builds the token.
    ///
    /// # Panics
    ///
    /// If the operating system has no memory or no random numbers left.
    #[track_caller]
    pub fn sign(self) -> String {
        mint(self.state, &self.recipe)
    }
}
