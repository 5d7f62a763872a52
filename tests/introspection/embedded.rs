//! The embedded issuer's introspection endpoint, and this service's credentials at it.

use http::StatusCode;
use serde_json::{Map, Value, json};
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, BasicEncoding, ClientAuth, SecretError, SecretFuture,
    SecretProvider,
};
use tower_bearer::introspection::{Introspection, IntrospectionAuth, IntrospectionErrorKind};
use tower_bearer::issuers::Issuer;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{
    Discovery, Endpoint, Fault, TestClient, TestIssuer, TestIssuerBuilder,
};
use tower_bearer::{RejectionKind, Secret, Validator};

use crate::support::{rejected, unavailable};

fn own() -> ClientAuth {
    ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET)
}

fn validator(issuer: &TestIssuer, auth: impl Into<IntrospectionAuth>) -> Validator {
    Validator::builder(issuer.issuer(), issuer.audience())
        .introspection(Introspection::discover(auth))
        .build()
        .unwrap()
}

// I1, I5, I10
#[tokio::test]
async fn i1_opaque_tokens_are_accepted_revoked_and_expire() {
    let issuer = TestIssuer::builder().opaque_tokens().start().await.unwrap();
    let validator = validator(&issuer, own());
    let token = issuer.token().subject("al").scope("a").claim("tenant", 7).opaque();
    assert!(!token.contains('.'));
    let accepted = validator.validate(&token).await.unwrap();
    assert_eq!((accepted.subject(), accepted.has_scope("a")), (Some("al"), true));
    issuer.revoke(&token);
    validator.invalidate(&token);
    assert_eq!(rejected(validator.validate(&token).await), RejectionKind::Inactive);
    let expired = issuer.token().claim("exp", 1).opaque();
    assert_eq!(rejected(validator.validate(&expired).await), RejectionKind::Inactive);
    let request = issuer.last_request(Endpoint::Introspection).unwrap();
    assert_eq!(request.uri().query(), None);
    let form = "grant_type=client_credentials&scope=a";
    let granted = reqwest::Client::builder().no_proxy().build().unwrap();
    let granted = granted
        .post(issuer.token_endpoint())
        .basic_auth(TestIssuer::CLIENT_ID, Some(TestIssuer::CLIENT_SECRET))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let granted: Value = granted.json().await.unwrap();
    let granted = granted["access_token"].as_str().unwrap();
    assert!(!granted.contains('.') && validator.validate(granted).await.is_ok());
}

// I12
#[tokio::test]
async fn i12_either_document_may_name_the_endpoint() {
    for discovery in [Discovery::Both, Discovery::OAuth, Discovery::OpenId] {
        let issuer = TestIssuer::builder().discovery(discovery).start().await.unwrap();
        let token = issuer.token().opaque();
        assert!(validator(&issuer, own()).validate(&token).await.is_ok(), "{discovery:?}");
    }
    let nameless = TestIssuer::builder().metadata("introspection_endpoint", json!(null));
    let nameless = nameless.start().await.unwrap();
    let token = nameless.token().opaque();
    let told = unavailable(validator(&nameless, own()).validate(&token).await);
    assert_eq!(told, UnavailableReason::IntrospectionFailed);
    let by_hand = Introspection::endpoint(nameless.introspection_endpoint(), own());
    let by_hand = Validator::builder(nameless.issuer(), nameless.audience()).introspection(by_hand);
    assert!(by_hand.build().unwrap().validate(&token).await.is_ok());
}

// I13: metadata of another issuer leads no token anywhere.
#[tokio::test]
async fn i13_metadata_of_another_issuer_is_refused() {
    let issuer = TestIssuer::builder().metadata("issuer", json!("https://other.example"));
    let issuer = issuer.start().await.unwrap();
    let token = issuer.token().opaque();
    unavailable(validator(&issuer, own()).validate(&token).await);
    assert_eq!(issuer.counters().requests(Endpoint::Introspection), 0);
}

// I6, I8
#[tokio::test]
async fn i6_i8_every_way_of_authentication_works() {
    let key = tower_bearer::testing::TestKey::generate(tower_bearer::jose::Algorithm::ES256);
    let pem = include_str!("../../fixtures/keys/p256.pem");
    let jwk: Value =
        serde_json::from_str(include_str!("../../fixtures/keys/p256.jwk.json")).unwrap();
    let issuer = TestIssuer::builder()
        .client(TestClient::secret("plain", "p%:+/ &=s"))
        .client(TestClient::jwks("signer", json!({ "keys": [jwk] })))
        .client(TestClient::key("other", &key))
        .start()
        .await
        .unwrap();
    let assertion = Assertion::new(AssertionAlgorithm::ES256, pem).key_id("p256");
    for auth in [
        ClientAuth::basic("plain", "p%:+/ &=s"),
        ClientAuth::basic_encoded("plain", "p%:+/ &=s", BasicEncoding::Percent),
        ClientAuth::body("plain", "p%:+/ &=s"),
        ClientAuth::private_key_jwt("signer", assertion),
    ] {
        let validator = validator(&issuer, auth.clone());
        for _ in 0..2 {
            let token = issuer.token().opaque();
            assert!(validator.validate(&token).await.is_ok(), "{auth:?}");
        }
    }
    let token = issuer.token().opaque();
    let wrong = validator(&issuer, ClientAuth::basic("plain", "wrong"));
    let told = unavailable(wrong.validate(&token).await);
    assert_eq!(told, UnavailableReason::IntrospectionDenied);
    let bearer = validator(&issuer, IntrospectionAuth::bearer("own-token"));
    unavailable(bearer.validate(&token).await);
    let request = issuer.last_request(Endpoint::Introspection).unwrap();
    assert_eq!(request.headers()["authorization"], "Bearer own-token");
}

// I7: a secret that was replaced is read anew, and the same question is answered.
#[tokio::test]
async fn i7_a_new_secret_is_used_for_the_same_question() {
    struct Rotating(std::sync::atomic::AtomicUsize);
    impl SecretProvider for Rotating {
        fn secret(&self) -> SecretFuture<'_> {
            let first = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            let secret = if first { "old" } else { TestIssuer::CLIENT_SECRET };
            Box::pin(async move { Ok::<_, SecretError>(Secret::new(secret)) })
        }
    }
    let issuer = TestIssuer::start().await.unwrap();
    let auth = ClientAuth::basic(TestIssuer::CLIENT_ID, Rotating(0.into()));
    let validator = validator(&issuer, auth);
    assert!(validator.validate(&issuer.token().opaque()).await.is_ok());
    assert_eq!(issuer.counters().requests(Endpoint::Introspection), 2);
}

// The endpoint moves: the metadata is looked up anew.
#[tokio::test]
async fn i12_an_endpoint_that_moves_is_found_again() {
    let issuer = TestIssuer::start().await.unwrap();
    let validator = validator(&issuer, own());
    assert!(validator.validate(&issuer.token().opaque()).await.is_ok());
    issuer.inject(Endpoint::Introspection, Fault::status(StatusCode::NOT_FOUND).times(1));
    unavailable(validator.validate(&issuer.token().opaque()).await);
    assert!(validator.validate(&issuer.token().opaque()).await.is_ok());
}

// What real servers leave out or write otherwise.
#[tokio::test]
async fn i19_i22_servers_answer_in_their_own_ways() {
    let dot = || {
        TestIssuer::builder().shape_introspection(|answer| {
            answer.retain(|name, _| !["iss", "aud", "iat", "sub", "jti"].contains(&name.as_str()));
        })
    };
    let canaille = || {
        TestIssuer::builder().shape_introspection(|answer| {
            for name in ["exp", "iat"] {
                let time = answer[name].as_f64().unwrap() + 0.444_84;
                answer.insert(name.into(), time.into());
            }
        })
    };
    let hydra = || {
        TestIssuer::builder().shape_introspection(|answer| {
            answer.insert("ext".into(), json!(null));
            answer.insert("nbf".into(), answer["iat"].clone());
            answer.insert("token_use".into(), "access_token".into());
        })
    };
    let makes: [(fn() -> TestIssuerBuilder, bool); 3] =
        [(dot, false), (canaille, true), (hydra, true)];
    for (make, has_aud) in makes {
        let issuer = make().start().await.unwrap();
        let token = issuer.token().scope("a").opaque();
        let strict = validator(&issuer, own()).validate(&token).await;
        assert_eq!(strict.is_ok(), has_aud);
        let liberal = Introspection::discover(own()).dangerous_accept_missing_aud();
        let liberal = Validator::builder(issuer.issuer(), issuer.audience()).introspection(liberal);
        let token = liberal.build().unwrap().validate(&token).await.unwrap();
        assert_eq!(token.issuer(), issuer.issuer());
        assert!(token.has_scope("a"));
    }
}

// I46 to I50: what is around a signed answer, from a server that signs all of it.
#[tokio::test]
async fn i46_i50_a_bent_envelope_is_refused_and_the_usual_one_believed() {
    type Bend = fn(&mut Map<String, Value>, &mut Map<String, Value>);
    let bends: [(Bend, Option<IntrospectionErrorKind>); 13] = [
        (|_, _| {}, None),
        (|_, claims| drop(claims.insert("jti".into(), json!("a"))), None),
        (
            |header, _| drop(header.insert("typ".into(), json!("JWT"))),
            Some(IntrospectionErrorKind::WrongType),
        ),
        (|header, _| drop(header.remove("typ")), Some(IntrospectionErrorKind::WrongType)),
        (
            |header, _| drop(header.insert("alg".into(), json!("none"))),
            Some(IntrospectionErrorKind::Algorithm),
        ),
        (
            |_, claims| drop(claims.insert("iss".into(), json!("https://a.test"))),
            Some(IntrospectionErrorKind::WrongIssuer),
        ),
        (|_, claims| drop(claims.remove("iss")), Some(IntrospectionErrorKind::WrongIssuer)),
        (
            |_, claims| drop(claims.insert("aud".into(), json!("another"))),
            Some(IntrospectionErrorKind::WrongAudience),
        ),
        (|_, claims| drop(claims.remove("aud")), Some(IntrospectionErrorKind::WrongAudience)),
        (
            |_, claims| drop(claims.insert("iat".into(), json!(1))),
            Some(IntrospectionErrorKind::NotFresh),
        ),
        (|_, claims| drop(claims.remove("iat")), Some(IntrospectionErrorKind::NotFresh)),
        (
            |_, claims| drop(claims.remove("token_introspection")),
            Some(IntrospectionErrorKind::NoVerdict),
        ),
        // Of an answer that says no as well: it is trouble, and no refusal of the token.
        (
            |_, claims| {
                claims.insert("token_introspection".into(), json!({ "active": false }));
                claims.insert("aud".into(), json!("another"));
            },
            Some(IntrospectionErrorKind::WrongAudience),
        ),
    ];
    for (number, (bend, expected)) in bends.into_iter().enumerate() {
        let issuer = TestIssuer::builder().shape_signed_introspection(bend).start().await.unwrap();
        let validator = Validator::builder(issuer.issuer(), issuer.audience())
            .introspection(Introspection::discover(own()).signed())
            .build()
            .unwrap();
        let token = issuer.token().subject("al").opaque();
        let told = validator.validate(&token).await;
        let Some(expected) = expected else {
            assert_eq!(told.unwrap().subject(), Some("al"), "{number}");
            continue;
        };
        assert_eq!(unavailable(told), UnavailableReason::IntrospectionFailed, "{number}");
        let status = validator.introspection_status(issuer.issuer()).unwrap();
        assert_eq!(status.last_error.map(|error| error.kind()), Some(expected), "{number}");
    }
}

// Each realm has faults of its own, and the tokens of the other are none of its business.
#[tokio::test]
async fn n6_a_fault_of_one_realms_introspection_is_that_realms() {
    let realm = |path: &str| TestIssuer::builder().issuer_path(path).audience(path);
    let one = realm("/realms/one").start().await.unwrap();
    let two = one.add_realm(realm("/realms/two")).unwrap();
    let realms = [&one, &two];
    let entry = |(issuer, prefix): (&TestIssuer, &str)| {
        let asking = Introspection::discover(own()).token_prefix(prefix);
        Issuer::new(issuer.issuer(), issuer.audience()).introspection(asking)
    };
    for (at, fault) in [
        (0, Fault::status(StatusCode::INTERNAL_SERVER_ERROR)),
        (1, Fault::status(StatusCode::UNAUTHORIZED)),
        (0, Fault::json(r#"{"active":"true"}"#)),
        (1, Fault::reset()),
    ] {
        // Which of the two to ask about a token, its beginning says.
        let tokens = realms.map(|realm| realm.token().opaque());
        let prefix = |at: usize| tokens[at][..16].to_owned();
        let list = [(&one, &*prefix(0)), (&two, &*prefix(1))].map(entry);
        let validator = Validator::issuers(list).build().unwrap();
        realms[at].inject(Endpoint::Introspection, fault);
        unavailable(validator.validate(&tokens[at]).await);
        let other = 1 - at;
        let accepted = validator.validate(&tokens[other]).await.unwrap();
        assert_eq!(accepted.issuer(), realms[other].issuer());
        realms[at].clear_faults();
        assert!(validator.validate(&tokens[at]).await.is_ok(), "it has recovered");
    }
}
