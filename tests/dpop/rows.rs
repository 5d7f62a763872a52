//! Each row of `fixtures/dpop/proofs.json`: one change to a good request, and what it comes to. The library's own
//! tests use it as well.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tower_bearer::UnixTime;
use tower_bearer::testing::{TestKey, TestProof};

const ORIGIN: &str = "https://api.example";
pub(crate) const PATH: &str = "/a/b";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) expect: String,
    #[serde(default)]
    pub(crate) scheme: Option<String>,
    #[serde(default)]
    pub(crate) token: Option<String>,
    #[serde(default)]
    pub(crate) proofs: Option<Vec<String>>,
    #[serde(default)]
    header: Map<String, Value>,
    #[serde(default)]
    without_header: Vec<String>,
    #[serde(default)]
    jwk: Map<String, Value>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    without_claims: Vec<String>,
    #[serde(default)]
    raw_claims_suffix: Option<String>,
    #[serde(default)]
    seal: Option<String>,
    /// Whose key is shown and signs.
    #[serde(default)]
    by: Option<String>,
    /// The key that is shown, and that the token is bound to, while the client's signs.
    #[serde(default)]
    pub(crate) key: Option<Map<String, Value>>,
    /// Whose key is shown, while the client's signs.
    #[serde(default)]
    jwk_of: Option<String>,
    /// Whose key signs, while the client's is shown.
    #[serde(default)]
    sign_by: Option<String>,
    #[serde(default)]
    ath_of: Option<String>,
}

impl Row {
    pub(crate) fn all() -> Vec<Self> {
        let rows = include_str!("../../fixtures/dpop/proofs.json");
        serde_json::from_str(rows).unwrap()
    }

    /// Returns what the token is bound to, if that isn't the client's key: the key's thumbprint (RFC 7638).
    pub(crate) fn jkt(&self) -> Option<String> {
        let members: BTreeMap<_, _> = self.key.as_ref()?.iter().collect();
        Some(hash(&serde_json::to_string(&members).unwrap()))
    }

    /// Returns the row's proof for a token that is bound to the client's key, made at this time.
    pub(crate) fn proof(&self, client: &TestKey, other: &TestKey, token: &str, now: i64) -> String {
        let is_other = |who: &Option<String>| who.as_deref() == Some("other");
        let key = if is_other(&self.by) || is_other(&self.sign_by) { other } else { client };
        let mut proof = TestProof::by(key).now(UnixTime::from_secs(now)).method("GET");
        proof = proof.uri(&format!("{ORIGIN}{PATH}")).token(token);
        if is_other(&self.jwk_of) {
            proof = proof.jwk_of(other);
        }
        if is_other(&self.sign_by) {
            proof = proof.jwk_of(client);
        }
        if let Some(of) = &self.ath_of {
            proof = proof.token(of);
        }
        for (name, value) in &self.header {
            proof = proof.header(name, value.clone());
        }
        if let Some(key) = &self.key {
            proof = proof.header("jwk", key.clone());
        }
        for name in &self.without_header {
            proof = proof.without_header(name);
        }
        for (name, value) in &self.jwk {
            proof = proof.jwk_member(name, value.clone());
        }
        for (name, value) in &self.claims {
            proof = proof.claim(name, filled(value, &hash(token), now));
        }
        for name in &self.without_claims {
            proof = proof.without_claim(name);
        }
        if let Some(suffix) = &self.raw_claims_suffix {
            let claims = format!(
                r#"{{"jti":"j","htm":"GET","htu":"{ORIGIN}{PATH}","iat":{now},"ath":"{}"{suffix}}}"#,
                hash(token)
            );
            proof = proof.raw_payload(&claims);
        }
        match self.seal.as_deref() {
            Some("none") => proof.unsecured(),
            Some("hmac") => proof.hmac_with_public_key(),
            Some("broken") => proof.wrong_signature(),
            Some(other) => panic!("{other}"),
            None => proof,
        }
        .sign()
    }
}

/// Replaces what can't be known when the row is written.
fn filled(value: &Value, ath: &str, now: i64) -> Value {
    match value {
        Value::Object(object) if object.contains_key("$now") => {
            let offset = object["$now"].as_f64().unwrap();
            match offset.fract() == 0.0 {
                true => (now + offset as i64).into(),
                false => (now as f64 + offset).into(),
            }
        }
        Value::String(text) => text
            .replace("$NOW as text", &now.to_string())
            .replace("$ATH", ath)
            .replace("$LOWER_ATH", &ath.to_lowercase())
            .into(),
        other => other.clone(),
    }
}

/// SHA-256, as `ath` and thumbprints have it.
fn hash(text: &str) -> String {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(digest)
}
