//! The embedded issuer grants bound tokens, and asks for nonces.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use tower_bearer::Validator;
use tower_bearer::dpop::Dpop;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{TestIssuer, TestKey, TestProof};
use tower_bearer::transport::{Limits, Transport as _};
use tower_bearer::{BearerAuthLayer, RejectionKind};

use crate::service::{proved, thumbprint};
use crate::world::{Inner, send};

async fn ask(issuer: &TestIssuer, proofs: &[String]) -> Response<Bytes> {
    let login = BASE64_STANDARD.encode("test-client:test-secret");
    let mut request = Request::post(issuer.token_endpoint())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", format!("Basic {login}"));
    for proof in proofs {
        request = request.header("dpop", proof);
    }
    let request = request.body(Bytes::from("grant_type=client_credentials")).unwrap();
    let limits = Limits::new(65_536, std::time::Duration::from_secs(5));
    issuer.transport().send(request, limits).await.unwrap()
}

fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test]
async fn d83_the_embedded_issuer_grants_bound_tokens() {
    let issuer = TestIssuer::start().await.unwrap();
    for algorithm in [Algorithm::EdDSA, Algorithm::MlDsa44] {
        grants(&issuer, algorithm).await;
    }
}

async fn grants(issuer: &TestIssuer, algorithm: Algorithm) {
    let key = TestKey::generate(algorithm);
    let proof = || TestProof::by(&key).method("POST").uri(&issuer.token_endpoint());
    let granted = json(&ask(issuer, &[proof().sign()]).await);
    assert_eq!(granted["token_type"], "DPoP");
    let token = granted["access_token"].as_str().unwrap();

    let keys = Jwks::discover(issuer.issuer()).transport(issuer.transport());
    let dpop = Dpop::require().public_origins(["https://api.test"]).algorithms([algorithm]);
    let builder = Validator::builder(issuer.issuer(), issuer.audience()).keys(keys);
    let validator = builder.dpop(dpop).build().unwrap();
    let inner = Inner::default();
    let service = tower::Layer::layer(&BearerAuthLayer::new(validator), inner.clone());
    // The first request waits for the keys, proof and all.
    let own = TestProof::by(&key).method("GET").uri("https://api.test/").token(token).sign();
    let answer = send(&service, proved("GET", "/", token, &own)).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert_eq!(inner.subject().as_deref(), Some("test-client"));
    let again = send(&service, proved("GET", "/", token, &own)).await;
    assert_eq!(again.kind(), Some(RejectionKind::DpopProofReplayed));

    // Without a proof, the token is a bearer token.
    assert_eq!(json(&ask(issuer, &[]).await)["token_type"], "Bearer");
    for bad in [
        vec![proof().method("GET").sign()],
        vec![proof().uri("https://evil.example/token").sign()],
        vec![proof().wrong_signature().sign()],
        vec![proof().typ("JWT").sign()],
        vec![proof().sign(), proof().sign()],
        vec![String::from("garbage")],
    ] {
        let refused = ask(issuer, &bad).await;
        assert_eq!(
            (refused.status().as_u16(), &json(&refused)["error"]),
            (400, &"invalid_dpop_proof".into())
        );
    }
    let once = proof().sign();
    assert_eq!(ask(issuer, std::slice::from_ref(&once)).await.status(), 200);
    assert_eq!(ask(issuer, &[once]).await.status(), 400);
}

#[tokio::test]
async fn d83_the_embedded_issuer_asks_for_nonces() {
    let issuer = TestIssuer::builder().dpop_nonces().start().await.unwrap();
    let key = TestKey::generate(Algorithm::ES256);
    let proof = || TestProof::by(&key).method("POST").uri(&issuer.token_endpoint());
    let refused = ask(&issuer, &[proof().sign()]).await;
    assert_eq!(
        (refused.status().as_u16(), &json(&refused)["error"]),
        (400, &"use_dpop_nonce".into())
    );
    let nonce = refused.headers()["dpop-nonce"].to_str().unwrap();
    let granted = json(&ask(&issuer, &[proof().nonce(nonce).sign()]).await);
    assert_eq!(granted["token_type"], "DPoP");
    let claims = granted["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["cnf"]["jkt"], thumbprint(&key));
}

#[test]
fn d83_a_token_is_bound_to_a_key_as_its_thumbprint_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let issuer = runtime.block_on(TestIssuer::start()).unwrap();
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256, Algorithm::MlDsa44] {
        let key = TestKey::generate(algorithm);
        let token = issuer.token().bound_to(&key).sign();
        let claims = token.split('.').nth(1).unwrap();
        let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["cnf"]["jkt"], thumbprint(&key), "{algorithm}");
    }
}
