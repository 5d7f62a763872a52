//! What operators are told: at build time, in the log, and by the typed reason; and that callers
//! are told none of it.
#![cfg(all(feature = "test-util", feature = "tracing", feature = "aws-lc-rs"))]

mod world;

use std::error::Error as _;
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::{Layer as _, ServiceExt as _};
use tower_bearer::jose::{Algorithm, HmacAlgorithm};
use tower_bearer::jwks::{FetchError, FetchErrorKind, Jwks};
use tower_bearer::refusal::{Detail, UnavailableReason};
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::token::{ClientIdSource, ScopeSource};
use tower_bearer::transport::{
    Limits, Transport, TransportError, TransportErrorKind, TransportFuture,
};
use tower_bearer::{
    BearerAuthLayer, Refusal, Rejection, RejectionKind, RequiredClaim, Secret, UnixTime, Validator,
    ValidatorBuilder,
};
use world::log::Log;
use world::{AUDIENCE, ISSUER, Inner, Issuer, Logs, bearer, get};

fn builder(issuer: &Issuer) -> ValidatorBuilder {
    let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
    Validator::builder(ISSUER, AUDIENCE).keys(keys)
}

fn sentence(builder: ValidatorBuilder) -> String {
    builder.build().map_or_else(|error| error.to_string(), |_| String::new())
}

async fn refused<C>(validator: &Validator<C>, token: &str) -> Rejection
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    match validator.validate(token).await {
        Err(Refusal::Rejection(rejection)) => rejection,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// Everything that a caller gets.
async fn answered<C>(validator: Validator<C>, token: &str) -> (u16, String)
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let service = BearerAuthLayer::new(validator).layer(Inner::default());
    let response: Response<_> =
        service.oneshot(get("/", &[("authorization", &bearer(token))])).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let text = format!("{:?} {}", parts.headers, String::from_utf8_lossy(&body));
    (parts.status.as_u16(), text)
}

#[tokio::test]
async fn fb6_the_log_shows_all_audiences_of_a_token_that_is_for_another() {
    let issuer = Issuer::new();
    let validator = builder(&issuer).also_audience("orders").build().unwrap();
    let near = ["account", "https://graph.example", "https://api.example/"];
    let rejection = refused(&validator, &issuer.token_with(json!({ "aud": near }))).await;
    assert_eq!(rejection.kind(), RejectionKind::WrongAudience);
    assert_eq!(
        rejection.to_string(),
        "the token is for another audience: expected \"https://api.example\" or \"orders\", \
         presented \"account\", \"https://graph.example\", \"https://api.example/\""
    );
    let many: Vec<String> = (0..500).map(|n| format!("{n}\r\n{}", "x".repeat(5))).collect();
    let rejection = refused(&validator, &issuer.token_with(json!({ "aud": many }))).await;
    let told = rejection.to_string();
    assert!(told.ends_with("\"7??xxxxx\" and 492 more"), "{told}");
    let one = refused(&validator, &issuer.token_with(json!({ "aud": "Orders" }))).await;
    assert!(one.to_string().ends_with("presented \"Orders\""), "{one}");
    let good = issuer.token_with(json!({ "aud": ["account", "orders"] }));
    assert!(validator.validate(&good).await.is_ok());
}

#[derive(Debug, serde::Deserialize)]
struct Tenant {
    tenant_id: u64,
}

// One test, since a process has one log.
#[tokio::test]
async fn fb10_log_and_typed_reason_say_what_callers_never_learn() {
    let log = Log::start();
    let issuer = Issuer::new();
    let validator = builder(&issuer).claims::<Tenant>().build().unwrap();

    for (tenant, reason) in [
        (json!(null), "missing field `tenant_id`"),
        (json!("canary-a1b2"), "invalid type: string, expected u64"),
        (json!([-1]), "invalid type: sequence, expected u64"),
    ] {
        log.clear();
        let token = issuer.token_with(json!({ "tenant_id": tenant }));
        // The second time it is remembered.
        for _ in 0..2 {
            let rejection = refused(&validator, &token).await;
            assert_eq!(rejection.kind(), RejectionKind::MalformedClaim);
            let Detail::Unreadable { reason: told, .. } = rejection.detail() else {
                panic!("{rejection:?}");
            };
            assert_eq!(&**told, reason);
            let (status, answer) = answered(validator.clone(), &token).await;
            assert_eq!(status, 401);
            assert!(!answer.contains("tenant") && !answer.contains("invalid type"), "{answer}");
        }
        let logged = log.text();
        assert!(logged.contains(reason), "{logged}");
        assert!(!logged.contains("canary"), "{logged}");
    }
    let good = validator.validate(&issuer.token_with(json!({ "tenant_id": 7 }))).await.unwrap();
    assert_eq!(good.extra().tenant_id, 7);

    // Another key, one without a `kid`, and one of another `alg`.
    log.clear();
    let other = TestKey::generate(Algorithm::EdDSA).with_kid("new\"\r\nkey");
    let rejection = refused(&validator, &world::sign(&other, json!({}))).await;
    assert_eq!(rejection.kind(), RejectionKind::UnknownKey);
    assert_eq!(
        rejection.to_string(),
        "no key of the issuer fits the token: kid \"new???key\" with alg EdDSA, known keys: \
         \"test-key\" EdDSA"
    );
    let (status, answer) = answered(validator.clone(), &world::sign(&other, json!({}))).await;
    assert_eq!(status, 401);
    assert!(!answer.contains("key"), "{answer}");
    assert!(log.text().contains("known keys"), "{}", log.text());
    let es256 = TestKey::generate(Algorithm::ES256);
    let rejection = refused(&validator, &world::sign(&es256, json!({}))).await;
    assert!(rejection.to_string().contains("\"test-key\" with alg ES256"), "{rejection}");
    let many: Vec<_> = (0..20)
        .map(|n| TestKey::generate(Algorithm::EdDSA).with_kid(&format!("k{n:02}")).public_jwk())
        .collect();
    let keys = Jwks::static_set(ISSUER, &json!({ "keys": many }).to_string()).unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys).build().unwrap();
    let told = refused(&validator, &world::sign(&other, json!({}))).await.to_string();
    assert!(told.ends_with("\"k07\" EdDSA and 12 more"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn fb10_readiness_says_whose_keys_from_where_and_why_not() {
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::status(http::StatusCode::NOT_FOUND));
    let url = "https://issuer.example/keys?secret=s3cr3t";
    let jwks = Jwks::url(ISSUER, url).transport(transport.clone()).build().unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE).keys(jwks).build().unwrap();
    let error = validator.ready(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(error.issuer(), ISSUER);
    assert_eq!(error.url(), Some("https://issuer.example/keys?…"));
    assert_eq!(error.cause().map(FetchError::kind), Some(FetchErrorKind::Status(404)));
    assert_eq!(error.reason(), UnavailableReason::KeysNotLoaded);
    assert_eq!(
        error.to_string(),
        "no key of the issuer has been loaded yet (issuer \"https://issuer.example\"): from \
         https://issuer.example/keys?…, the last attempt failed"
    );
    let cause = "the answer had the status 404 instead of 200";
    assert_eq!(format!("{error:?}"), format!("{error}: {cause}"), "what main prints");
    let refusal = Refusal::from(error);
    assert_eq!(
        format!("{refusal:?}"),
        format!("no key of the issuer has been loaded yet: {cause}"),
        "what main prints of a refusal"
    );

    let transport = ScriptedTransport::new();
    for _ in 0..4 {
        transport.push(ScriptedAnswer::status(http::StatusCode::NOT_FOUND));
    }
    let jwks = Jwks::discover(ISSUER).transport(transport).build().unwrap();
    let error = jwks.ready(Duration::from_millis(100)).await.unwrap_err();
    let told = format!("{error:?}");
    let place = "https://issuer.example/.well-known/oauth-authorization-server";
    assert!(told.contains(&format!("by discovery from {place} on")), "{told}");
    assert!(told.ends_with(cause), "{told}");

    let key = TestKey::generate(Algorithm::EdDSA);
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::json(json!({ "keys": [key.public_jwk()] }).to_string()));
    let jwks = Jwks::url(ISSUER, url).transport(transport).build().unwrap();
    assert!(jwks.ready(Duration::from_secs(9)).await.is_ok());
}

/// Fails with a cause, as a transport does whose TLS library says why.
struct Untrusted;

impl Transport for Untrusted {
    fn send(&self, _: http::Request<bytes::Bytes>, _: Limits) -> TransportFuture {
        let error = TransportError::new(TransportErrorKind::Tls);
        Box::pin(std::future::ready(Err(error.with_source("the certificate has expired"))))
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_what_the_keys_are_missing_for_and_callers_do_not() {
    let logs = Logs::capture();
    let jwks = Jwks::url(ISSUER, "https://issuer.example/keys").transport(Untrusted);
    let jwks = jwks.build().unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE).keys(jwks).build().unwrap();
    let token = Issuer::new().token("");
    let refusal = validator.validate(&token).await.unwrap_err();
    let fetch = refusal.source().unwrap().downcast_ref::<FetchError>().unwrap();
    assert_eq!((fetch.kind(), fetch.code()), (FetchErrorKind::Tls, "tls"));
    assert_eq!(fetch.source().unwrap().to_string(), "the certificate has expired");
    assert!(fetch.source().unwrap().source().is_none());
    let sentence = "no key of the issuer has been loaded yet";
    assert_eq!(refusal.to_string(), sentence);
    let all = format!("{sentence}: {fetch}: the certificate has expired");
    assert_eq!(format!("{refusal:?}"), all);

    let service = BearerAuthLayer::new(validator).layer(Inner::default());
    let answer = world::send(&service, get("/", &[("authorization", &bearer(&token))])).await;
    assert_eq!(answer.status(), 503);
    assert!(!answer.body().contains("certificate") && !answer.body().contains("TLS"));
    let logged = logs.take();
    assert!(logged.iter().any(|line| line.contains(&all)), "{logged:#?}");
}

#[test]
fn keys_and_a_shared_secret_are_refused_together_in_any_order() {
    let secret = || Secret::new([7; 64]);
    let builder = || Validator::builder("https://issuer.example", "api");
    let keys = || Jwks::discover("https://issuer.example");
    for builder in [
        builder().keys(keys()).dangerous_shared_secret(HmacAlgorithm::HS256, secret()),
        builder().dangerous_shared_secret(HmacAlgorithm::HS256, secret()).keys(keys()),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains("both keys and a shared secret"), "{error}");
    }
    let alone = builder().dangerous_shared_secret(HmacAlgorithm::HS256, secret());
    assert!(alone.build().is_ok());
}

#[test]
fn fb9_issuers_that_no_token_has_are_errors_of_the_validator_and_of_the_key_source() {
    let issuer = Issuer::new();
    for (name, remedy) in [
        ("https://login.microsoftonline.com/common/v2.0", "tenant's id"),
        ("https://login.microsoftonline.com/organizations/v2.0", "tenant's id"),
        ("https://login.microsoftonline.com/consumers/v2.0", "tenant's id"),
        ("https://login.microsoftonline.com/{tenantid}/v2.0", "placeholder"),
        (" https://issuer.example", "begins or ends with a space"),
        ("https://issuer.example\n", "begins or ends with a space"),
    ] {
        let of_discovery = Jwks::discover(name).build().unwrap_err().to_string();
        let of_url = Jwks::url(name, "https://a.example/k").build().unwrap_err().to_string();
        let of_validator = sentence(Validator::builder(name, AUDIENCE));
        let keys = Jwks::static_set(name, &issuer.jwks_json()).unwrap();
        let with_keys = sentence(Validator::builder(name, AUDIENCE).keys(keys));
        let of_spelling = sentence(builder(&issuer).also_issuer(name));
        for told in [of_discovery, of_url, of_validator, with_keys, of_spelling] {
            assert!(told.contains(remedy), "{name}: {told}");
        }
    }
    let spaced = Jwks::url(ISSUER, " https://issuer.example/keys").build().unwrap_err();
    assert!(spaced.to_string().contains("begins or ends with a space"), "{spaced}");
    assert_eq!(sentence(builder(&issuer).also_issuer("issuer.example")), "");
}

#[tokio::test]
async fn fb8_another_spelling_is_accepted_exactly_and_told_as_the_token_has_it() {
    let issuer = Issuer::new();
    let validator = builder(&issuer).also_issuer("issuer.example").build().unwrap();
    for spelling in [ISSUER, "issuer.example"] {
        let token = issuer.token_with(json!({ "iss": spelling }));
        for _ in 0..2 {
            assert_eq!(validator.validate(&token).await.unwrap().issuer(), spelling);
        }
    }
    for other in ["ISSUER.example", "issuer.example/", "issuer", ""] {
        let rejection = refused(&validator, &issuer.token_with(json!({ "iss": other }))).await;
        assert_eq!(rejection.kind(), RejectionKind::WrongIssuer, "{other}");
    }
    let token = issuer.token_with(json!({ "iss": "issuer.example" }));
    let strict = builder(&issuer).build().unwrap();
    assert_eq!(refused(&strict, &token).await.kind(), RejectionKind::WrongIssuer);
}

#[tokio::test]
async fn fb8_a_token_without_audience_needs_a_client_that_may_do_without() {
    let issuer = Issuer::new();
    let lenient = builder(&issuer).dangerous_clients_without_audience(["app", "batch"]);
    let lenient = lenient.build().unwrap();
    let without = |client: &str| {
        issuer.token_with(json!({ "aud": null, "client_id": client, "token_use": "access" }))
    };
    assert!(lenient.validate(&without("batch")).await.is_ok());
    let kind = async |token: &str| refused(&lenient, token).await.kind();
    assert_eq!(kind(&without("other")).await, RejectionKind::MissingClaim);
    assert_eq!(kind(&without("")).await, RejectionKind::MissingClaim);
    let none = issuer.token_with(json!({ "aud": null, "client_id": null }));
    assert_eq!(kind(&none).await, RejectionKind::MissingClaim);
    let id = issuer.token_with(json!({ "aud": null, "token_use": "id" }));
    assert_eq!(kind(&id).await, RejectionKind::IdToken);
    for (aud, expected) in [
        (json!("other"), RejectionKind::WrongAudience),
        (json!("app"), RejectionKind::WrongAudience),
        (json!([]), RejectionKind::MalformedClaim),
    ] {
        assert_eq!(kind(&issuer.token_with(json!({ "aud": aud }))).await, expected, "{aud}");
    }
    assert!(lenient.validate(&issuer.token("")).await.is_ok());
    let strict = builder(&issuer).build().unwrap();
    assert_eq!(refused(&strict, &without("batch")).await.kind(), RejectionKind::MissingClaim);
    for clients in [&[][..], &[""], &[" app"]] {
        let built = builder(&issuer).dangerous_clients_without_audience(clients.iter().copied());
        assert!(built.build().is_err(), "{clients:?}");
    }
}

#[tokio::test]
async fn fb8_a_required_client_id_is_met_by_the_claim_that_was_set() {
    let issuer = Issuer::new();
    let token = issuer.token_with(json!({ "client_id": null, "azp": "web" }));
    let required = || builder(&issuer).require_claim(RequiredClaim::ClientId);
    let rejection = refused(&required().build().unwrap(), &token).await;
    assert_eq!(rejection.kind(), RejectionKind::MissingClaim);
    assert!(rejection.to_string().contains("client_id_source"), "{rejection}");
    let source = ClientIdSource::keycloak();
    let validator = required().client_id_source(source).build().unwrap();
    assert_eq!(validator.validate(&token).await.unwrap().client_id(), Some("web"));
    let odd = issuer.token_with(json!({ "client_id": null, "azp": ["web"] }));
    assert_eq!(refused(&validator, &odd).await.kind(), RejectionKind::MalformedClaim);

    let both = ScopeSource::claim("azp").unwrap();
    let source = ClientIdSource::entra();
    let told = sentence(builder(&issuer).scope_source(both).client_id_source(source));
    assert!(told.contains("\"azp\""), "{told}");
}

#[tokio::test]
async fn settings_add_up_in_whatever_order() {
    let issuer = Issuer::new();
    type Set = fn(ValidatorBuilder) -> ValidatorBuilder;
    let subject: Set = |it| it.require_claim(RequiredClaim::Subject);
    let client: Set = |it| it.require_claim(RequiredClaim::ClientId);
    let (profile, typ): (Set, Set) = (ValidatorBuilder::rfc9068, ValidatorBuilder::require_typ);
    let full = issuer.token("");
    let lacks = |claim: &str| issuer.token_with(json!({ claim: null }));
    for (settings, needed) in [
        (&[subject, client][..], &["sub", "client_id"][..]),
        (&[client, subject], &["sub", "client_id"]),
        (&[client, profile], &["sub", "client_id", "iat", "jti"]),
        (&[profile, client], &["sub", "client_id", "iat", "jti"]),
        (&[profile, typ], &["sub", "client_id", "iat", "jti"]),
        (&[typ, subject], &["sub"]),
        (&[], &[]),
    ] {
        let built = settings.iter().fold(builder(&issuer), |builder, set| set(builder));
        let validator = built.build().unwrap();
        assert!(validator.validate(&full).await.is_ok(), "{needed:?}");
        for claim in ["sub", "client_id", "iat", "jti"] {
            let checked = validator.validate(&lacks(claim)).await;
            assert_eq!(checked.is_err(), needed.contains(&claim), "{claim}, {needed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_clock_is_also_the_key_sources_unless_it_has_one() {
    let issuer = Issuer::new();
    let set = issuer.jwks_json();
    let keys = || {
        let set = set.clone();
        let transport = ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(set.clone()));
        Jwks::url(ISSUER, "https://issuer.test/jwks").transport(transport)
    };
    let clock = |secs| ManualClock::new(UnixTime::from_secs(secs));
    for (keys, expected) in [(keys(), 1_000), (keys().clock(clock(2_000)), 2_000)] {
        let builder = Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(clock(1_000));
        let validator = builder.build().unwrap();
        validator.ready(Duration::from_secs(5)).await.unwrap();
        let fetched = validator.jwks().unwrap().status().last_success.unwrap();
        assert_eq!(fetched.as_secs(), expected);
    }
}

#[tokio::test]
async fn fb8_scopes_are_names_or_values_of_objects_and_claims_within_objects() {
    let issuer = Issuer::new();
    let token = issuer.token_with(json!({
        "scope": "s",
        "teams": { "ops": {}, "sales": [], "two words": {}, "gone": false, "none": null, "x": 0 },
        "apps": { "shop": ["orders:read", "orders:write"], "billing": "a b" },
        "deep": { "er": { "roles": ["r"], "names": { "n": true } } },
        "with.dot": "d",
    }));
    for (source, expected) in [
        (ScopeSource::names_of(["teams"]), "ops sales x"),
        (ScopeSource::values_of(["apps"]), "a b orders:read orders:write"),
        (ScopeSource::path(["deep", "er", "roles"]), "r"),
        (ScopeSource::names_of(["deep", "er", "names"]), "n"),
        (ScopeSource::path(["with.dot"]), "d"),
        (ScopeSource::path(["deep", "absent", "roles"]), ""),
        (ScopeSource::names_of(["absent"]), ""),
        (
            ScopeSource::names_of(["teams"]).map(|it| it.and(ScopeSource::rfc9068())),
            "ops s sales x",
        ),
    ] {
        let validator = builder(&issuer).scope_source(source.unwrap()).build().unwrap();
        let scopes = validator.validate(&token).await.unwrap();
        let mut scopes: Vec<_> = scopes.scopes().iter().map(ToString::to_string).collect();
        scopes.sort();
        assert_eq!(scopes.join(" "), expected);
    }
    for source in [
        ScopeSource::names_of(["scope"]),
        ScopeSource::values_of(["scope"]),
        ScopeSource::names_of(["apps", "shop"]),
        ScopeSource::values_of(["teams"]),
        ScopeSource::path(["apps"]),
        ScopeSource::path(["scope", "x"]),
        ScopeSource::claim("apps"),
    ] {
        let validator = builder(&issuer).scope_source(source.unwrap()).build().unwrap();
        let rejection = refused(&validator, &token).await;
        assert_eq!(rejection.kind(), RejectionKind::MalformedClaim);
        assert!(rejection.to_string().contains("ScopeSource"), "{rejection}");
    }
}

#[tokio::test(start_paused = true)]
async fn fb8_a_spiffe_bundle_is_fetched_and_its_other_keys_left_alone() {
    let (svid, other) = (TestKey::generate(Algorithm::ES256), TestKey::generate(Algorithm::ES256));
    let bundle = |svid_use: &str| {
        let mut keys = [svid.public_jwk(), other.clone().with_kid("x509").public_jwk()];
        keys[0]["use"] = svid_use.into();
        keys[1]["use"] = "x509-svid".into();
        for key in &mut keys {
            key.as_object_mut().unwrap().remove("alg");
        }
        json!({ "keys": keys, "spiffe_sequence": 12, "spiffe_refresh_hint": 2_419_200 }).to_string()
    };
    let transport = ScriptedTransport::new();
    transport.push(ScriptedAnswer::json(bundle("jwt-svid")));
    let url = "https://spire.example.org/bundle";
    let jwks = Jwks::spiffe_bundle("example.org", url).transport(transport).build().unwrap();
    assert!(jwks.ready(Duration::from_secs(9)).await.is_ok());
    assert_eq!(jwks.issuer(), "spiffe://example.org");
    let validator =
        Validator::jwt_svid("spiffe://example.org", "spiffe://example.org/orders").keys(jwks);
    let validator = validator.build().unwrap();
    let sign = |key: &TestKey, kid: &str| {
        let header = json!({ "alg": "ES256", "kid": kid, "typ": "JOSE" }).to_string();
        let claims = json!({
            "sub": "spiffe://example.org/web",
            "aud": ["spiffe://example.org/orders"],
            "exp": world::now() + 300,
        });
        key.sign(header, claims.to_string())
    };
    let token = validator.validate(&sign(&svid, svid.kid())).await.unwrap();
    assert_eq!(token.subject(), Some("spiffe://example.org/web"));
    assert!(validator.validate(&sign(&other, "x509")).await.is_err());
    assert!(validator.validate(&sign(&other, svid.kid())).await.is_err());

    // What isn't a bundle's key is none, and what is a bundle's is nobody else's.
    assert!(Jwks::static_spiffe_bundle("example.org", &bundle("sig")).is_err());
    assert!(Jwks::static_set(ISSUER, &bundle("jwt-svid")).is_err());
    let keys = || Jwks::static_spiffe_bundle("example.org", &bundle("jwt-svid")).unwrap();
    let told = sentence(Validator::builder("spiffe://example.org", AUDIENCE).keys(keys()));
    assert!(told.contains("Validator::jwt_svid"), "{told}");
    let svids = || Validator::jwt_svid("example.org", "spiffe://example.org/orders").keys(keys());
    assert_eq!(sentence(svids()), "");
    for (builder, remedy) in [
        (Validator::jwt_svid("example.org", AUDIENCE), "spiffe_bundle"),
        (Validator::jwt_svid("example.com", AUDIENCE).keys(keys()), "must never verify"),
        (Validator::jwt_svid("Example.org", AUDIENCE).keys(keys()), "lower case"),
        (svids().rfc9068(), "rfc9068"),
        (svids().require_typ(), "require_typ"),
        (svids().also_issuer("x"), "also_issuer"),
        (svids().dangerous_clients_without_audience(["x"]), "dangerous_clients_without_audience"),
        (svids().algorithms([Algorithm::EdDSA]), "EdDSA"),
    ] {
        let told = sentence(builder);
        assert!(told.contains(remedy), "{remedy}: {told}");
    }
}

#[tokio::test]
async fn fb2_what_a_header_says_is_remembered_with_it() {
    let issuer = Issuer::new();
    let validator = builder(&issuer).build().unwrap();
    let sign = |typ: &str, claims: serde_json::Value| {
        let header = json!({ "alg": "EdDSA", "typ": typ, "kid": issuer.key.kid() }).to_string();
        let mut all = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": world::now() + 300 });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        issuer.key.sign(header, all.to_string())
    };
    // From the second token on, the header is one that is known.
    for round in 0..3 {
        for typ in ["at+jwt", "JWT"] {
            let good = sign(typ, json!({ "jti": format!("{typ} {round}"), "nonce": "n" }));
            assert!(validator.validate(&good).await.is_ok(), "{typ}");
            let unknown = sign(typ, json!({ "jti": format!("{typ} {round}"), "typ": "custom" }));
            match validator.validate(&unknown).await {
                Ok(_) => assert_eq!(typ, "at+jwt"),
                Err(refusal) => {
                    assert_eq!(typ, "JWT");
                    let told = "the token's type isn't accepted: typ is \"custom\"";
                    assert_eq!(refusal.to_string(), told);
                }
            }
            let logout = sign(typ, json!({ "typ": "Logout" }));
            assert_eq!(refused(&validator, &logout).await.kind(), RejectionKind::WrongType);
        }
    }
}
