//! A page in Debian's Chromium, without a window, that calls a protected service of another origin.
//!
//! `scripts/setup.sh` installs the browser.

#![allow(clippy::disallowed_methods, reason = "browsers live in real time")]

mod support;
mod world;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, WebSocketUpgrade, ws::Message};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;
use support::browser::Browser;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::ServiceBuilder;
use tower_bearer::answer::EXPOSED_HEADERS;
use tower_bearer::middleware::WebSocketTokenLayer;
use tower_bearer::{Access, AccessToken, RouteTable};
use tower_http::cors::{AllowHeaders, CorsLayer};
use world::Issuer;

const PAGE: &str = include_str!("interop/browser/page.html");

/// A browser is slow to start where it shares its processor with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

async fn live(token: AccessToken, upgrade: WebSocketUpgrade) -> Response {
    let hello = format!("hello, {}", token.subject().unwrap());
    upgrade.protocols(["chat"]).on_upgrade(async move |mut socket| {
        let _ = socket.send(Message::text(hello)).await;
    })
}

async fn events(
    token: AccessToken,
) -> Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>> {
    let hello = Event::default().data(format!("hello, {}", token.subject().unwrap()));
    Sse::new(tokio_stream::iter([Ok(hello)]))
}

/// As an application may that has the token in a cookie: `EventSource` can set no field.
fn from_cookie(mut request: Request) -> Request {
    let cookie = request.headers().get(COOKIE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let token = cookie.split("; ").find_map(|pair| pair.strip_prefix("token="));
    let bearer = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
    if let Some(bearer) = bearer.filter(|_| request.uri().path() == "/events") {
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    request
}

/// Serves the API, for scripts of this origin, and returns its origin.
async fn serve_api(issuer: &Issuer, listener: TcpListener, page: &str) -> String {
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let routes = RouteTable::builder()
        .route(Method::GET, "/read", Access::scope("read"))
        .route(Method::GET, "/live", Access::scope("read"))
        .build()
        .unwrap();
    let layer = issuer.layer().routes(routes).resource(&origin).unwrap();
    let cors = CorsLayer::new()
        .allow_origin(page.parse::<HeaderValue>().unwrap())
        .allow_credentials(true)
        .allow_headers(AllowHeaders::list([
            AUTHORIZATION,
            http::header::CONTENT_TYPE,
            HeaderName::from_static("x-own"),
            HeaderName::from_static("x-grpc-web"),
        ]))
        .expose_headers(EXPOSED_HEADERS);
    let around = ServiceBuilder::new()
        .layer(cors)
        .map_request(from_cookie)
        .layer(WebSocketTokenLayer::new())
        .layer(layer);
    let app = Router::new()
        .route("/read", get(async |token: AccessToken| token.subject().unwrap().to_owned()))
        .route("/live", any(live))
        .route("/events", get(events))
        .route("/others", get(events))
        .layer(around);
    tokio::spawn(async move { axum::serve(listener, app).await });
    origin
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wb2_wb4_a_page_of_another_origin_reads_refusals_and_opens_streams() {
    let issuer = Issuer::new();
    let (token, lacking) = (issuer.token("read"), issuer.token("other"));
    let [api, pages] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
    let (api, pages) = (api.await.unwrap(), pages.await.unwrap());
    let page_origin = format!("http://{}", pages.local_addr().unwrap());
    let api = serve_api(&issuer, api, &page_origin).await;

    let page =
        PAGE.replace("%API%", &api).replace("%TOKEN%", &token).replace("%LACKING%", &lacking);
    // Ports make no difference to cookies.
    let cookie = format!("token={token}; HttpOnly; SameSite=Lax");
    let (sender, results) = oneshot::channel::<Value>();
    let sender = Arc::new(Mutex::new(Some(sender)));
    let collect = async move |Json(results): Json<Value>| {
        let sender = sender.lock().unwrap().take();
        sender.expect("one report").send(results).expect("the test waits for it");
    };
    let collect = post(async move |body: String| {
        collect(Json(serde_json::from_str(&body).expect("the page reports JSON"))).await;
    });
    let site = Router::new()
        .route("/", get(async move || ([(http::header::SET_COOKIE, cookie)], Html(page))))
        .route("/results", collect);
    tokio::spawn(async move { axum::serve(pages, site).await });

    let _browser = Browser::open(&format!("{page_origin}/"));
    let results = tokio::time::timeout(PATIENCE, results).await.expect("a report").unwrap();

    let url = format!("{api}/.well-known/oauth-protected-resource");
    let challenge = |name: &str| results[name]["challenge"].as_str().unwrap_or_default();
    for (name, status, error) in [
        ("without", 401, ""),
        ("invalid", 401, "invalid_token"),
        ("lacking", 403, "insufficient_scope"),
    ] {
        assert_eq!(results[name]["status"], status, "{results:#}");
        assert!(challenge(name).contains(error), "{results:#}");
        assert!(challenge(name).contains(&format!("scope=\"read\", resource_metadata=\"{url}\"")));
        assert!(results[name]["body"].as_str().unwrap().contains("error"), "{results:#}");
    }
    assert_eq!(results["document"]["resource"], api, "{results:#}");
    assert_eq!(
        (&results["good"]["status"], &results["good"]["body"]),
        (&200.into(), &"alice".into())
    );
    assert_eq!(
        (&results["grpcWeb"]["status"], &results["grpcWeb"]["grpc"]),
        (&200.into(), &"16".into())
    );
    assert!(challenge("grpcWeb").contains(&url), "{results:#}");
    let hello = Value::from("hello, alice");
    assert_eq!((&results["live"]["said"], &results["live"]["protocol"]), (&hello, &"chat".into()));
    assert_eq!(results["events"]["said"], hello, "{results:#}");
    for refused in ["liveWithout", "liveLacking", "eventsWithout"] {
        assert_eq!(results[refused]["failed"], true, "{refused}: {results:#}");
    }
}
