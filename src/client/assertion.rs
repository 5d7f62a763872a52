use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::json;
use zeroize::Zeroizing;

use crate::client::algorithm::{AssertionAlgorithm, Family};
use crate::client::digest::random;
use crate::client::private_key::PrivateKey;
use crate::client::secret_source::{Known, SecretSource};
use crate::client::sign::{self, Signer};
use crate::clock::UnixTime;

/// A new assertion is made for every request, and need only live as long as that.
const LIFETIME: Duration = Duration::from_secs(60);

/// An authorization server's clock isn't further behind than this.
const LONGEST_BACKDATE: Duration = Duration::from_secs(30);

/// How the client signs a JWT to prove who it is (RFC 7523 §2.2).
///
/// ```
/// # fn example(pem: &str) {
/// use tower_bearer::client::{Assertion, AssertionAlgorithm, ClientAuth};
///
/// let assertion = Assertion::new(AssertionAlgorithm::ES256, pem).key_id("2027-01");
/// let auth = ClientAuth::private_key_jwt("billing", assertion);
/// # }
/// ```
///
/// Each assertion lives for a minute, has an unguessable `jti`, and is used once.
#[derive(Clone, Debug)]
pub struct Assertion {
    algorithm: AssertionAlgorithm,
    pub(crate) key: SecretSource,
    key_id: Option<Box<str>>,
    audience: AssertionAudience,
    typ: &'static str,
    backdate: Duration,
}

/// The `aud` of an assertion.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum AssertionAudience {
    /// The issuer identifier, as the revision of RFC 7523 (draft-ietf-oauth-rfc7523bis) demands:
    /// an assertion for the token endpoint could be meant for an attacker's server.
    #[default]
    Issuer,
    /// The address of the token endpoint, for servers that know nothing else.
    TokenEndpoint,
    /// Something else that the server demands.
    Other(String),
}

/// Where an assertion is sent.
#[derive(Clone, Copy)]
pub(crate) struct Recipient<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) token_endpoint: &'a str,
}

impl Assertion {
    /// Signs with a private key, in PEM or as a private JWK; or, for the algorithms of HMAC, with
    /// the client's secret.
    ///
    /// A key from a [`SecretProvider`](crate::client::SecretProvider) can be replaced at any time;
    /// as a JWK it brings its new `kid` along.
    pub fn new(algorithm: AssertionAlgorithm, key: impl Into<SecretSource>) -> Self {
        Self {
            algorithm,
            key: key.into(),
            key_id: None,
            audience: AssertionAudience::Issuer,
            typ: "client-authentication+jwt",
            backdate: Duration::ZERO,
        }
    }

    /// Sets the `kid` by which the server knows the public key. Every private key needs one, a JWK
    /// may have its own.
    #[must_use]
    pub fn key_id(mut self, key_id: &str) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Sets the `aud`; the issuer by default.
    #[must_use]
    pub fn audience(mut self, audience: AssertionAudience) -> Self {
        self.audience = audience;
        self
    }

    /// Writes `JWT` as the `typ`, for servers that refuse `client-authentication+jwt`.
    #[must_use]
    pub fn plain_typ(mut self) -> Self {
        self.typ = "JWT";
        self
    }

    /// Sets the `iat` back, by up to 30 seconds, for servers whose clock is behind.
    #[must_use]
    pub fn backdate(mut self, by: Duration) -> Self {
        self.backdate = by;
        self
    }

    pub(crate) const fn algorithm(&self) -> AssertionAlgorithm {
        self.algorithm
    }

    pub(crate) fn needs_issuer(&self) -> bool {
        self.audience == AssertionAudience::Issuer
    }

    /// Returns what is wrong with the settings, as far as it can be told.
    pub(crate) fn check(&self, by_secret: bool) -> Result<(), String> {
        let algorithm = self.algorithm;
        if (algorithm.family() == Family::Hmac) != by_secret {
            return Err(if by_secret {
                format!("client_secret_jwt signs with HS256, HS384 or HS512, not with {algorithm}")
            } else {
                format!("private_key_jwt signs with a private key, not with {algorithm}")
            });
        }
        if !sign::supports(algorithm) {
            return Err(format!(
                "there is nothing to sign {algorithm} with: turn on the feature \"aws-lc-rs\""
            ));
        }
        if self.backdate > LONGEST_BACKDATE {
            return Err("an assertion can be backdated by 30 seconds at most".into());
        }
        match self.key.fixed() {
            None => Ok(()),
            Some(key) => {
                let (signer, _) = self.signer(key)?;
                sign::sign(algorithm, &signer, b"trial")
                    .map(drop)
                    .map_err(|_| format!("the key can't sign {algorithm}"))
            }
        }
    }

    /// Reads the key, and finds its `kid`.
    fn signer<'a>(&self, key: &'a [u8]) -> Result<(Signer<'a>, Option<Box<str>>), String> {
        if self.algorithm.family() == Family::Hmac {
            let least = self.algorithm.least_secret();
            if key.len() < least {
                let algorithm = self.algorithm;
                return Err(format!(
                    "{algorithm} needs a secret of at least {least} bytes (RFC 7518 section 3.2)"
                ));
            }
            return Ok((Signer::Secret(key), self.key_id.clone()));
        }
        let key = PrivateKey::read(key, self.algorithm.family())
            .map_err(|fault| format!("the private key can't be used: {}", fault.advice()))?;
        let kid = self.key_id.clone().or_else(|| key.kid.clone());
        match kid {
            Some(kid) => Ok((Signer::Key(key), Some(kid))),
            None => Err("the private key needs a key id: call .key_id(\"…\")".into()),
        }
    }

    /// Makes an assertion (RFC 7523 §3); `None` if the key is no good.
    pub(crate) fn make(
        &self,
        client_id: &str,
        key: &Known,
        recipient: Recipient<'_>,
        now: UnixTime,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (signer, kid) = self.signer(key.expose()).ok()?;
        let audience = match &self.audience {
            AssertionAudience::Issuer => recipient.issuer?,
            AssertionAudience::TokenEndpoint => recipient.token_endpoint,
            AssertionAudience::Other(other) => other,
        };
        let mut header = json!({ "alg": self.algorithm.name(), "typ": self.typ });
        if let (Some(kid), Some(header)) = (kid, header.as_object_mut()) {
            header.insert("kid".into(), json!(&*kid));
        }
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(random::<16>().ok()?),
            "iat": now.minus(self.backdate).as_secs(),
            "exp": now.plus(LIFETIME).as_secs(),
        });
        let mut jwt = BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut jwt);
        let signature = sign::sign(self.algorithm, &signer, jwt.as_bytes()).ok()?;
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Some(Zeroizing::new(jwt.into_bytes()))
    }

    /// Returns what an authorization server tells two such settings apart by.
    pub(crate) fn distinction(&self) -> [&str; 5] {
        let audience = match &self.audience {
            AssertionAudience::Issuer => "",
            AssertionAudience::TokenEndpoint => "token endpoint",
            AssertionAudience::Other(other) => other,
        };
        let other = if matches!(self.audience, AssertionAudience::Other(_)) { "other" } else { "" };
        let kid = self.key_id.as_deref().unwrap_or_default();
        [self.algorithm.name(), kid, audience, other, self.typ]
    }
}
