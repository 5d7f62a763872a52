//! `Validator::explain`: every check, the verdict, the answer and the remedy; nothing secret.
#![cfg(all(feature = "test-util", feature = "aws-lc-rs"))]

mod world;

use proptest::prelude::*;
use serde_json::json;
use tower_bearer::Validator;
use tower_bearer::explain::{Explanation, Outcome};
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::TestKey;
use world::{Issuer, sign};

fn failed(explanation: &Explanation) -> Vec<&'static str> {
    let steps = explanation.steps().iter();
    steps.filter(|step| step.outcome() == Outcome::Failed).map(|step| step.name()).collect()
}

#[tokio::test]
async fn a_good_token_passes_each_check() {
    let issuer = Issuer::new();
    let explanation = issuer.validator().explain(&issuer.token("orders:read")).await;
    assert!(explanation.steps().iter().all(|step| step.outcome() == Outcome::Passed));
    assert!(explanation.refusal().is_none() && explanation.remedy().is_none());
    assert_eq!(explanation.status(), 200);
    let text = explanation.to_string();
    for part in
        ["alg", "EdDSA", "\"test-key\"", "expires in", "signature", "it is valid", "orders:read"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("verdict: accepted"), "{text}");
}

#[tokio::test]
async fn each_fault_is_named_with_both_sides_and_the_later_checks_are_made_all_the_same() {
    let issuer = Issuer::new();
    let validator = issuer.validator();
    let now = world::now();
    let other = TestKey::generate(Algorithm::EdDSA).with_kid("test-key");
    let stranger = TestKey::generate(Algorithm::EdDSA).with_kid("stranger");
    for (token, names, code, parts) in [
        (
            issuer.token_with(json!({ "aud": "account" })),
            vec!["aud"],
            "wrong_audience",
            vec!["expected \"https://api.example\", presented \"account\"", "also_audience"],
        ),
        (
            issuer.token_with(json!({ "iss": "https://issuer.example/", "exp": now - 3_000 })),
            vec!["iss", "exp, nbf, iat"],
            "wrong_issuer",
            vec!["presented \"https://issuer.example/\"", "50 min ago, leeway 60 s", "also_issuer"],
        ),
        (sign(&other, json!({})), vec!["signature"], "bad_signature", vec!["is invalid"]),
        (
            sign(&stranger, json!({ "aud": "x" })),
            vec!["aud", "key"],
            "wrong_audience",
            vec!["kid \"stranger\"", "known keys: \"test-key\" EdDSA"],
        ),
        (
            issuer.token_with(json!({ "exp": null })),
            vec!["required claims"],
            "missing_claim",
            vec!["exp"],
        ),
        ("garbage".to_owned(), vec!["form"], "malformed_token", vec!["whole token"]),
        (
            "a.b.c".to_owned(),
            vec!["header", "claims"],
            "malformed_token",
            vec!["401 invalid_token"],
        ),
        ("x".repeat(20_000), vec!["length"], "token_too_long", vec!["max_token_bytes"]),
    ] {
        let explanation = validator.explain(&token).await;
        let text = explanation.to_string();
        assert_eq!(failed(&explanation), names, "{text}");
        assert_eq!(explanation.refusal().unwrap().code(), code, "{text}");
        assert_eq!(
            explanation.refusal(),
            validator.validate(&token).await.err().as_ref(),
            "{text}"
        );
        assert_eq!(explanation.status(), 401);
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        let remedy = explanation.remedy().unwrap();
        assert!(text.ends_with(remedy) && !remedy.is_empty(), "{text}");
    }
}

#[tokio::test]
async fn nothing_secret_is_in_it() {
    let issuer = Issuer::new();
    let claims = json!({
        "sub": "sentinel-sub", "jti": "sentinel-jti", "email": "sentinel@x", "client_id": "sentinel-id",
    });
    let good = issuer.token_with(claims.clone());
    let mut bad = good.clone();
    bad.push('A');
    for token in [good, bad, issuer.token_with(json!({ "sub": "sentinel", "aud": "other" }))] {
        let explanation = issuer.validator().explain(&token).await;
        for text in [explanation.to_string(), format!("{explanation:?}")] {
            assert!(!text.contains("sentinel"), "{text}");
            for part in token.split('.') {
                assert!(!text.contains(&part[..16]), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn without_keys_it_says_from_where_they_dont_come() {
    let silent = tower_bearer::testing::ScriptedTransport::new();
    let keys = tower_bearer::jwks::Jwks::discover(world::ISSUER).transport(silent);
    let validator = Validator::builder(world::ISSUER, world::AUDIENCE).keys(keys).build().unwrap();
    let explanation = validator.explain(&Issuer::new().token("")).await;
    assert_eq!(explanation.status(), 503);
    let text = explanation.to_string();
    for part in [
        "open",
        "by discovery from https://issuer.example/.well-known/",
        "no connection",
        "reachable",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[cfg(feature = "introspection")]
#[tokio::test]
async fn of_an_opaque_token_it_says_what_came_of_asking() {
    use tower_bearer::client::ClientAuth;
    use tower_bearer::introspection::Introspection;
    use tower_bearer::jwks::Jwks;
    use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

    let issuer = Issuer::new();
    let exp = world::now() + 600;
    let transport = ScriptedTransport::from_fn(move |request| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let (iss, aud) = (world::ISSUER, world::AUDIENCE);
        let answer = |aud| json!({ "active": true, "iss": iss, "aud": aud, "exp": exp });
        ScriptedAnswer::json(if body.contains("token=good") {
            answer(aud).to_string()
        } else if body.contains("token=foreign") {
            answer("account").to_string()
        } else if body.contains("token=odd") {
            "[]".to_owned()
        } else {
            r#"{"active":false}"#.to_owned()
        })
    });
    let asking = || {
        let auth = ClientAuth::basic("me", "secret");
        Introspection::endpoint("https://issuer.example/introspect", auth)
            .transport(transport.clone())
    };
    let keys = || Jwks::static_set(world::ISSUER, &issuer.jwks_json()).unwrap();
    let builder = || Validator::builder(world::ISSUER, world::AUDIENCE).keys(keys());
    let validator = builder().introspection(asking()).build().unwrap();
    for (token, outcome, code, part) in [
        ("good", Outcome::Passed, None, "the issuer says that the token is active"),
        ("ended", Outcome::Failed, Some("inactive"), "isn't active"),
        ("foreign", Outcome::Failed, Some("wrong_audience"), "presented \"account\""),
        ("odd", Outcome::Open, Some("introspection_failed"), "can't be asked"),
    ] {
        let explanation = validator.explain(token).await;
        assert_eq!(explanation.refusal().map(|refusal| refusal.code()), code, "{explanation}");
        let step = explanation.steps().last().unwrap();
        assert_eq!((step.name(), step.outcome()), ("introspection", outcome), "{explanation}");
        assert!(explanation.to_string().contains(part), "{explanation}");
    }
    // A JWT isn't asked about, unless that is set; then one that fails by itself isn't.
    let names = |explanation: &Explanation| {
        explanation.steps().iter().map(|step| step.name()).collect::<Vec<_>>()
    };
    let explanation = validator.explain(&issuer.token("")).await;
    assert!(!names(&explanation).contains(&"introspection"), "{explanation}");
    let both = builder().introspection(asking().introspect_jwts()).build().unwrap();
    let explanation = both.explain(&issuer.token("")).await;
    assert_eq!(failed(&explanation), ["introspection"], "{explanation}");
    let explanation = both.explain(&issuer.token_with(json!({ "aud": "x" }))).await;
    assert_eq!(failed(&explanation), ["aud"], "{explanation}");
    assert_eq!(explanation.steps().last().unwrap().outcome(), Outcome::Open, "{explanation}");
}

fn explain(token: &str) -> Explanation {
    thread_local! {
        static VALIDATOR: Validator = Issuer::new().validator();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    VALIDATOR.with(|validator| runtime.block_on(validator.explain(token)))
}

fn assert_is_printable(text: &str) {
    assert!(text.len() < 8_192, "{} bytes", text.len());
    let printable = |c: char| matches!(c, ' '..='~' | '\n' | '…');
    assert!(text.chars().all(printable), "{text:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_explained_in_a_bounded_and_printable_way(token in "\\PC{0,300}|[A-Za-z0-9_.-]{0,300}") {
        assert_is_printable(&explain(&token).to_string());
    }

    #[test]
    fn so_is_any_header_with_any_claims(
        alg in "\\PC{0,90}", kid in "\\PC{0,90}", typ in "\\PC{0,20}", iss in "\\PC{0,90}",
        aud in proptest::collection::vec("\\PC{0,90}", 0..12), exp in any::<f64>(), scope in "\\PC{0,90}",
    ) {
        let header = json!({ "alg": alg, "kid": kid, "typ": typ });
        let claims = json!({ "iss": iss, "aud": aud, "exp": exp, "scope": scope });
        let key = TestKey::generate(Algorithm::EdDSA);
        assert_is_printable(&explain(&key.sign(header.to_string(), claims.to_string())).to_string());
    }
}

#[test]
fn from_env_names_all_that_is_missing_or_cant_be_read() {
    let some = |set: &'static [(&str, &str)]| {
        Validator::from_vars(move |name| {
            set.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let error = |set| some(set).err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(
        error(&[("ISSUER", ""), ("LEEWAY_SECS", "a minute"), ("ALGORITHMS", "ES256 none")]),
        "ISSUER is missing or empty, AUDIENCE is missing or empty, LEEWAY_SECS isn't a whole number, \
         ALGORITHMS has a name that isn't known: set them in the environment"
    );
    assert_eq!(
        error(&[("ISSUER", "https://a.example")]),
        "AUDIENCE is missing or empty: set it in the environment"
    );
    let both = [("ISSUER", "https://a.example"), ("AUDIENCE", "orders")];
    assert!(some(Box::leak(Box::new(both))).unwrap().build().is_ok());
    let url = [both[0], both[1], ("JWKS_URI", "http://a.example/jwks")];
    let refused = some(Box::leak(Box::new(url))).unwrap().build().unwrap_err();
    assert!(refused.to_string().contains("http://a.example/jwks"), "{refused}");
}
