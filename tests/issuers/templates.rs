//! Templates: many tenants with one key set, as Microsoft Entra has them; and vendors' presets.

use std::time::Duration;

use serde_json::{Value, json};
use tower_bearer::issuers::{self, Issuer};
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::{Clock, RejectionKind, Validator};

use crate::support::{API, clock, header, kind, unavailable};

const ONE: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const TWO: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const V1: &str = "https://sts.windows.net/{tenantid}/";
const V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

fn v2(tenant: &str) -> String {
    V2.replace("{tenantid}", tenant)
}

fn key(kid: &str) -> TestKey {
    TestKey::generate(Algorithm::RS256).with_kid(kid)
}

/// A key set with this member `issuer` of each key.
fn set(keys: &[(&TestKey, Value)]) -> String {
    let jwk = |(key, issuer): &(&TestKey, Value)| {
        let mut jwk = key.public_jwk();
        jwk["issuer"] = issuer.clone();
        jwk
    };
    json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string()
}

fn keys(template: &str, set: &str) -> Jwks {
    Jwks::static_set(template, set).unwrap()
}

fn token(clock: &ManualClock, key: &TestKey, changes: Value) -> String {
    let now = clock.now().as_secs();
    let mut claims = json!({
        "iss": v2(ONE), "tid": ONE, "aud": API, "sub": "s", "azp": "client", "iat": now,
        "exp": now + 600, "scp": "read", "roles": ["Write.All"],
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    key.sign(header(key), claims.to_string())
}

fn validator(clock: &ManualClock, issuer: Issuer) -> Validator {
    Validator::issuers([issuer]).clock(clock.clone()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn n15_the_tenant_filled_into_the_template_is_the_issuer() {
    let (clock, key) = (clock(), key("k"));
    let set = set(&[(&key, Value::Null)]);
    let issuer = Issuer::entra_v2(API).allow_tenants([ONE, TWO]).keys(keys(V2, &set));
    let validator = validator(&clock, issuer);
    let check =
        async |changes: Value| kind(validator.validate(&token(&clock, &key, changes)).await);

    let accepted = validator.validate(&token(&clock, &key, json!({}))).await.unwrap();
    assert_eq!((accepted.issuer(), accepted.configured_issuer()), (&*v2(ONE), V2));
    assert_eq!(accepted.scopes().as_str(), "read");
    assert_eq!(accepted.client_id(), Some("client"));
    assert_eq!(check(json!({"iss": v2(TWO), "tid": TWO})).await, None);

    for (changes, expected) in [
        (json!({"tid": null}), RejectionKind::MissingClaim),
        (json!({"tid": 1}), RejectionKind::MalformedClaim),
        (json!({"tid": TWO}), RejectionKind::WrongIssuer),
        (json!({"iss": v2(TWO)}), RejectionKind::WrongIssuer),
        (json!({"tid": ONE.to_uppercase()}), RejectionKind::WrongIssuer),
        (json!({"iss": v2("contoso"), "tid": "contoso"}), RejectionKind::WrongIssuer),
        (json!({"iss": v2("{tenantid}"), "tid": "{tenantid}"}), RejectionKind::WrongIssuer),
        (json!({"iss": v2("common"), "tid": ONE}), RejectionKind::WrongIssuer),
        (json!({"iss": format!("{}/", v2(ONE))}), RejectionKind::WrongIssuer),
        (json!({"iss": V1.replace("{tenantid}", ONE)}), RejectionKind::WrongIssuer),
        (json!({"iss": format!("https://evil.test/{ONE}/v2.0")}), RejectionKind::WrongIssuer),
    ] {
        assert_eq!(check(changes.clone()).await, Some(expected), "{changes}");
    }
}

/// Two tenants have the same subject.
#[tokio::test(start_paused = true)]
async fn n5_the_identity_of_a_tenants_user_holds_the_tenants_issuer() {
    let (clock, key) = (clock(), key("k"));
    let set = set(&[(&key, Value::Null)]);
    let issuer = Issuer::entra_v2(API).allow_tenants([ONE, TWO]).keys(keys(V2, &set));
    let validator = validator(&clock, issuer);
    let of_one = validator.validate(&token(&clock, &key, json!({}))).await.unwrap();
    let two = token(&clock, &key, json!({"iss": v2(TWO), "tid": TWO}));
    let of_two = validator.validate(&two).await.unwrap();
    assert_ne!(of_one.identity(), of_two.identity());
    assert_eq!(of_two.identity().unwrap().issuer(), v2(TWO));
}

#[tokio::test(start_paused = true)]
async fn n16_a_key_signs_only_for_the_issuer_that_its_member_names() {
    let clock = clock();
    let (any, templated, two, other, odd) = (key("a"), key("t"), key("2"), key("o"), key("x"));
    let set = set(&[
        (&any, Value::Null),
        (&templated, V2.into()),
        (&two, v2(TWO).into()),
        (&other, "https://login.example/v2.0".into()),
        (&odd, json!(1)),
    ]);
    let issuer = Issuer::entra_v2(API).allow_tenants([ONE, TWO]).keys(keys(V2, &set));
    let validator = validator(&clock, issuer);
    for (key, for_one, for_two) in [
        (&any, true, true),
        (&templated, true, true),
        (&two, false, true),
        (&other, false, false),
        (&odd, false, false),
    ] {
        for (tenant, expected) in [(ONE, for_one), (TWO, for_two)] {
            let token = token(&clock, key, json!({"iss": v2(tenant), "tid": tenant}));
            let verdict = kind(validator.validate(&token).await);
            let refused = (!expected).then_some(RejectionKind::BadSignature);
            assert_eq!(verdict, refused, "{} for {tenant}", key.kid());
        }
    }
    // Elsewhere the member means nothing.
    let plain =
        Issuer::new("https://i.test", API).keys(Jwks::static_set("https://i.test", &set).unwrap());
    let validator = self::validator(&clock, plain);
    let elsewhere = token(&clock, &other, json!({"iss": "https://i.test"}));
    assert_eq!(kind(validator.validate(&elsewhere).await), None);
}

#[tokio::test(start_paused = true)]
async fn n17_versions_1_and_2_are_accepted_only_if_both_are_configured() {
    let (clock, key) = (clock(), key("k"));
    // As Entra publishes them: the name of version 2 at keys of both.
    let set = set(&[(&key, V2.into())]);
    let one = || Issuer::entra_v1(API).allow_tenants([ONE]).keys(keys(V1, &set));
    let two = || Issuer::entra_v2(API).allow_tenants([ONE]).keys(keys(V2, &set));
    let old = token(&clock, &key, json!({"iss": V1.replace("{tenantid}", ONE), "appid": "c"}));
    let new = token(&clock, &key, json!({}));
    let wrong = Some(RejectionKind::WrongIssuer);
    for (list, of_old, of_new) in
        [(vec![one()], None, wrong), (vec![two()], wrong, None), (vec![one(), two()], None, None)]
    {
        let validator = Validator::issuers(list).clock(clock.clone()).build().unwrap();
        assert_eq!(kind(validator.validate(&old).await), of_old);
        assert_eq!(kind(validator.validate(&new).await), of_new);
    }
}

#[tokio::test(start_paused = true)]
async fn n18_which_tenants_are_accepted_must_be_said() {
    let (clock, key) = (clock(), key("k"));
    let set = set(&[(&key, Value::Null)]);
    let entra = || Issuer::entra_v2(API).keys(keys(V2, &set));
    for (issuer, one, two) in [
        (entra().allow_tenants([ONE]), true, false),
        (entra().allow_tenants_where(|tenant| tenant == TWO), false, true),
        (entra().dangerous_any_tenant(), true, true),
    ] {
        let validator = validator(&clock, issuer);
        for (tenant, expected) in [(ONE, one), (TWO, two)] {
            let token = token(&clock, &key, json!({"iss": v2(tenant), "tid": tenant}));
            let refused = (!expected).then_some(RejectionKind::WrongIssuer);
            assert_eq!(kind(validator.validate(&token).await), refused, "{tenant}");
        }
    }
    let error = |issuer: Issuer| Validator::issuers([issuer]).build().unwrap_err().to_string();
    assert!(error(entra()).contains("dangerous_any_tenant"), "{}", error(entra()));
    assert!(error(entra().allow_tenants(Vec::<String>::new())).contains("no tenant"));
    assert!(
        error(entra().allow_tenants(["contoso.onmicrosoft.com"])).contains("isn't a tenant's id")
    );
    let plain = Issuer::new("https://i.test", API).allow_tenants([ONE]);
    assert!(error(plain).contains("has no tenants"));
    for (template, phrase) in [
        ("https://i.test/v2.0", "placeholder"),
        ("https://i.test/{a}/{tenantid}", "the one placeholder {tenantid}"),
        ("http://i.test/{tenantid}", "https"),
    ] {
        let issuer = Issuer::template(template, "https://i.test/doc", API).dangerous_any_tenant();
        let error = error(issuer);
        assert!(error.contains(phrase), "{error}");
    }
    // Readiness and routes name it by its template.
    let named = issuers::Readiness::of([V2]);
    let both = Validator::issuers([entra().allow_tenants([ONE])]).readiness(named).build();
    assert!(both.is_ok());
}

/// A document whose issuer is this, at the place of the template's.
fn serving(issuer: &str, set: String) -> ScriptedTransport {
    let document = json!({"issuer": issuer, "jwks_uri": "https://login.test/keys"}).to_string();
    ScriptedTransport::from_fn(move |request| match request.uri().path() {
        "/common/doc" => ScriptedAnswer::json(document.clone()),
        "/keys" => ScriptedAnswer::json(set.clone()),
        other => panic!("{other} is asked"),
    })
}

#[tokio::test(start_paused = true)]
async fn n19_n20_one_document_with_the_template_as_its_issuer_serves_all_tenants() {
    const TEMPLATE: &str = "https://login.test/{tenantid}/v2.0";
    let filled = |tenant: &str| TEMPLATE.replace("{tenantid}", tenant);
    for (named, found) in [(TEMPLATE.to_owned(), true), (filled(ONE), false), (V2.into(), false)] {
        let (clock, key) = (clock(), key("k"));
        let transport = serving(&named, set(&[(&key, TEMPLATE.into())]));
        let keys = Jwks::discover_template(TEMPLATE, "https://login.test/common/doc");
        let issuer = Issuer::template(TEMPLATE, "https://login.test/common/doc", API)
            .keys(keys.transport(transport.clone()).clock(clock.clone()))
            .allow_tenants([ONE, TWO]);
        let validator = validator(&clock, issuer);
        let ready = validator.ready(Duration::from_secs(3)).await;
        assert_eq!(ready.is_ok(), found, "{named}");
        for tenant in [ONE, TWO] {
            let token = token(&clock, &key, json!({"iss": filled(tenant), "tid": tenant}));
            let verdict = validator.validate(&token).await;
            if found {
                assert_eq!(kind(verdict), None);
            } else {
                assert_eq!(unavailable(verdict), UnavailableReason::KeysNotLoaded);
            }
        }
        if found {
            assert_eq!(transport.request_count(), 2, "one document and one key set");
        }
    }
    // The template isn't excused elsewhere.
    assert!(Jwks::discover_at(TEMPLATE, "https://login.test/common/doc").build().is_err());
}

/// What a user may do in the application isn't what the client may do for the user.
#[tokio::test(start_paused = true)]
async fn n21_a_users_app_roles_are_kept_apart_from_the_scopes() {
    let (clock, key) = (clock(), key("k"));
    let set = set(&[(&key, Value::Null)]);
    let entra = || Issuer::entra_v2(API).allow_tenants([ONE]).keys(keys(V2, &set));
    let kept = validator(&clock, entra().keep_claims(["roles", "idtyp"]));
    for (changes, scopes) in [
        (json!({"scp": "read", "roles": ["Write.All", "admin"], "idtyp": "user"}), "read"),
        (json!({"scp": null, "roles": ["Write.All", "admin"], "idtyp": "app"}), "Write.All admin"),
    ] {
        let text = token(&clock, &key, changes.clone());
        let token = kept.validate(&text).await.unwrap();
        assert_eq!(token.scopes().as_str(), scopes);
        assert_eq!(token.claim::<Vec<String>>("roles").unwrap(), ["Write.All", "admin"]);
        assert_eq!(token.claim::<String>("idtyp").as_deref(), changes["idtyp"].as_str());
        // Kept or not, the scopes are the same.
        let token = validator(&clock, entra()).validate(&text).await.unwrap();
        assert_eq!(token.scopes().as_str(), scopes);
    }
    for roles in [json!("a b"), json!([1]), json!({}), json!(null)] {
        let text = key.sign(header(&key), {
            let now = clock.now().as_secs();
            json!({"iss": v2(ONE), "tid": ONE, "aud": API, "exp": now + 600, "roles": roles})
                .to_string()
        });
        let expected = (!roles.is_string()).then_some(RejectionKind::MalformedClaim);
        for validator in [kept.clone(), validator(&clock, entra())] {
            assert_eq!(kind(validator.validate(&text).await), expected, "{roles}");
        }
    }
    // Claims that always hold scopes are read as those.
    let scp = Validator::issuers([entra().keep_claims(["scp"])]).build().unwrap_err().to_string();
    assert!(scp.contains("\"scp\""), "{scp}");
}

#[tokio::test(start_paused = true)]
async fn n21_n22_presets_name_the_issuer_and_where_scopes_and_clients_are() {
    let (clock, key) = (clock(), key("k"));
    let set = json!({ "keys": [key.public_jwk()] }).to_string();
    let of = |name: &str| Jwks::static_set(name, &set).unwrap();
    let kc = "https://kc.example/realms/shop";
    let pool = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC";
    for (issuer, name, claims, scopes, client) in [
        (
            Issuer::keycloak("https://kc.example/", "shop", API),
            kc.to_owned(),
            json!({"azp": "kc-client", "typ": "Bearer", "scope": "read"}),
            "read",
            Some("kc-client"),
        ),
        (
            Issuer::cognito("eu-west-1", "eu-west-1_AbC", API),
            pool.to_owned(),
            json!({"client_id": "pool-client", "token_use": "access", "scope": "read"}),
            "read",
            Some("pool-client"),
        ),
        (
            Issuer::auth0("example.eu.auth0.com", API),
            "https://example.eu.auth0.com/".to_owned(),
            json!({"azp": "auth0-client", "scope": "read"}),
            "read",
            Some("auth0-client"),
        ),
        (
            Issuer::entra_tenant(ONE, API),
            v2(ONE),
            json!({"azp": "c", "roles": ["Write.All"], "idtyp": "app"}),
            "Write.All",
            Some("c"),
        ),
        (
            Issuer::entra_tenant(ONE, API),
            v2(ONE),
            json!({"azp": "c", "scp": "read", "roles": ["Write.All", "admin"], "idtyp": "user"}),
            "read",
            Some("c"),
        ),
    ] {
        let validator = validator(&clock, issuer.keys(of(&name)));
        let mut changes =
            json!({"iss": name, "scp": null, "roles": null, "azp": null, "tid": null});
        for (claim, value) in claims.as_object().unwrap() {
            changes[claim] = value.clone();
        }
        let text = token(&clock, &key, changes.clone());
        let accepted = validator.validate(&text).await.unwrap();
        assert_eq!((accepted.issuer(), accepted.scopes().as_str()), (&*name, scopes));
        let explained = validator.explain(&text).await.to_string();
        let line = explained.lines().find(|line| line.contains("scopes")).unwrap();
        assert!(line.contains(scopes) && !line.contains("admin"), "{explained}");
        assert_eq!(accepted.client_id(), client, "{name}");
        // Another token of the same server is none.
        changes["at_hash"] = "h".into();
        let verdict = validator.validate(&token(&clock, &key, changes)).await;
        assert_eq!(kind(verdict), Some(RejectionKind::IdToken), "{name}");
    }
    let cognito = Issuer::cognito("eu-west-1", "eu-west-1_AbC", API).keys(of(pool));
    let validator = validator(&clock, cognito);
    let id = token(&clock, &key, json!({"iss": pool, "token_use": "id"}));
    assert_eq!(kind(validator.validate(&id).await), Some(RejectionKind::IdToken));
}
