//! What the FAPI 2.0 Security Profile asks of a resource server, by one word.
#![cfg(all(feature = "dpop", feature = "mtls", feature = "test-util", feature = "aws-lc-rs"))]

mod world;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::dpop::Dpop;
use tower_bearer::issuers::Issuer as Entry;
use tower_bearer::jose::{Algorithm, HmacAlgorithm};
use tower_bearer::jwks::Jwks;
use tower_bearer::mtls::{Certificate, Mtls};
use tower_bearer::testing::{ManualClock, TestKey, TestProof};
use tower_bearer::{BearerAuthLayer, Secret, UnixTime, Validator, ValidatorBuilder};
use world::{AUDIENCE, Answer, ISSUER, Inner, bearer, get, request, send};

const NOW: i64 = 1_800_000_000;
const ORIGIN: &str = "https://api.example";

/// What a TLS layer leaves with a request.
#[derive(Clone)]
struct Connection;

fn certificate() -> Certificate {
    Certificate::from_der(b"whatever the TLS layer took for one")
}

fn mtls() -> Mtls {
    Mtls::from_connection(|_: &Connection| Some(certificate()))
}

fn dpop() -> Dpop {
    Dpop::accept().public_origins([ORIGIN])
}

struct World {
    keys: Vec<TestKey>,
    clock: ManualClock,
}

impl World {
    fn new(algorithms: &[Algorithm]) -> Self {
        let keys = algorithms.iter().map(|it| TestKey::generate(*it)).collect();
        Self { keys, clock: ManualClock::new(UnixTime::from_secs(NOW)) }
    }

    fn builder(&self) -> ValidatorBuilder {
        let jwks: Vec<_> = self.keys.iter().map(TestKey::public_jwk).collect();
        let set = json!({ "keys": jwks }).to_string();
        let keys = Jwks::static_set(ISSUER, &set).unwrap();
        Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(self.clock.clone())
    }

    /// A token that is bound to the certificate, with these claims over the usual ones.
    fn token(&self, key: &TestKey, changes: Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600, "iat": NOW,
            "cnf": { "x5t#S256": certificate().thumbprint() },
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let header = json!({ "alg": key.algorithm().name(), "typ": "at+jwt", "kid": key.kid() });
        key.sign(header.to_string(), claims.to_string())
    }
}

fn over_tls(token: &str) -> Request<Empty<Bytes>> {
    let mut request = get("/", &[("authorization", &bearer(token))]);
    request.extensions_mut().insert(Connection);
    request
}

async fn ask(validator: Validator, request: Request<Empty<Bytes>>) -> Answer {
    let layer = BearerAuthLayer::new(validator).realm("api").unwrap();
    send(&layer.layer(Inner::default()), request).await
}

fn code(answer: &Answer) -> &'static str {
    answer.refusal().map_or("accepted", |refusal| refusal.code())
}

#[tokio::test]
async fn fapi_tokens_have_one_of_three_algorithms() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, RS256};
    let world = World::new(&[PS256, ES256, EdDSA, RS256, PS384, ES384]);
    for key in &world.keys {
        let token = world.token(key, json!({}));
        let fapi = world.builder().mtls(mtls()).fapi2().build().unwrap();
        let allowed = [PS256, ES256, EdDSA].contains(&key.algorithm());
        let expected = if allowed { "accepted" } else { "unsupported_algorithm" };
        assert_eq!(code(&ask(fapi, over_tls(&token)).await), expected, "{}", key.algorithm());
        // Without it, all of them.
        let usual = world.builder().mtls(mtls()).build().unwrap();
        assert_eq!(code(&ask(usual, over_tls(&token)).await), "accepted");
    }
}

#[tokio::test]
async fn fapi_tokens_are_bound_and_come_in_the_header() {
    let world = World::new(&[Algorithm::ES256]);
    let key = &world.keys[0];
    let validator = || world.builder().mtls(mtls()).dpop(dpop()).fapi2().build().unwrap();
    let (bound, unbound) = (world.token(key, json!({})), world.token(key, json!({ "cnf": null })));
    assert_eq!(code(&ask(validator(), over_tls(&bound)).await), "accepted");
    // `cnf: null` is no way to be unbound; to have none is.
    assert_eq!(code(&ask(validator(), over_tls(&unbound)).await), "sender_constrained");
    let claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 600 });
    let header = json!({ "alg": "ES256", "kid": key.kid() });
    let unbound = key.sign(header.to_string(), claims.to_string());
    assert_eq!(code(&ask(validator(), over_tls(&unbound)).await), "token_not_bound");
    let usual = world.builder().mtls(mtls()).build().unwrap();
    assert_eq!(code(&ask(usual, over_tls(&unbound)).await), "accepted");
    // Without the certificate.
    let stolen = get("/", &[("authorization", &bearer(&bound))]);
    assert_eq!(code(&ask(validator(), stolen).await), "certificate_missing");
    let mut in_query = get(&format!("/?access_token={bound}"), &[]);
    in_query.extensions_mut().insert(Connection);
    assert_eq!(code(&ask(validator(), in_query).await), "no_credentials");
}

#[tokio::test]
async fn fapi_times_may_be_a_little_ahead_and_no_more() {
    let world = World::new(&[Algorithm::ES256]);
    let fapi = world.builder().mtls(mtls()).fapi2().build().unwrap();
    let shorter = world.builder().mtls(mtls()).fapi2().leeway(Duration::from_secs(10));
    let shorter = shorter.build().unwrap();
    let usual = world.builder().mtls(mtls()).build().unwrap();
    for claim in ["iat", "nbf"] {
        for (ahead, fapi_says, shorter_says) in [
            (0, "accepted", "accepted"),
            (10, "accepted", "accepted"),
            (11, "accepted", "not_yet_valid"),
            (60, "accepted", "not_yet_valid"),
            (61, "not_yet_valid", "not_yet_valid"),
        ] {
            let token = world.token(&world.keys[0], json!({ claim: NOW + ahead }));
            // The second time, the token is known if it was accepted.
            for _ in 0..2 {
                let said = code(&ask(fapi.clone(), over_tls(&token)).await);
                assert_eq!(said, fapi_says, "{claim} {ahead}");
                let said = code(&ask(shorter.clone(), over_tls(&token)).await);
                assert_eq!(said, shorter_says, "{claim} {ahead}");
            }
            if claim == "iat" {
                assert_eq!(code(&ask(usual.clone(), over_tls(&token)).await), "accepted");
            }
        }
    }
    // One that was refused is accepted when its time has come.
    let token = world.token(&world.keys[0], json!({ "iat": NOW + 61 }));
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(code(&ask(fapi.clone(), over_tls(&token)).await), "accepted");
    // And one that was accepted isn't when the clock is set back.
    world.clock.set(UnixTime::from_secs(NOW - 5));
    assert_eq!(code(&ask(fapi, over_tls(&token)).await), "not_yet_valid");
}

#[tokio::test]
async fn fapi_proofs_have_one_of_three_algorithms_and_the_same_clock() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
    let world = World::new(&[ES256]);
    let fapi = world.builder().dpop(dpop()).fapi2().build().unwrap();
    let usual = world.builder().dpop(dpop()).build().unwrap();
    for (algorithm, ahead, by_fapi, by_default) in [
        (PS256, 0, "accepted", "accepted"),
        (ES256, 0, "accepted", "accepted"),
        (EdDSA, 0, "accepted", "accepted"),
        (RS256, 0, "dpop_proof_malformed", "accepted"),
        (ES384, 0, "dpop_proof_malformed", "accepted"),
        (ES256, 10, "accepted", "dpop_proof_out_of_time"),
        (ES256, 11, "dpop_proof_out_of_time", "dpop_proof_out_of_time"),
    ] {
        let client = TestKey::generate(algorithm);
        let token = world.token(&world.keys[0], json!({ "cnf": { "jkt": thumbprint(&client) } }));
        for (validator, expected) in [(&fapi, by_fapi), (&usual, by_default)] {
            let proof = TestProof::by(&client).now(UnixTime::from_secs(NOW + ahead));
            let proof = proof.method("GET").uri(&format!("{ORIGIN}/")).token(&token).sign();
            let authorization = format!("DPoP {token}");
            let request =
                request("GET", "/", &[("authorization", &authorization), ("dpop", &proof)]);
            assert_eq!(code(&ask(validator.clone(), request).await), expected, "{algorithm}");
        }
    }
    let challenge = ask(fapi, get("/", &[])).await;
    assert_eq!(challenge.challenge(), r#"DPoP realm="api", algs="PS256 ES256 EdDSA""#);
}

fn thumbprint(key: &TestKey) -> String {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let jwk = key.public_jwk();
    let members = ["crv", "e", "kty", "n", "x", "y"];
    let members: std::collections::BTreeMap<_, _> =
        members.iter().filter_map(|name| Some((*name, jwk.get(*name)?.clone()))).collect();
    let json = serde_json::to_string(&members).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, json.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(digest)
}

#[tokio::test]
async fn fapi_settings_that_do_not_fit_are_refused() {
    use Algorithm::{ES256, RS256};
    let world = World::new(&[ES256]);
    let builder = || world.builder().mtls(mtls());
    let secret = || Secret::new([7; 64]);
    for (builder, why) in [
        (world.builder().fapi2(), "give .dpop(…) or .mtls(…)"),
        (builder().algorithms([ES256, RS256]).fapi2(), "no tokens that are signed with RS256"),
        (builder().fapi2().leeway(Duration::from_secs(9)), "use 10 to 60 seconds"),
        (builder().fapi2().leeway(Duration::from_secs(61)), "use 10 to 60 seconds"),
        (
            builder().dangerous_shared_secret(HmacAlgorithm::HS256, secret()).fapi2(),
            "signed with a shared secret",
        ),
        (builder().dangerous_clients_without_audience(["a"]).fapi2(), "tokens have an audience"),
        (
            world.builder().dpop(dpop().algorithms([RS256])).fapi2(),
            "no DPoP proofs that are signed with RS256",
        ),
        (Validator::jwt_svid("example.org", "a").mtls(mtls()).fapi2(), "JWT-SVIDs are never bound"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(builder().algorithms([ES256]).fapi2().build().is_ok());
    assert!(world.builder().dpop(dpop().algorithms([ES256])).fapi2().build().is_ok());

    // Of several issuers, each; and of those that come later.
    let entry = || Entry::new(ISSUER, AUDIENCE);
    let build = |entry| Validator::issuers([entry]).mtls(mtls()).fapi2().build();
    let error = build(entry().algorithms([RS256])).unwrap_err().to_string();
    assert!(error.contains("signed with RS256"), "{error}");
    let several: Validator = build(entry()).unwrap();
    assert!(several.set_issuers([entry().algorithms([RS256])]).is_err());
    assert!(several.set_issuers([entry().algorithms([ES256])]).is_ok());
}
