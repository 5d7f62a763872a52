use std::sync::atomic::{AtomicU64, Ordering};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use tower_bearer::jose::Algorithm;
use tower_bearer::testing::{AuthMethod, ManualClock, TestClient, TestIssuer, TestKey};
use tower_bearer::{Clock as _, UnixTime};

use crate::{ask, encode, http, read, verify};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Sends a form, with or without an `Authorization` header.
async fn post(issuer: &TestIssuer, header: Option<&str>, form: &str) -> reqwest::Response {
    let mut request = http()
        .post(issuer.token_endpoint())
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(form.to_owned());
    if let Some(header) = header {
        request = request.header("authorization", header);
    }
    request.send().await.unwrap()
}

/// Returns status and error code.
async fn refusal(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    // RFC 6749 §5.2: a 401 names a scheme.
    assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
    let body: Value = response.json().await.unwrap();
    assert!(body["error_description"].is_string());
    (status, body["error"].as_str().unwrap().to_owned())
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}")))
}

#[tokio::test]
async fn grants_a_token() {
    let issuer = TestIssuer::start().await.unwrap();
    let response = ask(&issuer, &[GRANT, ("scope", "api:read api:write")]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["pragma"], "no-cache");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 600);
    assert_eq!(answer["scope"], "api:read api:write");
    let token = answer["access_token"].as_str().unwrap();
    let claims = verify(&issuer, token).await.unwrap();
    assert_eq!(claims["scope"], "api:read api:write");
    assert_eq!(claims["sub"], TestIssuer::CLIENT_ID);
    assert_eq!(claims["client_id"], TestIssuer::CLIENT_ID);
    assert_eq!(claims["aud"], TestIssuer::AUDIENCE);
    assert_eq!(read(token).0["typ"], "at+jwt");
    assert_eq!(issuer.counters().granted(), 1);
}

#[tokio::test]
async fn scopes_are_those_of_the_client() {
    let client = TestClient::secret("c", "s").scopes(["a", "b"]);
    let issuer = TestIssuer::builder().client(client).start().await.unwrap();
    let header = basic("c", "s");
    let ask = async |form: &str| post(&issuer, Some(&header), form).await;
    for (form, scope) in [
        ("grant_type=client_credentials", "a b"),
        ("grant_type=client_credentials&scope=", "a b"),
        ("grant_type=client_credentials&scope=b", "b"),
        ("grant_type=client_credentials&scope=b+a", "b a"),
    ] {
        let answer: Value = ask(form).await.json().await.unwrap();
        assert_eq!(answer["scope"], scope, "{form}");
        assert_eq!(read(answer["access_token"].as_str().unwrap()).1["scope"], scope);
    }
    for form in ["scope=c", "scope=a+c", "scope=a++b", "scope=a%0ab", "scope=%22"] {
        let refused = ask(&format!("grant_type=client_credentials&{form}")).await;
        assert_eq!(refusal(refused).await, (400, "invalid_scope".into()), "{form}");
    }
    assert_eq!(issuer.counters().granted(), 4);
}

#[tokio::test]
async fn no_scope_is_no_claim() {
    let issuer = TestIssuer::start().await.unwrap();
    let answer: Value = ask(&issuer, &[GRANT]).await.json().await.unwrap();
    assert!(answer.get("scope").is_none());
    assert!(read(answer["access_token"].as_str().unwrap()).1.get("scope").is_none());
}

#[tokio::test]
async fn audiences_are_those_of_the_client() {
    let client = TestClient::secret("c", "s").audiences(["https://a.test", "https://b.test"]);
    let issuer = TestIssuer::builder().client(client).start().await.unwrap();
    let header = basic("c", "s");
    let ask = async |more: &str| {
        post(&issuer, Some(&header), &format!("grant_type=client_credentials{more}")).await
    };
    for (more, audience) in [
        ("", json!("https://a.test")),
        ("&resource=https://b.test", json!("https://b.test")),
        ("&audience=https://b.test", json!("https://b.test")),
        (
            "&resource=https://a.test&resource=https://b.test",
            json!(["https://a.test", "https://b.test"]),
        ),
    ] {
        let answer: Value = ask(more).await.json().await.unwrap();
        assert_eq!(read(answer["access_token"].as_str().unwrap()).1["aud"], audience, "{more}");
    }
    for more in
        ["&resource=https://c.test", "&audience=c", "&resource=a", "&resource=https://a.test%23x"]
    {
        assert_eq!(refusal(ask(more).await).await, (400, "invalid_target".into()), "{more}");
    }
}

#[tokio::test]
async fn secrets_come_by_header_or_body_and_never_by_both() {
    let builder = TestIssuer::builder()
        .client(TestClient::secret("any", "s"))
        .client(TestClient::secret("basic", "s").auth([AuthMethod::ClientSecretBasic]))
        .client(TestClient::secret("post", "s").auth([AuthMethod::ClientSecretPost]));
    let issuer = builder.start().await.unwrap();
    let form = "grant_type=client_credentials";
    for (id, by_header, by_body) in [("any", 200, 200), ("basic", 200, 401), ("post", 401, 200)] {
        let header = basic(id, "s");
        assert_eq!(post(&issuer, Some(&header), form).await.status(), by_header, "{id}");
        let with_id = format!("{form}&client_id={id}");
        assert_eq!(post(&issuer, Some(&header), &with_id).await.status(), by_header, "{id}");
        let body = format!("{form}&client_id={id}&client_secret=s");
        assert_eq!(post(&issuer, None, &body).await.status(), by_body, "{id}");
        // T6: exactly one method.
        let both = post(&issuer, Some(&header), &body).await;
        assert_eq!(refusal(both).await, (400, "invalid_request".into()));
    }
}

// T7: both halves are form-encoded before they are joined.
#[tokio::test]
async fn t7_basic_is_form_encoded_inside() {
    let (id, secret) = ("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=");
    let client = TestClient::secret(id, secret);
    let issuer = TestIssuer::builder().client(client).start().await.unwrap();
    let vector = "Basic MVBwRyUyRlErMTp6JTJGdFo5VndGWnFBcG1JUSUyQlpIMUk1cExrJTJGdUI0dWQlM0FYMiUyRj\
                  hiTCUyQndmRlR0MXJGdyUzRA==";
    let granted = post(&issuer, Some(vector), "grant_type=client_credentials").await;
    assert_eq!(granted.status(), 200);
    // Unencoded, the plus signs are spaces.
    let raw = post(&issuer, Some(&basic(id, secret)), "grant_type=client_credentials").await;
    assert_eq!(refusal(raw).await, (401, "invalid_client".into()));
}

#[tokio::test]
async fn r9_errors_are_those_of_rfc_6749() {
    let issuer = TestIssuer::start().await.unwrap();
    let good = basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET);
    let wrong = basic(TestIssuer::CLIENT_ID, "wrong");
    let unknown = basic("nobody", TestIssuer::CLIENT_SECRET);
    for (header, form, status, code) in [
        (Some(good.as_str()), "scope=a", 400, "invalid_request"),
        (Some(&good), "grant_type=", 400, "invalid_request"),
        (Some(&good), "grant_type=password", 400, "unsupported_grant_type"),
        (Some(&good), "grant_type=client_credentials&scope=a&scope=b", 400, "invalid_request"),
        (Some(&good), "grant_type=client_credentials&scope=%zz", 400, "invalid_request"),
        (Some(&good), "grant_type=client_credentials&client_id=other", 400, "invalid_request"),
        (Some(&wrong), "grant_type=client_credentials", 401, "invalid_client"),
        (Some(&unknown), "grant_type=client_credentials", 401, "invalid_client"),
        (Some("Bearer abc"), "grant_type=client_credentials", 401, "invalid_client"),
        (Some("Basic !"), "grant_type=client_credentials", 401, "invalid_client"),
        (None, "grant_type=client_credentials", 401, "invalid_client"),
        (None, "grant_type=client_credentials&client_secret=s", 401, "invalid_client"),
        (None, "", 401, "invalid_client"),
    ] {
        let response = post(&issuer, header, form).await;
        assert_eq!(refusal(response).await, (status, code.into()), "{header:?} {form}");
    }
    let json = http().post(issuer.token_endpoint()).header("authorization", &good);
    let json = json.json(&json!({ "grant_type": "client_credentials" })).send().await.unwrap();
    assert_eq!(refusal(json).await, (400, "invalid_request".into()));
    let twice = http().post(issuer.token_endpoint()).header("authorization", &good);
    let twice = twice
        .header("authorization", &good)
        .header("content-type", "application/x-www-form-urlencoded");
    let twice = twice.body("grant_type=client_credentials").send().await.unwrap();
    assert_eq!(refusal(twice).await, (400, "invalid_request".into()));
    assert_eq!(issuer.counters().granted(), 0);
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// An assertion of client `c`, good but for `changes`; `null` takes a claim away.
fn assertion(issuer: &TestIssuer, key: &TestKey, changes: Value) -> String {
    let now = tower_bearer::SystemClock.now().as_secs();
    let mut claims = json!({
        "iss": "c", "sub": "c", "aud": issuer.issuer(), "iat": now, "exp": now + 60,
        "jti": format!("assertion-{}", NUMBER.fetch_add(1, Ordering::Relaxed)),
    });
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    let header = json!({
        "alg": key.algorithm().name(), "kid": key.kid(), "typ": "client-authentication+jwt",
    });
    key.sign(header.to_string(), claims.to_string())
}

async fn ask_with(issuer: &TestIssuer, assertion: &str) -> reqwest::Response {
    let form = [GRANT, ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
    post(issuer, None, &encode(&form)).await
}

#[tokio::test]
async fn t11_clients_sign_assertions_with_every_algorithm() {
    let key = |of: &Algorithm| TestKey::generate(*of).with_kid(of.name());
    let keys: Vec<TestKey> = Algorithm::ALL.iter().map(key).collect();
    let jwks: Vec<Value> = keys.iter().map(TestKey::public_jwk).collect();
    let jwks = json!({ "keys": jwks });
    let builder = TestIssuer::builder().client(TestClient::jwks("c", jwks));
    let issuer = builder.start().await.unwrap();
    for key in &keys {
        let granted = ask_with(&issuer, &assertion(&issuer, key, json!({}))).await;
        assert_eq!(granted.status(), 200, "{}", key.algorithm());
    }
    // Without `kid`, whichever key fits.
    let now = tower_bearer::SystemClock.now().as_secs();
    let claims =
        json!({ "iss": "c", "sub": "c", "aud": issuer.issuer(), "exp": now + 60, "jti": "x" });
    let nameless = keys[6].sign(r#"{"alg":"ES256"}"#, claims.to_string());
    assert_eq!(ask_with(&issuer, &nameless).await.status(), 200);
}

#[tokio::test]
async fn t12_t13_assertions_are_checked() {
    let key = TestKey::generate(Algorithm::ES256);
    let other = TestKey::generate(Algorithm::ES256);
    let builder = TestIssuer::builder().client(TestClient::key("c", &key));
    let builder = builder.client(TestClient::secret("d", "s"));
    let issuer = builder.start().await.unwrap();
    let now = tower_bearer::SystemClock.now().as_secs();
    for good in [
        json!({}),
        json!({ "aud": issuer.token_endpoint() }),
        json!({ "aud": ["https://other.test", issuer.issuer()] }),
        json!({ "nbf": now - 10 }),
        json!({ "iat": null }),
    ] {
        let granted = ask_with(&issuer, &assertion(&issuer, &key, good.clone())).await;
        assert_eq!(granted.status(), 200, "{good}");
    }
    let refused = async |assertion: &str| {
        let response = ask_with(&issuer, assertion).await;
        assert_eq!(refusal(response).await, (401, "invalid_client".into()), "{assertion}");
    };
    for bad in [
        json!({ "iss": null }),
        json!({ "iss": "d" }),
        json!({ "sub": "d" }),
        json!({ "iss": "d", "sub": "d" }),
        json!({ "iss": "nobody", "sub": "nobody" }),
        json!({ "aud": null }),
        json!({ "aud": "https://other.test" }),
        json!({ "aud": [] }),
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "exp": now }),
        json!({ "nbf": now + 60 }),
        json!({ "nbf": "now" }),
        json!({ "jti": null }),
        json!({ "jti": 7 }),
    ] {
        refused(&assertion(&issuer, &key, bad)).await;
    }
    // Signed by another, under the same name; tampered with; not a JWT at all.
    refused(&assertion(&issuer, &other, json!({}))).await;
    let good = assertion(&issuer, &key, json!({}));
    let (head, tail) = good.split_at(good.len() - 4);
    refused(&format!("{head}{}", tail.chars().rev().collect::<String>())).await;
    refused("a.b").await;
    refused("abc").await;
    refused(&key.sign(r#"{"alg":"none"}"#, "{}")).await;
    // T15: used once.
    assert_eq!(ask_with(&issuer, &good).await.status(), 200);
    refused(&good).await;

    let form = |kind, id| {
        encode(&[
            GRANT,
            ("client_assertion_type", kind),
            ("client_id", id),
            ("client_assertion", &assertion(&issuer, &key, json!({}))),
        ])
    };
    assert_eq!(post(&issuer, None, &form(ASSERTION_TYPE, "c")).await.status(), 200);
    for form in [form(ASSERTION_TYPE, "d"), form("urn:x", "c")] {
        let response = post(&issuer, None, &form).await;
        assert_eq!(refusal(response).await, (401, "invalid_client".into()));
    }
    let header = basic("d", "s");
    let both = post(&issuer, Some(&header), &form(ASSERTION_TYPE, "c")).await;
    assert_eq!(refusal(both).await, (400, "invalid_request".into()));
}

#[tokio::test]
async fn the_clock_and_the_lifetime_are_settable() {
    let clock = ManualClock::new(UnixTime::from_secs(1_000_000));
    let builder = TestIssuer::builder().clock(clock.clone());
    let builder = builder.token_lifetime(std::time::Duration::from_secs(5));
    let issuer = builder.audience("https://x.test").typ("JWT").start().await.unwrap();
    clock.advance(std::time::Duration::from_secs(7));
    let answer: Value = ask(&issuer, &[GRANT]).await.json().await.unwrap();
    assert_eq!(answer["expires_in"], 5);
    let (header, claims) = read(answer["access_token"].as_str().unwrap());
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_000_007), &json!(1_000_012)));
    assert_eq!((&claims["aud"], &header["typ"]), (&json!("https://x.test"), &json!("JWT")));
}
