//! A client that proves to have the key that its token is bound to (RFC 9449), anew for each request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::service::{ORIGIN, PATH};
use crate::tokens::{Floor, Issuer, Signing};

/// The client, with its key of ES256.
pub struct Prover {
    key: Issuer,
    jwk: Value,
    token: String,
    ath: String,
    next: AtomicUsize,
}

impl Default for Prover {
    fn default() -> Self {
        let mut jwk = Signing::Es256.jwk().unwrap();
        for member in ["kid", "alg", "use"] {
            jwk.as_object_mut().unwrap().remove(member);
        }
        // RFC 7638 §3: these members, in the order of their names.
        let [crv, kty, x, y] = ["crv", "kty", "x", "y"].map(|name| jwk[name].clone());
        let thumbprint = sha256(format!(r#"{{"crv":{crv},"kty":{kty},"x":{x},"y":{y}}}"#));
        let token = Issuer::new(Signing::Rs256).token_with("cnf", json!({ "jkt": thumbprint }));
        let ath = sha256(&token);
        Self { key: Issuer::new(Signing::Es256), jwk, token, ath, next: AtomicUsize::new(0) }
    }
}

impl Prover {
    /// The token, which is bound to the key.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A proof that was never used.
    pub fn proof(&self) -> HeaderValue {
        self.sign().parse().unwrap()
    }

    /// The bare check of the signature of such a proof, with the key parsed beforehand.
    pub fn floor(&self) -> Floor {
        self.key.floor(&self.sign())
    }

    fn sign(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk });
        let claims = json!({
            "jti": format!("0194a7c2-9f3e-7b61-8d52-{number:012x}"),
            "htm": "GET",
            "htu": format!("{ORIGIN}{PATH}"),
            "iat": SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
            "ath": self.ath,
        });
        self.key.sign(&header, &claims)
    }
}

/// The SHA-256, in base64url.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes.as_ref()))
}
