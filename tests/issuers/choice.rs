//! Which issuer a token is held against.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use tower::{Layer as _, Service as _, ServiceExt as _};
use tower_bearer::issuers;
use tower_bearer::jose::{Algorithm, HmacAlgorithm};
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::TestKey;
use tower_bearer::token::{ClientIdSource, ScopeSource};
use tower_bearer::{BearerAuthLayer, RejectionKind, Secret, Validator};

use crate::support::{A, API, B, Issuer, Verdict, clock, kind, two};

#[tokio::test(start_paused = true)]
async fn n1_each_issuer_has_its_own_settings() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    let secret = "0123456789abcdef0123456789abcdef";
    let c = "https://c.test";
    let validator = Validator::issuers([
        issuers::Issuer::new(A, "aud-a").keys(a.jwks()).leeway(Duration::ZERO).rfc9068(),
        issuers::Issuer::new(B, "aud-b")
            .keys(b.jwks())
            .also_audience("aud-b2")
            .leeway(Duration::from_secs(300))
            .scope_source(ScopeSource::okta())
            .client_id_source(ClientIdSource::okta()),
        issuers::Issuer::new(c, "aud-c")
            .dangerous_shared_secret(HmacAlgorithm::HS256, Secret::new(secret)),
        issuers::Issuer::new("https://d.test", "aud-d")
            .keys(
                Jwks::static_set("https://d.test", &crate::support::set(&[&a.key]).to_string())
                    .unwrap(),
            )
            .algorithms([Algorithm::ES256]),
    ])
    .clock(clock)
    .build()
    .unwrap();
    let check = async |token: String| kind(validator.validate(&token).await);

    assert_eq!(check(a.token_with(json!({"aud": "aud-a"}))).await, None);
    assert_eq!(check(b.token_with(json!({"aud": "aud-b"}))).await, None);
    assert_eq!(check(b.token_with(json!({"aud": "aud-b2"}))).await, None);
    for (issuer, aud) in [(&a, "aud-b"), (&a, "aud-c"), (&b, "aud-a")] {
        let other = check(issuer.token_with(json!({"aud": aud}))).await;
        assert_eq!(other, Some(RejectionKind::WrongAudience), "{aud}");
    }
    // Leeway and profile.
    let late = |aud| json!({"aud": aud, "exp": 1_799_999_990});
    assert_eq!(check(a.token_with(late("aud-a"))).await, Some(RejectionKind::Expired));
    assert_eq!(check(b.token_with(late("aud-b"))).await, None);
    let bare = |aud| json!({"aud": aud, "jti": null});
    assert_eq!(check(a.token_with(bare("aud-a"))).await, Some(RejectionKind::MissingClaim));
    assert_eq!(check(b.token_with(bare("aud-b"))).await, None);
    // Sources.
    let claims = json!({"aud": "aud-b", "scp": ["x", "y"], "cid": "okta-client"});
    let token = validator.validate(&b.token_with(claims)).await.unwrap();
    assert_eq!((token.scopes().as_str(), token.client_id()), ("x y", Some("okta-client")));
    // Algorithms: a key of the issuer's set is not enough.
    let of_d = a.token_with(json!({"iss": "https://d.test", "aud": "aud-d"}));
    let other = check(of_d).await;
    assert_eq!(other, Some(RejectionKind::UnsupportedAlgorithm));
}

// RFC 8725 §3.8
#[tokio::test(start_paused = true)]
async fn n2_iss_selects_exact_text_and_nothing_else() {
    let (a, _, validator) = two().await;
    for other in [
        "https://a.test/",
        "https://A.test",
        "HTTPS://a.test",
        "https://a.test:443",
        " https://a.test",
        "https://a.test#",
        "https://a.test?",
        "https://a.test/.",
        "a.test",
        "",
        "https://c.test",
        "https://a.test\0",
        "https://a.test\u{200b}",
    ] {
        let verdict = validator.validate(&a.token_with(json!({"iss": other}))).await;
        assert_eq!(kind(verdict), Some(RejectionKind::WrongIssuer), "{other:?}");
    }
    assert_eq!(kind(validator.validate(&a.token()).await), None);
    // However it is spelled in JSON.
    let claims =
        a.claims(json!({"iss": "X"})).to_string().replace("\"X\"", r#""https:\/\/a\u002etest""#);
    let token = a.key.sign(crate::support::header(&a.key), claims);
    assert_eq!(kind(validator.validate(&token).await), None);
}

#[tokio::test(start_paused = true)]
async fn n3_keys_never_cross_though_they_share_a_kid() {
    let (a, b, validator) = two().await;
    assert_eq!(a.key.kid(), b.key.kid());
    for (issuer, other) in [(&a, &b), (&b, &a)] {
        let forged = issuer.token_by(&other.key, json!({}));
        for _ in 0..2 {
            let verdict = validator.validate(&forged).await;
            assert_eq!(kind(verdict), Some(RejectionKind::BadSignature), "{}", issuer.name);
        }
        let genuine = validator.validate(&issuer.token()).await.unwrap();
        assert_eq!(genuine.issuer(), issuer.name);
    }
    // A key that only the other has.
    let only_b = TestKey::generate(Algorithm::EdDSA).with_kid("2");
    b.publish(&[&b.key, &only_b]);
    validator.jwks_of(B).unwrap().refresh().await.unwrap();
    assert_eq!(kind(validator.validate(&b.token_by(&only_b, json!({}))).await), None);
    let crossed = validator.validate(&a.token_by(&only_b, json!({}))).await;
    assert_eq!(kind(crossed), Some(RejectionKind::UnknownKey));
}

/// Tokens whose `iss` selects nothing, and why they are refused.
fn unselectable(a: &Issuer) -> Vec<(String, RejectionKind)> {
    let raw = |from: &str, to: &str| {
        let claims = a.claims(json!({})).to_string();
        assert!(claims.contains(from), "{claims}");
        a.key.sign(crate::support::header(&a.key), claims.replacen(from, to, 1))
    };
    let iss = r#""iss":"https://a.test""#;
    let mut tokens = vec![
        (a.token_with(json!({"iss": null})), RejectionKind::MissingClaim),
        (a.token_with(json!({"iss": "https://c.test"})), RejectionKind::WrongIssuer),
        (a.token_with(json!({"iss": "https://a.test\0"})), RejectionKind::WrongIssuer),
        (a.token_with(json!({"iss": "x".repeat(2_048)})), RejectionKind::WrongIssuer),
        (a.token_with(json!({"iss": "x".repeat(2_049)})), RejectionKind::MalformedClaim),
        (raw(iss, &format!("{iss},{iss}")), RejectionKind::MalformedToken),
        (raw(iss, &format!(r#"{iss},"\u0069ss":"https://b.test""#)), RejectionKind::MalformedToken),
        (raw(iss, &format!(r#""iss":"https://c.test",{iss}"#)), RejectionKind::WrongIssuer),
    ];
    for other in [json!(1), json!(true), json!([A]), json!({ "iss": A })] {
        tokens.push((a.token_with(json!({ "iss": other })), RejectionKind::MalformedClaim));
    }
    tokens.push((raw(iss, r#""iss":null"#), RejectionKind::MalformedClaim));
    tokens
}

#[tokio::test(start_paused = true)]
async fn n4_an_iss_that_selects_nothing_is_401_without_a_fetch_in_the_same_words() {
    let (a, b, validator) = two().await;
    let fetched = [&a, &b].map(|it| it.transport.request_count());
    let service = BearerAuthLayer::new(validator.clone()).layer(tower::service_fn(
        async |_: http::Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Empty::<
                bytes::Bytes,
            >::new()))
        },
    ));
    let mut answers = HashSet::new();
    for (token, expected) in unselectable(&a) {
        assert_eq!(kind(validator.validate(&token).await), Some(expected), "{token}");
        let request = http::Request::get("/").header("authorization", format!("Bearer {token}"));
        let mut service = service.clone();
        let response =
            service.ready().await.unwrap().call(request.body(()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 401);
        answers.insert(format!("{:?}", response.headers()));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    let answer = answers.into_iter().next().unwrap();
    assert!(!answer.contains("c.test") && !answer.contains("b.test"), "{answer}");
    assert_eq!([&a, &b].map(|it| it.transport.request_count()), fetched);
    assert_eq!(kind(validator.validate(&a.token()).await), None);
}

/// The operator learns both sides, the first few issuers at most.
#[tokio::test(start_paused = true)]
async fn n4_the_refusal_names_what_is_configured_and_what_was_presented() {
    let (a, _, validator) = two().await;
    let refusal = validator.validate(&a.token_with(json!({"iss": "https://c.test"}))).await;
    assert_eq!(
        refusal.unwrap_err().to_string(),
        "the token has another issuer: expected \"https://a.test\" or \"https://b.test\", \
         presented \"https://c.test\""
    );
}

#[tokio::test(start_paused = true)]
async fn n5_one_subject_at_two_issuers_is_two_identities() {
    let (a, b, validator) = two().await;
    let of_a = validator.validate(&a.token()).await.unwrap().identity().unwrap();
    let of_b = validator.validate(&b.token()).await.unwrap().identity().unwrap();
    assert_eq!((of_a.issuer(), of_a.subject()), (A, "s"));
    assert_eq!((of_b.issuer(), of_b.subject()), (B, "s"));
    assert_ne!(of_a, of_b);
    let again = validator.validate(&a.token_with(json!({"jti": "2"}))).await.unwrap();
    assert_eq!(again.identity(), Some(of_a));
    let nobody = validator.validate(&a.token_with(json!({"sub": null}))).await.unwrap();
    assert_eq!(nobody.identity(), None);
}

#[tokio::test(start_paused = true)]
async fn n13_one_issuer_has_several_spellings_and_no_others() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    let list = [a.entry().also_issuer("a.test").also_issuer("a"), b.entry()];
    let many = Validator::issuers(list).clock(clock.clone()).build().unwrap();
    let one = Validator::builder(A, API).also_issuer("a.test").also_issuer("a").keys(a.jwks());
    for validator in [many, one.clock(clock).build().unwrap()] {
        for spelling in [A, "a.test", "a"] {
            let token = a.token_with(json!({"iss": spelling}));
            let token = validator.validate(&token).await.unwrap();
            assert_eq!((token.issuer(), token.configured_issuer()), (spelling, A));
            let identity = token.identity().unwrap();
            assert_eq!((identity.issuer(), identity.subject()), (A, "s"), "one user");
        }
        let other = validator.validate(&a.token_with(json!({"iss": "https://a"}))).await;
        assert_eq!(kind(other), Some(RejectionKind::WrongIssuer));
    }
}

#[test]
fn n10_an_issuer_that_is_there_twice_is_a_configuration_error() {
    let entry = |name: &str| issuers::Issuer::new(name, API);
    let sentence = |list: Vec<issuers::Issuer>| match Validator::issuers(list).build() {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    for list in [
        vec![entry(A), entry(A)],
        vec![entry(A), issuers::Issuer::new(A, "another audience")],
        vec![entry(A).also_issuer(B), entry(B)],
        vec![entry(B), entry(A).also_issuer(B)],
        vec![entry(A).also_issuer("a"), entry(B).also_issuer("a")],
        vec![entry(A).also_issuer(A)],
    ] {
        let sentence = sentence(list);
        assert!(sentence.contains("is listed twice"), "{sentence}");
        assert!(sentence.contains("also_audience"), "{sentence}");
    }
    assert!(sentence(vec![]).contains("no issuer"));
    assert!(sentence(vec![entry("")]).contains("issuer is empty"));
    assert_eq!(sentence(vec![entry(A), entry("https://a.test/")]), "", "another one");
}

#[tokio::test(start_paused = true)]
async fn n11_keys_of_another_issuer_are_a_configuration_error() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    let crossed = issuers::Issuer::new(A, API).keys(b.jwks());
    let error = Validator::issuers([crossed, b.entry()]).build().unwrap_err().to_string();
    assert!(error.contains("must never verify a token of another"), "{error}");
    assert!(Validator::issuers([a.entry(), b.entry()]).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_longest_token_is_each_issuers_own() {
    let clock = clock();
    let (a, b) = (Issuer::new(A, &clock), Issuer::new(B, &clock));
    let list = [a.entry().max_token_bytes(1_000), b.entry().max_token_bytes(4_000)];
    let validator = Validator::issuers(list).clock(clock).build().unwrap();
    let padded = |issuer: &Issuer, len| issuer.token_with(json!({"pad": "x".repeat(len)}));
    let check = async |token: String| -> Verdict { validator.validate(&token).await };
    assert_eq!(kind(check(padded(&a, 10)).await), None);
    assert_eq!(kind(check(padded(&b, 2_000)).await), None);
    assert_eq!(kind(check(padded(&a, 2_000)).await), Some(RejectionKind::TokenTooLong));
    assert_eq!(kind(check(padded(&b, 4_000)).await), Some(RejectionKind::TokenTooLong));
}

#[tokio::test(start_paused = true)]
async fn n10_two_entries_of_one_issuer_are_told_apart_by_their_audiences_if_that_is_asked_for() {
    let clock = clock();
    let a = Issuer::new(A, &clock);
    let keys = a.jwks().build().unwrap();
    let entry = |audience: &str| issuers::Issuer::new(A, audience).keys(keys.clone());
    let current = || entry("current").by_audience();
    let legacy = || {
        let legacy = entry("legacy").also_audience("older").by_audience();
        legacy.scope_source(ScopeSource::claim("perms").unwrap())
    };
    let validator = Validator::issuers([current(), legacy()]).clock(clock.clone()).build().unwrap();
    let validate = async |aud: serde_json::Value| {
        let token = a.token_with(json!({"aud": aud, "scope": "new", "perms": "old"}));
        validator.validate(&token).await
    };
    for (aud, scopes) in [
        (json!("current"), "new"),
        (json!(["current", "elsewhere"]), "new"),
        (json!("legacy"), "old"),
        (json!(["older", "legacy"]), "old"),
    ] {
        for _ in 0..2 {
            let token = validate(aud.clone()).await.unwrap();
            assert_eq!((token.scopes().as_str(), token.configured_issuer()), (scopes, A), "{aud}");
        }
    }
    // By whose rules can't be told.
    for aud in [json!(["current", "legacy"]), json!(["older", "x", "current"])] {
        let told = validate(aud.clone()).await.unwrap_err();
        assert!(told.to_string().contains("several entries"), "{told}");
        assert_eq!(kind(Err(told)), Some(RejectionKind::WrongAudience), "{aud}");
    }
    assert_eq!(kind(validate(json!("other")).await), Some(RejectionKind::WrongAudience));
    assert_eq!(kind(validate(json!(null)).await), Some(RejectionKind::MissingClaim));
    assert_eq!(kind(validate(json!(7)).await), Some(RejectionKind::MalformedClaim));
    // Each entry reads the claims as it would alone: of one whose scopes are elsewhere, `scope` is any claim.
    let odd = a.token_with(json!({"aud": "legacy", "scope": {"a": 1}, "perms": "old"}));
    assert_eq!(validator.validate(&odd).await.unwrap().scopes().as_str(), "old");
    let forged = TestKey::generate(Algorithm::EdDSA).with_kid("1");
    let forged = a.token_by(&forged, json!({"aud": "legacy"}));
    assert_eq!(kind(validator.validate(&forged).await), Some(RejectionKind::BadSignature));

    // N14: each goes on, or ends, by itself.
    let (of_current, of_legacy) = (json!("current"), json!("legacy"));
    let first = validate(of_current.clone()).await.unwrap();
    validator.set_issuers([legacy().leeway(Duration::ZERO), current()]).unwrap();
    assert!(crate::support::same(&first, &validate(of_current.clone()).await.unwrap()));
    assert_eq!(kind(validate(of_legacy.clone()).await), None);
    validator.set_issuers([current()]).unwrap();
    assert!(crate::support::same(&first, &validate(of_current).await.unwrap()));
    assert_eq!(kind(validate(of_legacy).await), Some(RejectionKind::WrongAudience));
}

#[test]
fn n10_entries_that_cannot_be_told_apart_are_a_configuration_error() {
    let entry = |audience: &str| issuers::Issuer::new(A, audience);
    let error = |list: [issuers::Issuer; 2]| {
        Validator::issuers(list).build().map(|_| ()).unwrap_err().to_string()
    };
    for list in [
        [entry("one"), entry("two")],
        [entry("one").by_audience(), entry("two")],
        [entry("one"), entry("two").by_audience()],
    ] {
        let told = error(list);
        assert!(told.contains("is listed twice") && told.contains("by_audience"), "{told}");
    }
    for (one, other) in [
        (entry("one"), entry("one")),
        (entry("one").also_audience("two"), entry("two")),
        (
            entry("https://api.example").resource_audiences(),
            entry("HTTPS://API.example/").also_audience("x"),
        ),
    ] {
        let told = error([one.by_audience(), other.by_audience()]);
        assert!(told.contains("have the audience"), "{told}");
    }
    // By another spelling, too.
    let told = error([entry("one").also_issuer(B), issuers::Issuer::new(B, "two")]);
    assert!(told.contains("is listed twice"), "{told}");
    let list = [entry("one").by_audience(), entry("two").by_audience()];
    let shared = Validator::issuers(list).build().unwrap();
    assert!(shared.jwks_of(A).is_some(), "found by discovery, once for both");
}
