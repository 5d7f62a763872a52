use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Map, Value, json};

use crate::jose::{Algorithm, HmacAlgorithm, hmac_sha256, random_id, signing_input};
use crate::testing::key::TestKey;
use crate::testing::misuse::{lock, misuse};
use crate::testing::state::State;

/// Makes one access token, good or bad, without a request to the token endpoint.
///
/// Nothing but [`sign`](Self::sign) yields a good token of the profile of RFC 9068, with `iss`,
/// `sub`, `aud`, `client_id`, `iat`, `exp` and `jti`. Every other method changes one thing.
/// [`claim`](Self::claim) and [`header`](Self::header), and their opposites, have the last word.
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
    /// What the issuer's settings may still give another shape.
    usual: Map<String, Value>,
    claims: Map<String, Value>,
    without_claims: Vec<String>,
    header: Map<String, Value>,
    without_header: Vec<String>,
    raw_header: Option<String>,
    raw_payload: Option<String>,
    key: Option<TestKey>,
    embed_jwk: bool,
    tampered: Option<(String, Value)>,
    seal: Seal,
}

#[derive(Clone, Copy, Debug)]
enum Seal {
    Good,
    Broken,
    /// `alg` is `none`, and the signature is empty.
    Unsecured,
    /// HMAC, with the public key's PEM as the secret.
    PublicKeyHmac,
}

impl<'a> TokenBuilder<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        Self {
            state,
            usual: Map::new(),
            claims: Map::new(),
            without_claims: Vec::new(),
            header: Map::new(),
            without_header: Vec::new(),
            raw_header: None,
            raw_payload: None,
            key: None,
            embed_jwk: false,
            tampered: None,
            seal: Seal::Good,
        }
    }

    /// Sets `sub`.
    pub fn subject(self, subject: &str) -> Self {
        self.usual("sub", subject)
    }

    /// Sets `client_id`.
    pub fn client_id(self, client_id: &str) -> Self {
        self.usual("client_id", client_id)
    }

    /// Sets `scope`, a space-delimited list. An empty one takes the claim away.
    pub fn scope(mut self, scopes: &str) -> Self {
        if scopes.is_empty() {
            self.usual.remove("scope");
            return self;
        }
        self.usual("scope", scopes)
    }

    /// Sets `aud` to a string, instead of the issuer's default.
    pub fn audience(self, audience: &str) -> Self {
        self.usual("aud", audience)
    }

    /// Sets `aud` to a string if it is one, else to an array.
    pub fn audiences<'b>(self, audiences: impl IntoIterator<Item = &'b str>) -> Self {
        let audiences: Vec<&str> = audiences.into_iter().collect();
        match audiences.as_slice() {
            [one] => self.audience(one),
            several => self.usual("aud", json!(several)),
        }
    }

    /// Lets the token expire this long from now.
    pub fn expires_in(self, lifetime: Duration) -> Self {
        let expires = self.state.now().plus(lifetime).as_secs();
        self.usual("exp", expires)
    }

    /// Makes a token that expired this long ago, and was issued a lifetime before that.
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

    fn usual(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.usual.insert(name.into(), value.into());
        self
    }

    /// Sets a claim, of whatever type.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.without_claims.retain(|other| other != name);
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self.without_claims.push(name.into());
        self
    }

    /// Sets the header's `typ`.
    pub fn typ(self, typ: &str) -> Self {
        self.header("typ", typ)
    }

    /// Sets the header's `kid`, whatever key signs.
    pub fn kid(self, kid: &str) -> Self {
        self.header("kid", kid)
    }

    /// Leaves `kid` out of the header.
    pub fn no_kid(self) -> Self {
        self.without_header("kid")
    }

    /// Sets the header's `alg`, whatever the key that signs is for.
    ///
    /// `Ed25519` is the other good name of EdDSA (RFC 9864); any other lies.
    pub fn alg(self, name: &str) -> Self {
        self.header("alg", name)
    }

    /// Sets a header parameter, of whatever type.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.without_header.retain(|other| other != name);
        self.header.insert(name.into(), value.into());
        self
    }

    /// Leaves a header parameter out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self.without_header.push(name.into());
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
        self.key = lock(&self.state.ring).signing(algorithm).cloned();
        if self.key.is_none() {
            misuse(&format!("the embedded issuer was started without a key for {algorithm}"));
        }
        self
    }

    /// Signs with this key, and names its `kid` and its algorithm in the header.
    ///
    /// It may be one of the issuer's, such as one that has been retired, or a foreign one.
    pub fn signed_with(mut self, key: &TestKey) -> Self {
        self.key = Some(key.clone());
        self
    }

    /// Puts the public key that signs into the header's `jwk`, where nobody must look for it
    /// (RFC 8725 §3.10).
    pub fn embed_jwk(mut self) -> Self {
        self.embed_jwk = true;
        self
    }

    /// Takes this text for the header, letter by letter.
    pub fn raw_header(mut self, header: &str) -> Self {
        self.raw_header = Some(header.into());
        self
    }

    /// Takes this text for the payload, letter by letter: a claim named twice, a number of a
    /// thousand digits, no JSON at all.
    pub fn raw_payload(mut self, payload: &str) -> Self {
        self.raw_payload = Some(payload.into());
        self
    }

    /// Changes a claim after signing, so that the signature is that of another payload.
    pub fn tampered_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.tampered = Some((name.into(), value.into()));
        self
    }

    /// Flips one bit of the signature.
    pub fn wrong_signature(mut self) -> Self {
        self.seal = Seal::Broken;
        self
    }

    /// Makes an unsecured JWS (RFC 7515 appendix A.5): `alg` is `none`, the signature is empty.
    pub fn unsecured(mut self) -> Self {
        self.seal = Seal::Unsecured;
        self.alg("none")
    }

    /// Uses the public key, as PEM, for an HMAC secret: what a verifier falls for that lets the
    /// token choose between HMAC and RSA.
    pub fn hmac_with_public_key(mut self) -> Self {
        self.seal = Seal::PublicKeyHmac;
        self.alg(HmacAlgorithm::HS256.name())
    }

    /// Makes the token.
    ///
    /// # Panics
    ///
    /// If the operating system has no memory or no random numbers left.
    #[track_caller]
    pub fn sign(self) -> String {
        let default = || lock(&self.state.ring).default_signing().cloned();
        let Some(key) = self.key.clone().or_else(default) else {
            misuse("the embedded issuer has no keys");
        };
        let header = self.raw_header.clone().unwrap_or_else(|| self.make_header(&key));
        let claims = self.make_claims();
        let payload = self.raw_payload.clone().unwrap_or_else(|| text(&claims));
        let token = self.seal(&key, &header, &payload);
        match self.tampered {
            None => token,
            Some((name, value)) => replace_payload(&token, claims, name, value),
        }
    }

    fn make_header(&self, key: &TestKey) -> String {
        let mut header = Map::new();
        header.insert("alg".into(), key.algorithm().name().into());
        header.insert("typ".into(), self.state.config.typ.as_str().into());
        header.insert("kid".into(), key.kid().into());
        if self.embed_jwk {
            header.insert("jwk".into(), key.public_jwk());
        }
        (self.state.config.shape_header)(&mut header);
        header.extend(self.header.clone());
        header.retain(|name, _| !self.without_header.contains(name));
        text(&header)
    }

    fn make_claims(&self) -> Map<String, Value> {
        let config = &self.state.config;
        let Ok(id) = random_id() else { misuse("no random numbers left") };
        let now = self.state.now();
        let mut claims = Map::new();
        claims.insert("iss".into(), config.issuer.as_str().into());
        claims.insert("sub".into(), crate::testing::TestIssuer::CLIENT_ID.into());
        claims.insert("client_id".into(), crate::testing::TestIssuer::CLIENT_ID.into());
        claims.insert("aud".into(), config.audience.as_str().into());
        claims.insert("iat".into(), now.as_secs().into());
        claims.insert("exp".into(), now.plus(config.lifetime).as_secs().into());
        claims.insert("jti".into(), id.into());
        claims.extend(self.usual.clone());
        (config.shape_claims)(&mut claims);
        claims.extend(self.claims.clone());
        claims.retain(|name, _| !self.without_claims.contains(name));
        claims
    }

    fn seal(&self, key: &TestKey, header: &str, payload: &str) -> String {
        let input = || signing_input(header.as_bytes(), payload.as_bytes());
        match self.seal {
            Seal::Good => key.sign(header, payload),
            Seal::Unsecured => format!("{}.", input()),
            Seal::PublicKeyHmac => {
                let tag = hmac_sha256(key.public_pem().as_bytes(), input().as_bytes());
                format!("{}.{}", input(), BASE64_URL_SAFE_NO_PAD.encode(tag))
            }
            Seal::Broken => {
                let token = key.sign(header, payload);
                let (input, signature) = token.rsplit_once('.').unwrap_or_default();
                let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
                // Neither first nor last: an RSA signature keeps its size, an ECDSA one its range.
                let middle = signature.len() / 2;
                if let Some(byte) = signature.get_mut(middle) {
                    *byte ^= 1;
                }
                format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
            }
        }
    }
}

fn text(object: &Map<String, Value>) -> String {
    Value::Object(object.clone()).to_string()
}

fn replace_payload(
    token: &str,
    mut claims: Map<String, Value>,
    name: String,
    value: Value,
) -> String {
    claims.insert(name, value);
    let (header, rest) = token.split_once('.').unwrap_or_default();
    let (_, signature) = rest.split_once('.').unwrap_or_default();
    format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(text(&claims)))
}
