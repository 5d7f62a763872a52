//! Signed answers (RFC 9701).

use http::HeaderMap;
use serde_json::{Value, json};
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::{Introspection, IntrospectionErrorKind};
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{Endpoint, ScriptedAnswer, TestIssuer, TestKey};
use tower_bearer::{RejectionKind, Validator};

use crate::support::{NOW, World, answer, rejected, unavailable};
use crate::world::ISSUER;

const SIGNED: &str = "application/token-introspection+jwt";

fn header(key: &TestKey) -> Value {
    json!({ "alg": key.algorithm().name(), "typ": "token-introspection+jwt", "kid": key.kid() })
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "me", "iat": NOW, "token_introspection": answer(json!({})) })
}

fn validator(world: &World) -> Validator {
    world.builder(world.introspection().signed()).build().unwrap()
}

/// Answers with this media type and body, and returns what the status says of it.
async fn told(
    world: &World,
    media_type: &'static str,
    body: String,
) -> Option<IntrospectionErrorKind> {
    world.answer("t", move || {
        let response = http::Response::builder().header("content-type", media_type);
        ScriptedAnswer::new(response.body(body.clone().into()).unwrap())
    });
    let validator = validator(world);
    match validator.validate("t").await {
        Ok(_) => None,
        refused => {
            unavailable(refused);
            validator.introspection_status(ISSUER).unwrap().last_error.map(|error| error.kind())
        }
    }
}

// I44, I45, I47, I48
#[tokio::test(start_paused = true)]
async fn i44_i45_a_signed_answer_is_asked_for_and_believed() {
    let world = World::new();
    let jwt = |claims: Value| world.key.sign(header(&world.key).to_string(), claims.to_string());
    assert_eq!(told(&world, SIGNED, jwt(claims())).await, None);
    let last: HeaderMap = world.transport.requests().pop().unwrap().headers().clone();
    assert_eq!(last["accept"], SIGNED);
    let with_charset = "application/token-introspection+jwt; charset=utf-8";
    assert_eq!(told(&world, with_charset, jwt(claims())).await, None);
    assert_eq!(told(&world, "Application/Token-Introspection+JWT", jwt(claims())).await, None);
    let mut several = claims();
    several["aud"] = json!(["other", "me"]);
    // The members around the answer are no claims of the token.
    several["sub"] = json!("mallory");
    several["exp"] = json!(1);
    assert_eq!(told(&world, SIGNED, jwt(several)).await, None);
    let inactive = json!({ "active": false });
    let mut refused = claims();
    refused["token_introspection"] = inactive;
    let body = jwt(refused);
    world.answer("no", move || {
        let response = http::Response::builder().header("content-type", SIGNED);
        ScriptedAnswer::new(response.body(body.clone().into()).unwrap())
    });
    assert_eq!(rejected(validator(&world).validate("no").await), RejectionKind::Inactive);
}

// I44, I46, I47, I48, I49, I50
#[tokio::test(start_paused = true)]
async fn i46_i47_i48_i49_i50_any_other_answer_is_trouble() {
    let world = World::new();
    let sign =
        |header: Value, claims: Value| world.key.sign(header.to_string(), claims.to_string());
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        if claims[name].is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
        sign(header(&world.key), claims)
    };
    let headed = |name: &str, value: Value| {
        let mut header = header(&world.key);
        header[name] = value;
        sign(header, claims())
    };
    let plain = answer(json!({})).to_string();
    assert_eq!(
        told(&world, "application/json", plain.clone()).await,
        Some(IntrospectionErrorKind::NotSigned)
    );
    let good = with("iss", json!(ISSUER));
    assert_eq!(
        told(&world, "application/json", good.clone()).await,
        Some(IntrospectionErrorKind::NotSigned)
    );
    let (input, _) = good.rsplit_once('.').unwrap();
    let forged = TestKey::generate(Algorithm::EdDSA).with_kid(world.key.kid());
    let forged = forged.sign(header(&world.key).to_string(), claims().to_string());
    for (body, expected) in [
        (plain, IntrospectionErrorKind::NotSigned),
        ("<html>".into(), IntrospectionErrorKind::NotSigned),
        (String::new(), IntrospectionErrorKind::NotSigned),
        (format!("{good}.{good}"), IntrospectionErrorKind::NotSigned),
        ("a.b.c.d.e".into(), IntrospectionErrorKind::Encrypted),
        (format!("{input}.AAAA"), IntrospectionErrorKind::Signature),
        (forged, IntrospectionErrorKind::Signature),
        (headed("typ", json!("JWT")), IntrospectionErrorKind::WrongType),
        (headed("typ", json!("at+jwt")), IntrospectionErrorKind::WrongType),
        (headed("typ", json!("token-introspection")), IntrospectionErrorKind::WrongType),
        (headed("alg", json!("none")), IntrospectionErrorKind::Algorithm),
        (headed("alg", json!("HS256")), IntrospectionErrorKind::Algorithm),
        (headed("crit", json!(["b64"])), IntrospectionErrorKind::WrongType),
        (with("iss", json!("https://other.example")), IntrospectionErrorKind::WrongIssuer),
        (with("iss", json!(null)), IntrospectionErrorKind::WrongIssuer),
        (with("aud", json!("somebody")), IntrospectionErrorKind::WrongAudience),
        (with("aud", json!([])), IntrospectionErrorKind::WrongAudience),
        (with("aud", json!(null)), IntrospectionErrorKind::WrongAudience),
        (with("iat", json!(null)), IntrospectionErrorKind::NotFresh),
        (with("iat", json!(NOW - 61)), IntrospectionErrorKind::NotFresh),
        (with("iat", json!(NOW + 61)), IntrospectionErrorKind::NotFresh),
        (with("iat", json!("now")), IntrospectionErrorKind::NotJson),
        (with("token_introspection", json!(null)), IntrospectionErrorKind::NoVerdict),
        (with("token_introspection", json!("active")), IntrospectionErrorKind::NotJson),
        (with("token_introspection", json!({})), IntrospectionErrorKind::NoVerdict),
    ] {
        assert_eq!(told(&world, SIGNED, body.clone()).await, Some(expected), "{body}");
    }
    for fresh in [NOW - 60, NOW + 60] {
        assert_eq!(told(&world, SIGNED, with("iat", json!(fresh))).await, None);
    }
}

// I50: an allow-list of its own.
#[tokio::test(start_paused = true)]
async fn i50_the_algorithms_of_answers_can_be_fewer() {
    let world = World::new();
    let body = world.key.sign(header(&world.key).to_string(), claims().to_string());
    world.answer("t", move || {
        let response = http::Response::builder().header("content-type", SIGNED);
        ScriptedAnswer::new(response.body(body.clone().into()).unwrap())
    });
    let with = |algorithms: &[Algorithm]| {
        let signed = world.introspection().signed().signed_algorithms(algorithms.to_vec());
        world.builder(signed).build().unwrap()
    };
    assert!(with(&[Algorithm::EdDSA]).validate("t").await.is_ok());
    let narrow = with(&[Algorithm::RS256]);
    unavailable(narrow.validate("t").await);
    let status = narrow.introspection_status(ISSUER).unwrap();
    assert_eq!(status.last_error, Some(IntrospectionErrorKind::Algorithm.into()));
}

// I47: the issuer's keys, which rotate.
#[tokio::test]
async fn i47_answers_are_checked_with_the_issuers_keys_of_now() {
    let issuer = TestIssuer::start().await.unwrap();
    let auth = ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET);
    let validator = Validator::builder(issuer.issuer(), issuer.audience())
        .introspection(Introspection::discover(auth).signed())
        .build()
        .unwrap();
    let token = issuer.token().subject("al").opaque();
    assert_eq!(validator.validate(&token).await.unwrap().subject(), Some("al"));
    issuer.rotate_hard();
    let other = issuer.token().opaque();
    assert!(validator.validate(&other).await.is_ok(), "the first after a rotation");
    issuer.revoke(&token);
    validator.invalidate(&token);
    assert_eq!(rejected(validator.validate(&token).await), RejectionKind::Inactive);
    assert_eq!(issuer.counters().requests(Endpoint::Introspection), 3);
}
