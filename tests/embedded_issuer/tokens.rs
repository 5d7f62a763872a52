use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};
use tower_bearer::UnixTime;
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{ManualClock, TestIssuer, TestKey};

use crate::{ask, read, verify, verify_with};

const NOW: i64 = 1_000_000;

/// An issuer whose clock stands still.
async fn still() -> TestIssuer {
    let clock = ManualClock::new(UnixTime::from_secs(NOW));
    TestIssuer::builder().clock(clock).start().await.unwrap()
}

#[tokio::test]
async fn a_token_has_the_profile_of_rfc_9068() {
    let issuer = still().await;
    let (header, claims) = read(&issuer.token().sign());
    assert_eq!(header, json!({ "alg": "ES256", "kid": "es256-1", "typ": "at+jwt" }));
    let id = claims["jti"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 22);
    assert_ne!(read(&issuer.token().sign()).1["jti"], id);
    assert_eq!(
        claims,
        json!({
            "iss": issuer.issuer(), "sub": "test-client", "client_id": "test-client",
            "aud": "https://api.test", "iat": NOW, "exp": NOW + 600, "jti": id,
        })
    );
}

#[tokio::test]
async fn a_token_is_good_unless_told_otherwise() {
    let issuer = TestIssuer::start().await.unwrap();
    verify(&issuer, &issuer.token().sign()).await.unwrap();
    let hour = Duration::from_secs(3_600);
    for (bad, error) in [
        (issuer.token().expired_for(Duration::from_secs(1)), "ExpiredSignature"),
        (issuer.token().not_before_in(hour), "ImmatureSignature"),
        (issuer.token().audience("https://other.test"), "InvalidAudience"),
        (issuer.token().claim("iss", "https://other.test"), "InvalidIssuer"),
        (issuer.token().without_claim("exp"), "Missing required claim: exp"),
        (issuer.token().kid("other"), "no such kid"),
        (issuer.token().wrong_signature(), "InvalidSignature"),
        (issuer.token().tampered_claim("scope", "admin"), "InvalidSignature"),
    ] {
        assert_eq!(verify(&issuer, &bad.sign()).await.unwrap_err(), error);
    }
}

#[tokio::test]
async fn claims_are_set_and_left_out() {
    let issuer = still().await;
    let claims = |token: String| read(&token).1;
    let second = Duration::from_secs(1);
    let token = || issuer.token();
    for (token, name, value) in [
        (token().subject("alice"), "sub", json!("alice")),
        (token().client_id("web"), "client_id", json!("web")),
        (token().scope("a b"), "scope", json!("a b")),
        (token().scope("a").scope(""), "scope", Value::Null),
        (token().audience("x"), "aud", json!("x")),
        (token().audiences(["x"]), "aud", json!("x")),
        (token().audiences(["x", "y"]), "aud", json!(["x", "y"])),
        (token().audiences([]), "aud", json!([])),
        (token().expires_in(second), "exp", json!(NOW + 1)),
        (token().expired_for(second), "exp", json!(NOW - 1)),
        (token().expired_for(second), "iat", json!(NOW - 601)),
        (token().not_before_in(second), "nbf", json!(NOW + 1)),
        (token().issued_ago(second), "iat", json!(NOW - 1)),
        (token().claim("exp", "tomorrow"), "exp", json!("tomorrow")),
        (token().claim("exp", 1.5), "exp", json!(1.5)),
        (token().claim("nested", json!({ "a": [1] })), "nested", json!({ "a": [1] })),
        (token().claim("sub", "last").subject("first"), "sub", json!("last")),
        (token().without_claim("sub").subject("first"), "sub", Value::Null),
        (token().without_claim("sub").claim("sub", "again"), "sub", json!("again")),
        (token().claim("sub", "a").without_claim("sub"), "sub", Value::Null),
    ] {
        assert_eq!(claims(token.sign()).get(name).cloned().unwrap_or_default(), value);
    }
}

#[tokio::test]
async fn headers_are_set_and_left_out() {
    let issuer = still().await;
    let header = |token: String| read(&token).0;
    let token = || issuer.token();
    for (token, name, value) in [
        (token().typ("JWT"), "typ", json!("JWT")),
        (token().without_header("typ"), "typ", Value::Null),
        (token().kid("other"), "kid", json!("other")),
        (token().no_kid(), "kid", Value::Null),
        (token().no_kid().kid("again"), "kid", json!("again")),
        (token().alg("RS256"), "alg", json!("RS256")),
        (token().header("crit", json!(["exp"])), "crit", json!(["exp"])),
        (token().embed_jwk(), "jwk", issuer.signing_key().public_jwk()),
    ] {
        assert_eq!(header(token.sign()).get(name).cloned().unwrap_or_default(), value);
    }
}

#[tokio::test]
async fn texts_are_taken_letter_by_letter() {
    let issuer = still().await;
    let token =
        issuer.token().raw_header("{\"alg\" :1}").raw_payload("{\"exp\":1,\"exp\":2}").sign();
    let segments: Vec<Vec<u8>> =
        token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    assert_eq!(segments[0], b"{\"alg\" :1}");
    assert_eq!(segments[1], b"{\"exp\":1,\"exp\":2}");
    assert_eq!(segments[2].len(), 64);
}

#[tokio::test]
async fn a_tampered_token_differs_in_one_claim() {
    let issuer = still().await;
    let token = issuer.token().scope("read").tampered_claim("scope", "admin").sign();
    let (_, claims) = read(&token);
    assert_eq!((&claims["scope"], &claims["exp"]), (&json!("admin"), &json!(NOW + 600)));
    // With the claim put back as it was, the signature holds.
    let honest = Value::Object({
        let mut claims = claims.as_object().unwrap().clone();
        claims.insert("scope".into(), json!("read"));
        claims
    });
    let segments: Vec<&str> = token.split('.').collect();
    let payload = BASE64_URL_SAFE_NO_PAD.encode(honest.to_string());
    let restored = [segments[0], &payload, segments[2]].join(".");
    let jwk = issuer.signing_key().public_jwk();
    // Its clock stands in 1970, so that it gets as far as the times.
    assert_eq!(verify_with(&issuer, &restored, &jwk).unwrap_err(), "ExpiredSignature");
    assert_eq!(verify_with(&issuer, &token, &jwk).unwrap_err(), "InvalidSignature");
}

// J10, J13, J14, J18: the classic forgeries are what they are said to be.
#[tokio::test]
async fn forgeries() {
    let issuer = TestIssuer::builder().algorithms([Algorithm::RS256]).start().await.unwrap();
    let unsecured = issuer.token().unsecured().sign();
    assert_eq!(read(&unsecured).0["alg"], "none");
    assert!(unsecured.ends_with('.'));

    let confused = issuer.token().hmac_with_public_key().sign();
    assert_eq!(read(&confused).0["alg"], "HS256");
    let secret =
        jsonwebtoken::DecodingKey::from_secret(issuer.signing_key().public_pem().as_bytes())
            .unwrap();
    crate::choose_backend();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.set_audience(&[issuer.audience()]);
    jsonwebtoken::decode::<Value>(&confused, &secret, &rules).unwrap();

    let foreign = TestKey::generate(Algorithm::RS256).with_kid(issuer.signing_key().kid());
    let forged = issuer.token().signed_with(&foreign).embed_jwk().sign();
    assert_eq!(verify(&issuer, &forged).await.unwrap_err(), "InvalidSignature");
    verify_with(&issuer, &forged, &read(&forged).0["jwk"]).unwrap();
}

#[tokio::test]
async fn shapes_apply_to_all_tokens_and_leave_claims_the_last_word() {
    let builder = TestIssuer::builder()
        .algorithms([Algorithm::EdDSA])
        .shape_header(|header| {
            header.insert("alg".into(), json!("Ed25519"));
            header.remove("kid");
        })
        .shape_claims(|claims| {
            if let Some(scope) = claims.remove("scope") {
                let scopes: Vec<&str> = scope.as_str().unwrap().split(' ').collect();
                claims.insert("scp".into(), json!(scopes));
            }
            claims.insert("tenant".into(), json!("shaped"));
        });
    let issuer = builder.start().await.unwrap();
    let minted = issuer.token().scope("a b").sign();
    let form = [("grant_type", "client_credentials"), ("scope", "a b")];
    let answer: Value = ask(&issuer, &form).await.json().await.unwrap();
    for token in [minted.as_str(), answer["access_token"].as_str().unwrap()] {
        let (header, claims) = read(token);
        assert_eq!(header, json!({ "alg": "Ed25519", "typ": "at+jwt" }));
        assert_eq!((&claims["scp"], &claims["tenant"]), (&json!(["a", "b"]), &json!("shaped")));
        assert!(claims.get("scope").is_none());
    }
    let token = issuer.token().claim("tenant", "mine").kid("k").sign();
    let (header, claims) = read(&token);
    assert_eq!((&claims["tenant"], &header["kid"]), (&json!("mine"), &json!("k")));
}
