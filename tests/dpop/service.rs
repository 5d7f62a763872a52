//! A service that accepts bound tokens, and a client that has one.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use serde_json::json;
use tower::Layer as _;
use tower_bearer::dpop::Dpop;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::BearerAuth;
use tower_bearer::testing::{ManualClock, TestKey, TestProof};
use tower_bearer::{BearerAuthLayer, NoClaims, UnixTime, Validator, ValidatorBuilder};

use crate::world::{AUDIENCE, Answer, ISSUER, Inner, Issuer, request};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ORIGIN: &str = "https://api.example";

/// The usual settings of these tests.
pub(crate) fn accept() -> Dpop {
    Dpop::accept().public_origins([ORIGIN]).algorithms([Algorithm::ES256, Algorithm::EdDSA])
}

pub(crate) fn require() -> Dpop {
    Dpop::require().public_origins([ORIGIN]).algorithms([Algorithm::ES256, Algorithm::EdDSA])
}

pub(crate) struct World {
    pub(crate) issuer: Issuer,
    pub(crate) clock: ManualClock,
    pub(crate) client: TestKey,
    pub(crate) inner: Inner,
}

pub(crate) type Service = BearerAuth<Inner, NoClaims>;

impl World {
    pub(crate) fn new() -> Self {
        Self {
            issuer: Issuer::new(),
            clock: ManualClock::new(UnixTime::from_secs(NOW)),
            client: TestKey::generate(Algorithm::ES256),
            inner: Inner::default(),
        }
    }

    pub(crate) fn builder(&self, dpop: Dpop) -> ValidatorBuilder {
        let keys = Jwks::static_set(ISSUER, &self.issuer.jwks_json()).unwrap();
        let builder = Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(self.clock.clone());
        builder.dpop(dpop)
    }

    pub(crate) fn validator(&self, dpop: Dpop) -> Validator {
        self.builder(dpop).build().unwrap()
    }

    pub(crate) fn layer(&self, dpop: Dpop) -> BearerAuthLayer {
        BearerAuthLayer::new(self.validator(dpop)).realm("api").unwrap()
    }

    pub(crate) fn service(&self, dpop: Dpop) -> Service {
        self.layer(dpop).layer(self.inner.clone())
    }

    /// A token of this scope that is bound to the client's key.
    pub(crate) fn bound(&self, scope: &str) -> String {
        self.token(scope, json!({ "jkt": thumbprint(&self.client) }))
    }

    pub(crate) fn unbound(&self, scope: &str) -> String {
        self.token(scope, json!(null))
    }

    pub(crate) fn token(&self, scope: &str, cnf: serde_json::Value) -> String {
        let times = [("exp", NOW + 86_400), ("iat", NOW)];
        let mut changes = json!({ "scope": scope, "cnf": cnf });
        for (name, time) in times {
            changes[name] = time.into();
        }
        self.issuer.token_with(changes)
    }

    /// A good proof for this request, by the client's key, as it is begun.
    pub(crate) fn proof(&self, method: &str, path: &str, token: &str) -> TestProof {
        let proof = TestProof::by(&self.client).now(self.now());
        proof.method(method).uri(&format!("{ORIGIN}{path}")).token(token)
    }

    pub(crate) fn now(&self) -> UnixTime {
        use tower_bearer::Clock as _;
        self.clock.now()
    }
}

pub(crate) fn proved(method: &str, path: &str, token: &str, proof: &str) -> Request<Empty<Bytes>> {
    let authorization = format!("DPoP {token}");
    request(method, path, &[("authorization", &authorization), ("dpop", proof)])
}

pub(crate) fn thumbprint(key: &TestKey) -> String {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let jwk = key.public_jwk();
    // RFC 7638 §3.2, RFC 9964.
    let members: &[&str] = if jwk["kty"] == "AKP" {
        &["alg", "kty", "pub"]
    } else {
        &["crv", "e", "kty", "n", "x", "y"]
    };
    let members: std::collections::BTreeMap<_, _> =
        members.iter().filter_map(|name| Some((*name, jwk.get(*name)?.clone()))).collect();
    let json = serde_json::to_string(&members).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, json.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(digest)
}

/// All values of a field.
pub(crate) fn all(answer: &Answer, name: &str) -> Vec<String> {
    let values = answer.response.headers().get_all(name).iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// Why it was refused, or `accepted`.
pub(crate) fn verdict(answer: &Answer) -> &'static str {
    match answer.refusal() {
        Some(refusal) => refusal.code(),
        None => "accepted",
    }
}
