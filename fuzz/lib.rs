//! What the targets share: the world of `fixtures/`, in which it is always the same second.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::digest::{SHA256, digest};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{Request, Response};
use http_body_util::Empty;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::dpop::Dpop;
use tower_bearer::jose::{Algorithm, Backend};
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::BearerAuth;
use tower_bearer::testing::TestKey;
use tower_bearer::{BearerAuthLayer, Clock, UnixTime, Validator};

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "https://api.example";
pub const NOW: i64 = 1_800_000_000;
pub const GOOD_SET: &str = include_str!("../fixtures/jwks/good.json");

#[derive(Debug)]
pub struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(NOW)
    }
}

pub type Extra = Map<String, Value>;

/// The validator of the fixtures' good key set.
pub fn validator(backend: Backend) -> Validator<Extra> {
    Validator::builder(ISSUER, AUDIENCE)
        .claims()
        .clock(FixedClock)
        .keys(Jwks::static_set_with(ISSUER, GOOD_SET, backend).unwrap())
        .build()
        .unwrap()
}

type Body = Empty<bytes::Bytes>;
type Answer = std::future::Ready<Result<Response<Body>, std::convert::Infallible>>;
type Inner = tower::util::ServiceFn<fn(Request<Body>) -> Answer>;

fn answer(_: Request<Body>) -> Answer {
    std::future::ready(Ok(Response::new(Empty::new())))
}

/// A client with a token that is bound to its key, and a service that accepts it with a proof.
pub struct Bound {
    pub client: TestKey,
    pub jkt: String,
    pub token: String,
    service: BearerAuth<Inner>,
}

impl Bound {
    pub fn new() -> Self {
        let [issuer, client] = [(); 2].map(|()| TestKey::generate(Algorithm::EdDSA));
        let set = json!({ "keys": [issuer.public_jwk()] }).to_string();
        let keys = Jwks::static_set_with(ISSUER, &set, Backend::AwsLcRs).unwrap();
        let dpop = Dpop::accept().public_origins(["https://api.example"]);
        let builder = Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(FixedClock);
        let validator = builder.dpop(dpop.dangerous_no_replay_check()).build().unwrap();
        let jkt = thumbprint(&client.public_jwk());
        let cnf = json!({ "jkt": jkt });
        let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 60, "cnf": cnf });
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": issuer.kid() });
        let token = issuer.sign(header.to_string(), claims.to_string());
        let service = BearerAuthLayer::new(validator).layer(service_fn(answer as fn(_) -> _));
        Self { client, jkt, token, service }
    }

    /// Sends a request with this proof. Nothing but a 200 or a 401 is right.
    pub fn accepts(&self, uri: http::Uri, proof: http::HeaderValue) -> bool {
        let request = Request::builder().uri(uri).header("dpop", proof);
        let request = request.header("authorization", format!("DPoP {}", self.token));
        let response = at_once(self.service.clone().oneshot(request.body(Empty::new()).unwrap()));
        match response.unwrap().status().as_u16() {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }
}

impl Default for Bound {
    fn default() -> Self {
        Self::new()
    }
}

pub fn hash(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

/// The thumbprint of a key of OKP (RFC 7638, RFC 8037).
pub fn thumbprint(jwk: &Value) -> String {
    let members: std::collections::BTreeMap<_, _> =
        ["crv", "kty", "x"].map(|name| (name, &jwk[name])).into();
    hash(serde_json::to_string(&members).unwrap().as_bytes())
}

/// Polls once. Whatever the bytes, nothing here may wait.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("this waits"),
    }
}

/// Any JSON in which no object has a name twice, or one that `serde_json` gives a meaning.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Self)) = map.next_entry::<String, Self>()? {
            if name.starts_with("$serde_json::private::") || !names.insert(name) {
                return Err(Error::custom("a name that must not be here"));
            }
        }
        Ok(self)
    }
}

/// Whether a second reader finds nothing that two readers could read in two ways.
pub fn is_strict(json: &[u8]) -> bool {
    serde_json::from_slice::<Strict>(json).is_ok()
}
