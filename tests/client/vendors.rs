//! What servers in wide use answer, and how it comes through.

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_bearer::client::{
    AnswerFault, AttachTokenLayer, ClientAuth, Grant, GrantBuilder, ReplayBody, TokenClient,
    TokenErrorKind,
};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};
use tower_bearer::{Secret, client::TokenSource};

use crate::support::*;

const SALESFORCE: &str = r#"{"access_token":"00D50000000IZ3Z!AQ0AQDpEDKYsn7ioKug2aSmgCjgrPjG9",
    "signature":"s=","scope":"api","instance_url":"https://x.my.salesforce.example",
    "id":"https://login.salesforce.example/id/00D/005","token_type":"Bearer",
    "issued_at":"1278448384422"}"#;
const AMAZON: &str = r#"{"access_token":"Atc|MQEWYJxEnP3I1ND03ZzbY_NxQkA7Kn7","scope":"x",
    "token_type":"bearer","expires_in":3600}"#;
const EBAY: &str = r#"{"access_token":"v^1.1#i^1#p^1#r^0#I^3#f^0#t^H4sIAAAA","expires_in":7200,
    "token_type":"Application Access Token"}"#;
const APIGEE: &str = r#"{"access_token":"\"quoted\\","expires_in":"1799",
    "token_type":"BearerToken"}"#;
const SHOPIFY: &str = r#"{"access_token":"f85632530bf277ec9ac6f649fc327f17",
    "scope":"write_orders,read_customers","expires_in":86399}"#;
const EMPTY_ERROR: &str =
    r#"{"access_token":"abc","token_type":"Bearer","expires_in":7199,"error":""}"#;

fn answering(status: u16, body: &'static str) -> ScriptedTransport {
    ScriptedTransport::from_fn(move |_| {
        let mut response = http::Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        ScriptedAnswer::new(response)
    })
}

/// Returns the field that a request gets.
async fn attached(tokens: TokenSource) -> String {
    let layer = AttachTokenLayer::new(tokens, ["https://orders.test"]).unwrap();
    let service =
        layer.layer(service_fn(|request: Request<ReplayBody<Empty<Bytes>>>| async move {
            let field = request.headers()["authorization"].to_str().unwrap().to_owned();
            Ok::<_, std::io::Error>(http::Response::new(field))
        }));
    let request = Request::get("https://orders.test/").body(Empty::new()).unwrap();
    service.oneshot(request).await.unwrap().into_body()
}

// FC3: from the answer through the shared cache into the request.
#[tokio::test(start_paused = true)]
async fn fc3_tokens_of_vendors_come_through_whole() {
    let same: fn(GrantBuilder) -> GrantBuilder = |grant| grant;
    let ebay: fn(GrantBuilder) -> GrantBuilder =
        |grant| grant.accept_token_type("application access token");
    let apigee: fn(GrantBuilder) -> GrantBuilder = |grant| grant.accept_token_type("BearerToken");
    for (body, set) in [(SALESFORCE, same), (AMAZON, same), (EBAY, ebay), (APIGEE, apigee)] {
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        let expected = format!("Bearer {}", json["access_token"].as_str().unwrap());
        let (transport, store) = (answering(200, body), MemoryStore::default());
        // The second process has it from the first.
        for _ in 0..2 {
            let client = TokenClient::builder()
                .transport(transport.clone())
                .shared(store.clone(), Secret::new("0123456789abcdef0123456789abcdef"))
                .build()
                .unwrap();
            let source = client.source(&set(scripted_grant()).build().unwrap());
            assert_eq!(attached(source).await, expected);
            tokio::time::sleep(SECOND).await;
        }
        assert_eq!(transport.request_count(), 1, "{body}");
    }
    // A type that isn't named is refused.
    for body in [EBAY, APIGEE] {
        let error = client(&answering(200, body)).token(&scripted_grant().build().unwrap()).await;
        let error = error.unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Answer(AnswerFault::TokenType));
        assert!(error.to_string().contains("accept_token_type"), "{error}");
    }
}

// FC12, FC15
#[tokio::test(start_paused = true)]
async fn fc12_fc15_answers_beside_the_letter_are_taken_when_it_is_said() {
    let plain = || scripted_grant();
    let granted = r#"{"access_token":"abc","token_type":"Bearer","expires_in":3600}"#;
    for (status, body, lenient, setting) in [
        (201, granted, plain().accept_created(), "accept_created"),
        (200, SHOPIFY, plain().accept_missing_token_type(), "accept_missing_token_type"),
    ] {
        let transport = answering(status, body);
        client(&transport).token(&lenient.build().unwrap()).await.unwrap();
        let error = client(&transport).token(&plain().build().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains(setting), "{error}");
    }
    let scoped = || {
        let grant = Grant::endpoint("https://as.test/token", ClientAuth::basic("me", "s3cret"));
        grant.accept_missing_token_type().scope("read_customers").require_all_scopes()
    };
    let transport = answering(200, SHOPIFY);
    let error = client(&transport).token(&scoped().build().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("comma_separated_scopes"), "{error}");
    let commas = scoped().comma_separated_scopes().build().unwrap();
    let token = client(&transport).token(&commas).await.unwrap();
    assert!(token.granted_scopes().unwrap().contains("write_orders"));

    let token = client(&answering(200, EMPTY_ERROR)).token(&plain().build().unwrap()).await;
    assert_eq!(token.unwrap().expose_secret(), "abc");
}

// FC13: from a value and from a provider.
#[tokio::test(start_paused = true)]
async fn fc13_a_final_line_end_is_not_sent_and_what_cannot_be_is_refused() {
    let transport = ScriptedTransport::from_fn(|request| {
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        match body.ends_with("client_secret=s3cret") {
            true => granted("t1", 600),
            false => refused(401, "invalid_client"),
        }
    });
    let endpoint = "https://as.test/token";
    for secret in ["s3cret", "s3cret\n", "s3cret\r\n", "\u{feff}s3cret\n"] {
        let grant = Grant::endpoint(endpoint, ClientAuth::body("me", secret)).build().unwrap();
        assert_eq!(client(&transport).token(&grant).await.unwrap().expose_secret(), "t1");
    }
    for secret in ["s3cret\n\n", "s3cret\0", "s3crét"] {
        let error = Grant::endpoint(endpoint, ClientAuth::body("me", secret)).build().unwrap_err();
        assert!(error.to_string().contains("A.2"), "{error}");
    }
}
