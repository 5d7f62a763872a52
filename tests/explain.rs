//! `Validator::explain`: every check, the verdict, the answer and the remedy; nothing secret.
#![cfg(all(feature = "test-util", feature = "aws-lc-rs"))]

#[path = "support/explained.rs"]
mod explained;
mod world;

use proptest::prelude::*;
use serde_json::json;
use tower_bearer::explain::{Explanation, Outcome};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ManualClock, TestKey};
use tower_bearer::{UnixTime, Validator};
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
    let keys = Jwks::discover(world::ISSUER).transport(silent);
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

/// Asserts that a token is explained as it is decided about, and returns the explanation.
async fn explained<C>(validator: &Validator<C>, token: &str) -> Explanation
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    // With nothing remembered, and then with what was.
    for _ in 0..2 {
        let explanation = validator.explain(token).await;
        let decided = validator.validate(token).await;
        assert_eq!(explained::disagreement(&explanation, &decided), None);
    }
    validator.explain(token).await
}

fn outcome(explanation: &Explanation, name: &str) -> Option<Outcome> {
    let step = explanation.steps().iter().find(|step| step.name() == name);
    step.map(|step| step.outcome())
}

#[tokio::test]
async fn a_templates_tenant_and_the_issuer_of_its_key_are_steps() {
    use tower_bearer::issuers::Issuer;

    const ONE: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
    const TWO: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
    let key = |kid: &str| TestKey::generate(Algorithm::ES256).with_kid(kid);
    let (any, of_two) = (key("any"), key("two"));
    let v2 = |tenant: &str| V2.replace("{tenantid}", tenant);
    let mut jwks = [any.public_jwk(), of_two.public_jwk()];
    jwks[1]["issuer"] = v2(TWO).into();
    let keys = Jwks::static_set(V2, &json!({ "keys": jwks }).to_string()).unwrap();
    let issuer = Issuer::entra_v2(world::AUDIENCE)
        .algorithms([Algorithm::ES256])
        .allow_tenants([ONE])
        .keys(keys);
    let validator: Validator = Validator::issuers([issuer]).build().unwrap();
    for (key, iss, tid, failing, code) in [
        (&any, v2(ONE), json!(ONE), vec![], None),
        (&any, v2(TWO), json!(TWO), vec!["tid"], Some("wrong_issuer")),
        (&any, v2(ONE), json!(TWO), vec!["tid"], Some("wrong_issuer")),
        (&any, v2(ONE), json!(null), vec!["tid"], Some("missing_claim")),
        (&any, v2(ONE), json!(7), vec!["tid"], Some("malformed_claim")),
        (&any, "https://x".into(), json!(ONE), vec!["issuer known"], Some("wrong_issuer")),
        (&of_two, v2(ONE), json!(ONE), vec!["key's issuer"], Some("bad_signature")),
        (&of_two, v2(TWO), json!(TWO), vec!["tid"], Some("wrong_issuer")),
    ] {
        let explanation =
            explained(&validator, &sign(key, json!({ "iss": iss, "tid": tid }))).await;
        let refusal = explanation.refusal().map(|refusal| refusal.code());
        assert_eq!((failed(&explanation), refusal), (failing, code), "{explanation}");
    }
}

#[tokio::test]
async fn the_applications_own_claims_are_a_step_once_the_signature_is_valid() {
    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "it is only read")]
    struct Own {
        tenant: u32,
    }
    let issuer = Issuer::new();
    let keys = Jwks::static_set(world::ISSUER, &issuer.jwks_json()).unwrap();
    let builder = Validator::builder(world::ISSUER, world::AUDIENCE).keys(keys);
    let validator = builder.claims::<Own>().build().unwrap();
    let good = explained(&validator, &issuer.token_with(json!({ "tenant": 7 }))).await;
    assert_eq!(outcome(&good, "own claims"), Some(Outcome::Passed), "{good}");
    let bad = explained(&validator, &issuer.token_with(json!({ "tenant": "sentinel" }))).await;
    assert_eq!(failed(&bad), ["own claims"], "{bad}");
    assert!(bad.to_string().contains("expected u32"), "{bad}");
    assert!(!bad.to_string().contains("sentinel"), "{bad}");
    let other = TestKey::generate(Algorithm::EdDSA).with_kid("test-key");
    let forged = explained(&validator, &sign(&other, json!({}))).await;
    assert_eq!(outcome(&forged, "own claims"), Some(Outcome::Open), "{forged}");
    assert_eq!(failed(&forged), ["signature"]);
    let plain = explained(&issuer.validator(), &issuer.token("")).await;
    assert_eq!(outcome(&plain, "own claims"), None, "{plain}");
}

#[cfg(all(feature = "dpop", feature = "mtls"))]
#[tokio::test]
async fn of_a_bound_token_it_says_with_what_it_is_accepted() {
    use tower_bearer::ValidatorBuilder;
    use tower_bearer::dpop::Dpop;
    use tower_bearer::mtls::{Certificate, Mtls};

    #[derive(Clone)]
    struct Connection(Option<Certificate>);

    let issuer = Issuer::new();
    let keys = || Jwks::static_set(world::ISSUER, &issuer.jwks_json()).unwrap();
    let none = || Validator::builder(world::ISSUER, world::AUDIENCE).keys(keys());
    let both = |dpop: Dpop| -> ValidatorBuilder {
        let mtls = Mtls::from_connection(|connection: &Connection| connection.0);
        none().dpop(dpop.public_origins(["https://api.example"])).mtls(mtls)
    };
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let (unbound, odd) = (json!({}), json!({ "cnf": { "kid": "x" } }));
    let to_key = json!({ "cnf": { "jkt": thumbprint } });
    let to_certificate = json!({ "cnf": { "x5t#S256": thumbprint } });
    let to_both = json!({ "cnf": { "jkt": thumbprint, "x5t#S256": thumbprint } });
    const NO: Option<Outcome> = None;
    const OPEN: Option<Outcome> = Some(Outcome::Open);
    const FAILED: Option<Outcome> = Some(Outcome::Failed);
    const PASSED: Option<Outcome> = Some(Outcome::Passed);
    let constrained = Some("sender_constrained");
    for (builder, claims, binding, cnf, code, said) in [
        (none(), &unbound, NO, PASSED, None, "cnf              not bound"),
        (none(), &to_key, NO, FAILED, constrained, "dpop"),
        (both(Dpop::accept()), &unbound, PASSED, PASSED, None, "not bound, and needn't be"),
        (both(Dpop::accept()), &odd, NO, FAILED, constrained, "bound"),
        (both(Dpop::accept()), &to_key, OPEN, PASSED, constrained, "proof by its key"),
        (
            both(Dpop::accept()),
            &to_certificate,
            OPEN,
            PASSED,
            Some("certificate_missing"),
            "shows its",
        ),
        (both(Dpop::accept()), &to_both, OPEN, PASSED, Some("certificate_missing"), "its key, new"),
        (
            both(Dpop::accept()).require_bound(),
            &unbound,
            FAILED,
            PASSED,
            Some("token_not_bound"),
            "only bound tokens",
        ),
        (
            both(Dpop::accept()).require_bound(),
            &to_key,
            OPEN,
            PASSED,
            constrained,
            "proof by its key",
        ),
        (both(Dpop::require()), &unbound, FAILED, PASSED, Some("token_not_bound"), "scheme DPoP"),
        (
            both(Dpop::require()),
            &to_certificate,
            FAILED,
            PASSED,
            Some("token_not_bound"),
            "scheme DPoP",
        ),
        (both(Dpop::require()), &to_key, OPEN, PASSED, Some("token_not_bound"), "proof by its key"),
    ] {
        let validator = builder.build().unwrap();
        let explanation = explained(&validator, &issuer.token_with(claims.clone())).await;
        assert_eq!(outcome(&explanation, "binding"), binding, "{explanation}");
        assert_eq!(outcome(&explanation, "cnf"), cnf, "{explanation}");
        assert_eq!(explanation.refusal().map(|refusal| refusal.code()), code, "{explanation}");
        assert!(explanation.to_string().contains(said), "{said}: {explanation}");
        // What else fails is seen beside it.
        let mut claims = claims.clone();
        claims["aud"] = json!("account");
        let foreign = explained(&validator, &issuer.token_with(claims)).await;
        assert_eq!(outcome(&foreign, "aud"), FAILED, "{foreign}");
        assert_eq!(outcome(&foreign, "binding"), binding, "{foreign}");
    }
}

const NOW: i64 = 1_800_000_000;

thread_local! {
    static ISSUER: Issuer = Issuer::new();
    /// Its clock stands still: a refusal says how long ago a token expired.
    static VALIDATOR: Validator = ISSUER.with(|issuer| {
        let keys = Jwks::static_set(world::ISSUER, &issuer.jwks_json()).unwrap();
        let builder = Validator::builder(world::ISSUER, world::AUDIENCE).keys(keys);
        builder.clock(ManualClock::new(UnixTime::from_secs(NOW))).build().unwrap()
    });
}

/// The explanation of a token, which is held against the decision.
fn explain(token: &str) -> Explanation {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    VALIDATOR.with(|validator| runtime.block_on(explained(validator, token)))
}

/// Asserts that an explanation is short, has only the lines that it is made of, and nothing but printable ASCII
/// in them.
fn assert_is_printable(explanation: &Explanation) {
    let text = explanation.to_string();
    assert!(text.len() < 8_192, "{} bytes", text.len());
    let verdict = if explanation.refusal().is_some() { 3 } else { 1 };
    assert_eq!(text.split('\n').count(), explanation.steps().len() + verdict, "{text:?}");
    let printable = |c: char| matches!(c, ' '..='~' | '…');
    for line in text.split('\n') {
        assert!(line.chars().all(printable), "{line:?}");
    }
}

/// Any text, or one of control characters and those that turn the direction of text, which a terminal obeys.
const ANY: &str =
    "(?s).{0,90}|[\\x00-\\x1f\"\\\\\\x7f-\\x9f\u{202a}-\u{202e}\u{2066}-\u{2069}]{0,90}";

#[test]
fn the_texts_that_are_tried_have_control_characters() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let (mut runner, strategy) = (TestRunner::deterministic(), ANY);
    let texts: Vec<String> =
        (0..200).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    for wanted in ['\n', '\r', '\u{1b}', '\u{9b}', '\u{202e}', '"'] {
        assert!(texts.iter().any(|text| text.contains(wanted)), "{wanted:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_explained_in_a_bounded_and_printable_way(
        token in prop_oneof![
            Just(ANY).prop_flat_map(|any| any),
            "[A-Za-z0-9_.-]{0,300}".boxed(),
            any::<Vec<u8>>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        ],
    ) {
        assert_is_printable(&explain(&token));
    }

    #[test]
    fn so_is_any_header_with_any_claims(
        alg in ANY, kid in ANY, typ in ANY, iss in ANY, client in ANY, name in ANY,
        aud in proptest::collection::vec(ANY, 0..12), exp in any::<f64>(), scope in ANY,
    ) {
        let header = json!({ "alg": alg, "kid": kid, "typ": typ, name.clone(): 1 });
        let claims = json!({
            "iss": iss, "aud": aud, "exp": exp, "scope": scope, "client_id": client, name: 1,
        });
        let key = TestKey::generate(Algorithm::EdDSA);
        assert_is_printable(&explain(&key.sign(header.to_string(), claims.to_string())));
    }

    // Each claim may be good or not, so that each check is the first that fails.
    #[test]
    fn a_token_is_explained_as_it_is_decided_about(
        aud in prop_oneof![Just(json!(world::AUDIENCE)), Just(json!(null)), Just(json!("x")), Just(json!(7))],
        iss in prop_oneof![3 => Just(json!(world::ISSUER)), 1 => Just(json!(null)), 1 => Just(json!("x"))],
        exp in prop_oneof![Just(600_i64), Just(-30), Just(-600)],
        nbf in prop_oneof![3 => Just(json!(null)), 1 => Just(json!(9_999_999_999_u64)), 1 => Just(json!("x"))],
        cnf in prop_oneof![3 => Just(json!(null)), 1 => Just(json!({ "jkt": "x" })), 1 => Just(json!(1))],
        scope in prop_oneof![3 => Just(json!("a b")), 1 => Just(json!(7)), 1 => Just(json!("a\u{7f}"))],
        extra in prop_oneof![3 => Just("x"), 1 => Just("nonce"), 1 => Just("at_hash"), 1 => Just("events")],
        (typ, alg) in (
            prop_oneof![3 => Just("at+jwt"), 1 => Just("JWT"), 1 => Just("dpop+jwt")],
            prop_oneof![4 => Just("EdDSA"), 1 => Just("RS256"), 1 => Just("none")],
        ),
        (known, cut) in (any::<bool>(), prop_oneof![4 => Just(0_usize), 1 => 1_usize..90]),
    ) {
        let claims = json!({
            "iss": iss, "aud": aud, "sub": "alice", "client_id": "app", "nbf": nbf, "cnf": cnf,
            "exp": NOW + exp, "scope": scope, extra: "y",
        });
        // What is `null` is left out.
        let claims: serde_json::Map<_, _> = claims
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let kid = if known { "test-key" } else { "other" };
        let header = json!({ "alg": alg, "typ": typ, "kid": kid }).to_string();
        let claims = serde_json::Value::from(claims).to_string();
        let mut token = ISSUER.with(|issuer| issuer.key.sign(header, claims));
        token.truncate(token.len() - cut);
        assert_is_printable(&explain(&token));
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
