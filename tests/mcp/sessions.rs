//! A session is of whom it was given to.

use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower_bearer::mcp::{cors_exposed_headers, cors_methods, cors_request_headers};
use tower_bearer::{Access, RejectionKind, Secret};
use tower_http::cors::{Any, CorsLayer};

use crate::stub::{App, Server, app, call, guard, message, post, within};
use crate::world::{Issuer, bearer, send};

const ID: &str = "5f0c";

/// A server that gives every caller the same session.
fn server() -> Server {
    Server::that_answers(|_| {
        let response = Response::builder().header("mcp-session-id", ID);
        response.body(Full::from("{}")).unwrap()
    })
}

fn with_session(token: &str, session: &str) -> Request<Full<bytes::Bytes>> {
    let mut request = post(token, Full::from(call("add")));
    request.headers_mut().append("mcp-session-id", session.parse().unwrap());
    request
}

async fn begin(app: &App, token: &str) -> String {
    let answer =
        send(app, post(token, Full::<bytes::Bytes>::from(message("initialize", "{}")))).await;
    assert_eq!(answer.status(), 200);
    answer.header("mcp-session-id").unwrap().to_owned()
}

// MC16
#[tokio::test]
async fn mc16_another_principal_cannot_use_a_session() {
    let (issuer, server) = (Issuer::new(), server());
    let app = app(&issuer, guard(), &server);
    let token = |claims: Value| {
        let mut all = json!({"scope": "mcp:use"});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        issuer.token_with(all)
    };
    let alice = token(json!({"sub": "alice"}));
    let session = begin(&app, &alice).await;
    assert!(session.starts_with("5f0c~"), "{session}");
    server.take();

    for theirs in [json!({"sub": "alice"}), json!({"sub": "alice", "client_id": "other"})] {
        assert_eq!(send(&app, with_session(&token(theirs), &session)).await.status(), 200);
        assert_eq!(server.take().unwrap().parts.headers["mcp-session-id"], ID);
    }
    for other in [
        json!({"sub": "bob"}),
        json!({"sub": null, "client_id": "alice"}),
        json!({"sub": null, "client_id": null}),
    ] {
        let answer = send(&app, with_session(&token(other), &session)).await;
        assert_eq!(answer.kind(), Some(RejectionKind::UnknownSession));
        assert_eq!(answer.status(), 404);
    }
    let mut cut = session.clone();
    cut.pop();
    let other = format!("5f0d{}", &session[4..]);
    for forged in [ID, "~", "5f0c~", "5f0c~AAAAAAAAAAAAAAAAAAAAAA", "5f0c~A", &cut, &other] {
        assert_eq!(send(&app, with_session(&alice, forged)).await.status(), 404, "{forged}");
    }
    let mut twice = with_session(&alice, &session);
    twice.headers_mut().append("mcp-session-id", session.parse().unwrap());
    assert_eq!(send(&app, twice).await.status(), 404);
    for method in ["GET", "DELETE"] {
        let ask = |token: &str| {
            let mut request = with_session(token, &session);
            *request.method_mut() = method.parse().unwrap();
            request
        };
        let bob = token(json!({"sub": "bob"}));
        assert_eq!(send(&app, ask(&bob)).await.status(), 404, "{method}");
        assert_eq!(server.count(), 0);
        assert_eq!(send(&app, ask(&alice)).await.status(), 200, "{method}");
        server.take();
    }
}

// MC16: nor read another's stream from an event on, with a session of its own or without one.
#[tokio::test]
async fn mc16_another_principal_cannot_resume_a_stream() {
    let issuer = Issuer::new();
    let server = Server::that_answers(|_| {
        let response = Response::builder()
            .header("content-type", "text/event-stream")
            .header("content-length", "16")
            .header("mcp-session-id", ID);
        response.body(Full::from("id: 7\ndata: {}\n\n")).unwrap()
    });
    let app = app(&issuer, guard(), &server);
    let of = |subject: &str| issuer.token_with(json!({"scope": "mcp:use", "sub": subject}));
    let (alice, bob) = (of("alice"), of("bob"));
    let resume = |token: &str, fields: &[(&'static str, &str)]| {
        let mut request = post(token, Full::<bytes::Bytes>::default());
        *request.method_mut() = http::Method::GET;
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    };
    let begun = send(&app, resume(&alice, &[])).await;
    let event = begun.body().strip_prefix("id: ").unwrap().strip_suffix("\ndata: {}\n\n").unwrap();
    assert!(event.starts_with("7~") && event.len() > 20, "{event}");
    let session = begun.header("mcp-session-id").unwrap();
    // The body is longer than the server's.
    assert_eq!(begun.header("content-length"), None);
    let raw = tower::ServiceExt::oneshot(app.clone(), resume(&alice, &[])).await.unwrap();
    assert_eq!(http_body::Body::size_hint(raw.body()).exact(), None);
    assert!(server.take().is_some());
    let theirs = begin(&app, &bob).await;
    assert!(server.take().is_some() && server.take().is_some());

    for fields in
        [&[("last-event-id", event)][..], &[("last-event-id", event), ("mcp-session-id", session)]]
    {
        assert_eq!(send(&app, resume(&alice, fields)).await.status(), 200);
        assert_eq!(server.take().unwrap().parts.headers["last-event-id"], "7");
    }
    for fields in [
        &[("last-event-id", event)][..],
        &[("last-event-id", event), ("mcp-session-id", &*theirs)],
        &[("last-event-id", "7")],
        &[("last-event-id", "~")],
        // What binds a session binds no event.
        &[("last-event-id", &*theirs)],
    ] {
        let answer = send(&app, resume(&bob, fields)).await;
        assert_eq!((answer.status(), server.count()), (404, 0), "{fields:?}");
        assert_eq!(answer.kind(), Some(RejectionKind::UnknownSession));
    }
    // An empty id is none.
    assert_eq!(send(&app, resume(&bob, &[("last-event-id", "")])).await.status(), 200);
    assert!(!server.take().unwrap().parts.headers.contains_key("last-event-id"));
    let twice = resume(&alice, &[("last-event-id", event), ("last-event-id", event)]);
    assert_eq!(send(&app, twice).await.status(), 404);

    let unbound = self::app(&issuer, guard().dangerous_unbound_sessions(), &server);
    assert_eq!(send(&unbound, resume(&alice, &[])).await.body(), "id: 7\ndata: {}\n\n");
    assert_eq!(send(&unbound, resume(&bob, &[("last-event-id", "7")])).await.status(), 200);
}

// MC16: of clients without a user, the client; and never of another issuer's.
#[tokio::test]
async fn mc16_a_client_has_its_own_sessions() {
    let (issuer, server) = (Issuer::new(), server());
    let app = app(&issuer, guard(), &server);
    let of = |client: &str| {
        issuer.token_with(json!({"sub": null, "client_id": client, "scope": "mcp:use"}))
    };
    let session = begin(&app, &of("one")).await;
    assert_eq!(send(&app, with_session(&of("one"), &session)).await.status(), 200);
    assert_eq!(send(&app, with_session(&of("two"), &session)).await.status(), 404);
    let user = issuer.token_with(json!({"sub": "one", "scope": "mcp:use"}));
    assert_eq!(send(&app, with_session(&user, &session)).await.status(), 404);
}

// MC16: by default a key of its own.
#[tokio::test]
async fn mc16_processes_share_sessions_if_they_share_the_key() {
    let (issuer, server) = (Issuer::new(), server());
    let token = issuer.token("mcp:use");
    let keyed =
        |byte: u8| app(&issuer, guard().session_key(Secret::new(vec![byte; 32])).unwrap(), &server);
    let session = begin(&keyed(1), &token).await;
    assert_eq!(send(&keyed(1), with_session(&token, &session)).await.status(), 200);
    assert_eq!(send(&keyed(2), with_session(&token, &session)).await.status(), 404);
    let fresh = app(&issuer, guard(), &server);
    assert_eq!(send(&fresh, with_session(&token, &session)).await.status(), 404);
    let unbound = app(&issuer, guard().dangerous_unbound_sessions(), &server);
    assert_eq!(begin(&unbound, &token).await, ID);
    assert_eq!(send(&unbound, with_session(&issuer.token("mcp:use"), ID)).await.status(), 200);
}

// MC16: who had no token isn't who has one.
#[tokio::test]
async fn mc16_a_session_without_a_token_is_nobodys() {
    let (issuer, server) = (Issuer::new(), server());
    let table = tower_bearer::mcp::OperationTable::builder(Access::public()).build().unwrap();
    let guard = tower_bearer::mcp::McpGuardLayer::new(table).unwrap();
    let app = within(issuer.layer().fallback(Access::optional()).unwrap(), guard, &server);
    let mut anonymous = post("x", Full::<bytes::Bytes>::from(message("initialize", "{}")));
    anonymous.headers_mut().remove("authorization");
    let answer = send(&app, anonymous).await;
    let session = answer.header("mcp-session-id").unwrap();
    assert_eq!(send(&app, with_session(&issuer.token(""), session)).await.status(), 404);
    let mut again = with_session("x", session);
    again.headers_mut().remove("authorization");
    assert_eq!(send(&app, again).await.status(), 200);
}

// MC13: the lists are what a CORS layer takes, and what browsers need.
#[tokio::test]
async fn mc13_a_browser_may_send_and_read_what_mcp_needs() {
    let (issuer, server) = (Issuer::new(), server());
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(cors_methods())
        .allow_headers(cors_request_headers())
        .expose_headers(cors_exposed_headers());
    let app = tower::Layer::layer(&cors, app(&issuer, guard(), &server));
    let preflight = Request::options("/mcp")
        .header("origin", "https://page.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,mcp-session-id")
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    let answer = send(&app, preflight).await;
    assert_eq!(answer.status(), 200);
    let list = |name: &str| answer.header(name).unwrap().to_ascii_lowercase();
    assert_eq!(list("access-control-allow-methods"), "get,post,delete,options");
    for name in "authorization dpop content-type accept last-event-id mcp-session-id \
                 mcp-protocol-version mcp-method mcp-name"
        .split_whitespace()
    {
        let allowed = list("access-control-allow-headers");
        assert!(allowed.split(',').any(|it| it == name), "{name}");
    }
    let mut refused = post("no.good.token", Full::<bytes::Bytes>::from(call("add")));
    refused.headers_mut().insert("origin", "https://page.example".parse().unwrap());
    refused.headers_mut().insert("authorization", bearer("x").parse().unwrap());
    let answer = send(&app, refused).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(
        answer.header("access-control-expose-headers"),
        Some("www-authenticate,mcp-session-id,dpop-nonce,mcp-protocol-version")
    );
}
