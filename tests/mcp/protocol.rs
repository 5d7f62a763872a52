//! What the protocol says of authorization beside scopes.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_bearer::mcp::OperationTable;
use tower_bearer::middleware::Conditions;
use tower_bearer::{Access, AccessToken};

use crate::stub::{App, Server, app, call, guard, message, post, within};
use crate::world::{Answer, Issuer, bearer, now, send};

const ID: &str = "5f0c";

fn without_token(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = post("x", Full::new(body.into()));
    request.headers_mut().remove("authorization");
    request
}

async fn with(app: &App, token: &str, session: &str) -> Answer {
    let mut request = post(token, Full::<Bytes>::from(call("add")));
    request.headers_mut().insert("mcp-session-id", session.parse().unwrap());
    send(app, request).await
}

// Only the `Authorization` field holds a token, and a session stands for none.
#[tokio::test]
async fn mc9_a_token_elsewhere_is_none_and_every_request_of_a_session_needs_one() {
    let issuer = Issuer::new();
    let server = Server::that_answers(|_| {
        let response = http::Response::builder().header("mcp-session-id", ID);
        response.body(Full::from("{}")).unwrap()
    });
    let app = app(&issuer, guard(), &server);
    let token = issuer.token("mcp:use");
    let begun = send(&app, post(&token, Full::<Bytes>::from(message("initialize", "{}")))).await;
    let session = begun.header("mcp-session-id").unwrap().to_owned();
    server.take();

    let in_query = format!("/mcp?access_token={token}");
    let in_cookie = format!("access_token={token}; token={token}");
    for (uri, field, value) in [
        (&*in_query, "accept", "*/*"),
        ("/mcp", "cookie", &*in_cookie),
        ("/mcp", "mcp-session-id", &token),
        ("/mcp", "mcp-session-id", &session),
        ("/mcp", "x-access-token", &token),
        ("/mcp", "proxy-authorization", &bearer(&token)),
    ] {
        let mut request = without_token(call("add"));
        *request.uri_mut() = uri.parse().unwrap();
        request.headers_mut().insert(field, value.parse().unwrap());
        let answer = send(&app, request).await;
        assert_eq!(
            (answer.status(), answer.challenge()),
            (401, r#"Bearer realm="api""#),
            "{field}"
        );
    }
    let expired = issuer.token_with(json!({ "scope": "mcp:use", "exp": now() - 3_600 }));
    assert_eq!(with(&app, &expired, &session).await.status(), 401);
    assert_eq!(with(&app, "forged", &session).await.status(), 401);
    assert_eq!(with(&app, &issuer.token(""), &session).await.status(), 403);
    assert_eq!(server.count(), 0);
    assert_eq!(with(&app, &token, &session).await.status(), 200);
}

// What tools have of the caller's token can't be sent on, and the field needn't reach them.
#[tokio::test]
async fn mc10_the_callers_token_need_not_reach_the_server() {
    let issuer = Issuer::new();
    let token = issuer.token("mcp:use");
    for forward in [false, true] {
        let server = Server::new();
        let app = within(issuer.layer().forward_credentials(forward), guard(), &server);
        let answer = send(&app, post(&token, Full::<Bytes>::from(call("add")))).await;
        assert_eq!(answer.status(), 200);
        let seen = server.take().unwrap();
        let field = seen.parts.headers.get("authorization");
        assert_eq!(field.is_some(), forward);
        assert!(field.is_none_or(http::HeaderValue::is_sensitive));
        // Whoever the caller is, is known all the same.
        let known: AccessToken = AccessToken::from_extensions(&seen.parts.extensions).unwrap();
        assert_eq!(known.subject(), Some("alice"));
        let printed = format!("{known:?} {:?}", seen.parts);
        assert!(!printed.contains(&token), "{printed}");
    }
}

/// A request for each refusal that an MCP client may meet.
async fn refusals(app: &App, issuer: &Issuer) -> Vec<Answer> {
    let of = |body: &str| Full::<Bytes>::from(body.to_owned());
    let weak = issuer.token_with(json!({ "scope": "mcp:use mcp:pay", "acr": "pwd" }));
    let few = issuer.token("mcp:use");
    let mut twice = post(&few, of(&call("add")));
    twice.headers_mut().append("authorization", bearer(&few).parse().unwrap());
    let mut answers = Vec::new();
    for request in [
        without_token(call("add")),
        without_token(message("initialize", "{}")),
        post("forged", of(&call("add"))),
        twice,
        post(&few, of(&call("wipe"))),
        post(&weak, of(&call("pay"))),
        post(&few, of(&call("unlisted"))),
        post(&few, of("[]")),
    ] {
        answers.push(send(app, request).await);
    }
    answers
}

fn table() -> OperationTable {
    let strong = Conditions::builder().acr_values(["mfa"]).build().unwrap();
    OperationTable::builder(Access::scope("mcp:use"))
        .tool("add", Access::token())
        .tool("wipe", Access::scope("mcp:danger"))
        .tool("pay", Access::scope("mcp:pay").conditions(&strong))
        .other_tools(Access::denied())
        .build()
        .unwrap()
}

// Clients look at challenges of refusals only, not at those of a JSON-RPC error with 200.
#[tokio::test]
async fn mc14_a_refusal_is_no_200_and_no_json_rpc() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let guard = tower_bearer::mcp::McpGuardLayer::new(table()).unwrap();
    let layer = issuer.layer().resource("https://api.example/mcp").unwrap();
    let app = within(layer, guard, &server);
    let answers = refusals(&app, &issuer).await;
    let statuses: Vec<u16> = answers.iter().map(Answer::status).collect();
    assert_eq!(statuses, [401, 401, 401, 400, 403, 401, 403, 400]);
    for answer in &answers {
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.body().len() < 200, "{}", answer.body());
        let body: Value = serde_json::from_str(answer.body()).unwrap();
        let members: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["error", "error_description"], "{body}");
        assert!(body["error"].is_string(), "{body}");
        if answer.status() == 401 {
            assert!(answer.challenge().contains("resource_metadata="), "{}", answer.challenge());
        }
    }
    assert_eq!(server.count(), 0);
}

// The npm SDK reads all lines as one, which must begin with `Bearer `; rmcp reads the first line only.
#[cfg(feature = "dpop")]
#[tokio::test]
async fn mc11_the_bearer_challenge_is_the_first_and_has_a_line_of_its_own() {
    use tower_bearer::dpop::Dpop;
    use tower_bearer::jwks::Jwks;
    use tower_bearer::{BearerAuthLayer, Validator};

    use crate::world::{AUDIENCE, ISSUER};

    let (issuer, server) = (Issuer::new(), Server::new());
    for dpop in [None, Some(Dpop::accept().public_origins(["https://api.example"]))] {
        let lines = 1 + usize::from(dpop.is_some());
        let keys = Jwks::static_set(ISSUER, &issuer.jwks_json()).unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys);
        let validator = match dpop {
            None => validator.build().unwrap(),
            Some(dpop) => validator.dpop(dpop).build().unwrap(),
        };
        let layer = BearerAuthLayer::new(validator).realm("api").unwrap();
        let layer = layer.resource("https://api.example/mcp").unwrap();
        let guard = tower_bearer::mcp::McpGuardLayer::new(table()).unwrap();
        let app = within(layer, guard, &server);
        for answer in refusals(&app, &issuer).await {
            let challenges: Vec<_> =
                answer.response.headers().get_all("www-authenticate").iter().collect();
            if challenges.is_empty() {
                // No other token would do.
                assert_eq!(answer.status(), 403);
                continue;
            }
            let challenges: Vec<&str> = challenges.iter().map(|it| it.to_str().unwrap()).collect();
            assert_eq!(challenges.len(), lines, "{challenges:?}");
            assert!(challenges[0].starts_with("Bearer realm="), "{challenges:?}");
            assert!(challenges[0].contains("resource_metadata="), "{challenges:?}");
            for (at, challenge) in challenges.iter().enumerate() {
                assert_eq!(challenge.contains("DPoP "), at == 1, "{challenges:?}");
                assert_eq!(challenge.contains("Bearer "), at == 0, "{challenges:?}");
            }
        }
    }
}

// A server knows its own pages; `rmcp` checks the field.
#[tokio::test]
async fn mc19_origin_is_for_the_server_to_check() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    for origin in ["https://evil.example", "null", "http://localhost:3000"] {
        let mut request = post(&issuer.token("mcp:use"), Full::<Bytes>::from(call("add")));
        request.headers_mut().insert("origin", origin.parse().unwrap());
        assert_eq!(send(&app, request).await.status(), 200);
        assert_eq!(server.take().unwrap().parts.headers["origin"], origin);
    }
}
