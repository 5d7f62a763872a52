//! The embedded issuer, over real HTTP, its tokens checked by another JWT implementation.
#![cfg(feature = "test-util")]

mod discovery;
mod faults;
mod in_process;
mod keys;
mod lifetime;
#[cfg(feature = "introspection")]
mod realms;
mod token_endpoint;
mod tokens;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::Value;
use tower_bearer::testing::TestIssuer;

/// A client that follows nothing and asks no proxy.
fn http() -> reqwest::Client {
    let none = reqwest::redirect::Policy::none();
    reqwest::Client::builder().redirect(none).no_proxy().tls_certs_only([]).build().unwrap()
}

async fn get(url: &str) -> reqwest::Response {
    http().get(url).send().await.unwrap()
}

async fn get_json(url: &str) -> Value {
    let response = get(url).await;
    assert_eq!(response.status(), 200, "{url}");
    assert_eq!(response.headers()["content-type"], "application/json");
    response.json().await.unwrap()
}

async fn kids(issuer: &TestIssuer) -> Vec<String> {
    let set = get_json(&issuer.jwks_uri()).await;
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|jwk| jwk["kid"].as_str().unwrap().to_owned()).collect()
}

/// Reads a token's header and claims, without checking anything.
fn read(token: &str) -> (Value, Value) {
    let segments: Vec<&str> = token.split('.').collect();
    assert_eq!(segments.len(), 3, "{token}");
    let decode = |segment: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(segment).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    (decode(segments[0]), decode(segments[1]))
}

/// Checks a token's signature, times, issuer and audience against the key set that is served.
async fn verify(issuer: &TestIssuer, token: &str) -> Result<Value, String> {
    let (header, _) = read(token);
    let set = get_json(&issuer.jwks_uri()).await;
    let keys = set["keys"].as_array().unwrap();
    let jwk = keys.iter().find(|jwk| jwk["kid"] == header["kid"]).ok_or("no such kid")?;
    verify_with(issuer, token, jwk)
}

/// Says which of its backends `jsonwebtoken` is to use: left to itself, it panics.
fn choose_backend() {
    let _ = jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER.install_default();
}

fn verify_with(issuer: &TestIssuer, token: &str, jwk: &Value) -> Result<Value, String> {
    choose_backend();
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk.clone()).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let algorithm = jwk.common.key_algorithm.unwrap().to_string().parse().unwrap();
    let mut rules = jsonwebtoken::Validation::new(algorithm);
    rules.set_issuer(&[issuer.issuer()]);
    rules.set_audience(&[issuer.audience()]);
    rules.leeway = 0;
    rules.validate_nbf = true;
    let data = jsonwebtoken::decode::<Value>(token, &key, &rules);
    data.map(|data| data.claims).map_err(|error| error.to_string())
}

/// Asks the token endpoint as the client that is registered where no other is.
async fn ask(issuer: &TestIssuer, form: &[(&str, &str)]) -> reqwest::Response {
    http()
        .post(issuer.token_endpoint())
        .basic_auth(TestIssuer::CLIENT_ID, Some(TestIssuer::CLIENT_SECRET))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(encode(form))
        .send()
        .await
        .unwrap()
}

fn encode(form: &[(&str, &str)]) -> String {
    let escape =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    let pairs: Vec<String> =
        form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    pairs.join("&")
}
