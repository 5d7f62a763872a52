//! What a tool finds missing becomes a 403, if the answer hasn't begun.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _};
use tower_bearer::mcp::{self, McpGuardLayer};
use tower_bearer::{Implications, Refusal, RejectionKind, Requirement};

use crate::stub::{Server, app, call, guard, message, post, within};
use crate::world::{Issuer, send};

/// A server whose tool asks for these, one after the other, and answers with 200 whatever comes.
fn that_asks_for(scopes: &'static [&'static str]) -> Server {
    Server::that_answers(move |seen| {
        for scope in scopes {
            let found = mcp::require(&seen.parts, &Requirement::scope(scope).unwrap());
            if let Err(shortfall) = found {
                assert!(shortfall.to_string().contains("lacks a required scope"), "{shortfall}");
            }
        }
        Response::new(Full::from(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#))
    })
}

fn ask(token: &str, tool: &str) -> http::Request<Full<Bytes>> {
    post(token, Full::from(call(tool)))
}

// MC27, MC28, MC6
#[tokio::test]
async fn mc27_mc28_a_shortfall_within_a_tool_is_403_with_all_scopes() {
    let issuer = Issuer::new();
    let app = app(&issuer, guard(), &that_asks_for(&["mcp:extra"]));
    let answer = send(&app, ask(&issuer.token("mcp:use"), "add")).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.kind(), Some(RejectionKind::InsufficientScope));
    assert_eq!(
        answer.challenge(),
        r#"Bearer realm="api", error="insufficient_scope", error_description="The request requires higher privileges than provided by the access token", scope="mcp:use mcp:extra""#
    );
    assert!(answer.body().starts_with(r#"{"error":"insufficient_scope""#), "{}", answer.body());
    let answer = send(&app, ask(&issuer.token("mcp:use mcp:danger"), "wipe")).await;
    assert!(answer.challenge().ends_with(r#"scope="mcp:use mcp:danger mcp:extra""#));
    let answer = send(&app, ask(&issuer.token("mcp:use mcp:extra"), "add")).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.body().contains("result"));
}

#[tokio::test]
async fn mc27_several_shortfalls_are_named_together() {
    let issuer = Issuer::new();
    let app = app(&issuer, guard(), &that_asks_for(&["a", "mcp:use", "b"]));
    let answer = send(&app, ask(&issuer.token("mcp:use"), "add")).await;
    assert!(answer.challenge().ends_with(r#"scope="mcp:use a b""#), "{}", answer.challenge());
    let answer = send(&app, ask(&issuer.token("mcp:use a"), "add")).await;
    assert!(answer.challenge().ends_with(r#"scope="mcp:use b""#), "{}", answer.challenge());
}

// MC7
#[tokio::test]
async fn mc27_implied_scopes_count_within_tools() {
    let issuer = Issuer::new();
    let implications = Implications::builder().implies("mcp:use", ["mcp:extra"]).build().unwrap();
    let layer = issuer.layer().implications(implications);
    let app = within(layer, guard(), &that_asks_for(&["mcp:extra"]));
    assert_eq!(send(&app, ask(&issuer.token("mcp:use"), "add")).await.status(), 200);
}

// An answer that has begun stays as it is.
#[tokio::test]
async fn mc27_what_is_found_after_the_answer_began_changes_nothing() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    assert_eq!(send(&app, ask(&issuer.token("mcp:use"), "add")).await.status(), 200);
    let seen = server.take().unwrap();
    let shortfall = mcp::require(&seen.parts, &Requirement::scope("x").unwrap()).unwrap_err();
    let Refusal::Rejection(rejection) = shortfall.refusal() else { panic!("{shortfall:?}") };
    assert_eq!(rejection.kind(), RejectionKind::InsufficientScope);
}

// MC15: the token itself is there as well, and without the layers nothing is granted.
#[tokio::test]
async fn mc15_tools_find_the_token_and_without_layers_nothing_is_granted() {
    let (issuer, server) = (Issuer::new(), Server::new());
    let app = app(&issuer, guard(), &server);
    send(&app, ask(&issuer.token("mcp:use"), "add")).await;
    let seen = server.take().unwrap();
    let token: tower_bearer::AccessToken =
        tower_bearer::AccessToken::from_extensions(&seen.parts.extensions).unwrap();
    assert_eq!(token.subject(), Some("alice"));
    let use_it = Requirement::scope("mcp:use").unwrap();
    assert!(mcp::require(&seen.parts, &use_it).is_ok());

    let (bare, ()) = http::Request::new(()).into_parts();
    let shortfall = mcp::require(&bare, &use_it).unwrap_err();
    assert!(matches!(shortfall.refusal(), Refusal::Misconfigured(_)));

    // With the layer and without the guard, what is missing is an error too.
    let inner = crate::world::Inner::default();
    let alone = issuer.layer().layer(inner.clone());
    let field = crate::world::bearer(&issuer.token("mcp:use"));
    let request = crate::world::get("/", &[("authorization", &field)]);
    alone.oneshot(request).await.unwrap();
    let parts = inner.last.lock().unwrap().take().unwrap();
    assert!(mcp::require(&parts, &use_it).is_ok());
    let shortfall = mcp::require(&parts, &Requirement::scope("x").unwrap()).unwrap_err();
    assert!(matches!(shortfall.refusal(), Refusal::Misconfigured(_)));
}

#[tokio::test]
async fn mc27_refusals_before_the_tool_are_as_ever() {
    let issuer = Issuer::new();
    let server = that_asks_for(&["mcp:extra"]);
    let open = mcp::OperationTable::builder(tower_bearer::Access::token());
    let app = app(&issuer, McpGuardLayer::new(open.build().unwrap()).unwrap(), &server);
    let answer =
        send(&app, post(&issuer.token(""), Full::<Bytes>::from(message("tools/list", "{}")))).await;
    assert!(answer.challenge().ends_with(r#"scope="mcp:extra""#), "{}", answer.challenge());
}
