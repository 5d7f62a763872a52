use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RsaEncoding, RsaKeyPair,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://login.example.com/realms/production";
pub const AUDIENCE: &str = "https://orders.example.com";
pub const SCOPES: &str =
    "orders:read orders:write invoices:read invoices:write customers:read reports:read";
/// The end of 2099: the tokens are the same bytes in every run, as far as their algorithm allows.
const EXPIRES: u64 = 4_102_444_799;
const SECRET: &[u8] = b"the benches' secret, of which anybody may know all forty-eight b";

macro_rules! fixture {
    ($name:literal) => {
        (
            include_str!(concat!("../../fixtures/keys/", $name, ".pem")),
            include_str!(concat!("../../fixtures/keys/", $name, ".jwk.json")),
        )
    };
}

/// A way to sign, which is also a key of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signing {
    Rs256,
    Rs256Long,
    Ps256,
    Es256,
    Es384,
    EdDsa,
    Hs256,
}

impl Signing {
    pub const ALL: [Self; 7] = [
        Self::Rs256,
        Self::Rs256Long,
        Self::Ps256,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Hs256,
    ];

    /// The name of the algorithm, with the length of the key where there are two.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256-2048",
            Self::Rs256Long => "RS256-4096",
            Self::Ps256 => "PS256-2048",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signing| signing.name() == name)
    }

    const fn alg(self) -> &'static str {
        match self {
            Self::Rs256 | Self::Rs256Long => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    const fn kid(self) -> &'static str {
        match self {
            Self::Rs256 => "production-2026-10-rs256",
            Self::Rs256Long => "production-2026-10-rs256-long",
            Self::Ps256 => "production-2026-10-ps256",
            Self::Es256 => "production-2026-10-es256",
            Self::Es384 => "production-2026-10-es384",
            Self::EdDsa => "production-2026-10-eddsa",
            Self::Hs256 => "production-2026-10-hs256",
        }
    }

    const fn fixture(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Rs256 | Self::Ps256 => Some(fixture!("rsa2048")),
            Self::Rs256Long => Some(fixture!("rsa4096")),
            Self::Es256 => Some(fixture!("p256")),
            Self::Es384 => Some(fixture!("p384")),
            Self::EdDsa => Some(fixture!("ed25519")),
            Self::Hs256 => None,
        }
    }

    pub(crate) fn jwk(self) -> Option<Value> {
        let mut jwk: Value = serde_json::from_str(self.fixture()?.1).unwrap();
        jwk["kid"] = self.kid().into();
        jwk["alg"] = self.alg().into();
        jwk["use"] = "sig".into();
        Some(jwk)
    }
}

/// The key set of the issuer: one key for each algorithm.
pub fn key_set() -> Value {
    json!({ "keys": Signing::ALL.into_iter().filter_map(Signing::jwk).collect::<Vec<_>>() })
}

/// A key set with the key of this algorithm alone.
pub fn key_set_for(signing: Signing) -> Value {
    json!({ "keys": [signing.jwk()] })
}

/// The same with other keys beside them, `len` in all.
pub fn key_set_of(len: usize) -> Value {
    let mut set = key_set();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.extend((keys.len()..len).map(numbered_key));
    set
}

/// So many keys, all of ES256.
pub fn numbered_key_set(len: usize) -> Value {
    json!({ "keys": (0..len).map(numbered_key).collect::<Vec<_>>() })
}

fn numbered_key(number: usize) -> Value {
    let mut jwk = Signing::Es256.jwk().unwrap();
    jwk["kid"] = numbered_kid(number).into();
    jwk
}

fn numbered_kid(number: usize) -> String {
    format!("production-2026-10-{number:04}")
}

/// A short token that is refused right after its key was looked up, because that key is none for
/// its algorithm; or, if it is `bound`, right before.
pub fn looked_up(number: usize, key: usize, bound: bool) -> String {
    let header = json!({ "alg": "RS256", "kid": numbered_kid(key) });
    // Both have the same length.
    let confirmation = if bound { "cnf" } else { "abc" };
    let claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": EXPIRES - number as u64,
        confirmation: {},
    });
    format!("{}.AAAA", message(&header, &claims))
}

pub fn secret() -> Vec<u8> {
    SECRET.to_vec()
}

enum Material {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
}

/// The issuer, as far as one algorithm goes.
pub struct Issuer {
    signing: Signing,
    material: Material,
    random: SystemRandom,
}

impl Issuer {
    pub fn new(signing: Signing) -> Self {
        let der = || {
            let pem = signing.fixture().unwrap().0;
            let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
            STANDARD.decode(body).unwrap()
        };
        let material = match signing {
            Signing::Rs256 | Signing::Rs256Long => {
                Material::Rsa(RsaKeyPair::from_pkcs8(&der()).unwrap(), &signature::RSA_PKCS1_SHA256)
            }
            Signing::Ps256 => {
                Material::Rsa(RsaKeyPair::from_pkcs8(&der()).unwrap(), &signature::RSA_PSS_SHA256)
            }
            Signing::Es256 => {
                let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                Material::Ecdsa(EcdsaKeyPair::from_pkcs8(kind, &der()).unwrap())
            }
            Signing::Es384 => {
                let kind = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
                Material::Ecdsa(EcdsaKeyPair::from_pkcs8(kind, &der()).unwrap())
            }
            Signing::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der()).unwrap();
                Material::Ed25519(pair)
            }
            Signing::Hs256 => Material::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, SECRET))),
        };
        Self { signing, material, random: SystemRandom::new() }
    }

    pub const fn signing(&self) -> Signing {
        self.signing
    }

    /// The claims of the token of this number.
    pub fn claims(number: usize) -> Value {
        json!({
            "iss": ISSUER,
            "sub": "service-account-billing-worker",
            "aud": AUDIENCE,
            "exp": EXPIRES,
            "iat": 1_767_225_600,
            "jti": format!("0194a7c2-9f3e-7b61-8d52-{number:012x}"),
            "client_id": "billing-worker",
            "scope": SCOPES,
        })
    }

    /// A valid token of about 900 bytes: another one for each number.
    pub fn token(&self, number: usize) -> String {
        self.sign(&self.header(), &Self::claims(number))
    }

    /// The token of which some claim is something else.
    pub fn token_with(&self, claim: &str, value: impl Into<Value>) -> String {
        let mut claims = Self::claims(0);
        claims[claim] = value.into();
        self.sign(&self.header(), &claims)
    }

    /// The token of which some header parameter is something else.
    pub fn token_with_header(&self, parameter: &str, value: impl Into<Value>) -> String {
        let mut header = self.header();
        header[parameter] = value.into();
        self.sign(&header, &Self::claims(0))
    }

    /// The token of this number, with the signature of another one.
    pub fn forged(&self, number: usize) -> String {
        let (token, other) = (self.token(number), self.token(number + 1));
        format!("{}.{}", token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1)
    }

    fn header(&self) -> Value {
        json!({ "alg": self.signing.alg(), "typ": "at+jwt", "kid": self.signing.kid() })
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.signature(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        match &self.material {
            Material::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &self.random, message, &mut signature).unwrap();
                signature
            }
            Material::Ecdsa(pair) => pair.sign(&self.random, message).unwrap().as_ref().into(),
            Material::Ed25519(pair) => pair.sign(message).as_ref().into(),
            Material::Hmac(key) => hmac::sign(key, message).as_ref().into(),
        }
    }

    /// The bare check of a token's signature, with everything else done beforehand: the floor.
    pub fn floor(&self, token: &str) -> Floor {
        let (message, signature) = token.rsplit_once('.').unwrap();
        Floor {
            message: message.into(),
            signature: URL_SAFE_NO_PAD.decode(signature).unwrap(),
            key: self.verifier(),
        }
    }

    fn verifier(&self) -> Verifier {
        let kind: &'static dyn VerificationAlgorithm = match self.signing {
            Signing::Rs256 | Signing::Rs256Long => &signature::RSA_PKCS1_2048_8192_SHA256,
            Signing::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Signing::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Signing::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Signing::EdDsa | Signing::Hs256 => &signature::ED25519,
        };
        let public = match &self.material {
            Material::Rsa(pair, _) => pair.public_key().as_ref(),
            Material::Ecdsa(pair) => pair.public_key().as_ref(),
            Material::Ed25519(pair) => pair.public_key().as_ref(),
            Material::Hmac(key) => return Verifier::Hmac(key.clone()),
        };
        Verifier::Public(ParsedPublicKey::new(kind, public).unwrap())
    }
}

pub(crate) fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|it| URL_SAFE_NO_PAD.encode(it.to_string()));
    format!("{header}.{claims}")
}

enum Verifier {
    Public(ParsedPublicKey),
    Hmac(Box<hmac::Key>),
}

/// A signature that is ready to be checked.
pub struct Floor {
    message: Vec<u8>,
    signature: Vec<u8>,
    key: Verifier,
}

impl Floor {
    #[inline(never)]
    pub fn check(&self) -> bool {
        match &self.key {
            Verifier::Public(key) => key.verify_sig(&self.message, &self.signature).is_ok(),
            Verifier::Hmac(key) => hmac::verify(key, &self.message, &self.signature).is_ok(),
        }
    }
}
