//! Each way of authentication, against a server that checks it.

use http::header::AUTHORIZATION;
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, AssertionAudience, BasicEncoding, ClientAuth, DiscoveryFault,
    ErrorCode, Grant, TokenErrorKind,
};
use tower_bearer::testing::{AuthMethod, Endpoint, TestClient, TestIssuer};
use tower_bearer::{Secret, Validator};

use crate::support::*;

/// Characters that some server stumbles over.
const AWKWARD: &str = "p%:+/ &=s~^|\"\\";

async fn get(grant: Grant) -> Result<String, TokenErrorKind> {
    let source = tower_bearer::client::TokenSource::new(grant).unwrap();
    let token = source.token().await;
    token.map(|it| it.expose_secret().to_owned()).map_err(|error| error.kind().clone())
}

// T1, T2, T7, T10: identifier and secret arrive as they are.
#[tokio::test]
async fn t7_t10_awkward_secrets_arrive() {
    let issuer = TestIssuer::builder()
        .client(TestClient::secret(AWKWARD, AWKWARD).scopes(["a", "b"]))
        .start()
        .await
        .unwrap();
    let grant = |auth| {
        Grant::endpoint(&issuer.token_endpoint(), auth).allow_loopback_http().scope("b a").build()
    };
    for auth in [
        ClientAuth::basic(AWKWARD, AWKWARD),
        ClientAuth::basic_encoded(AWKWARD, AWKWARD, BasicEncoding::Percent),
        ClientAuth::body(AWKWARD, AWKWARD),
    ] {
        let token = get(grant(auth).unwrap()).await.unwrap();
        let validator = Validator::builder(issuer.issuer(), issuer.audience()).build().unwrap();
        validator.ready(10 * SECOND).await.unwrap();
        let token = validator.validate(&token).await.unwrap();
        assert_eq!(token.client_id(), Some(AWKWARD));
        assert!(token.has_scope("a") && token.has_scope("b"));
    }
    let wrong = grant(ClientAuth::basic(AWKWARD, "another")).unwrap();
    assert_eq!(get(wrong).await, Err(TokenErrorKind::Refused(ErrorCode::InvalidClient)));
}

// T9: this server decodes, so that raw credentials aren't what it expects.
#[tokio::test]
async fn t9_raw_is_what_it_says() {
    let issuer = TestIssuer::builder()
        .client(TestClient::secret("me", "100%25").auth([AuthMethod::ClientSecretBasic]))
        .start()
        .await
        .unwrap();
    let get = async |secret: &str, encoding| {
        let auth = ClientAuth::basic_encoded("me", secret, encoding);
        let grant = Grant::endpoint(&issuer.token_endpoint(), auth).allow_loopback_http();
        get(grant.build().unwrap()).await.is_ok()
    };
    assert!(get("100%25", BasicEncoding::Form).await);
    assert!(!get("100%25", BasicEncoding::Raw).await);
    assert!(get("100%2525", BasicEncoding::Raw).await);
}

// T11, T13, T16: assertions, as a server checks them.
#[tokio::test]
async fn t11_t13_t16_private_key_jwt_with_every_kind_of_key() {
    let keys = [
        ("rsa2048", vec![AssertionAlgorithm::RS256, AssertionAlgorithm::PS512]),
        ("p256", vec![AssertionAlgorithm::ES256]),
        ("p384", vec![AssertionAlgorithm::ES384]),
        ("p521", vec![AssertionAlgorithm::ES512]),
        ("ed25519", vec![AssertionAlgorithm::EdDSA, AssertionAlgorithm::Ed25519]),
    ];
    let read = |path: String| std::fs::read(path).unwrap();
    let mut issuer = TestIssuer::builder();
    for (name, _) in &keys {
        let jwk = read(format!("fixtures/keys/{name}.jwk.json"));
        let jwk: serde_json::Value = serde_json::from_slice(&jwk).unwrap();
        issuer = issuer.client(TestClient::jwks(name, serde_json::json!({ "keys": [jwk] })));
    }
    let issuer = issuer.start().await.unwrap();
    for (name, algorithms) in keys {
        for algorithm in algorithms {
            let assertion = || {
                let pem = Secret::new(read(format!("fixtures/keys/{name}.pem")));
                Assertion::new(algorithm, pem).key_id(name)
            };
            let discovered =
                Grant::discover(issuer.issuer(), ClientAuth::private_key_jwt(name, assertion()));
            let audience = assertion().audience(AssertionAudience::TokenEndpoint).plain_typ();
            let auth = ClientAuth::private_key_jwt(name, audience);
            let named = Grant::endpoint(&issuer.token_endpoint(), auth);
            let named = named.allow_loopback_http().build().unwrap();
            assert!(get(named).await.is_ok(), "{algorithm}");
            let discovered = get(discovered.allow_loopback_http().build().unwrap()).await;
            if algorithm == AssertionAlgorithm::Ed25519 {
                // L4: it takes that name, and doesn't say so in its metadata.
                let fault = TokenErrorKind::Discovery(DiscoveryFault::AuthMethod);
                assert_eq!(discovered, Err(fault));
            } else {
                assert!(discovered.is_ok(), "{algorithm}");
            }
        }
    }
    // Another's key, and an audience that isn't this server.
    let other = Secret::new(read("fixtures/keys/p256b.pem".into()));
    let forged = Assertion::new(AssertionAlgorithm::ES256, other).key_id("p256");
    let ours = Secret::new(read("fixtures/keys/p256.pem".into()));
    let stray = Assertion::new(AssertionAlgorithm::ES256, ours).key_id("p256");
    let stray = stray.audience(AssertionAudience::Other("https://evil.example".into()));
    for assertion in [forged, stray] {
        let auth = ClientAuth::private_key_jwt("p256", assertion);
        let grant = Grant::discover(issuer.issuer(), auth).allow_loopback_http().build().unwrap();
        assert_eq!(get(grant).await, Err(TokenErrorKind::Refused(ErrorCode::InvalidClient)));
    }
}

// T13: without discovery, the issuer must be named.
#[test]
fn t13_an_assertion_needs_an_issuer() {
    let key = include_str!("../../fixtures/keys/p256.pem");
    let assertion = || Assertion::new(AssertionAlgorithm::ES256, key).key_id("k");
    let grant = |assertion| {
        Grant::endpoint("https://as.test/token", ClientAuth::private_key_jwt("me", assertion))
    };
    let error = grant(assertion()).build().unwrap_err();
    assert!(error.to_string().contains(".issuer("), "{error}");
    assert!(grant(assertion()).issuer("https://as.test").build().is_ok());
    assert!(grant(assertion().audience(AssertionAudience::TokenEndpoint)).build().is_ok());
}

// T6, T18
#[tokio::test(start_paused = true)]
async fn t18_tls_authentication_sends_no_secret() {
    let transport = counting(600);
    let grant = Grant::endpoint("https://as.test/token", ClientAuth::tls("me")).build().unwrap();
    client(&transport).token(&grant).await.unwrap();
    let requests = transport.requests();
    assert!(!requests[0].headers().contains_key(AUTHORIZATION));
    assert_eq!(requests[0].body(), "grant_type=client_credentials&client_id=me");
}

// T19
#[tokio::test]
async fn t19_resources_and_audience_are_granted() {
    let issuer = TestIssuer::start().await.unwrap();
    let audience = async |builder: tower_bearer::client::GrantBuilder| {
        let token = get(builder.build().unwrap()).await.unwrap();
        let claims = token.split('.').nth(1).unwrap();
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        claims["aud"].clone()
    };
    let (a, b) = ("https://a.example/?x=y", "urn:b");
    assert_eq!(audience(grant_of(&issuer).resource(a)).await, a);
    assert_eq!(audience(grant_of(&issuer).audience(b)).await, b);
    let both = grant_of(&issuer).resource(b).resource(a);
    assert_eq!(audience(both).await, serde_json::json!([a, b]));
}

#[tokio::test]
async fn the_environment_is_enough() {
    let issuer = TestIssuer::start().await.unwrap();
    let vars = |name: &str| {
        Some(match name {
            "OAUTH_CLIENT_ID" => TestIssuer::CLIENT_ID.to_owned(),
            "OAUTH_CLIENT_SECRET" => TestIssuer::CLIENT_SECRET.to_owned(),
            "OAUTH_TOKEN_ENDPOINT" => issuer.token_endpoint(),
            "OAUTH_SCOPE" => "a b".to_owned(),
            _ => return None,
        })
    };
    let source = Grant::from_vars(vars).unwrap().allow_loopback_http().source().unwrap();
    let token = source.token().await.unwrap();
    assert_eq!(token.granted_scopes().unwrap().to_string(), "a b");
    let request = issuer.last_request(Endpoint::Token).unwrap();
    assert!(request.headers()[AUTHORIZATION].to_str().unwrap().starts_with("Basic "));
}

/// Runs [`reads_its_environment`] in a process with these variables only, and tells whether it
/// passed.
async fn process_with(vars: Vec<(&'static str, String)>) -> bool {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "authentication::reads_its_environment"]);
    command.env_clear().envs(vars).output().await.unwrap().status.success()
}

#[tokio::test]
async fn a_process_takes_its_client_from_the_environment() {
    let issuer = TestIssuer::start().await.unwrap();
    let vars = [
        ("OAUTH_CLIENT_ID", TestIssuer::CLIENT_ID.to_owned()),
        ("OAUTH_CLIENT_SECRET", TestIssuer::CLIENT_SECRET.to_owned()),
        ("OAUTH_TOKEN_ENDPOINT", issuer.token_endpoint()),
        ("OAUTH_SCOPE", "a b".to_owned()),
    ];
    assert!(process_with(vars.to_vec()).await);
    assert_eq!(issuer.counters().granted(), 1);
    for missing in 0..4 {
        let mut fewer = vars.to_vec();
        fewer.remove(missing);
        assert!(!process_with(fewer).await, "{}", vars[missing].0);
    }
    let last = issuer.last_request(Endpoint::Token).unwrap();
    assert!(!form(&last).contains_key("scope"), "the last one can be left out");
    assert_eq!(issuer.counters().granted(), 2);
}

#[tokio::test]
#[ignore = "it is a process of another test"]
async fn reads_its_environment() {
    use tower_bearer::client::TokenSource;
    let grant = Grant::from_env().unwrap().allow_loopback_http();
    let token = grant.source().unwrap().token().await.unwrap();
    // Plain http is allowed to those that say so.
    assert!(TokenSource::from_env().unwrap_err().to_string().contains("allow_loopback_http"));
    assert_eq!(token.granted_scopes().unwrap().to_string(), "a b");
}
