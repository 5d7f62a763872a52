//! What is said when there is no token: why, for whom and from where, and nothing secret.

use std::error::Error;
use std::net::TcpListener;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::client::{
    Assertion, AssertionAlgorithm, AttachTokenLayer, ClientAuth, FileSecret, Grant, ReplayBody,
    SecretError, SecretErrorKind, SecretFuture, SecretProvider, SendError, TokenClient, TokenError,
    TokenErrorKind,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

use crate::support::*;

/// All that is printed of an error: itself, and the chain of its causes.
fn printed(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(" {inner} {inner:?}"));
        cause = inner.source();
    }
    text
}

/// Asks a server that refuses with these words.
async fn refused_with(words: &str, grant: &Grant) -> TokenError {
    let body = serde_json::json!({ "error": "invalid_client", "error_description": words });
    let answer = ScriptedAnswer::json(body.to_string());
    let transport = ScriptedTransport::new();
    transport.push(answer);
    client(&transport).token(grant).await.unwrap_err()
}

// FC4: the secret, a parameter's value and a key in the address are secrets all alike.
#[tokio::test(start_paused = true)]
async fn fc4_whatever_was_sent_and_is_secret_is_not_quoted() {
    let secrets = ["Xk8~Q.canary-value_0123", "param-7Fjfp0ZBr1KtDRbn", "key-wJalrXUtnFEMI"];
    let endpoint = format!("https://as.test/token?code={}", secrets[2]);
    for auth in [ClientAuth::basic("me", secrets[0]), ClientAuth::body("me", secrets[0])] {
        let grant = Grant::endpoint(&endpoint, auth).parameter("assertion_key", secrets[1]);
        let grant = grant.build().unwrap();
        for secret in secrets {
            let hex = |write: fn(u8) -> String| secret.bytes().map(write).collect::<String>();
            for words in [
                secret.to_owned(),
                secret.to_uppercase(),
                secret[1..].to_owned(),
                hex(|byte| format!("%{byte:02x}")),
                hex(|byte| format!("&#x{byte:x};")),
                hex(|byte| format!("{byte:02x}")),
                hex(|byte| format!("{} ", char::from(byte))),
                BASE64_STANDARD.encode(format!("me:{secret}")),
                BASE64_URL_SAFE_NO_PAD.encode(secret),
                secret.chars().rev().collect(),
            ] {
                let error = refused_with(&format!("bad client ({words})"), &grant).await;
                assert_eq!(error.description(), None, "{words}");
                let printed = printed(&error);
                assert!(printed.contains("invalid_client"), "{printed}");
                assert!(!printed.contains(&words) && !printed.contains(secret), "{printed}");
            }
        }
        // The good case.
        let error = refused_with("Invalid client or Invalid client credentials", &grant).await;
        assert_eq!(error.description(), Some("Invalid client or Invalid client credentials"));
    }
}

// FC4
#[tokio::test(start_paused = true)]
async fn fc4_an_assertion_is_not_quoted() {
    let assertion = Assertion::new(AssertionAlgorithm::HS256, "0123456789-canary-0123456789-abc");
    let auth = ClientAuth::client_secret_jwt("me", assertion);
    let grant = Grant::endpoint("https://as.test/token", auth).issuer("https://as.test");
    let grant = grant.build().unwrap();
    let transport = ScriptedTransport::from_fn(|request| {
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let jwt = body.split("client_assertion=").nth(1).unwrap().to_owned();
        let signature = jwt.rsplit('.').next().unwrap();
        let words = format!("can't verify {signature}");
        let body = serde_json::json!({ "error": "invalid_client", "error_description": words });
        ScriptedAnswer::json(body.to_string())
    });
    let error = client(&transport).token(&grant).await.unwrap_err();
    assert_eq!(error.description(), None);
    assert!(!printed(&error).contains("verify"));
    let error = refused_with("the assertion's audience is wrong", &grant).await;
    assert_eq!(error.description(), Some("the assertion's audience is wrong"));
}

// FC8
#[tokio::test(start_paused = true)]
async fn fc8_an_error_names_client_tenant_issuer_and_endpoint() {
    let endpoint = "https://as.test/token?tenant=canary";
    let grant = Grant::endpoint(endpoint, ClientAuth::basic("billing", "s3cret"))
        .issuer("https://as.test/acme")
        .tenant("acme")
        .build()
        .unwrap();
    let error = refused_with("unknown", &grant).await;
    assert_eq!(error.client_id(), Some("billing"));
    assert_eq!(error.tenant(), Some("acme"));
    assert_eq!(error.issuer(), Some("https://as.test/acme"));
    assert_eq!(error.token_endpoint(), Some("https://as.test/token?…"));
    let sentence = "no access token for client \"billing\" of tenant \"acme\" from \
                    https://as.test/token?…: the server refused: invalid_client (unknown)";
    assert_eq!(error.to_string(), sentence);
    // What `main` prints is the sentence as well.
    let returned: Box<dyn Error> = error.into();
    assert_eq!(format!("{returned:?}"), sentence);

    // One that is discovered isn't known before.
    let transport = ScriptedTransport::new();
    let auth = ClientAuth::basic("billing", "s3cret");
    let grant = Grant::discover("https://as.test/acme", auth).build().unwrap();
    transport.push(ScriptedAnswer::json(
        r#"{"issuer":"https://as.test/acme","token_endpoint":"https://login.test/t"}"#,
    ));
    transport.push(refused(400, "invalid_scope"));
    let error = client(&transport).token(&grant).await.unwrap_err();
    assert_eq!(error.issuer(), Some("https://as.test/acme"));
    assert_eq!(error.token_endpoint(), Some("https://login.test/t"));
}

/// Returns the error of a grant whose key is what the file has.
async fn with_key_file(key: &str) -> String {
    let name = format!("{}-fc8.pem", std::process::id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, key).unwrap();
    let assertion = Assertion::new(AssertionAlgorithm::ES256, FileSecret::new(&path)).key_id("k");
    let auth = ClientAuth::private_key_jwt("me", assertion);
    let grant = Grant::endpoint("https://as.test/token", auth).issuer("https://as.test");
    let transport = counting(600);
    let error = client(&transport).token(&grant.build().unwrap()).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Credentials(SecretErrorKind::Malformed));
    assert_eq!(transport.request_count(), 0);
    std::fs::remove_file(path).unwrap();
    // `Display` is free of the cause.
    assert!(!error.to_string().contains("key"), "{error}");
    format!("{error:?}")
}

// FC8
#[tokio::test]
async fn fc8_a_bad_key_from_a_file_says_why() {
    let p384 = include_str!("../../fixtures/keys/p384.pem");
    let public = include_str!("../../fixtures/keys/p256.pub.pem");
    for (key, why) in [
        (p384, "P-384, a key for another algorithm: ES256 needs P-256"),
        (public, "it is a public key"),
        (include_str!("keys/encrypted.pem"), "it is encrypted"),
        (include_str!("../../fixtures/keys/rsa2048.pem"), "it is an RSA key"),
        ("canary", "neither a PEM block nor the JSON of a JWK"),
        ("\n", "it is empty"),
    ] {
        let error = with_key_file(key).await;
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

struct Vault;

impl SecretProvider for Vault {
    fn secret(&self) -> SecretFuture<'_> {
        Box::pin(async {
            Err(SecretError::new(SecretErrorKind::Other).with_source("the lease has expired"))
        })
    }
}

// FC8
#[tokio::test(start_paused = true)]
async fn fc8_what_a_provider_says_is_handed_on() {
    let grant = Grant::endpoint("https://as.test/token", ClientAuth::basic("me", Vault));
    let error = client(&counting(600)).token(&grant.build().unwrap()).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "the lease has expired");
    assert!(format!("{error:?}").ends_with(": the lease has expired"), "{error:?}");
    assert!(!error.to_string().contains("lease"), "{error}");
}

// FC8: neither a password of the address nor its path is in it.
#[tokio::test(start_paused = true)]
async fn fc8_a_refused_origin_is_named_and_so_are_the_allowed() {
    let origins = ["https://orders.test", "https://stock.test:8443"];
    let layer = AttachTokenLayer::new(source(&counting(600)), origins).unwrap();
    let service = layer.layer(service_fn(|_: Request<ReplayBody<Empty<Bytes>>>| async {
        Ok::<_, std::io::Error>(http::Response::new(()))
    }));
    let ask = |uri: &str| Request::get(uri).body(Empty::new()).unwrap();
    let uri = "https://canary:canary@Evil.test:444/canary?canary";
    let error = service.clone().oneshot(ask(uri)).await.unwrap_err();
    let sentence = "no token may be sent to https://evil.test:444, only to \
                    https://orders.test:443, https://stock.test:8443";
    assert_eq!(error.to_string(), sentence);
    assert_eq!(format!("{error:?}"), sentence);
    let SendError::Origin(refused) = error else { panic!("{error}") };
    assert_eq!(refused.origin(), Some("https://evil.test:444"));
    let error = service.oneshot(ask("/canary")).await.unwrap_err();
    assert!(error.to_string().contains("without an https or http host"), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
}

// FC11
#[tokio::test(start_paused = true)]
async fn fc11_plain_http_within_a_mesh_has_to_be_allowed() {
    let (mesh, tokens) = ("http://orders.mesh:8080", || source(&counting(600)));
    let error = AttachTokenLayer::new(tokens(), [mesh]).unwrap_err().to_string();
    assert!(error.contains("dangerous_allow_http"), "{error}");
    assert!(AttachTokenLayer::for_channel(tokens(), mesh).is_err());
    AttachTokenLayer::dangerous_allow_http_for_channel(tokens(), mesh).unwrap();
    let layer = AttachTokenLayer::dangerous_allow_http(tokens(), [mesh]).unwrap();
    let service =
        layer.layer(service_fn(|request: Request<ReplayBody<Empty<Bytes>>>| async move {
            let attached = request.headers().contains_key("authorization");
            Ok::<_, std::io::Error>(http::Response::new(attached))
        }));
    let ask = |uri: &str| Request::get(uri).body(Empty::new()).unwrap();
    let allowed = service.clone().oneshot(ask("http://orders.mesh:8080/x")).await.unwrap();
    assert!(allowed.into_body());
    for other in ["http://orders.mesh/x", "http://evil.mesh:8080/x", "https://orders.mesh:8080/"] {
        let refused = service.clone().oneshot(ask(other)).await;
        assert!(matches!(refused, Err(SendError::Origin(_))), "{other}");
    }
    // The token endpoint of an http issuer may be http; that of an https issuer may not.
    for (issuer, works) in [("http://as.mesh", true), ("https://as.mesh", false)] {
        let auth = ClientAuth::basic("me", "s3cret");
        let grant = Grant::discover(issuer, auth).dangerous_allow_http().build().unwrap();
        let transport = ScriptedTransport::from_fn(move |request| {
            if request.uri().path().contains("well-known") {
                let body =
                    format!(r#"{{"issuer":"{issuer}","token_endpoint":"http://as.mesh/t"}}"#);
                return ScriptedAnswer::json(body);
            }
            granted("t1", 600)
        });
        assert_eq!(client(&transport).token(&grant).await.is_ok(), works, "{issuer}");
    }
}

// FC14: as in `layer.send(reqwest.get("https://[2001:0db8::1]:8443/x"))`, where the client spells it
// in its own way.
#[tokio::test]
async fn fc14_an_ipv6_origin_in_any_spelling_is_found_through_reqwest() {
    let tokens = source(&counting(600));
    let port = TcpListener::bind("[::1]:0").map(|it| it.local_addr().unwrap().port());
    let port = port.unwrap_or(9);
    let origin = format!("http://[0:0:0:0:0:0:0:1]:{port}");
    let layer = AttachTokenLayer::new(tokens, [&origin]).unwrap();
    let http = reqwest::Client::new();
    // Nothing listens there: that it was tried is enough.
    let tried = layer.send(http.get(format!("{origin}/x"))).await.unwrap_err();
    assert!(matches!(tried, SendError::Service(_)), "{tried}");
    let other = layer.send(http.get(format!("http://[::2]:{port}/x"))).await.unwrap_err();
    assert!(matches!(other, SendError::Origin(_)), "{other}");
}

// FC8: what the docs of `SendError` say.
#[tokio::test]
async fn fc8_tonic_sees_unavailable_or_deadline_exceeded() {
    use tonic::client::Grpc;
    use tonic::{Code, Status, body::Body, transport::Channel};
    let nothing = ScriptedTransport::from_fn(|_| refused(503, "temporarily_unavailable"));
    let silent = ScriptedTransport::from_fn(|_| ScriptedAnswer::never());
    for (transport, code) in [(nothing, Code::Unavailable), (silent, Code::DeadlineExceeded)] {
        let tokens =
            TokenClient::builder().transport(transport).timeout(10 * SECOND).build().unwrap();
        let tokens = tokens.source(&scripted_grant().build().unwrap());
        let channel = Channel::from_static("http://[::1]:9").connect_lazy();
        let layer = AttachTokenLayer::for_channel(tokens, "http://[::1]:9").unwrap();
        let channel = tower::ServiceBuilder::new()
            .map_err(|error: SendError| match error {
                SendError::Service(error) => Status::from_error(error),
                SendError::Token(error) if *error.kind() == TokenErrorKind::Deadline => {
                    Status::deadline_exceeded(error.to_string())
                }
                ours => Status::unavailable(ours.to_string()),
            })
            .layer(layer)
            .map_request(|request: Request<ReplayBody<Body>>| request.map(Body::new))
            .service(channel);
        let mut client = Grpc::new(channel);
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let path = http::uri::PathAndQuery::from_static("/orders.Orders/Get");
        let mut request = tonic::Request::new(());
        if code == Code::DeadlineExceeded {
            request.set_timeout(SECOND / 10);
        }
        let status = client.unary(request, path, codec).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains("no access token"), "{status:?}");
    }
}
