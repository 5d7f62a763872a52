//! The authorization server: one loopback HTTP server with a realm, and one key, for each
//! algorithm.

use std::net::SocketAddr;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, VerificationAlgorithm,
};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub const AUDIENCE: &str = "https://api.example.com";

const SCOPES: &str = "orders:read orders:write invoices:read customers:read profile email";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

enum Key {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Key {
    fn generate(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256 => Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).expect("RSA")),
            Algorithm::Es256 => Self::Es256(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("P-256"),
            ),
            Algorithm::EdDsa => Self::EdDsa(Ed25519KeyPair::generate().expect("Ed25519")),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("RS256");
                signature
            }
            Self::Es256(pair) => pair.sign(&random, message).expect("ES256").as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn public(&self) -> ParsedPublicKey {
        let (algorithm, key): (&'static dyn VerificationAlgorithm, &[u8]) = match self {
            Self::Rs256(pair) => (&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()),
            Self::Es256(pair) => (&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref()),
            Self::EdDsa(pair) => (&ED25519, pair.public_key().as_ref()),
        };
        ParsedPublicKey::new(algorithm, key).expect("a public key")
    }

    fn jwk(&self) -> Value {
        match self {
            Self::Rs256(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                json!({
                    "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "2026-11-rsa",
                    "n": encode(n.big_endian_without_leading_zero()),
                    "e": encode(e.big_endian_without_leading_zero()),
                })
            }
            Self::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({
                    "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
                    "kid": "2026-11-ec", "x": encode(x), "y": encode(y),
                })
            }
            Self::EdDsa(pair) => json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
                "kid": "2026-11-ed", "x": encode(pair.public_key().as_ref()),
            }),
        }
    }
}

/// One realm: an issuer with its key.
pub struct Issuer {
    pub algorithm: Algorithm,
    pub server: String,
    pub realm: String,
    key: Key,
}

impl Issuer {
    /// Starts the server in a thread of its own, which ends with the process.
    pub fn start_all() -> Vec<Self> {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("a loopback port");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let server = format!("http://{}", listener.local_addr().expect("an address"));
        let issuers: Vec<Self> = Algorithm::ALL
            .into_iter()
            .map(|algorithm| Self {
                algorithm,
                server: server.clone(),
                realm: algorithm.name().to_lowercase(),
                key: Key::generate(algorithm),
            })
            .collect();
        let router = issuers.iter().fold(Router::new(), |router, issuer| issuer.publish(router));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                axum::serve(listener, router).await.expect("a server");
            });
        });
        issuers
    }

    pub fn url(&self) -> String {
        format!("{}/realms/{}", self.server, self.realm)
    }

    pub fn jwks_uri(&self) -> String {
        format!("{}/jwks", self.url())
    }

    fn publish(&self, router: Router) -> Router {
        let url = self.url();
        let metadata = json!({
            "issuer": url,
            "jwks_uri": self.jwks_uri(),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm.name()],
            "claims_supported": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"],
        });
        let set = json!({ "keys": [self.key.jwk()] });
        let realm = &self.realm;
        let publish = |document: Value| get(move || async move { Json(document) });
        router
            .route(&format!("/realms/{realm}/jwks"), publish(set))
            .route(
                &format!("/realms/{realm}/.well-known/openid-configuration"),
                publish(metadata.clone()),
            )
            .route(
                &format!("/.well-known/oauth-authorization-server/realms/{realm}"),
                publish(metadata),
            )
    }

    /// A token that every contender takes: `azp` and `typ` are what axum-keycloak-auth asks for.
    fn claims(&self) -> Value {
        let now = now();
        json!({
            "iss": self.url(),
            "sub": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "aud": AUDIENCE,
            "exp": now + 24 * 3600,
            "iat": now,
            "jti": "0198c1f4-5a0e-7c3b-9d2e-5f6a7b8c9d0e",
            "client_id": "warehouse-frontend",
            "azp": "warehouse-frontend",
            "typ": "Bearer",
            "scope": SCOPES,
        })
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({
            "alg": self.algorithm.name(),
            "typ": "at+jwt",
            "kid": self.key.jwk()["kid"],
        });
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub fn token(&self) -> String {
        self.sign(&self.claims())
    }

    /// Tokens that differ in their `jti`.
    pub fn tokens(&self, count: usize) -> Vec<String> {
        let with = |number: usize| {
            let mut claims = self.claims();
            claims["jti"] = format!("0198c1f4-5a0e-7c3b-9d2e-{number:012x}").into();
            self.sign(&claims)
        };
        (0..count).map(with).collect()
    }

    /// A token that is bound to the key with this thumbprint (RFC 9449 §6.1).
    pub fn bound_token(&self, thumbprint: &str) -> String {
        let mut claims = self.claims();
        claims["cnf"] = json!({ "jkt": thumbprint });
        self.sign(&claims)
    }

    /// Tokens that ought to be refused, by what is wrong with them.
    pub fn bad_tokens(&self) -> Vec<(&'static str, String)> {
        let with = |name: &str, value: Value| {
            let mut claims = self.claims();
            claims[name] = value;
            self.sign(&claims)
        };
        let without = |name: &str| {
            let mut claims = self.claims();
            claims.as_object_mut().expect("an object").remove(name);
            self.sign(&claims)
        };
        let forged = {
            let stranger = Self {
                algorithm: self.algorithm,
                server: self.server.clone(),
                realm: self.realm.clone(),
                key: Key::generate(self.algorithm),
            };
            stranger.token()
        };
        vec![
            ("forged", forged),
            ("expired", with("exp", (now() - 3600).into())),
            ("other audience", with("aud", "https://other.example.com".into())),
            ("no audience", without("aud")),
            ("other issuer", with("iss", "https://other.example.com".into())),
            ("not yet valid", with("nbf", (now() + 3600).into())),
            ("no expiry", without("exp")),
        ]
    }

    pub fn public_key(&self) -> ParsedPublicKey {
        self.key.public()
    }
}

/// What of a token is signed, and its signature.
pub fn signed(token: &str) -> (Vec<u8>, Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').expect("a compact JWS");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    (message.as_bytes().to_vec(), signature)
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}
