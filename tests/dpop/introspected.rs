//! Bound tokens of an issuer that is asked about them: opaque ones, and JWTs.

use http_body_util::Empty;
use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::{BearerAuthLayer, Validator};

use crate::service::{NOW, Service, World, accept, proved, thumbprint, verdict};
use crate::world::{AUDIENCE, ISSUER, bearer, request, send};

/// A service that asks about opaque tokens, and about JWTs, and is told that they have this `cnf`.
fn service(world: &World, cnf: &Value) -> Service {
    let mut answer = json!({
        "active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600,
    });
    if !cnf.is_null() {
        answer["cnf"] = cnf.clone();
    }
    let body = answer.to_string();
    let transport = ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(body.clone()));
    let asking = Introspection::endpoint(
        "https://issuer.example/introspect",
        ClientAuth::basic("me", "secret"),
    );
    let keys = Jwks::static_set(ISSUER, &world.issuer.jwks_json()).unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE)
        .keys(keys)
        .introspection(asking.introspect_jwts().transport(transport))
        .clock(world.clock.clone())
        .dpop(accept())
        .build();
    BearerAuthLayer::new(validator.unwrap()).realm("api").unwrap().layer(world.inner.clone())
}

/// What is said to the token with a proof by the client's key, and without one; each twice, since the
/// second time it may be remembered.
async fn told(world: &World, service: &Service, token: &str) -> [&'static str; 2] {
    let mut told = Vec::new();
    for _ in 0..2 {
        let proof = world.proof("GET", "/", token).sign();
        let with = send(service, proved("GET", "/", token, &proof)).await;
        let plain: http::Request<Empty<bytes::Bytes>> =
            request("GET", "/", &[("authorization", &bearer(token))]);
        let without = send(service, plain).await;
        told.push([verdict(&with), verdict(&without)]);
    }
    assert_eq!(told[0], told[1], "what is remembered says the same");
    told[0]
}

fn cnf_of(key: &TestKey) -> Value {
    json!({ "jkt": thumbprint(key) })
}

#[tokio::test]
async fn d82_an_opaque_token_is_bound_to_the_key_in_the_answer() {
    let world = World::new();
    let bound = service(&world, &cnf_of(&world.client));
    assert_eq!(told(&world, &bound, "opaque").await, ["accepted", "sender_constrained"]);
    let stranger = TestKey::generate(Algorithm::ES256);
    let strangers = service(&world, &cnf_of(&stranger));
    let [with, without] = told(&world, &strangers, "opaque").await;
    assert_ne!(with, "accepted");
    assert_eq!(without, "sender_constrained");
    let unbound = service(&world, &Value::Null);
    let [with, without] = told(&world, &unbound, "opaque").await;
    assert_eq!((with, without), ("token_not_bound", "accepted"));
}

#[tokio::test]
async fn d82_a_jwt_and_the_answer_about_it_name_the_same_key() {
    let world = World::new();
    let (own, stranger) = (cnf_of(&world.client), cnf_of(&TestKey::generate(Algorithm::ES256)));
    let certificate = json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" });
    let none = Value::Null;
    let refused = ["sender_constrained"; 2];
    for (jwt, answer, expected) in [
        // A key that the JWT lacks: whoever took the JWT must not use it as a bearer token.
        (&none, &own, refused),
        (&none, &stranger, refused),
        (&none, &certificate, refused),
        (&own, &stranger, refused),
        (&own, &certificate, refused),
        (&own, &own, ["accepted", "sender_constrained"]),
        // Some servers say nothing of it: the JWT's own word holds.
        (&own, &none, ["accepted", "sender_constrained"]),
        (&none, &none, ["token_not_bound", "accepted"]),
    ] {
        let service = service(&world, answer);
        let token = world.token("", jwt.clone());
        assert_eq!(told(&world, &service, &token).await, expected, "{jwt} {answer}");
    }
}
