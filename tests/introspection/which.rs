//! Which tokens are asked about, and whom.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tower::Layer as _;
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::Introspection;
use tower_bearer::issuers::Issuer;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::{Conditions, RouteTableBuilder};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestIssuer, TestKey};
use tower_bearer::token::Evidence;
use tower_bearer::{Access, BearerAuthLayer, RejectionKind, RequiredClaim, RouteTable, Validator};

use crate::support::{World, answer, rejected, token_of};
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
        world.active(token, json!({}));
        let accepted =
            validator.validate(token).await.unwrap_or_else(|why| panic!("{token}: {why}"));
        assert!(matches!(accepted.evidence(), Evidence::Introspection), "{token}");
        let last = world.transport.requests().pop().unwrap();
        assert_eq!(token_of(&last), token);
        assert_eq!(world.calls(), before + 1, "{token}");
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
    tokio::time::advance(Duration::from_secs(30)).await;
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

// I13, I43: or by the route, which names the issuer whose tokens it takes.
#[tokio::test(start_paused = true)]
async fn i13_i43_several_issuers_are_told_apart_by_the_route() {
    const ONE: &str = "https://one.example";
    const TWO: &str = "https://two.example";
    let (one, two, three) = (World::new(), World::new(), World::new());
    let by_route = |name: &str, world: &World| {
        Issuer::new(name, AUDIENCE).keys(world.introspection().by_route())
    };
    let prefixed = Issuer::new("https://three.example", AUDIENCE)
        .keys(three.introspection().token_prefix("3_"));
    let list = || [by_route(ONE, &one), by_route(TWO, &two), prefixed];
    let validator = Validator::issuers(list()).clock(one.clock.clone()).build().unwrap();
    let either = Conditions::builder().issuers([ONE, TWO]).build().unwrap();
    let get_of = |builder: RouteTableBuilder, path: &str, access: Access| {
        builder.route(http::Method::GET, path, access)
    };
    let routes = RouteTable::builder();
    let routes = get_of(routes, "/one", Access::token().require_issuer(ONE));
    let routes = get_of(routes, "/two", Access::scope("a").require_issuer(TWO));
    let routes = get_of(routes, "/three", Access::token().require_issuer("https://three.example"));
    let routes = get_of(routes, "/either", Access::token().conditions(&either));
    let hidden = Access::scope("admin").require_issuer(ONE).hide_existence();
    let routes = get_of(routes, "/hidden", hidden);
    let layer = BearerAuthLayer::new(validator.clone()).routes(routes.build().unwrap());
    let service = layer.layer(Inner::default());
    let ask = async |path: &str, token: &str| {
        let answered = send(&service, get(path, &[("authorization", &bearer(token))])).await;
        (answered.status(), [one.calls(), two.calls(), three.calls()])
    };
    one.active("t", json!({ "iss": ONE }));
    two.active("u", json!({ "iss": TWO }));
    three.active("3_t", json!({ "iss": "https://three.example" }));
    // Each route twice: the second time it is remembered, for this issuer.
    for _ in 0..2 {
        assert_eq!(ask("/one", "t").await, (200, [1, 0, 0]));
    }
    for _ in 0..2 {
        assert_eq!(ask("/two", "u").await, (200, [1, 1, 0]));
    }
    // The wrong route: the issuer of the route says that it doesn't know the token.
    assert_eq!(ask("/two", "t").await, (401, [1, 2, 0]));
    assert_eq!(ask("/one", "u").await, (401, [2, 2, 0]));
    // Where the route doesn't say, nobody is asked, also of those who may be.
    // So it is where a route is hidden: else who has a token of its issuer would see that it is there.
    for path in ["/either", "/elsewhere", "/hidden"] {
        assert_eq!(ask(path, "t").await, (401, [2, 2, 0]), "{path}");
    }
    assert_eq!(rejected(validator.validate("t").await), RejectionKind::MalformedToken);
    // A prefix says more than a route.
    assert_eq!(ask("/one", "3_t").await, (403, [2, 2, 1]));
    assert_eq!(ask("/three", "3_t").await, (200, [2, 2, 1]));
    assert_eq!(ask("/three", "t").await, (401, [2, 2, 1]));
    // N14: the issuer goes on with other rules, and is asked anew.
    let again = Issuer::new(ONE, AUDIENCE)
        .keys(one.introspection().by_route())
        .leeway(Duration::from_secs(1));
    validator.set_issuers([again]).unwrap();
    assert_eq!(ask("/one", "t").await.0, 200);
    assert_eq!(ask("/two", "u").await.0, 401);
    assert_eq!(two.calls(), 2);

    let both = one.introspection().by_route().token_prefix("x");
    let told = Validator::issuers([Issuer::new(ONE, AUDIENCE).keys(both)]).build();
    assert!(told.unwrap_err().to_string().contains("by_route"));
}

// N14: an answer is judged by the entry that was there when its question was asked, and decides for no other.
#[tokio::test(start_paused = true)]
async fn n14_an_answer_that_is_awaited_decides_for_no_later_entry() {
    const ONE: &str = "https://one.example";
    let body = answer(json!({ "iss": ONE, "aud": "old" })).to_string();
    for (before, after, expected) in [
        ("old", "new", Some(RejectionKind::WrongAudience)),
        ("new", "old", None),
        ("old", "old", None),
    ] {
        let world = World::new();
        let asking = world.introspection();
        let list = |audience| [Issuer::new(ONE, audience).keys(asking.clone())];
        let validator =
            Validator::issuers(list(before)).clock(world.clock.clone()).build().unwrap();
        let body = body.clone();
        let late = Duration::from_secs(1);
        world.answer("t", move || ScriptedAnswer::json(body.clone()).delay(late));
        let waiting = tokio::spawn({
            let validator = validator.clone();
            async move { validator.validate("t").await }
        });
        tokio::time::sleep(late / 2).await;
        assert_eq!(world.calls(), 1);
        validator.set_issuers(list(after)).unwrap();
        let later = validator.validate("t").await;
        let waiting = waiting.await.unwrap();
        for told in [later, waiting] {
            assert_eq!(told.is_err().then(|| rejected(told)), expected, "{before} {after}");
        }
        assert_eq!(world.calls(), if before == after { 1 } else { 2 }, "{before} {after}");
    }
}

// N14: an issuer that was removed while its keys came is sent no token.
#[tokio::test(start_paused = true)]
async fn n14_an_issuer_that_was_removed_meanwhile_is_not_asked() {
    for removed in [true, false] {
        let world = World::new();
        let set = json!({ "keys": [world.key.public_jwk()] }).to_string();
        let server = ScriptedTransport::from_fn(move |_| {
            ScriptedAnswer::json(set.clone()).delay(Duration::from_secs(1))
        });
        let jwks = Jwks::url(ISSUER, "https://issuer.example/jwks").transport(server);
        let entry = Issuer::new(ISSUER, AUDIENCE)
            .keys(jwks.clock(world.clock.clone()).build().unwrap())
            .introspection(world.introspection().introspect_jwts());
        let validator = Validator::issuers([entry]).clock(world.clock.clone()).build().unwrap();
        let jwt = world.jwt(json!({}));
        world.active(&jwt, json!({}));
        let it = validator.clone();
        let waiting = tokio::spawn(async move { it.validate(&jwt).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        if removed {
            let two = Issuer::new("https://two.example", AUDIENCE).keys(world.introspection());
            validator.set_issuers([two]).unwrap();
        }
        let told = waiting.await.unwrap();
        assert_eq!(
            told.is_err().then(|| rejected(told)),
            removed.then_some(RejectionKind::WrongIssuer)
        );
        assert_eq!(world.calls(), usize::from(!removed));
    }
}

// N14: also where nothing but the claims that an answer must contain has changed.
#[tokio::test(start_paused = true)]
async fn n14_other_required_claims_hold_for_answers_at_once() {
    const ONE: &str = "https://one.example";
    let world = World::new();
    let entry = || Issuer::new(ONE, AUDIENCE).keys(world.introspection());
    let validator =
        Validator::issuers([entry().rfc9068()]).clock(world.clock.clone()).build().unwrap();
    world.active("t", json!({ "iss": ONE, "sub": null }));
    assert!(validator.validate("t").await.is_ok(), "RFC 9068 is about JWTs");
    let required = [
        RequiredClaim::Subject,
        RequiredClaim::ClientId,
        RequiredClaim::IssuedAt,
        RequiredClaim::JwtId,
    ];
    let strict = required.into_iter().fold(entry().require_typ(), Issuer::require_claim);
    validator.set_issuers([strict]).unwrap();
    assert_eq!(rejected(validator.validate("t").await), RejectionKind::MissingClaim);
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
    validator.ready(Duration::from_secs(5)).await.unwrap();
    assert_eq!(rejected(validator.validate(&answer).await), RejectionKind::WrongType);
    assert!(validator.validate(&issuer.token().sign()).await.is_ok());
}

// N18: an answer is held against the template's rule as a JWT is.
#[tokio::test(start_paused = true)]
async fn n18_which_tenants_are_accepted_holds_for_answers() {
    const ONE: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    const TWO: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const TEMPLATE: &str = "https://login.example/{tenantid}/v2.0";
    let filled = |tenant: &str| TEMPLATE.replace("{tenantid}", tenant);
    let world = World::new();
    let set = json!({ "keys": [world.key.public_jwk()] }).to_string();
    let issuer = || {
        Issuer::template(TEMPLATE, "https://login.example/common/doc", AUDIENCE)
            .keys(Jwks::static_set(TEMPLATE, &set).unwrap())
            .introspection(world.introspection().introspect_jwts())
    };
    for (rule, issuer) in [
        ("list", issuer().allow_tenants([ONE])),
        ("predicate", issuer().allow_tenants_where(|tenant| tenant == ONE)),
    ] {
        let validator = Validator::issuers([issuer]).clock(world.clock.clone()).build().unwrap();
        for (name, changes, expected) in [
            ("one", json!({ "iss": filled(ONE), "tid": ONE }), None),
            ("two", json!({ "iss": filled(TWO), "tid": TWO }), Some(RejectionKind::WrongIssuer)),
            ("lie", json!({ "iss": filled(TWO), "tid": ONE }), Some(RejectionKind::WrongIssuer)),
            ("lie2", json!({ "iss": filled(ONE), "tid": TWO }), Some(RejectionKind::WrongIssuer)),
            ("none", json!({ "iss": filled(ONE) }), Some(RejectionKind::MissingClaim)),
            ("no-iss", json!({ "iss": null, "tid": ONE }), Some(RejectionKind::WrongIssuer)),
        ] {
            world.active(name, changes.clone());
            let told = validator.validate(name).await;
            assert_eq!(told.err().map(|told| rejected::<()>(Err(told))), expected, "{rule} {name}");
            if name == "one" {
                let jwt = world.jwt(changes.clone());
                world.active(&jwt, changes);
                assert!(validator.validate(&jwt).await.is_ok());
                // The issuer's word about another tenant's token isn't this one's.
                let jwt = world.jwt(json!({ "iss": filled(ONE), "tid": ONE, "jti": rule }));
                world.active(&jwt, json!({ "iss": filled(TWO), "tid": TWO }));
                let told = rejected(validator.validate(&jwt).await);
                assert_eq!(told, RejectionKind::WrongIssuer);
            }
        }
    }
}

// I42: what was found while an earlier set of keys was in force ends with it.
#[tokio::test(start_paused = true)]
async fn i42_a_key_that_goes_while_the_issuer_is_asked_ends_what_it_signed() {
    let world = World::new();
    let published = Arc::new(Mutex::new(json!({ "keys": [world.key.public_jwk()] })));
    let keys = Arc::clone(&published);
    let key_server =
        ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(keys.lock().unwrap().to_string()));
    let jwks = Jwks::url(ISSUER, "https://issuer.example/jwks")
        .transport(key_server)
        .clock(world.clock.clone())
        .build()
        .unwrap();
    jwks.ready(Duration::from_secs(1)).await.unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE)
        .keys(jwks.clone())
        .introspection(world.introspection().introspect_jwts())
        .clock(world.clock.clone())
        .build()
        .unwrap();
    let body = answer(json!({})).to_string();
    let jwt = world.jwt(json!({}));
    world.answer(&jwt, move || ScriptedAnswer::json(body.clone()).delay(Duration::from_secs(2)));
    let asking = tokio::spawn({
        let (validator, jwt) = (validator.clone(), jwt.clone());
        async move { validator.validate(&jwt).await.is_ok() }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!asking.is_finished());
    // Removed, and known to be so before the answer comes.
    let other = TestKey::generate(tower_bearer::jose::Algorithm::EdDSA).with_kid("other");
    *published.lock().unwrap() = json!({ "keys": [other.public_jwk()] });
    jwks.refresh().await.unwrap();
    assert!(asking.await.unwrap(), "its signature was good when it came");
    assert_ne!(validator.validate(&jwt).await.err().map(|told| told.to_string()), None);
    // While the keys stay, it is remembered.
    *published.lock().unwrap() = json!({ "keys": [other.public_jwk(), world.key.public_jwk()] });
    jwks.refresh().await.unwrap();
    let calls = world.calls();
    for _ in 0..3 {
        assert!(validator.validate(&jwt).await.is_ok());
    }
    assert_eq!(world.calls(), calls + 1);
}
