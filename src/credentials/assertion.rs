//! Client assertions: their settings, claims and signature (RFC 7523 §2.2, §3).

use std::fmt;
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::json;
use zeroize::Zeroizing;

use crate::clock::UnixTime;
use crate::credentials::algorithm::{AssertionAlgorithm, Scheme};
use crate::credentials::audience::{AssertionAudience, Recipient};
use crate::credentials::fingerprinted::FingerprintedSecret;
use crate::credentials::provider::{SecretError, SecretErrorKind};
use crate::credentials::signer::{AssertionSigner, Key, Remote};
use crate::credentials::source::SecretSource;
use crate::credentials::thumbprint::thumbprint;
use crate::digest::{Digest, random};
use crate::jose::{KeyType, PrivateKey, Signer, jws_signature, serialize, write_signing_input};

/// The lifetime of an assertion: each request has a new one.
const LIFETIME: Duration = Duration::from_secs(60);

/// The most by which an assertion can be backdated, for servers whose clock is behind.
const LONGEST_BACKDATE: Duration = Duration::from_secs(30);

/// The `typ` values of assertions in the revision of RFC 7523 (draft-ietf-oauth-rfc7523bis).
const AUTHENTICATION: &str = "client-authentication+jwt";
#[cfg(feature = "client")]
const GRANT: &str = "authorization-grant+jwt";

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
#[derive(Clone)]
pub struct Assertion {
    algorithm: AssertionAlgorithm,
    key: Key,
    key_id: Option<Box<str>>,
    /// The thumbprint of the configured certificate; the inner `None` if that can't be read.
    certificate: Option<Option<Box<str>>>,
    audience: AssertionAudience,
    typ: &'static str,
    subject: Option<Box<str>>,
    backdate: Duration,
}

impl Assertion {
    /// Signs with a private key, in PEM or as a private JWK; or, for the algorithms of HMAC, with
    /// the client's secret.
    ///
    /// A key from a [`SecretProvider`](crate::client::SecretProvider) can be replaced at any time;
    /// a JWK has its own `kid`.
    pub fn new(algorithm: AssertionAlgorithm, key: impl Into<SecretSource>) -> Self {
        Self::with(algorithm, Key::Here(key.into()))
    }

    /// Signs with a private key that this process never has, such as one in a cloud's key management service.
    pub fn signed_by(algorithm: AssertionAlgorithm, signer: impl AssertionSigner) -> Self {
        Self::with(algorithm, Key::Elsewhere(Remote::new(signer)))
    }

    fn with(algorithm: AssertionAlgorithm, key: Key) -> Self {
        Self {
            algorithm,
            key,
            key_id: None,
            certificate: None,
            audience: AssertionAudience::Issuer,
            typ: AUTHENTICATION,
            subject: None,
            backdate: Duration::ZERO,
        }
    }

    /// Sets the `kid` by which the server knows the public key. Every private key needs one, unless
    /// there is a [certificate](Self::certificate); a JWK may have its own.
    #[must_use]
    pub fn key_id(mut self, key_id: &str) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Names the key by the SHA-256 thumbprint of its certificate (`x5t#S256`, RFC 7515 §4.1.8), as
    /// Microsoft Entra ID requires it.
    ///
    /// The certificate is in PEM, of which the first one is used, or in DER.
    #[must_use]
    pub fn certificate(mut self, certificate: impl AsRef<[u8]>) -> Self {
        self.certificate = Some(thumbprint(certificate.as_ref()));
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

    /// Sets the subject of a JWT bearer grant's assertion (RFC 7523 §3): the user on whose behalf the
    /// client asks. By default it is the client itself, as always for client authentication.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Makes it the assertion of a grant, instead of one for authentication.
    #[cfg(feature = "client")]
    pub(crate) fn for_grant(mut self) -> Self {
        if self.typ == AUTHENTICATION {
            self.typ = GRANT;
        }
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

    /// Returns the source of the key, unless a signer has it.
    pub(crate) const fn source(&self) -> Option<&SecretSource> {
        match &self.key {
            Key::Here(source) => Some(source),
            Key::Elsewhere(_) => None,
        }
    }

    /// Returns what distinguishes the key from others within the process.
    pub(crate) fn key_identity(&self) -> Digest {
        match &self.key {
            Key::Here(source) => source.identity(),
            Key::Elsewhere(signer) => signer.identity(),
        }
    }

    /// Checks the settings, and the key if it is known already.
    pub(crate) fn check(&self, by_secret: bool) -> Result<(), String> {
        let algorithm = self.algorithm;
        if matches!(algorithm.scheme(), Scheme::Secret(_)) != by_secret {
            return Err(if by_secret {
                format!("client_secret_jwt signs with HS256, HS384 or HS512, not with {algorithm}")
            } else {
                format!("private_key_jwt signs with a private key, not with {algorithm}")
            });
        }
        let is_elsewhere = self.source().is_none();
        if is_elsewhere && by_secret {
            return Err(
                "client_secret_jwt signs with the client's secret, not with a signer".into()
            );
        }
        if self.certificate == Some(None) {
            return Err("the certificate is neither in PEM nor in DER".into());
        }
        if is_elsewhere {
            self.name(None).map(drop)?;
        } else if !algorithm.is_supported() {
            return Err(format!(
                "no crypto backend signs {algorithm}: turn on the feature \"aws-lc-rs\""
            ));
        }
        if self.backdate > LONGEST_BACKDATE {
            return Err("an assertion can be backdated by 30 seconds at most".into());
        }
        match self.source().and_then(SecretSource::fixed) {
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
        let kid = self.name(key.kid.clone())?;
        Ok((Signer::Key(algorithm, key), kid))
    }

    /// Returns the `kid`, which is optional if a certificate names the key.
    fn name(&self, own: Option<Box<str>>) -> Result<Option<Box<str>>, String> {
        match self.key_id.clone().or(own) {
            None if self.certificate.is_none() => {
                Err("the private key needs a key id: call .key_id(\"…\")".into())
            }
            kid => Ok(kid),
        }
    }

    /// Makes an assertion (RFC 7523 §3). An external signer has `patience` to answer.
    pub(crate) async fn make(
        &self,
        client_id: &str,
        key: Option<&FingerprintedSecret>,
        recipient: Recipient<'_>,
        now: UnixTime,
        patience: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let claims = self.claims(client_id, recipient, now)?;
        let jwt = match &self.key {
            Key::Here(_) => {
                let key = key.ok_or(SecretError::new(SecretErrorKind::NotFound))?;
                let (signer, kid) = self.signer(key.expose()).map_err(SecretError::malformed)?;
                let header = self.header(kid);
                serialize(header.as_bytes(), claims.as_bytes(), |input| signer.sign(input))
                    .map_err(|_| self.no_signature())?
            }
            Key::Elsewhere(signer) => {
                let header = self.header(self.name(None).map_err(SecretError::malformed)?);
                let mut jwt = Zeroizing::new(String::new());
                write_signing_input(header.as_bytes(), claims.as_bytes(), &mut jwt);
                let signature = signer.sign(jwt.as_bytes(), patience).await?;
                let Scheme::PrivateKey(algorithm) = self.algorithm.scheme() else {
                    return Err(self.no_signature());
                };
                let signature = jws_signature(algorithm, signature);
                let signature = signature.ok_or_else(|| {
                    let name = self.algorithm;
                    SecretError::malformed(format!(
                        "what the signer returned can't be a signature of {name}"
                    ))
                })?;
                jwt.push('.');
                BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
                jwt
            }
        };
        Ok(Zeroizing::new(jwt.as_bytes().to_vec()))
    }

    fn no_signature(&self) -> SecretError {
        SecretError::malformed(format!("the key can't sign {}", self.algorithm))
    }

    fn header(&self, kid: Option<Box<str>>) -> String {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": self.typ });
        if let Some(header) = header.as_object_mut() {
            header.extend(kid.map(|kid| ("kid".into(), json!(&*kid))));
            let thumbprint = self.certificate.iter().flatten();
            header.extend(thumbprint.map(|thumbprint| ("x5t#S256".into(), json!(&**thumbprint))));
        }
        header.to_string()
    }

    fn claims(
        &self,
        client_id: &str,
        recipient: Recipient<'_>,
        now: UnixTime,
    ) -> Result<String, SecretError> {
        let audience = match &self.audience {
            AssertionAudience::Issuer => recipient
                .issuer
                .ok_or_else(|| SecretError::malformed("the assertion's audience isn't known"))?,
            AssertionAudience::TokenEndpoint => recipient.token_endpoint,
            AssertionAudience::Other(other) => other,
        };
        let no_random = "no random numbers are available";
        let random = random::<16>().map_err(|_| SecretError::malformed(no_random))?;
        let claims = json!({
            "iss": client_id,
            "sub": self.subject.as_deref().unwrap_or(client_id),
            "aud": audience,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(random),
            "iat": now.minus(self.backdate).as_secs(),
            "exp": now.plus(LIFETIME).as_secs(),
        });
        Ok(claims.to_string())
    }

    /// Returns everything in the settings that makes a difference to an authorization server.
    pub(crate) fn distinction(&self) -> [&str; 7] {
        let audience = match &self.audience {
            AssertionAudience::Issuer => "",
            AssertionAudience::TokenEndpoint => "token endpoint",
            AssertionAudience::Other(other) => other,
        };
        let other = if matches!(self.audience, AssertionAudience::Other(_)) { "other" } else { "" };
        let kid = self.key_id.as_deref().unwrap_or_default();
        let certificate = self.certificate.as_ref().and_then(Option::as_deref).unwrap_or_default();
        let subject = self.subject.as_deref().unwrap_or_default();
        [self.algorithm.name(), kid, audience, other, self.typ, certificate, subject]
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use std::collections::HashSet;

    use futures_util::FutureExt as _;
    use serde_json::Value;

    use super::*;
    use crate::credentials::signer::SignatureFuture;
    use crate::digest::sha256_base64url;
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
        let known = FingerprintedSecret::new(Secret::new(key));
        let now = UnixTime::from_secs(NOW);
        let made = assertion.make("me", Some(&known), RECIPIENT, now, Duration::from_secs(1));
        let made = made.now_or_never().unwrap().unwrap();
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

    /// Keeps a P-256 key, and signs as it is told.
    struct Kms(Outcome);

    type Outcome = fn(Vec<u8>) -> Result<Vec<u8>, SecretError>;

    impl AssertionSigner for Kms {
        fn sign<'a>(&'a self, message: &'a [u8]) -> SignatureFuture<'a> {
            let key = PrivateKey::read(p256(), KeyType::P256).unwrap();
            let signature = Signer::Key(Algorithm::ES256, key).sign(message).unwrap();
            Box::pin(async move { self.0(signature) })
        }
    }

    async fn made_by(kms: Kms) -> Result<String, SecretError> {
        let assertion = Assertion::signed_by(AssertionAlgorithm::ES256, kms).key_id("k");
        assert_eq!(assertion.check(false), Ok(()));
        let made = assertion.make("me", None, RECIPIENT, UnixTime::from_secs(NOW), SECOND).await?;
        Ok(String::from_utf8(made.to_vec()).unwrap())
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn wi_a_key_that_stays_elsewhere_signs_in_either_form() {
        let forms: [Outcome; 2] = [Ok, |raw| Ok(der(&raw))];
        for form in forms {
            let jwt = made_by(Kms(form)).await.unwrap();
            let (input, signature) = jwt.rsplit_once('.').unwrap();
            let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
            let public = include_str!("../../fixtures/keys/p256.pub.pem");
            let public = key_from_pem(public, None, Backend::preferred().unwrap()).unwrap();
            assert!(public.verify(Algorithm::ES256, input.as_bytes(), &signature));
        }
    }

    /// Writes a signature as key management services do.
    fn der(raw: &[u8]) -> Vec<u8> {
        let integer = |number: &[u8]| {
            let zeros = number.iter().take_while(|byte| **byte == 0).count();
            let number = &number[zeros..];
            let sign = if number[0] >= 0x80 { &[0][..] } else { &[] };
            [&[0x02, (sign.len() + number.len()) as u8], sign, number].concat()
        };
        let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
        [&[0x30, body.len() as u8], &*body].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn wi_a_signer_that_fails_or_hangs_or_signs_something_else_is_told_apart() {
        let failed = made_by(Kms(|_| Err(SecretError::new(SecretErrorKind::Other)))).await;
        assert_eq!(failed.unwrap_err().kind(), SecretErrorKind::Other);
        let short = made_by(Kms(|raw| Ok(raw[..40].to_vec()))).await.unwrap_err();
        assert_eq!(short.kind(), SecretErrorKind::Malformed);
        assert!(format!("{short:?}").contains("a signature of ES256"), "{short:?}");

        struct Hangs;
        impl AssertionSigner for Hangs {
            fn sign<'a>(&'a self, _: &'a [u8]) -> SignatureFuture<'a> {
                Box::pin(std::future::pending())
            }
        }
        let (started, now) = (crate::clock::monotonic(), UnixTime::from_secs(NOW));
        let hangs = Assertion::signed_by(AssertionAlgorithm::ES256, Hangs).key_id("k");
        let made = hangs.make("me", None, RECIPIENT, now, 60 * SECOND).await;
        assert_eq!(made.unwrap_err().kind(), SecretErrorKind::Unavailable);
        assert_eq!(started.elapsed(), 5 * SECOND);
    }

    #[test]
    fn wi_the_key_of_a_signer_needs_a_name_and_no_secret_of_the_servers() {
        let signed_by = |algorithm| Assertion::signed_by(algorithm, Kms(Ok));
        assert!(signed_by(AssertionAlgorithm::ES256).check(false).unwrap_err().contains("key_id"));
        let by_secret = signed_by(AssertionAlgorithm::HS256).check(true).unwrap_err();
        assert!(by_secret.contains("signer"), "{by_secret}");
        let certificate = signed_by(AssertionAlgorithm::ES256).certificate([0x30, 1, 5]);
        assert_eq!(certificate.check(false), Ok(()));
    }

    #[test]
    fn wi_a_certificate_names_the_key_by_its_thumbprint() {
        let der = [0x30, 3, 0x02, 1, 5];
        let pem = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n";
        let expected = sha256_base64url(&der);
        let key = str::from_utf8(p256()).unwrap();
        let assertion = || Assertion::new(AssertionAlgorithm::ES256, key);
        for assertion in [assertion().certificate(der), assertion().certificate(pem)] {
            assert_eq!(assertion.check(false), Ok(()));
            let header = make(&assertion, p256()).header;
            assert_eq!(header["x5t#S256"], *expected);
            assert!(header.get("kid").is_none());
        }
        let both = make(&assertion().key_id("k").certificate(der), p256()).header;
        assert_eq!((&both["kid"], &both["x5t#S256"]), (&"k".into(), &(*expected).into()));
        for bad in ["", "nonsense", key, "-----BEGIN CERTIFICATE-----\nMAMCAQU="] {
            let error = assertion().certificate(bad).check(false).unwrap_err();
            assert!(error.contains("certificate"), "{error}");
        }
    }

    // T16: a PEM that parses and has no valid key.
    #[test]
    fn t16_a_broken_key_is_found_when_built() {
        let pem = str::from_utf8(p256()).unwrap();
        // The private number and its octet string's length, changed.
        let broken = pem.replace("BG0wawIBAQQg", "BG0wawIBAQQf");
        let error = Assertion::new(AssertionAlgorithm::ES256, &*broken).key_id("k").check(false);
        assert!(error.unwrap_err().contains("ES256"));
    }
}
