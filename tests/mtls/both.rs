//! Tokens that are bound to a key, a certificate, or both (Q6).

use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::dpop::Dpop;
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{TestKey, TestProof};
use tower_bearer::{Access, BearerAuthLayer, RouteTable};

use crate::service::{Vector, World, from_connection, over, vectors, verdict};
use crate::world::{Answer, send};

const ORIGIN: &str = "https://api.example";

fn thumbprint(key: &TestKey) -> String {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let jwk = key.public_jwk();
    let json = format!(
        r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#,
        jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]
    );
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, json.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(digest)
}

struct Both {
    world: World,
    key: TestKey,
    own: Vector,
    other: Vector,
}

impl Both {
    fn new() -> Self {
        let [own, other] = vectors();
        Self { world: World::new(), key: TestKey::generate(Algorithm::ES256), own, other }
    }

    fn token(&self, key: bool, certificate: bool) -> String {
        let mut cnf = serde_json::Map::new();
        if key {
            cnf.insert("jkt".into(), thumbprint(&self.key).into());
        }
        if certificate {
            cnf.insert("x5t#S256".into(), self.own.thumbprint.clone().into());
        }
        let cnf = if cnf.is_empty() { Value::Null } else { cnf.into() };
        self.world.issuer().token_with(json!({ "cnf": cnf }))
    }

    async fn ask(
        &self,
        layer: &BearerAuthLayer,
        token: &str,
        proof: bool,
        certificate: Option<&Vector>,
    ) -> Answer {
        let mut request = over(certificate, token);
        if proof {
            let proof = TestProof::by(&self.key).method("GET").uri(&format!("{ORIGIN}/"));
            let proof = proof.token(token).sign();
            request.headers_mut().insert("dpop", proof.parse().unwrap());
            let authorization = format!("DPoP {token}").parse().unwrap();
            request.headers_mut().insert("authorization", authorization);
        }
        send(&layer.layer(self.world.inner.clone()), request).await
    }
}

fn dpop() -> Dpop {
    Dpop::accept().public_origins([ORIGIN]).algorithms([Algorithm::ES256])
}

#[tokio::test]
async fn mt3_what_a_token_is_bound_to_must_all_be_shown() {
    let it = Both::new();
    let builder = it.world.builder().dpop(dpop()).mtls(from_connection());
    let layer = BearerAuthLayer::new(builder.build().unwrap()).realm("api").unwrap();
    let (own, other) = (Some(&it.own), Some(&it.other));
    for (key, certificate, proof, shown, expected) in [
        (true, true, true, own, "accepted"),
        (true, true, true, other, "certificate_mismatch"),
        (true, true, true, None, "certificate_missing"),
        (true, true, false, own, "sender_constrained"),
        (true, true, false, None, "certificate_missing"),
        (true, false, true, own, "accepted"),
        (true, false, true, None, "accepted"),
        (true, false, false, own, "sender_constrained"),
        (false, true, false, own, "accepted"),
        (false, true, false, other, "certificate_mismatch"),
        (false, true, false, None, "certificate_missing"),
        // A token that is bound to no key doesn't go with the scheme of one.
        (false, true, true, own, "token_not_bound"),
        (false, false, false, own, "accepted"),
        (false, false, true, own, "token_not_bound"),
    ] {
        let token = it.token(key, certificate);
        let answer = it.ask(&layer, &token, proof, shown).await;
        let case = (key, certificate, proof, shown.is_some());
        assert_eq!(verdict(&answer), expected, "{case:?}");
        assert_eq!(answer.status(), if expected == "accepted" { 200 } else { 401 });
    }
}

#[tokio::test]
async fn mt2_a_wrong_certificate_uses_up_no_proof() {
    let it = Both::new();
    let builder = it.world.builder().dpop(dpop()).mtls(from_connection());
    let layer = BearerAuthLayer::new(builder.build().unwrap());
    let service = layer.layer(it.world.inner.clone());
    let token = it.token(true, true);
    let proof = TestProof::by(&it.key).method("GET").uri(&format!("{ORIGIN}/"));
    let proof = proof.token(&token).sign();
    for (shown, expected) in [
        (&it.other, "certificate_mismatch"),
        (&it.own, "accepted"),
        (&it.own, "dpop_proof_replayed"),
    ] {
        let mut request = over(Some(shown), &token);
        request.headers_mut().insert("dpop", proof.parse().unwrap());
        request.headers_mut().insert("authorization", format!("DPoP {token}").parse().unwrap());
        assert_eq!(verdict(&send(&service, request).await), expected);
    }
}

// D51, C18
#[tokio::test]
async fn mt2_with_one_of_both_off_what_is_bound_to_both_is_refused() {
    let it = Both::new();
    let mtls_only = it.world.builder().mtls(from_connection()).build().unwrap();
    let dpop_only = it.world.builder().dpop(dpop()).build().unwrap();
    for (validator, on) in [(mtls_only, (false, true)), (dpop_only, (true, false))] {
        let layer = BearerAuthLayer::new(validator);
        let ask = async |key, certificate, proof| {
            let token = it.token(key, certificate);
            it.ask(&layer, &token, proof, Some(&it.own)).await.status()
        };
        assert_eq!(ask(true, true, true).await, 401);
        assert_eq!(ask(true, true, false).await, 401);
        assert_eq!(ask(on.0, on.1, on.0).await, 200);
        assert_eq!(ask(on.1, on.0, on.1).await, 401);
    }
}

#[tokio::test]
async fn mt4_either_kind_of_bound_token_is_enough() {
    let it = Both::new();
    let both = || it.world.builder().dpop(dpop()).mtls(from_connection());
    let everywhere = BearerAuthLayer::new(both().require_bound().build().unwrap());
    let routes = RouteTable::builder().any("/", Access::token().require_bound()).build().unwrap();
    let on_a_route = BearerAuthLayer::new(both().build().unwrap()).routes(routes);
    for layer in [everywhere, on_a_route].map(|it| it.realm("api").unwrap()) {
        let own = Some(&it.own);
        let by_key = it.ask(&layer, &it.token(true, false), true, None).await;
        let by_certificate = it.ask(&layer, &it.token(false, true), false, own).await;
        let by_both = it.ask(&layer, &it.token(true, true), true, own).await;
        for answer in [by_key, by_certificate, by_both] {
            assert_eq!(verdict(&answer), "accepted");
        }
        let refused = it.ask(&layer, &it.token(false, false), false, own).await;
        assert_eq!((refused.status(), verdict(&refused)), (401, "token_not_bound"));
        // Either scheme would do, with another token.
        let challenges: Vec<_> =
            refused.response.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(challenges.len(), 2);
        assert!(challenges[0].to_str().unwrap().contains(r#"error="invalid_token""#));
    }
}

#[tokio::test]
async fn mt4_without_certificates_bound_means_dpop() {
    let it = Both::new();
    let layer = it.world.builder().dpop(dpop()).require_bound().build().unwrap();
    let layer = BearerAuthLayer::new(layer).realm("api").unwrap();
    let refused = it.ask(&layer, &it.token(false, false), false, None).await;
    assert_eq!((refused.status(), verdict(&refused)), (401, "token_not_bound"));
    assert!(refused.challenge().starts_with("DPoP "), "{}", refused.challenge());
    assert_eq!(it.ask(&layer, &it.token(true, false), true, None).await.status(), 200);
    // A route that asks for what can't be shown is put together wrongly.
    let routes = RouteTable::builder().any("/", Access::token().require_bound()).build().unwrap();
    let layer = BearerAuthLayer::new(it.world.builder().build().unwrap()).routes(routes);
    let answer = it.ask(&layer, &it.token(false, false), false, None).await;
    assert_eq!((answer.status(), verdict(&answer)), (500, "misconfigured"));
}
