//! Which tokens are asked about, and whom.

use serde_json::json;
use tower::Layer as _;
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::issuers::Issuer;
use tower_bearer::testing::TestIssuer;
use tower_bearer::token::Evidence;
use tower_bearer::{Access, BearerAuthLayer, RejectionKind, RouteTable, Validator};

use crate::support::{World, rejected, token_of};
use crate::world::{AUDIENCE, ISSUER, Inner, bearer, get, send};

// I39, I41
#[tokio::test(start_paused = true)]
async fn i39_i41_what_is_no_jwt_is_asked_about_whatever_its_dots() {
    let world = World::new();
    let validator = world.validator();
    let zitadel = ["a".repeat(60), "b".repeat(60), "c".repeat(60), "d".repeat(60), "e".repeat(44)];
    let jwe = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a.b.c.d";
    for token in ["abc", "a.b.c", "no-dots_~+/==", &zitadel.join("."), jwe, "e30.e30.AA"] {
        let before = world.calls();
        world.active(token.trim_end_matches('='), json!({}));
        let told = validator.validate(token).await;
        let last = world.transport.requests().pop().unwrap();
        assert!(!token_of(&last).is_empty());
        assert_eq!(world.calls(), before + 1, "{token}");
        drop(told);
    }
}

// I40
#[tokio::test(start_paused = true)]
async fn i40_a_jwt_that_fails_is_refused_and_never_asked_about() {
    let world = World::new();
    let validator = world.validator();
    assert!(validator.validate(&world.jwt(json!({}))).await.is_ok());
    let good = world.jwt(json!({}));
    let (input, _) = good.rsplit_once('.').unwrap();
    for (jwt, kind) in [
        (world.jwt(json!({ "exp": 1 })), RejectionKind::Expired),
        (world.jwt(json!({ "aud": "other" })), RejectionKind::WrongAudience),
        (format!("{input}.AAAA"), RejectionKind::BadSignature),
        (format!("{input}."), RejectionKind::MalformedToken),
        (World::new().jwt(json!({})), RejectionKind::BadSignature),
        ("eyJhbGciOiJub25lIn0.e30.AA".into(), RejectionKind::UnsupportedAlgorithm),
    ] {
        world.active(&jwt, json!({}));
        assert_eq!(rejected(validator.validate(&jwt).await), kind);
    }
    assert_eq!(world.calls(), 0);
}

// X4: what can't be an access token isn't sent on.
#[tokio::test(start_paused = true)]
async fn x4_what_is_no_b64token_is_never_asked_about() {
    let world = World::new();
    let service = BearerAuthLayer::new(world.validator()).layer(Inner::default());
    for token in ["a!b", "a b", "a\"b", "=", "a,b"] {
        let answered = send(&service, get("/", &[("authorization", &bearer(token))])).await;
        assert_eq!(answered.status(), 400, "{token}");
    }
    assert_eq!(world.calls(), 0);
}

// I42
#[tokio::test(start_paused = true)]
async fn i42_jwts_are_asked_about_where_that_is_set_and_only_good_ones() {
    let world = World::new();
    let validator = world.builder(world.introspection().introspect_jwts()).build().unwrap();
    let forged = World::new().jwt(json!({}));
    world.active(&forged, json!({}));
    assert_eq!(rejected(validator.validate(&forged).await), RejectionKind::BadSignature);
    assert_eq!(world.calls(), 0, "a forged one isn't");
    let jwt = world.jwt(json!({ "scope": "from-the-jwt" }));
    world.active(&jwt, json!({ "scope": "from-the-answer" }));
    for _ in 0..3 {
        let token = validator.validate(&jwt).await.unwrap();
        assert_eq!(token.scopes().to_string(), "from-the-jwt");
        assert!(matches!(token.evidence(), Evidence::Signature { .. }));
    }
    assert_eq!(world.calls(), 1);
    world.active(&jwt, json!({ "active": false }));
    tokio::time::advance(std::time::Duration::from_secs(30)).await;
    assert_eq!(rejected(validator.validate(&jwt).await), RejectionKind::Inactive);
    world.active("opaque", json!({}));
    assert!(validator.validate("opaque").await.is_ok());
}

// design.md, Trust::Introspection: no key, so the issuer is asked about every token.
#[tokio::test(start_paused = true)]
async fn i42_without_keys_the_issuer_is_asked_about_jwts_as_well() {
    let world = World::new();
    let validator = Validator::builder(ISSUER, AUDIENCE)
        .keys(world.introspection())
        .clock(world.clock.clone())
        .build()
        .unwrap();
    let forged = World::new().jwt(json!({}));
    assert_eq!(rejected(validator.validate(&forged).await), RejectionKind::Inactive);
    let jwt = world.jwt(json!({}));
    world.active(&jwt, json!({}));
    assert_eq!(validator.validate(&jwt).await.unwrap().evidence(), Evidence::Introspection);
    assert_eq!(world.calls(), 2);
}

// I13, I43: each issuer is shown its own tokens only.
#[tokio::test(start_paused = true)]
async fn i13_i43_several_issuers_are_told_apart_by_prefix_and_never_tried() {
    let (one, two) = (World::new(), World::new());
    let issuer = |name: &str, world: &World, prefix: Option<&str>| {
        let asking = world.introspection();
        let asking = match prefix {
            Some(prefix) => asking.token_prefix(prefix),
            None => asking,
        };
        Issuer::new(name, AUDIENCE).keys(asking)
    };
    let validator = Validator::issuers([
        issuer("https://one.example", &one, None),
        issuer("https://two.example", &two, Some("two_")),
    ]);
    let validator = validator.clock(one.clock.clone()).build().unwrap();
    one.active("abc", json!({ "iss": "https://one.example" }));
    two.active("two_abc", json!({ "iss": "https://two.example" }));
    let token = validator.validate("abc").await.unwrap();
    assert_eq!(token.configured_issuer(), "https://one.example");
    let token = validator.validate("two_abc").await.unwrap();
    assert_eq!(token.configured_issuer(), "https://two.example");
    rejected(validator.validate("two_other").await);
    rejected(validator.validate("other").await);
    assert_eq!((one.calls(), two.calls()), (2, 2));
    // One's answer about a token of the other's issuer is no good.
    one.active("stolen", json!({ "iss": "https://two.example" }));
    assert_eq!(rejected(validator.validate("stolen").await), RejectionKind::WrongIssuer);

    let ambiguous = Validator::issuers([
        issuer("https://one.example", &one, None),
        issuer("https://two.example", &two, None),
    ]);
    let told = ambiguous.build().unwrap_err().to_string();
    assert!(told.contains("token_prefix"), "{told}");
    // N14: what a removed issuer's answers were remembered for ends.
    validator.set_issuers([issuer("https://one.example", &one, None)]).unwrap();
    assert_eq!(rejected(validator.validate("two_abc").await), RejectionKind::Inactive);
    assert_eq!(two.calls(), 2, "and it isn't asked any longer");
}

// A single issuer with a prefix is asked about nothing else.
#[tokio::test(start_paused = true)]
async fn i43_a_prefix_keeps_other_tokens_away() {
    let world = World::new();
    let validator = world.builder(world.introspection().token_prefix("zit_")).build().unwrap();
    world.active("zit_a", json!({}));
    assert!(validator.validate("zit_a").await.is_ok());
    assert_eq!(rejected(validator.validate("other").await), RejectionKind::MalformedToken);
    assert_eq!(world.calls(), 1);
}

// An introspected token is an access token like any other: table, scopes, challenges.
#[tokio::test(start_paused = true)]
async fn i25_guards_and_challenges_are_the_same() {
    let world = World::new();
    let routes = RouteTable::builder()
        .route(http::Method::GET, "/a", Access::scope("a"))
        .route(http::Method::GET, "/c", Access::scope("c"))
        .build()
        .unwrap();
    let inner = Inner::default();
    let layer = BearerAuthLayer::new(world.validator()).realm("api").unwrap().routes(routes);
    let service = layer.layer(inner.clone());
    world.active("t", json!({ "scope": "a" }));
    // The first waits for the answer, the second is recognized.
    for _ in 0..2 {
        let answered = send(&service, get("/a", &[("authorization", &bearer("t"))])).await;
        assert_eq!(answered.status(), 200);
        assert_eq!(inner.subject().as_deref(), Some("alice"));
        let answered = send(&service, get("/c", &[("authorization", &bearer("t"))])).await;
        assert_eq!(answered.status(), 403);
        assert!(answered.challenge().contains("insufficient_scope"), "{}", answered.challenge());
    }
    let answered = send(&service, get("/a", &[("authorization", &bearer("bad"))])).await;
    assert_eq!((answered.status(), answered.kind()), (401, Some(RejectionKind::Inactive)));
    assert!(answered.challenge().contains("invalid_token"));
    assert!(!answered.body().contains("active"), "{}", answered.body());
    assert_eq!(world.calls(), 2);
}

// I46: a signed answer is no access token.
#[tokio::test]
async fn i46_an_answer_presented_as_a_token_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let auth = ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET);
    let validator = Validator::builder(issuer.issuer(), issuer.audience())
        .introspection(Introspection::discover(auth))
        .build()
        .unwrap();
    let answer = issuer.token().typ("token-introspection+jwt").sign();
    validator.ready(std::time::Duration::from_secs(5)).await.unwrap();
    assert_eq!(rejected(validator.validate(&answer).await), RejectionKind::WrongType);
    assert!(validator.validate(&issuer.token().sign()).await.is_ok());
}
