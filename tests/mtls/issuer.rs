//! The embedded issuer grants tokens that are bound to a certificate, and says so when it is asked.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::mtls::Certificate;
use tower_bearer::testing::{TestClient, TestIssuer, TestKey};
use tower_bearer::transport::{Limits, Transport as _};
use tower_bearer::{BearerAuthLayer, Validator};

use crate::service::{Service, from_connection, over, vectors, verdict};
use crate::world::{Inner, send};

fn service(issuer: &TestIssuer) -> Service {
    let keys = Jwks::discover(issuer.issuer()).transport(issuer.transport());
    let own = ClientAuth::basic("billing", "s3cret");
    let asking = Introspection::discover(own).transport(issuer.transport());
    let builder = Validator::builder(issuer.issuer(), issuer.audience()).keys(keys);
    let validator = builder.introspection(asking).mtls(from_connection()).build().unwrap();
    BearerAuthLayer::new(validator).layer(Inner::default())
}

async fn issuer() -> TestIssuer {
    let [own, _] = vectors();
    let certificate = Certificate::from_der(&own.decoded());
    let client = TestClient::secret("billing", "s3cret").bound_to_certificate(&certificate);
    TestIssuer::builder().client(client).start().await.unwrap()
}

#[tokio::test]
async fn mt2_the_embedded_issuer_grants_bound_tokens() {
    let [own, other] = vectors();
    let issuer = issuer().await;
    let login = BASE64_STANDARD.encode("billing:s3cret");
    let request = Request::post(issuer.token_endpoint())
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", format!("Basic {login}"))
        .body(Bytes::from("grant_type=client_credentials"))
        .unwrap();
    let limits = Limits::new(65_536, std::time::Duration::from_secs(5));
    let granted: Response<Bytes> = issuer.transport().send(request, limits).await.unwrap();
    let granted: Value = serde_json::from_slice(granted.body()).unwrap();
    assert_eq!(granted["token_type"], "Bearer", "MT3");
    let token = granted["access_token"].as_str().unwrap();
    let service = service(&issuer);
    // The first request waits for the keys, certificate and all.
    for (shown, expected) in [
        (Some(&own), "accepted"),
        (Some(&other), "certificate_mismatch"),
        (None, "certificate_missing"),
    ] {
        assert_eq!(verdict(&send(&service, over(shown, token)).await), expected);
    }
}

#[tokio::test]
async fn mt2_a_wrong_certificate_waits_for_the_keys_as_well() {
    let [own, other] = vectors();
    let issuer = issuer().await;
    let token = issuer.token().bound_to_certificate(&Certificate::from_der(&own.decoded())).sign();
    for (shown, expected) in [
        (Some(&other), "certificate_mismatch"),
        (None, "certificate_missing"),
        (Some(&own), "accepted"),
    ] {
        // A validator of its own, which has no keys yet.
        assert_eq!(verdict(&send(&service(&issuer), over(shown, &token)).await), expected);
    }
}

#[tokio::test]
async fn mt13_introspected_tokens_are_bound_alike() {
    let [own, other] = vectors();
    let issuer = issuer().await;
    let service = service(&issuer);
    let certificate = Certificate::from_der(&own.decoded());
    let bound = issuer.token().bound_to_certificate(&certificate).opaque();
    let unbound = issuer.token().opaque();
    let odd = issuer.token().claim("cnf", json!({ "x5t#S256": "x" })).opaque();
    // The second time, the answer is remembered.
    for _ in 0..2 {
        for (token, shown, expected) in [
            (&bound, Some(&own), "accepted"),
            (&bound, Some(&other), "certificate_mismatch"),
            (&bound, None, "certificate_missing"),
            (&unbound, None, "accepted"),
            (&odd, Some(&own), "sender_constrained"),
        ] {
            assert_eq!(verdict(&send(&service, over(shown, token)).await), expected);
        }
    }
}

#[tokio::test]
async fn mt3_a_token_can_be_bound_to_a_key_and_a_certificate() {
    let [own, _] = vectors();
    let issuer = issuer().await;
    let key = TestKey::generate(Algorithm::ES256);
    let certificate = Certificate::from_der(&own.decoded());
    for token in [
        issuer.token().bound_to(&key).bound_to_certificate(&certificate).sign(),
        issuer.token().bound_to_certificate(&certificate).bound_to(&key).sign(),
    ] {
        let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(claims["cnf"]["x5t#S256"], own.thumbprint);
        assert!(claims["cnf"]["jkt"].is_string());
    }
}
