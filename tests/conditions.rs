//! Step-up (RFC 9470), claim and client rules: on routes, guards, layers, and asked for by handlers.
#![cfg(all(feature = "test-util", feature = "tracing", feature = "axum"))]

mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use http::Method;
use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::jwks::Jwks;
use tower_bearer::middleware::{
    Authorized, Conditions, ConditionsBuilder, RecentAuth, TokenRejection,
};
use tower_bearer::token::{ClientIdSource, UnreadableDetail};
use tower_bearer::{
    Access, AccessToken, BearerAuthLayer, RejectionKind, Requirement, RouteTable, ScopeGuardLayer,
    Validator, ValidatorBuilder,
};
use world::{AUDIENCE, Answer, ISSUER, Inner, Issuer, Logs, bearer, now, send};

fn builder(issuer: &Issuer) -> ValidatorBuilder {
    let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    Validator::builder(ISSUER, AUDIENCE).keys(keys)
}

fn keeping(issuer: &Issuer, names: &[&str]) -> BearerAuthLayer {
    let validator = builder(issuer).keep_claims(names.iter().copied()).build().unwrap();
    BearerAuthLayer::new(validator).realm("api").unwrap()
}

fn step_up() -> Conditions {
    Conditions::builder()
        .acr_values(["phr", "mfa"])
        .max_auth_age(Duration::from_secs(300))
        .build()
        .unwrap()
}

async fn ask(layer: &BearerAuthLayer, method: &str, path: &str, token: &str) -> Answer {
    let service = layer.layer(Inner::default());
    send(&service, world::request(method, path, &[("authorization", &bearer(token))])).await
}

const STEP_UP: &str = r#"Bearer realm="api", error="insufficient_user_authentication", error_description="The request requires a stronger or more recent login""#;
const INVALID: &str =
    r#"Bearer realm="api", error="invalid_token", error_description="The access token is invalid""#;

#[tokio::test]
async fn w20_su1_su2_su3_su5_su9_one_challenge_names_all_that_a_new_token_needs() {
    let issuer = Issuer::new();
    let both = || Access::token().conditions(&step_up());
    let old = Conditions::builder().max_auth_age(Duration::ZERO).build().unwrap();
    let strong = Conditions::builder().acr_values(["phr"]).build().unwrap();
    let routes = RouteTable::builder()
        .any("/both", both())
        .any("/pay", Access::scope("pay").conditions(&step_up()))
        .any("/now", Access::token().conditions(&old))
        .any("/strong", Access::token().conditions(&strong))
        .build()
        .unwrap();
    let layer = issuer.layer().routes(routes);
    let (fresh, stale) = (now() - 200, now() - 361);
    let wants = format!("{STEP_UP}, acr_values=\"phr mfa\", max_age=300");
    let with_scope = format!("{wants}, scope=\"pay\"");
    let insufficient = r#"Bearer realm="api", error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token", scope="pay""#;
    for (path, claims, status, challenge) in [
        ("/both", json!({ "acr": "mfa", "auth_time": fresh }), 200, ""),
        ("/both", json!({ "acr": "phr", "auth_time": fresh }), 200, ""),
        // Half a second is as good as a second.
        ("/both", json!({ "acr": "phr", "auth_time": fresh as f64 + 0.5 }), 200, ""),
        // Within the leeway of a minute.
        ("/both", json!({ "acr": "phr", "auth_time": now() - 330 }), 200, ""),
        ("/both", json!({ "acr": "phr", "auth_time": stale }), 401, &*wants),
        ("/both", json!({ "acr": "pwd", "auth_time": fresh }), 401, &wants),
        ("/both", json!({ "acr": "phr mfa", "auth_time": fresh }), 401, &wants),
        ("/both", json!({ "acr": "MFA", "auth_time": fresh }), 401, &wants),
        ("/both", json!({ "acr": "phr" }), 401, &wants),
        ("/both", json!({ "auth_time": fresh }), 401, &wants),
        // A login that is yet to come would never grow old.
        ("/both", json!({ "acr": "phr", "auth_time": now() + 3_600 }), 401, &wants),
        // SU9: nobody logged in.
        ("/both", json!({ "sub": "app" }), 401, &wants),
        // SU3: a wrong type isn't an absence.
        ("/both", json!({ "acr": ["phr"], "auth_time": fresh }), 401, INVALID),
        ("/both", json!({ "acr": 1, "auth_time": fresh }), 401, INVALID),
        ("/both", json!({ "acr": "phr", "auth_time": fresh.to_string() }), 401, INVALID),
        ("/both", json!({ "acr": "phr", "auth_time": true }), 401, INVALID),
        // SU5: what is missing, in one answer.
        ("/pay", json!({ "acr": "mfa", "auth_time": fresh, "scope": "pay" }), 200, ""),
        ("/pay", json!({ "acr": "pwd", "auth_time": fresh }), 401, &with_scope),
        ("/pay", json!({ "acr": "pwd", "auth_time": fresh, "scope": "pay" }), 401, &with_scope),
        ("/pay", json!({ "acr": "mfa", "auth_time": fresh, "scope": "x" }), 403, insufficient),
        ("/now", json!({ "auth_time": now() }), 200, ""),
        ("/now", json!({ "auth_time": now() - 100 }), 401, &format!("{STEP_UP}, max_age=0")),
        ("/strong", json!({ "acr": "phr" }), 200, ""),
        // Of what isn't asked for, the type isn't either.
        ("/strong", json!({ "acr": "phr", "auth_time": "x" }), 200, ""),
        ("/strong", json!({ "acr": "mfa" }), 401, &format!("{STEP_UP}, acr_values=\"phr\"")),
        ("/other", json!({ "acr": {}, "auth_time": [] }), 200, ""),
    ] {
        let token = issuer.token_with(claims.clone());
        let answer = ask(&layer, "GET", path, &token).await;
        assert_eq!((answer.status(), answer.challenge()), (status, challenge), "{path} {claims}");
        if status == 401 && challenge != INVALID {
            let body: Value = serde_json::from_str(answer.body()).unwrap();
            assert_eq!(body["error"], "insufficient_user_authentication");
            assert_eq!(answer.kind(), Some(RejectionKind::InsufficientLogin));
        }
    }
    // Without a token there is nothing to step up from.
    let service = layer.layer(Inner::default());
    let answer = send(&service, world::get("/pay", &[])).await;
    assert_eq!(answer.challenge(), r#"Bearer realm="api", scope="pay""#);
}

#[tokio::test]
async fn w21_max_age_is_a_number_of_whole_seconds() {
    let conditions = |age| Conditions::builder().max_auth_age(age).build();
    assert!(conditions(Duration::from_millis(1_500)).is_err());
    let issuer = Issuer::new();
    for (seconds, said) in [(0, "0"), (1, "1"), (u64::MAX, "18446744073709551615")] {
        let layer = issuer.layer().conditions(&conditions(Duration::from_secs(seconds)).unwrap());
        let answer = ask(&layer, "GET", "/", &issuer.token("")).await;
        assert_eq!(answer.challenge(), format!("{STEP_UP}, max_age={said}"));
    }
}

#[tokio::test]
async fn su4_only_the_application_knows_which_acr_is_stronger() {
    let issuer = Issuer::new();
    let conditions = Conditions::builder()
        .acr_values(["2"])
        .acr_accepted_by(|acr| acr.parse().is_ok_and(|level: u32| level >= 2))
        .build()
        .unwrap();
    let layer = issuer.layer().conditions(&conditions);
    for (acr, status) in [("2", 200), ("3", 200), ("1", 401), ("", 401)] {
        let token = issuer.token_with(json!({ "acr": acr }));
        assert_eq!(ask(&layer, "GET", "/", &token).await.status(), status, "{acr}");
    }
}

#[tokio::test]
async fn su6_grpc_methods_can_ask_for_a_login() {
    let issuer = Issuer::new();
    let routes = RouteTable::builder()
        .grpc_service("shop.Orders", Access::token())
        .any("/shop.Orders/Pay", Access::scope("pay").conditions(&step_up()))
        .build()
        .unwrap();
    let service = issuer.layer().routes(routes).layer(Inner::default());
    let token = bearer(&issuer.token(""));
    let fields = [("content-type", "application/grpc"), ("authorization", token.as_str())];
    let answer = send(&service, world::request("POST", "/shop.Orders/Pay", &fields)).await;
    assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("16")));
    let wants = format!("{STEP_UP}, acr_values=\"phr mfa\", max_age=300, scope=\"pay\"");
    assert_eq!(answer.challenge(), wants);
    let details = answer.header("grpc-status-details-bin").unwrap();
    let details = base64_decode(details);
    for part in ["LOGIN_INSUFFICIENT", "acr_values", "phr mfa", "max_age", "300", "required_scope"]
    {
        assert!(details.contains(part), "{part}: {details}");
    }
    let answer = send(&service, world::request("POST", "/shop.Orders/List", &fields)).await;
    assert_eq!((answer.status(), answer.body()), (200, "inner"));
}

fn base64_decode(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = text.bytes().flat_map(|byte| {
        let value = ALPHABET.iter().position(|known| *known == byte).unwrap();
        (0..6).rev().map(move |bit| value >> bit & 1)
    });
    let bits: Vec<_> = bits.collect();
    let bytes: Vec<u8> = bits
        .chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | *bit as u8))
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn request(path: &str, token: &str) -> Request {
    Request::builder().uri(path).header("authorization", bearer(token)).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn su6_guards_and_extractors_can_ask_for_a_login() {
    let issuer = Issuer::new();
    let guard = ScopeGuardLayer::new(Requirement::scope("pay").unwrap()).conditions(&step_up());
    let app = Router::new()
        .route("/guarded", get(|| async { "guarded" }).route_layer(guard))
        .route(
            "/recent",
            get(|user: RecentAuth<300>| async move { user.subject().unwrap().to_owned() }),
        )
        .layer(issuer.layer());
    let good = json!({ "acr": "mfa", "auth_time": now(), "scope": "pay" });
    for (path, claims, status, challenge) in [
        ("/guarded", good.clone(), 200, String::new()),
        (
            "/guarded",
            json!({}),
            401,
            format!("{STEP_UP}, acr_values=\"phr mfa\", max_age=300, scope=\"pay\""),
        ),
        ("/recent", good, 200, String::new()),
        ("/recent", json!({}), 401, format!("{STEP_UP}, max_age=300")),
        ("/recent", json!({ "auth_time": "now" }), 401, INVALID.to_owned()),
    ] {
        let answer = send(&app, request(path, &issuer.token_with(claims))).await;
        assert_eq!((answer.status(), answer.challenge()), (status, &*challenge), "{path}");
    }
}

#[tokio::test]
async fn cl1_a_claim_must_have_an_allowed_value_and_otherwise_it_is_403() {
    let issuer = Issuer::new();
    let layer = keeping(&issuer, &["email_verified", "tenant", "groups", "level"]);
    let rule = |build: ConditionsBuilder| Access::token().conditions(&build.build().unwrap());
    let routes = RouteTable::builder()
        .any("/mail", rule(Conditions::builder().claim("email_verified", true)))
        .any("/tenant", rule(Conditions::builder().claim_in("tenant", ["a", "b"])))
        .any("/group", rule(Conditions::builder().claim("groups", "staff")))
        .any("/level", rule(Conditions::builder().claim("level", 2)))
        .any("/all", rule(Conditions::builder().claim("tenant", "a").claim("groups", "staff")))
        .build()
        .unwrap();
    let layer = layer.routes(routes);
    for (path, claims, status) in [
        ("/mail", json!({ "email_verified": true }), 200),
        ("/mail", json!({ "email_verified": false }), 403),
        ("/mail", json!({ "email_verified": "true" }), 403),
        ("/mail", json!({ "email_verified": 1 }), 403),
        ("/mail", json!({ "email_verified": null }), 403),
        ("/mail", json!({}), 403),
        ("/tenant", json!({ "tenant": "a" }), 200),
        ("/tenant", json!({ "tenant": "b" }), 200),
        ("/tenant", json!({ "tenant": "c" }), 403),
        ("/tenant", json!({ "tenant": "a b" }), 403),
        ("/group", json!({ "groups": ["x", "staff"] }), 200),
        ("/group", json!({ "groups": "staff" }), 200),
        ("/group", json!({ "groups": ["x"] }), 403),
        ("/group", json!({ "groups": [["staff"]] }), 403),
        ("/group", json!({ "groups": { "staff": true } }), 403),
        ("/level", json!({ "level": 2 }), 200),
        ("/level", json!({ "level": 2.0 }), 200),
        ("/level", json!({ "level": "2" }), 403),
        ("/all", json!({ "tenant": "a", "groups": ["staff"] }), 200),
        ("/all", json!({ "tenant": "a" }), 403),
        ("/all", json!({ "groups": ["staff"] }), 403),
        // What one route asks for refuses nobody elsewhere.
        ("/other", json!({}), 200),
    ] {
        // `null` would take the claim out of the token.
        let token = match claims["email_verified"] {
            Value::Null if path == "/mail" => issuer.token_with(json!({})),
            _ => issuer.token_with(claims.clone()),
        };
        let answer = ask(&layer, "GET", path, &token).await;
        assert_eq!(answer.status(), status, "{path} {claims}");
        if status == 403 {
            assert_eq!(answer.kind(), Some(RejectionKind::ClaimRefused));
            assert_eq!(answer.challenge(), "", "no other token of this kind would do");
            assert!(answer.body().contains("access_denied"));
        }
    }
}

#[tokio::test]
async fn cl1_the_log_names_the_claim_and_never_its_value() {
    let issuer = Issuer::new();
    let conditions = Conditions::builder().claim("tenant", "a").build().unwrap();
    let layer = keeping(&issuer, &["tenant"]).conditions(&conditions);
    for (claims, said) in [
        (json!({}), "tenant is absent"),
        (json!({ "tenant": "secretive" }), "tenant has another value"),
    ] {
        let logs = Logs::capture();
        let token = issuer.token_with(claims);
        assert_eq!(ask(&layer, "GET", "/", &token).await.status(), 403);
        let lines = logs.take().join("\n");
        assert!(lines.contains("claim_refused") && lines.contains(said), "{lines}");
        assert!(!lines.contains("secretive"), "{lines}");
    }
}

// That nobody can ever meet a rule is the operator's to know, and no caller's fault.
#[tokio::test]
async fn cl1_a_claim_that_isnt_kept_is_a_mistake_of_ours() {
    let issuer = Issuer::new();
    let conditions = Conditions::builder().claim("tenant", "a").build().unwrap();
    let needs = async |auth: Authorized| auth.require_claim::<String>("tenant");
    let asks = {
        let conditions = conditions.clone();
        async move |auth: Authorized| auth.require_conditions(&conditions).map(|()| "fine")
    };
    let guard = ScopeGuardLayer::new(Requirement::none()).conditions(&conditions);
    let routes = RouteTable::builder()
        .any("/route", Access::token().conditions(&conditions))
        .any("/hidden", Access::token().conditions(&conditions).hide_existence())
        .build()
        .unwrap();
    let fine = || get(async || "fine");
    let app = Router::new()
        .route("/route", fine())
        .route("/hidden", fine())
        .route("/guard", fine().route_layer(guard))
        .route("/handler", get(needs))
        .route("/asks", get(asks))
        .route("/other", fine());
    let kept = app.clone().layer(keeping(&issuer, &["tenant"]).routes(routes.clone()));
    let not_kept = app.layer(keeping(&issuer, &["other"]).routes(routes));
    let good = issuer.token_with(json!({ "tenant": "a" }));
    let without = issuer.token_with(json!({}));
    for path in ["/route", "/hidden", "/guard", "/handler", "/asks"] {
        let refused = if path == "/hidden" { 404 } else { 403 };
        assert_eq!(send(&kept, request(path, &good)).await.status(), 200, "{path}");
        assert_eq!(send(&kept, request(path, &without)).await.status(), refused, "{path}");
        for token in [&good, &without] {
            let logs = Logs::capture();
            let answer = send(&not_kept, request(path, token)).await;
            assert_eq!(answer.status(), if path == "/hidden" { 404 } else { 500 }, "{path}");
            assert!(!answer.body().contains("tenant"), "{}", answer.body());
            let lines = logs.take().join("\n");
            for said in ["ERROR", "tenant", "keep_claims"] {
                assert!(lines.contains(said), "{path}: {lines}");
            }
        }
    }
    assert_eq!(send(&not_kept, request("/other", &good)).await.status(), 200);
    let nobody = Request::builder().uri("/route").body(Body::empty()).unwrap();
    assert_eq!(send(&not_kept, nobody).await.status(), 401);
}

#[tokio::test]
async fn su7_amr_is_a_claim_rule_that_names_no_login() {
    let issuer = Issuer::new();
    let conditions = Conditions::builder().claim("amr", "otp").build().unwrap();
    let layer = keeping(&issuer, &["amr"]).conditions(&conditions);
    for (claims, status) in [
        (json!({ "amr": ["pwd", "otp"] }), 200),
        (json!({ "amr": ["pwd"] }), 403),
        (json!({ "acr": "otp" }), 403),
    ] {
        let answer = ask(&layer, "GET", "/", &issuer.token_with(claims.clone())).await;
        // RFC 9470 has no parameter that would say so.
        assert_eq!((answer.status(), answer.challenge()), (status, ""), "{claims}");
    }
}

#[tokio::test]
async fn cl3_a_token_may_be_too_old_since_it_was_issued() {
    let issuer = Issuer::new();
    let validator = builder(&issuer).max_age(Duration::from_secs(300)).build().unwrap();
    let layer = BearerAuthLayer::new(validator).realm("api").unwrap();
    for (iat, kind) in [
        (json!(now() - 200), None),
        (json!(now() - 400), Some(RejectionKind::TooOld)),
        (json!(null), Some(RejectionKind::MissingClaim)),
        (json!("x"), Some(RejectionKind::MalformedClaim)),
        // It would never grow old.
        (json!(now() + 400), Some(RejectionKind::NotYetValid)),
    ] {
        let answer = ask(&layer, "GET", "/", &issuer.token_with(json!({ "iat": iat }))).await;
        assert_eq!(answer.kind(), kind, "{iat}");
        let expected = if kind.is_none() { (200, "") } else { (401, INVALID) };
        assert_eq!((answer.status(), answer.challenge()), expected, "{iat}");
    }
}

#[tokio::test]
async fn cl4_typed_claims_are_read_once_and_shared() {
    static READ: AtomicUsize = AtomicUsize::new(0);
    struct Tenant(String);
    impl<'de> serde::Deserialize<'de> for Tenant {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            #[derive(serde::Deserialize)]
            struct Claims {
                tenant: String,
            }
            READ.fetch_add(1, Ordering::SeqCst);
            Claims::deserialize(from).map(|claims| Self(claims.tenant))
        }
    }
    let issuer = Issuer::new();
    let layer = BearerAuthLayer::new(builder(&issuer).claims::<Tenant>().build().unwrap());
    let both = async |one: AccessToken<Tenant>, other: AccessToken<Tenant>| {
        assert!(std::ptr::eq(one.extra(), other.extra()));
        one.extra().0.clone()
    };
    let app = Router::new().route("/", get(both)).layer(layer);
    let token = issuer.token_with(json!({ "tenant": "a" }));
    for _ in 0..3 {
        assert_eq!(send(&app, request("/", &token)).await.body(), "a");
    }
    assert_eq!(READ.load(Ordering::SeqCst), 1);
    let bad = issuer.token_with(json!({ "tenant": 1 }));
    assert_eq!(send(&app, request("/", &bad)).await.status(), 401);
}

#[tokio::test]
async fn cl2_other_clients_are_refused_with_403() {
    let issuer = Issuer::new();
    let conditions = Conditions::builder().clients(["app", "job"]).build().unwrap();
    let validator = builder(&issuer).client_id_source(ClientIdSource::entra()).build().unwrap();
    let layer = BearerAuthLayer::new(validator).conditions(&conditions);
    for (claims, status) in [
        (json!({ "azp": "app" }), 200),
        (json!({ "appid": "job" }), 200),
        (json!({ "azp": "other" }), 403),
        // It isn't where the source looks.
        (json!({ "client_id": "app" }), 403),
    ] {
        let answer = ask(&layer, "GET", "/", &issuer.token_with(claims.clone())).await;
        assert_eq!(answer.status(), status, "{claims}");
        let refused = (status == 403).then_some(RejectionKind::WrongClient);
        assert_eq!(answer.kind(), refused);
        if let Some(refusal) = answer.refusal() {
            let presented = claims.get("azp").map_or("none", |_| "\"other\"");
            let said = format!(": expected \"app\" or \"job\", presented {presented}");
            assert!(refusal.to_string().ends_with(&said), "{refusal}");
        }
    }
}

#[tokio::test]
async fn conditions_of_a_layer_are_for_every_token_beside_those_of_the_route() {
    let issuer = Issuer::new();
    let routes = RouteTable::builder()
        .any("/public", Access::public())
        .any("/optional", Access::optional())
        .any("/read", Access::scope("read"))
        .any(
            "/job",
            Access::token().conditions(&Conditions::builder().clients(["job"]).build().unwrap()),
        )
        .build()
        .unwrap();
    let tenant = Conditions::builder().claim("tenant", "a").build().unwrap();
    let group = Conditions::builder().claim("group", "b").build().unwrap();
    let layer = keeping(&issuer, &["tenant", "group"])
        .conditions(&tenant)
        .routes(routes)
        .conditions(&group);
    let service = layer.layer(Inner::default());
    for (path, status) in [("/public", 200), ("/optional", 200), ("/read", 401), ("/other", 401)] {
        assert_eq!(send(&service, world::get(path, &[])).await.status(), status, "{path}");
    }
    let good = json!({ "tenant": "a", "group": "b", "scope": "read" });
    for (changes, path, status) in [
        (json!({}), "/read", 200),
        (json!({}), "/other", 200),
        (json!({}), "/job", 403),
        (json!({ "client_id": "job" }), "/job", 200),
        (json!({ "scope": "" }), "/read", 403),
        (json!({ "tenant": "x" }), "/read", 403),
        (json!({ "group": "x" }), "/other", 403),
        (json!({ "group": "x" }), "/optional", 403),
        (json!({ "group": "x" }), "/public", 200),
    ] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let answer = ask(&layer, "GET", path, &issuer.token_with(claims)).await;
        assert_eq!(answer.status(), status, "{path} {changes}");
    }
}

#[tokio::test]
async fn conditions_of_what_hides_give_nothing_away() {
    let issuer = Issuer::new();
    let conditions = Conditions::builder().acr_values(["phr"]).clients(["app"]).build().unwrap();
    let hidden = Access::scope("x").conditions(&conditions).hide_existence();
    let routes = RouteTable::builder().any("/hidden", hidden).build().unwrap();
    let layer = issuer.layer().routes(routes);
    for claims in [
        json!({}),
        json!({ "client_id": "other" }),
        json!({ "acr": "phr" }),
        json!({ "acr": 1, "scope": "x" }),
    ] {
        let answer = ask(&layer, "GET", "/hidden", &issuer.token_with(claims)).await;
        assert_eq!((answer.status(), answer.challenge(), answer.body()), (404, "", ""));
    }
    let good = issuer.token_with(json!({ "acr": "phr", "scope": "x" }));
    assert_eq!(ask(&layer, "GET", "/hidden", &good).await.status(), 200);
    let service = layer.layer(Inner::default());
    let answer = send(&service, world::get("/hidden", &[])).await;
    assert_eq!((answer.status(), answer.challenge()), (401, r#"Bearer realm="api""#));
}

#[tokio::test]
async fn handlers_ask_for_what_they_need_and_refuse_as_the_layer_does() {
    async fn order(auth: Authorized) -> Result<String, TokenRejection> {
        let tenant: String = auth.require_claim("tenant")?;
        auth.require_scope("archive")?;
        auth.require_conditions(&step_up())?;
        Ok(format!("{tenant} {}", auth.client_id().unwrap()))
    }
    let issuer = Issuer::new();
    let layer = keeping(&issuer, &["tenant"]).resource("https://api.example").unwrap();
    let app = Router::new()
        .route("/order", get(order))
        .route(
            "/misspelt",
            get(|auth: Authorized| async move { auth.require_scope("a b").map(|()| "unreached") }),
        )
        .route("/other", get(|_: Authorized| async { "other" }))
        .layer(layer);
    let url = r#", resource_metadata="https://api.example/.well-known/oauth-protected-resource""#;
    let insufficient = r#"Bearer realm="api", error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token", scope="archive""#;
    let good = json!({ "tenant": "a", "scope": "archive", "acr": "mfa", "auth_time": now() });
    for (path, changes, status, challenge) in [
        ("/order", json!({}), 200, String::new()),
        ("/order", json!({ "tenant": 7 }), 403, String::new()),
        ("/order", json!({ "tenant": null }), 403, String::new()),
        ("/order", json!({ "scope": "x" }), 403, format!("{insufficient}{url}")),
        (
            "/order",
            json!({ "acr": "pwd" }),
            401,
            format!("{STEP_UP}, acr_values=\"phr mfa\", max_age=300{url}"),
        ),
        ("/other", json!({ "tenant": null, "scope": "" }), 200, String::new()),
        // Our own mistake isn't the caller's.
        ("/misspelt", json!({}), 500, String::new()),
    ] {
        let mut claims = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        let answer = send(&app, request(path, &issuer.token_with(claims))).await;
        assert_eq!(
            (answer.status(), answer.challenge()),
            (status, &*challenge),
            "{path} {changes}"
        );
    }
    let answer = send(&app, request("/order", &issuer.token_with(good))).await;
    assert_eq!(answer.body(), "a app");
    let without = Request::builder().uri("/other").body(Body::empty()).unwrap();
    assert_eq!(send(&app, without).await.status(), 401);
}

#[tokio::test]
async fn cl5_authorization_details_by_their_type() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Payment {
        amount: u32,
    }
    async fn amounts(token: AccessToken) -> String {
        let amounts = token.authorization_details::<Payment>("payment");
        let unreadable = |error: UnreadableDetail| {
            assert_eq!(format!("{error:?}"), error.to_string(), "which `main` prints");
            "?".to_owned()
        };
        amounts.map(|it| it.map_or_else(unreadable, |it| it.amount.to_string())).collect()
    }
    let issuer = Issuer::new();
    let app = Router::new().route("/", get(amounts));
    let kept = app.clone().layer(keeping(&issuer, &["authorization_details"]));
    for (details, said) in [
        (json!([]), Ok("")),
        (json!([{ "type": "payment", "amount": 7 }]), Ok("7")),
        (
            json!([{ "type": "payment", "amount": 7 }, { "type": "x" }, { "type": "payment", "amount": 8, "more": [] }]),
            Ok("78"),
        ),
        // One that can't be read isn't one that isn't there.
        (json!([{ "type": "payment" }]), Ok("?")),
        (json!({ "type": "payment", "amount": 7 }), Err(401)),
        (json!("payment"), Err(401)),
        (json!(["payment"]), Err(401)),
        (json!([{ "amount": 7 }]), Err(401)),
        (json!([{ "type": 7 }]), Err(401)),
        (json!([{ "type": "payment" }, null]), Err(401)),
    ] {
        let token = issuer.token_with(json!({ "authorization_details": details }));
        let answer = send(&kept, request("/", &token)).await;
        match said {
            Ok(said) => assert_eq!((answer.status(), answer.body()), (200, said), "{details}"),
            Err(status) => {
                assert_eq!(answer.status(), status, "{details}");
                assert_eq!(answer.kind(), Some(RejectionKind::MalformedClaim));
            }
        }
        // Where they aren't kept, no token is refused for them, and none is taken for unrestricted.
        for layer in [issuer.layer(), keeping(&issuer, &["tenant"])] {
            let answer = send(&app.clone().layer(layer), request("/", &token)).await;
            assert_eq!((answer.status(), answer.body()), (200, "?"), "{details}");
        }
    }
    assert_eq!(send(&kept, request("/", &issuer.token(""))).await.body(), "");
}

#[tokio::test]
async fn cl5_an_unreadable_detail_says_why() {
    async fn why(token: AccessToken) -> String {
        let all: Vec<_> = token.authorization_details::<u32>("payment").collect();
        all.iter().map(|it| it.unwrap_err().to_string()).collect()
    }
    let issuer = Issuer::new();
    let app = Router::new().route("/", get(why));
    let token = issuer.token_with(json!({ "authorization_details": [{ "type": "payment" }] }));
    for (layer, said) in [
        (keeping(&issuer, &["authorization_details"]), "as the application's type"),
        (issuer.layer(), "name it in keep_claims"),
    ] {
        let answer = send(&app.clone().layer(layer), request("/", &token)).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.body().contains(said), "{}", answer.body());
    }
}

#[tokio::test]
async fn kept_claims_are_read_strictly_and_from_remembered_tokens_too() {
    let issuer = Issuer::new();
    let conditions = Conditions::builder().claim("tenant", "a").build().unwrap();
    let layer = keeping(&issuer, &["tenant"]).conditions(&conditions);
    let token = issuer.token_with(json!({ "tenant": "a" }));
    for _ in 0..3 {
        assert_eq!(ask(&layer, "GET", "/", &token).await.status(), 200);
    }
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": issuer.key.kid() }).to_string();
    let claims = |tenant: &str| {
        let exp = now() + 600;
        format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{exp},{tenant}}}"#)
    };
    for (tenant, status) in [
        (r#""tenant":"a""#, 200),
        (r#""tenant":"\u0061""#, 200),
        (r#""tenant":"b","tenant":"a""#, 401),
        (r#""tenant":"b","\u0074enant":"a""#, 401),
        (r#""tenant":[{"x":1,"x":2},"a"]"#, 401),
        (r#""tenant":{"$serde_json::private::RawValue":"\"a\""}"#, 401),
    ] {
        let token = issuer.key.sign(header.clone(), claims(tenant));
        assert_eq!(ask(&layer, "GET", "/", &token).await.status(), status, "{tenant}");
    }
}

#[test]
fn what_cant_work_is_said_when_it_is_built() {
    type Change = fn(ConditionsBuilder) -> ConditionsBuilder;
    let changes: &[(Change, &str)] = &[
        (|it| it.acr_values([""]), "acr"),
        (|it| it.acr_values(["a b"]), "\"a b\""),
        (|it| it.acr_values(["a\"b"]), "acr"),
        (|it| it.acr_values(["caf\u{e9}"]), "acr"),
        (|it| it.acr_accepted_by(|_| true), "acr_values"),
        (|it| it.max_auth_age(Duration::from_millis(1_500)), "whole seconds"),
        (|it| it.clients([] as [&str; 0]), "clients"),
        (|it| it.clients([""]), "clients"),
        (|it| it.claim_in("tenant", [] as [&str; 0]), "tenant"),
    ];
    for (change, said) in changes {
        let error = change(Conditions::builder()).build().unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    let public = Access::public().conditions(&step_up());
    let error = RouteTable::builder().route(Method::GET, "/", public).build().unwrap_err();
    assert!(error.to_string().contains("public"), "{error}");

    let issuer = Issuer::new();
    for (name, said) in
        [("sub", "\"sub\""), ("acr", "\"acr\""), ("cnf", "\"cnf\""), ("scope", "scopes")]
    {
        let error = builder(&issuer).keep_claims([name]).build().unwrap_err().to_string();
        assert!(error.contains(said), "{name}: {error}");
    }
    let many = (0..33).map(|at| format!("claim{at}"));
    assert!(builder(&issuer).keep_claims(many.clone()).build().is_err());
    assert!(builder(&issuer).keep_claims(many.skip(1)).keep_claims(["claim1"]).build().is_ok());
}
