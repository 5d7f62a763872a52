//! Clients that show a token which is bound to a key of theirs, and prove to have it.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    ParsedPublicKey,
};
use http::HeaderValue;
use serde_json::{Value, json};

use crate::issuer::{AUDIENCE, Issuer, encode, now};

/// Where the service is, as its clients know it.
pub const ORIGIN: &str = AUDIENCE;
pub const PATH: &str = "/orders";

/// Older than anybody's window, and than what anybody allows for clocks that differ.
const STALE: u64 = 600;

/// No proof has the `jti` of another.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// One client, with its key of ES256.
pub struct Client {
    key: EcdsaKeyPair,
    /// Of its proofs, encoded.
    header: String,
    token: String,
    authorization: HeaderValue,
    ath: String,
}

/// What a request shows.
#[derive(Clone)]
pub struct Shown {
    pub authorization: HeaderValue,
    pub proof: Option<HeaderValue>,
}

impl Client {
    pub fn new(issuer: &Issuer) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("P-256");
        let (x, y) = key.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (encode(x), encode(y));
        // RFC 7638 §3: these members, in the order of their names.
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let token = issuer.bound_token(&sha256(members));
        let header = json!({
            "typ": "dpop+jwt",
            "alg": "ES256",
            "jwk": { "kty": "EC", "crv": "P-256", "x": x, "y": y },
        });
        Self {
            key,
            header: encode(header.to_string()),
            authorization: HeaderValue::try_from(format!("DPoP {token}")).expect("a header value"),
            ath: sha256(&token),
            token,
        }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// A proof that was never used.
    pub fn proof(&self) -> String {
        self.sign(&self.header, &self.claims())
    }

    /// What the client shows, with such a proof.
    pub fn shown(&self) -> Shown {
        self.with(self.proof())
    }

    /// What ought to be refused, by what is wrong with it.
    pub fn bad(&self, stranger: &Self) -> Vec<(&'static str, Shown)> {
        let but = |name: &str, value: Value| {
            let mut claims = self.claims();
            claims[name] = value;
            self.with(self.sign(&self.header, &claims))
        };
        let none = Shown { authorization: self.authorization.clone(), proof: None };
        let bearer = HeaderValue::try_from(format!("Bearer {}", self.token));
        let bearer = Shown { authorization: bearer.expect("a header value"), proof: None };
        vec![
            ("other method", but("htm", "POST".into())),
            ("other URL", but("htu", format!("{ORIGIN}/invoices").into())),
            ("other token", but("ath", stranger.ath.clone().into())),
            ("other key", self.with(stranger.sign(&stranger.header, &self.claims()))),
            ("forged", self.with(stranger.sign(&self.header, &self.claims()))),
            ("old", but("iat", (now() - STALE).into())),
            ("no proof", none),
            ("no proof, `Bearer`", bearer),
        ]
    }

    pub fn public_key(&self) -> ParsedPublicKey {
        let key = self.key.public_key().as_ref();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).expect("a public key")
    }

    fn with(&self, proof: String) -> Shown {
        let proof = HeaderValue::try_from(proof).expect("a header value");
        Shown { authorization: self.authorization.clone(), proof: Some(proof) }
    }

    fn claims(&self) -> Value {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        json!({
            "jti": format!("0194a7c2-9f3e-7b61-8d52-{number:012x}"),
            "htm": "GET",
            "htu": format!("{ORIGIN}{PATH}"),
            "iat": now(),
            "ath": self.ath,
        })
    }

    fn sign(&self, header: &str, claims: &Value) -> String {
        let message = format!("{header}.{}", encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).expect("ES256");
        format!("{message}.{}", encode(signature))
    }
}

/// The SHA-256, in base64url.
fn sha256(bytes: impl AsRef<[u8]>) -> String {
    encode(digest(&SHA256, bytes.as_ref()))
}
