//! The builder of a DPoP proof, valid or invalid in one respect.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::{Clock as _, SystemClock, UnixTime};
use crate::digest::sha256_base64url;
use crate::jose::{HmacAlgorithm, random_id};
use crate::testing::misuse::misuse;
use crate::testing::tokens::key::TestKey;
use crate::testing::tokens::mint::{Seal, seal};

/// Builds one DPoP proof (RFC 9449 §4.2), valid or invalid.
///
/// With [`method`](Self::method), [`uri`](Self::uri) and [`token`](Self::token) of its request,
/// [`sign`](Self::sign) yields a valid proof with a random `jti`. Every other method may make one thing
/// invalid.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_bearer::ConfigError> {
/// use std::time::Duration;
///
/// use tower_bearer::jose::Algorithm;
/// use tower_bearer::testing::{TestIssuer, TestKey, TestProof};
///
/// let issuer = TestIssuer::start().await?;
/// let key = TestKey::generate(Algorithm::ES256);
/// let token = issuer.token().scope("orders:read").bound_to(&key).sign();
///
/// let proof = TestProof::by(&key).method("GET").uri("https://api.example/orders").token(&token);
/// let good = proof.clone().sign();
/// let old = proof.clone().issued_ago(Duration::from_secs(66)).sign();
/// let stolen = TestProof::by(&TestKey::generate(Algorithm::ES256))
///     .method("GET")
///     .uri("https://api.example/orders")
///     .token(&token)
///     .sign();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is made until `sign` is called"]
pub struct TestProof {
    key: TestKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    now: Option<UnixTime>,
    ago: i64,
    raw_header: Option<String>,
    raw_payload: Option<String>,
    seal: Seal,
    without: Vec<String>,
}

impl TestProof {
    /// Starts building a proof that is signed by this key.
    pub fn by(key: &TestKey) -> Self {
        let mut header = Map::new();
        header.insert("typ".into(), json!("dpop+jwt"));
        header.insert("alg".into(), json!(key.algorithm().name()));
        header.insert("jwk".into(), Value::Object(bare_jwk(key)));
        Self {
            key: key.clone(),
            header,
            claims: Map::new(),
            now: None,
            ago: 0,
            raw_header: None,
            raw_payload: None,
            seal: Seal::Good,
            without: Vec::new(),
        }
    }

    /// Sets `htm`.
    pub fn method(self, method: &str) -> Self {
        self.claim("htm", method)
    }

    /// Sets `htu`, verbatim.
    pub fn uri(self, uri: &str) -> Self {
        self.claim("htu", uri)
    }

    /// Sets `ath` to the hash of an access token. A proof for a token request has none.
    pub fn token(self, token: &str) -> Self {
        self.claim("ath", sha256_base64url(token.as_bytes()))
    }

    /// Sets `nonce`.
    pub fn nonce(self, nonce: &str) -> Self {
        self.claim("nonce", nonce)
    }

    /// Sets `jti`, which is random otherwise.
    pub fn jti(self, jti: &str) -> Self {
        self.claim("jti", jti)
    }

    /// Sets the current time, instead of that of the system's clock.
    pub fn now(mut self, now: UnixTime) -> Self {
        self.now = Some(now);
        self
    }

    /// Sets `iat` to this long ago.
    pub fn issued_ago(mut self, ago: Duration) -> Self {
        self.ago = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
        self
    }

    /// Sets `iat` to this long from now.
    pub fn issued_in(mut self, wait: Duration) -> Self {
        self.ago = i64::try_from(wait.as_secs()).map_or(i64::MIN, |wait| wait.saturating_neg());
        self
    }

    /// Sets a claim, of whatever type.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.without.retain(|other| other != name);
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self.without.push(name.into());
        self
    }

    /// Sets the header's `typ`.
    pub fn typ(self, typ: &str) -> Self {
        self.header("typ", typ)
    }

    /// Sets the header's `alg`, regardless of the algorithm of the signing key.
    pub fn alg(self, alg: &str) -> Self {
        self.header("alg", alg)
    }

    /// Sets a header parameter, of whatever type.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    /// Leaves a header parameter out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets a member of `jwk`, such as `d`, which makes it a private key.
    pub fn jwk_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some(jwk) = self.header.get_mut("jwk").and_then(Value::as_object_mut) {
            jwk.insert(name.into(), value.into());
        }
        self
    }

    /// Sets `jwk` to the public key of another pair than the one that signs.
    pub fn jwk_of(self, other: &TestKey) -> Self {
        self.header("jwk", Value::Object(bare_jwk(other)))
    }

    /// Uses this text as the header, verbatim.
    pub fn raw_header(mut self, header: &str) -> Self {
        self.raw_header = Some(header.into());
        self
    }

    /// Uses this text as the payload, verbatim.
    pub fn raw_payload(mut self, payload: &str) -> Self {
        self.raw_payload = Some(payload.into());
        self
    }

    /// Flips one bit of the signature.
    pub fn wrong_signature(mut self) -> Self {
        self.seal = Seal::Broken;
        self
    }

    /// Makes it an unsecured JWS: `alg` is `none`, the signature is empty.
    pub fn unsecured(mut self) -> Self {
        self.seal = Seal::Unsecured;
        self.alg("none")
    }

    /// Signs by HMAC with the public key's PEM as the secret.
    pub fn hmac_with_public_key(mut self) -> Self {
        self.seal = Seal::PublicKeyHmac;
        self.alg(HmacAlgorithm::HS256.name())
    }

    /// Builds the proof.
    ///
    /// # Panics
    ///
    /// If the operating system has no memory or no random numbers left.
    pub fn sign(self) -> String {
        let Ok(id) = random_id() else { misuse("no random numbers left") };
        let now = self.now.unwrap_or_else(|| SystemClock.now());
        let mut claims = Map::new();
        claims.insert("jti".into(), id.into());
        claims.insert("iat".into(), now.as_secs().saturating_sub(self.ago).into());
        claims.extend(self.claims);
        claims.retain(|name, _| !self.without.contains(name));
        let header = self.raw_header.unwrap_or_else(|| Value::Object(self.header).to_string());
        let payload = self.raw_payload.unwrap_or_else(|| Value::Object(claims).to_string());
        seal(self.seal, &self.key, &header, &payload)
    }
}

/// Returns the required members of a public key's JWK (RFC 7638 §3.2, RFC 9964).
fn bare_jwk(key: &TestKey) -> Map<String, Value> {
    let jwk = key.jwk();
    // `alg` is the parameter set of an AKP key, and no part of another key's identity.
    let required: &[&str] = match jwk.get("kty").and_then(Value::as_str) {
        Some("AKP") => &["alg", "kty", "pub"],
        _ => &["crv", "e", "kty", "n", "x", "y"],
    };
    jwk.into_iter().filter(|(name, _)| required.contains(&&**name)).collect()
}

/// Returns the thumbprint of a key (RFC 7638 §3): its members in the order of their names.
pub(crate) fn thumbprint(key: &TestKey) -> String {
    let members: std::collections::BTreeMap<_, _> = bare_jwk(key).into_iter().collect();
    sha256_base64url(json!(members).to_string().as_bytes())
}
