//! Which answers are believed (RFC 7662 §2.2).

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tower::Layer as _;
use tower_bearer::middleware::Conditions;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::ScriptedAnswer;
use tower_bearer::token::{Evidence, ScopeSource};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{BearerAuthLayer, RejectionKind, RequiredClaim, UnixTime};

use crate::support::{NOW, World, answer, rejected, unavailable};
use crate::world::{ISSUER, Inner, bearer, get, send};

// I15: true goes on, false is the token's fault, anything else is the server's.
#[tokio::test(start_paused = true)]
async fn i2_i15_active_is_true_or_false_or_no_answer() {
    let world = World::new();
    let validator = world.validator();
    world.active("good", json!({}));
    assert_eq!(validator.validate("good").await.unwrap().subject(), Some("alice"));
    world.active("bad", json!({ "active": false }));
    assert_eq!(rejected(validator.validate("bad").await), RejectionKind::Inactive);
    for (at, active) in [json!("true"), json!(1), json!([true]), json!(null)].iter().enumerate() {
        let token = format!("odd{at}");
        world.active(&token, json!({ "active": active }));
        let told = unavailable(validator.validate(&token).await);
        assert_eq!(told, UnavailableReason::IntrospectionFailed, "{active}");
    }
}

// I16, I30: what is no answer is nobody's 401, and isn't remembered.
#[tokio::test(start_paused = true)]
async fn i16_i30_a_server_that_fails_is_never_the_callers_fault() {
    let status = |status| ScriptedAnswer::status(StatusCode::from_u16(status).unwrap());
    let answers: [fn(&str) -> ScriptedAnswer; 14] = [
        |_| ScriptedAnswer::json("<html><title>Log in</title></html>"),
        |_| ScriptedAnswer::json(""),
        |good| ScriptedAnswer::json(good[..good.len() / 2].to_owned()),
        |good| ScriptedAnswer::json(good.replacen('{', r#"{"active":false,"#, 1)),
        |good| ScriptedAnswer::json(format!("[{good}]")),
        |good| ScriptedAnswer::json(format!("{good}{good}")),
        |good| ScriptedAnswer::json(good.to_owned()).header("content-encoding", "gzip"),
        |good| ScriptedAnswer::json(format!("{good}{}", " ".repeat(64 * 1_024))),
        |good| ScriptedAnswer::json(good.to_owned()).delay(Duration::from_secs(6)),
        |_| ScriptedAnswer::status(StatusCode::FOUND).header("location", "https://a.example"),
        |_| ScriptedAnswer::error(TransportErrorKind::Connect),
        |_| ScriptedAnswer::error(TransportErrorKind::Tls),
        |_| ScriptedAnswer::error(TransportErrorKind::TooLarge),
        |_| ScriptedAnswer::never(),
    ];
    let good = answer(json!({})).to_string();
    for (at, make) in answers.into_iter().enumerate() {
        let good = good.clone();
        check_trouble(at, move || make(&good)).await;
    }
    for code in [204, 404, 429, 500, 503] {
        check_trouble(code.into(), move || status(code)).await;
    }
}

async fn check_trouble(at: usize, make: impl Fn() -> ScriptedAnswer + Send + Sync + 'static) {
    let world = World::new();
    let validator = world.validator();
    world.answer("t", make);
    let told = unavailable(validator.validate("t").await);
    assert_eq!(told, UnavailableReason::IntrospectionFailed, "{at}");
    // It isn't remembered against the token.
    world.active("t", json!({}));
    assert!(validator.validate("t").await.is_ok(), "{at}");
}

// I7
#[tokio::test(start_paused = true)]
async fn i7_our_own_credentials_are_never_the_callers_fault() {
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let world = World::new();
        let validator = world.validator();
        world.answer("t", move || ScriptedAnswer::status(status));
        let told = unavailable(validator.validate("t").await);
        assert_eq!(told, UnavailableReason::IntrospectionDenied);
        world.active("t", json!({}));
        assert!(validator.validate("t").await.is_ok());
    }
}

// I4, I18: times are held against the clock, whatever `active` says.
#[tokio::test(start_paused = true)]
async fn i4_i18_times_are_checked_with_the_leeway() {
    let world = World::new();
    let validator = world.builder(world.introspection()).leeway(Duration::from_secs(5)).build();
    let validator = validator.unwrap();
    for (changes, expected) in [
        (json!({ "exp": NOW - 5 }), Some(RejectionKind::Expired)),
        (json!({ "exp": NOW - 4 }), None),
        (json!({ "nbf": NOW + 6 }), Some(RejectionKind::NotYetValid)),
        (json!({ "nbf": NOW + 5 }), None),
    ] {
        let token = format!("t{}", world.calls());
        world.active(&token, changes.clone());
        let told = validator.validate(&token).await;
        match expected {
            None => assert!(told.is_ok(), "{changes}"),
            Some(kind) => assert_eq!(rejected(told), kind, "{changes}"),
        }
    }
}

// I19: canaille's floats are numbers; a text is none, and the server's fault.
#[tokio::test(start_paused = true)]
async fn i19_times_are_numbers_with_or_without_a_fraction() {
    let world = World::new();
    let validator = world.validator();
    world.active("float", json!({ "exp": 1_800_000_173.444_84, "iat": 1_799_999_999.5 }));
    let token = validator.validate("float").await.unwrap();
    assert_eq!(token.expires_at(), UnixTime::from_secs_f64(1_800_000_173.444_84));
    for (at, changes) in [
        json!({ "exp": "1800000600" }),
        json!({ "iat": "now" }),
        json!({ "nbf": [1] }),
        json!({ "client_id": 7 }),
        json!({ "aud": 7 }),
        json!({ "scope": { "a": 1 } }),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("text{at}");
        world.active(&token, changes.clone());
        let told = unavailable(validator.validate(&token).await);
        assert_eq!(told, UnavailableReason::IntrospectionFailed, "{changes}");
    }
}

// I20
#[tokio::test(start_paused = true)]
async fn i20_an_answer_without_exp_is_accepted_unless_it_is_required() {
    let world = World::new();
    world.active("t", json!({ "exp": null }));
    let token = world.validator().validate("t").await.unwrap();
    assert_eq!(token.expires_at(), None);
    let strict = world.builder(world.introspection().require_exp()).build().unwrap();
    assert_eq!(rejected(strict.validate("t").await), RejectionKind::MissingClaim);
    world.active("u", json!({}));
    assert!(strict.validate("u").await.is_ok());
}

// I21: the audience is this service's, or there is a setting that says otherwise.
#[tokio::test(start_paused = true)]
async fn i21_aud_is_required_and_matched() {
    let world = World::new();
    let validator = world.validator();
    let liberal = world.introspection().dangerous_accept_missing_aud();
    let liberal = world.builder(liberal).build().unwrap();
    for (aud, strict_kind, liberal_kind) in [
        (json!("https://api.example"), None, None),
        (json!(["other", "https://api.example"]), None, None),
        (json!(null), Some(RejectionKind::MissingClaim), None),
        (json!([]), Some(RejectionKind::MissingClaim), None),
        (json!("other"), Some(RejectionKind::WrongAudience), Some(RejectionKind::WrongAudience)),
        (json!(["other"]), Some(RejectionKind::WrongAudience), Some(RejectionKind::WrongAudience)),
    ] {
        let token = format!("t{}", world.calls());
        world.active(&token, json!({ "aud": aud }));
        for (validator, expected) in [(&validator, strict_kind), (&liberal, liberal_kind)] {
            let told = validator.validate(&token).await;
            match expected {
                None => assert!(told.is_ok(), "{aud}"),
                Some(kind) => assert_eq!(rejected(told), kind, "{aud}"),
            }
        }
    }
    world.active("none", json!({ "aud": null }));
    let told = validator.validate("none").await.unwrap_err().to_string();
    assert!(told.contains("dangerous_accept_missing_aud"), "{told}");
}

// I22: django-oauth-toolkit names no issuer; another's is another's.
#[tokio::test(start_paused = true)]
async fn i22_iss_is_the_issuers_or_absent() {
    let world = World::new();
    let validator = world.validator();
    world.active("none", json!({ "iss": null }));
    assert_eq!(validator.validate("none").await.unwrap().issuer(), ISSUER);
    world.active("other", json!({ "iss": "https://other.example" }));
    assert_eq!(rejected(validator.validate("other").await), RejectionKind::WrongIssuer);
    world.active("slash", json!({ "iss": "https://issuer.example/" }));
    assert_eq!(rejected(validator.validate("slash").await), RejectionKind::WrongIssuer);
    world.active("number", json!({ "iss": 7 }));
    unavailable(validator.validate("number").await);
}

// I23, D16: the type decides nothing, `cnf` does.
#[tokio::test(start_paused = true)]
async fn i23_cnf_binds_a_token_and_its_type_does_not() {
    let world = World::new();
    let validator = world.validator();
    for (at, token_type) in
        [json!("Bearer"), json!("bearer"), json!("DPoP"), json!("N_A"), json!(null)]
            .into_iter()
            .enumerate()
    {
        let token = format!("t{at}");
        world.active(&token, json!({ "token_type": token_type }));
        assert!(validator.validate(&token).await.is_ok(), "{token_type}");
    }
    for (at, cnf) in [json!({ "jkt": "x" }), json!({ "x5t#S256": "x" }), json!({}), json!("x")]
        .into_iter()
        .enumerate()
    {
        let token = format!("bound{at}");
        world.active(&token, json!({ "cnf": cnf }));
        let told = rejected(validator.validate(&token).await);
        assert_eq!(told, RejectionKind::SenderConstrained, "{cnf}");
    }
}

// I24
#[tokio::test(start_paused = true)]
async fn i24_scopes_come_from_the_same_places_as_a_jwts() {
    let world = World::new();
    let validator = world.validator();
    for (at, (changes, expected)) in [
        (json!({ "scope": "a b" }), "a b"),
        (json!({ "scope": "" }), ""),
        (json!({ "scope": null }), ""),
        (json!({ "scope": ["a", "b"] }), "a b"),
        (json!({ "scope": null, "scp": ["c"] }), "c"),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("t{at}");
        world.active(&token, changes);
        assert_eq!(validator.validate(&token).await.unwrap().scopes().to_string(), expected);
    }
    let source = ScopeSource::keycloak_realm_roles();
    let roles = world.builder(world.introspection()).scope_source(source).build().unwrap();
    world.active("roles", json!({ "realm_access": { "roles": ["admin"] } }));
    assert!(roles.validate("roles").await.unwrap().has_scope("admin"));
}

// I25, I48: members are the application's claims, and an introspected token says so.
#[tokio::test(start_paused = true)]
async fn i25_members_are_claims_like_a_jwts() {
    #[derive(serde::Deserialize)]
    struct Own {
        username: String,
        #[serde(flatten)]
        others: BTreeMap<String, Value>,
    }
    let world = World::new();
    let validator = world.builder(world.introspection()).claims::<Own>().build().unwrap();
    world
        .active("t", json!({ "username": "al", "ext": { "tenant": 7 }, "sub": null, "iss": null }));
    let token = validator.validate("t").await.unwrap();
    assert_eq!((token.subject(), token.client_id()), (None, Some("app")));
    assert_eq!(token.extra().username, "al");
    assert_eq!(token.extra().others["ext"], json!({ "tenant": 7 }));
    assert_eq!(token.extra().others["iss"], ISSUER);
    assert_eq!(token.evidence(), Evidence::Introspection);
    world.active("u", json!({}));
    assert_eq!(rejected(validator.validate("u").await), RejectionKind::MalformedClaim);
    let strict = world.builder(world.introspection()).require_claim(RequiredClaim::Subject);
    let strict = strict.build().unwrap();
    assert_eq!(rejected(strict.validate("t").await), RejectionKind::MissingClaim);
    assert!(strict.validate("u").await.is_ok());
}

// I26
#[tokio::test(start_paused = true)]
async fn i26_other_tokens_shown_as_active_are_refused() {
    let world = World::new();
    let validator = world.validator();
    for (at, (changes, kind)) in [
        (json!({ "typ": "Refresh" }), RejectionKind::WrongType),
        (json!({ "typ": "Offline" }), RejectionKind::WrongType),
        (json!({ "typ": "ID" }), RejectionKind::IdToken),
        (json!({ "token_use": "refresh_token" }), RejectionKind::WrongType),
        (json!({ "token_use": "id" }), RejectionKind::IdToken),
        (json!({ "token_type": "refresh_token" }), RejectionKind::WrongType),
        (json!({ "token_type": "Refresh" }), RejectionKind::WrongType),
        (json!({ "token_type": "id_token" }), RejectionKind::WrongType),
        (json!({ "token_usage": "refresh_token" }), RejectionKind::WrongType),
        (json!({ "at_hash": "x" }), RejectionKind::IdToken),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("t{at}");
        world.active(&token, changes.clone());
        assert_eq!(rejected(validator.validate(&token).await), kind, "{changes}");
    }
    for (at, changes) in [
        json!({ "typ": "Bearer" }),
        json!({ "typ": "something of the server's" }),
        json!({ "token_use": "access" }),
        json!({ "token_use": "access_token" }),
        json!({ "token_usage": "access_token" }),
        json!({ "nonce": "x" }),
    ]
    .into_iter()
    .enumerate()
    {
        let token = format!("good{at}");
        world.active(&token, changes.clone());
        assert!(validator.validate(&token).await.is_ok(), "{changes}");
    }
}

// I17
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn i17_a_server_that_introspects_no_jwts_is_explained() {
    let logs = crate::world::Logs::capture();
    let world = World::new();
    let validator = world.builder(world.introspection().introspect_jwts()).build().unwrap();
    let jwt = world.jwt(json!({}));
    world.status(&jwt, 400, r#"{"error":"unsupported_token_type"}"#);
    unavailable(validator.validate(&jwt).await);
    let told = logs.take().join("\n");
    assert!(told.contains("introspection_failed") && told.contains("introspect_jwts"), "{told}");
}

// SU8: what the issuer says of the login counts as what a JWT says of it (RFC 9470 §6.2).
#[tokio::test(start_paused = true)]
async fn su8_a_login_that_the_issuer_tells_of_counts_the_same() {
    let world = World::new();
    let conditions = Conditions::builder()
        .acr_values(["phr", "mfa"])
        .max_auth_age(Duration::from_secs(300))
        .build()
        .unwrap();
    let layer = BearerAuthLayer::new(world.validator()).realm("api").unwrap();
    let service = layer.conditions(&conditions).layer(Inner::default());
    for (at, (login, kind)) in [
        (json!({ "acr": "mfa", "auth_time": NOW - 200 }), None),
        (json!({ "acr": "mfa", "auth_time": NOW - 400 }), Some(RejectionKind::InsufficientLogin)),
        (json!({ "acr": "pwd", "auth_time": NOW }), Some(RejectionKind::InsufficientLogin)),
        (json!({ "auth_time": NOW }), Some(RejectionKind::InsufficientLogin)),
        (json!({ "acr": "mfa" }), Some(RejectionKind::InsufficientLogin)),
    ]
    .into_iter()
    .enumerate()
    {
        let opaque = format!("t{at}");
        world.active(&opaque, login.clone());
        let mut told = Vec::new();
        for token in [opaque, world.jwt(login.clone())] {
            let field = bearer(&token);
            let answer = send(&service, get("/", &[("authorization", &field)])).await;
            assert_eq!(answer.kind(), kind, "{login}");
            if kind.is_some() {
                let challenge = answer.challenge();
                assert!(challenge.contains(r#"acr_values="phr mfa", max_age=300"#), "{challenge}");
            }
            told.push((answer.status(), answer.challenge().to_owned()));
        }
        assert_eq!(told[0], told[1], "{login}");
    }
}
