use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::json;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::credentials::algorithm::{AssertionAlgorithm, Scheme};
use crate::credentials::known::Known;
use crate::credentials::provider::SecretError;
use crate::credentials::source::SecretSource;
use crate::digest::random;
use crate::jose::{KeyType, PrivateKey, Signer, serialize};

/// A new assertion is made for every request, and need only live as long as that.
const LIFETIME: Duration = Duration::from_secs(60);

/// An authorization server's clock isn't further behind than this.
const LONGEST_BACKDATE: Duration = Duration::from_secs(30);

/// The JWT that a client signs to authenticate (RFC 7523 §2.2).
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

    #[cfg(feature = "client")]
    pub(crate) const fn algorithm(&self) -> AssertionAlgorithm {
        self.algorithm
    }

    #[cfg(feature = "client")]
    pub(crate) fn needs_issuer(&self) -> bool {
        self.audience == AssertionAudience::Issuer
    }

    /// Returns what is wrong with the settings, as far as it can be told.
    pub(crate) fn check(&self, by_secret: bool) -> Result<(), String> {
        let algorithm = self.algorithm;
        if matches!(algorithm.scheme(), Scheme::Secret(_)) != by_secret {
            return Err(if by_secret {
                format!("client_secret_jwt signs with HS256, HS384 or HS512, not with {algorithm}")
            } else {
                format!("private_key_jwt signs with a private key, not with {algorithm}")
            });
        }
        if !algorithm.is_supported() {
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
                signer
                    .sign(b"trial")
                    .map(drop)
                    .map_err(|_| format!("the key can't sign {algorithm}"))
            }
        }
    }

    /// Reads the key, and finds its `kid`.
    fn signer<'a>(&self, key: &'a [u8]) -> Result<(Signer<'a>, Option<Box<str>>), String> {
        let algorithm = match self.algorithm.scheme() {
            Scheme::PrivateKey(algorithm) => algorithm,
            Scheme::Secret(algorithm) => {
                let least = algorithm.hash_bytes();
                if key.len() < least {
                    let name = algorithm.name();
                    return Err(format!(
                        "{name} needs a secret of at least {least} bytes (RFC 7518 section 3.2)"
                    ));
                }
                return Ok((Signer::Secret(algorithm, key), self.key_id.clone()));
            }
        };
        let needed = KeyType::of(algorithm);
        let key = PrivateKey::read(key, needed).map_err(|fault| {
            let advice = fault.advice(self.algorithm, needed);
            format!("the private key can't be used: {advice}")
        })?;
        let kid = self.key_id.clone().or_else(|| key.kid.clone());
        match kid {
            Some(kid) => Ok((Signer::Key(algorithm, key), Some(kid))),
            None => Err("the private key needs a key id: call .key_id(\"…\")".into()),
        }
    }

    /// Makes an assertion (RFC 7523 §3), unless the key is no good.
    pub(crate) fn make(
        &self,
        client_id: &str,
        key: &Known,
        recipient: Recipient<'_>,
        now: UnixTime,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (signer, kid) = self.signer(key.expose()).map_err(SecretError::malformed)?;
        let audience = match &self.audience {
            AssertionAudience::Issuer => recipient
                .issuer
                .ok_or_else(|| SecretError::malformed("the assertion's audience isn't known"))?,
            AssertionAudience::TokenEndpoint => recipient.token_endpoint,
            AssertionAudience::Other(other) => other,
        };
        let mut header = json!({ "alg": self.algorithm.name(), "typ": self.typ });
        if let (Some(kid), Some(header)) = (kid, header.as_object_mut()) {
            header.insert("kid".into(), json!(&*kid));
        }
        let no_random = "there are no random numbers";
        let random = random::<16>().map_err(|_| SecretError::malformed(no_random))?;
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(random),
            "iat": now.minus(self.backdate).as_secs(),
            "exp": now.plus(LIFETIME).as_secs(),
        });
        let (header, claims) = (header.to_string(), claims.to_string());
        let jwt = serialize(header.as_bytes(), claims.as_bytes(), |input| signer.sign(input))
            .map_err(|_| {
                SecretError::malformed(format!("the key can't sign {}", self.algorithm))
            })?;
        Ok(Zeroizing::new(jwt.as_bytes().to_vec()))
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

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;
    use crate::jose::{Algorithm, Backend, key_from_pem};
    use crate::secret::Secret;

    const NOW: i64 = 1_800_000_000;
    const RECIPIENT: Recipient<'_> = Recipient {
        issuer: Some("https://as.example"),
        token_endpoint: "https://as.example/token",
    };

    struct Parts {
        header: Value,
        claims: Value,
        input: String,
        signature: Vec<u8>,
    }

    fn make(assertion: &Assertion, key: &[u8]) -> Parts {
        let known = Known::new(Secret::new(key));
        let made = assertion.make("me", &known, RECIPIENT, UnixTime::from_secs(NOW)).unwrap();
        let jwt = String::from_utf8(made.to_vec()).unwrap();
        let (input, signature) = jwt.rsplit_once('.').unwrap();
        let (header, claims) = input.split_once('.').unwrap();
        let decode = |part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        Parts {
            header: serde_json::from_slice(&decode(header)).unwrap(),
            claims: serde_json::from_slice(&decode(claims)).unwrap(),
            input: input.into(),
            signature: decode(signature),
        }
    }

    fn p256() -> &'static [u8] {
        include_bytes!("../../fixtures/keys/p256.pem")
    }

    fn es256() -> Assertion {
        Assertion::new(AssertionAlgorithm::ES256, str::from_utf8(p256()).unwrap()).key_id("k")
    }

    /// A name, the private key in three forms, the public key, and what it signs.
    macro_rules! key {
        ($name:literal, $($algorithm:ident),+) => {
            (
                [
                    &include_bytes!(concat!("../../fixtures/keys/", $name, ".pem"))[..],
                    include_bytes!(concat!("../../tests/client/keys/", $name, ".traditional.pem")),
                    include_bytes!(concat!("../../tests/client/keys/", $name, ".jwk.json")),
                ],
                include_str!(concat!("../../fixtures/keys/", $name, ".pub.pem")),
                vec![$(AssertionAlgorithm::$algorithm),+],
            )
        };
    }

    // T11, T16
    #[test]
    fn t16_every_algorithm_signs_with_every_form_of_key() {
        let mut ed25519 = (
            [&include_bytes!("../../fixtures/keys/ed25519.pem")[..]; 3],
            include_str!("../../fixtures/keys/ed25519.pub.pem"),
            vec![AssertionAlgorithm::EdDSA, AssertionAlgorithm::Ed25519],
        );
        ed25519.0[2] = include_bytes!("../../tests/client/keys/ed25519.jwk.json");
        let keys = [
            key!("rsa2048", RS256, RS384, RS512, PS256, PS384, PS512),
            key!("p256", ES256),
            key!("p384", ES384),
            key!("p521", ES512),
            ed25519,
        ];
        let backend = Backend::preferred().unwrap();
        let mut signed = 0;
        for (forms, public, algorithms) in keys {
            let public = key_from_pem(public, None, backend);
            for algorithm in algorithms.into_iter().filter(|it| it.is_supported()) {
                for form in forms {
                    let assertion = Assertion::new(algorithm, Secret::new(form)).key_id("2027-01");
                    assert_eq!(assertion.check(false), Ok(()), "{algorithm}");
                    let made = make(&assertion, form);
                    let name = algorithm.name();
                    assert_eq!(made.header["alg"], name);
                    assert_eq!(made.header["kid"], "2027-01");
                    let public = public.as_ref().unwrap();
                    let algorithm = Algorithm::from_name(name).unwrap();
                    let input = made.input.as_bytes();
                    assert!(public.verify(algorithm, input, &made.signature), "{name}");
                    assert!(!public.verify(algorithm, b"else", &made.signature), "{name}");
                    assert!(by_another_library(name, made), "{name}");
                    signed += 1;
                }
            }
        }
        assert_eq!(signed, if AssertionAlgorithm::ES512.is_supported() { 33 } else { 30 });
    }

    /// Checks a signature by the RustCrypto crates, where they have the algorithm.
    fn by_another_library(name: &str, made: Parts) -> bool {
        use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
        use jsonwebtoken::{DecodingKey, jwk::Jwk};
        let file = match name {
            "ES256" => "p256",
            "ES384" => "p384",
            "ES512" => return true,
            "EdDSA" | "Ed25519" => "ed25519",
            _ => "rsa2048",
        };
        let jwk = std::fs::read(format!("fixtures/keys/{file}.jwk.json")).unwrap();
        let jwk: Jwk = serde_json::from_slice(&jwk).unwrap();
        let key = DecodingKey::from_jwk(&jwk).unwrap();
        let name = name.replace("Ed25519", "EdDSA").parse().unwrap();
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&name, &key).unwrap();
        verifier.verify(made.input.as_bytes(), &made.signature).is_ok()
    }

    // T11
    #[test]
    fn t11_the_clients_secret_signs_too() {
        use jsonwebtoken::DecodingKey;
        use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
        let secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for algorithm in
            [AssertionAlgorithm::HS256, AssertionAlgorithm::HS384, AssertionAlgorithm::HS512]
        {
            let least = algorithm.name()[2..].parse::<usize>().unwrap() / 8;
            let assertion = Assertion::new(algorithm, &secret[..least]);
            assert_eq!(assertion.check(true), Ok(()));
            let made = make(&assertion, &secret.as_bytes()[..least]);
            assert!(made.header.get("kid").is_none());
            let key = DecodingKey::from_secret(&secret.as_bytes()[..least]).unwrap();
            let name = algorithm.name().parse().unwrap();
            let verifier = (DEFAULT_PROVIDER.verifier_factory)(&name, &key).unwrap();
            assert!(verifier.verify(made.input.as_bytes(), &made.signature).is_ok());
            let short = Assertion::new(algorithm, &secret[..least - 1]).check(true).unwrap_err();
            assert!(short.contains("RFC 7518"), "{short}");
        }
    }

    // T12, T13, T14, T15
    #[test]
    fn t12_t13_t14_t15_claims_and_header() {
        let made = make(&es256(), p256());
        assert_eq!(made.header["typ"], "client-authentication+jwt");
        let claims = &made.claims;
        assert_eq!((&claims["iss"], &claims["sub"]), (&Value::from("me"), &Value::from("me")));
        assert_eq!(claims["aud"], "https://as.example");
        assert_eq!(claims["iat"], NOW);
        assert_eq!(claims["exp"], NOW + 60);
        assert_eq!(claims.as_object().unwrap().len(), 6, "{claims}");

        let ids: HashSet<String> = (0..50)
            .map(|_| make(&es256(), p256()).claims["jti"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 50);
        // 128 bits in base64url.
        assert!(ids.iter().all(|id| id.len() == 22));
    }

    // T13, T14, T17
    #[test]
    fn t13_t14_t17_servers_that_want_otherwise_are_catered_for() {
        let audience = |audience| make(&es256().audience(audience), p256()).claims["aud"].clone();
        assert_eq!(audience(AssertionAudience::TokenEndpoint), "https://as.example/token");
        assert_eq!(audience(AssertionAudience::Other("urn:as".into())), "urn:as");
        assert_eq!(make(&es256().plain_typ(), p256()).header["typ"], "JWT");
        let backdated = make(&es256().backdate(Duration::from_secs(30)), p256()).claims;
        assert_eq!(
            (&backdated["iat"], &backdated["exp"]),
            (&(NOW - 30).into(), &(NOW + 60).into())
        );
        let too_much = es256().backdate(Duration::from_secs(31)).check(false);
        assert!(too_much.unwrap_err().contains("30 seconds"));
    }

    // T16
    #[test]
    fn t16_the_key_must_fit_and_have_an_id() {
        let check = |algorithm, key: &[u8], by_secret| {
            Assertion::new(algorithm, Secret::new(key)).check(by_secret).unwrap_err()
        };
        let long = [b'x'; 64];
        assert!(check(AssertionAlgorithm::HS256, &long, false).contains("private key"));
        assert!(check(AssertionAlgorithm::ES256, p256(), true).contains("HS256"));
        assert!(check(AssertionAlgorithm::ES256, p256(), false).contains("key_id"));
        assert!(check(AssertionAlgorithm::RS256, p256(), false).contains("another algorithm"));
        assert!(check(AssertionAlgorithm::ES256, b"nonsense", false).contains("PEM"));
        // A JWK brings its own.
        let jwk: &[u8] = include_bytes!("../../tests/client/keys/p256.jwk.json");
        let by_jwk = Assertion::new(AssertionAlgorithm::ES256, Secret::new(jwk));
        assert_eq!(by_jwk.check(false), Ok(()));
        assert_eq!(make(&by_jwk, jwk).header["kid"], "p256");
        assert_eq!(make(&by_jwk.key_id("mine"), jwk).header["kid"], "mine");
    }

    // T16: a PEM that parses, and holds no good key.
    #[test]
    fn t16_a_broken_key_is_found_when_built() {
        let pem = str::from_utf8(p256()).unwrap();
        // The private number and its octet string's length, changed.
        let broken = pem.replace("BG0wawIBAQQg", "BG0wawIBAQQf");
        let error = Assertion::new(AssertionAlgorithm::ES256, &*broken).key_id("k").check(false);
        assert!(error.unwrap_err().contains("ES256"));
    }
}
