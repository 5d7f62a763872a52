//! Requests of `reqwest` that are refused after a redirect, against a real server: which are sent again.

use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::header::{AUTHORIZATION, LOCATION};
use http::{Response, StatusCode};
use tokio::net::TcpListener;
use tower_bearer::client::{AttachTokenLayer, TokenSource};

use crate::support::*;

/// What arrived at a server: method, path and token of each request.
#[derive(Clone, Default)]
struct Arrived(Arc<Mutex<Vec<String>>>);

impl Arrived {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    #[cfg(feature = "dpop")]
    fn count(&self, what: &str) -> usize {
        self.all().iter().filter(|it| it.starts_with(what)).count()
    }
}

/// Serves on loopback what `answer` says to a method and path, such as `GET /orders`, and a token.
async fn serve(
    answer: impl Fn(&str, &str) -> Response<Body> + Clone + Send + Sync + 'static,
) -> (String, Arrived) {
    let arrived = Arrived::default();
    let record = arrived.clone();
    let handler = move |request: Request| {
        let what = format!("{} {}", request.method(), request.uri().path());
        let token = request.headers().get(AUTHORIZATION);
        let token = token.map_or("-", |value| value.to_str().unwrap().rsplit(' ').next().unwrap());
        record.0.lock().unwrap().push(format!("{what} {token}"));
        let response = answer(&what, token);
        async { response }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(handler);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, arrived)
}

fn status(status: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn redirect(code: u16, to: &str) -> Response<Body> {
    let mut response = status(code);
    response.headers_mut().insert(LOCATION, to.parse().unwrap());
    response
}

/// Accepts every token but the first.
fn not_the_first(token: &str) -> Response<Body> {
    status(if matches!(token, "t1" | "-") { 401 } else { 200 })
}

fn tokens() -> TokenSource {
    source(&counting(600))
}

// E10: the order exists already, whatever the page about it says.
#[tokio::test]
async fn e10_what_a_redirect_follows_is_not_done_twice() {
    let http = reqwest::Client::new();
    for (method, code, landed) in [
        ("POST", 303, "GET"),
        ("POST", 302, "GET"),
        ("POST", 307, "POST"),
        ("PUT", 308, "PUT"),
        ("DELETE", 303, "GET"),
    ] {
        let (url, arrived) = serve(move |what, token| match what {
            "POST /orders" | "PUT /orders" | "DELETE /orders" => redirect(code, "/orders/7"),
            _ => not_the_first(token),
        })
        .await;
        let orders = AttachTokenLayer::new(tokens(), [&url]).unwrap();
        let request = http.request(method.parse().unwrap(), format!("{url}/orders")).body("{}");
        let answer = orders.send(request).await.unwrap();
        assert_eq!(answer.status(), 401, "{method} {code}");
        let expected = [format!("{method} /orders t1"), format!("{landed} /orders/7 t1")];
        assert_eq!(arrived.all(), expected);
        // The refusal counts nevertheless.
        let next = orders.send(http.get(format!("{url}/orders/7"))).await.unwrap();
        assert_eq!(next.status(), 200);
        assert_eq!(arrived.all().last().unwrap(), "GET /orders/7 t2");
    }
}

// E10: reqwest takes the token away on the detour, and doesn't give it back.
#[tokio::test]
async fn e10_a_detour_over_another_origin_is_a_redirect_too() {
    let home = Arc::new(OnceLock::<String>::new());
    let back = Arc::clone(&home);
    let (away, _) =
        serve(move |_, _| redirect(302, &format!("{}/orders/7", back.get().unwrap()))).await;
    let (url, arrived) = serve(move |what, token| match what {
        "POST /orders" => redirect(303, &format!("{away}/x")),
        _ => not_the_first(token),
    })
    .await;
    home.set(url.clone()).unwrap();
    let orders = AttachTokenLayer::new(tokens(), [&url]).unwrap();
    let request = reqwest::Client::new().post(format!("{url}/orders")).body("{}");
    assert_eq!(orders.send(request).await.unwrap().status(), 401);
    assert_eq!(arrived.all(), ["POST /orders t1", "GET /orders/7 -"]);
}

// E10, the twins: what changes nothing is sent again, and what wasn't redirected, too.
#[tokio::test]
async fn e10_what_changes_nothing_or_was_not_redirected_is_sent_again() {
    let (url, arrived) = serve(|what, token| match what {
        "GET /list" | "HEAD /list" => redirect(302, "/orders"),
        _ => not_the_first(token),
    })
    .await;
    let http = reqwest::Client::new();
    for (method, path, expected) in [
        ("GET", "/list", &["/list t1", "/orders t1", "/list t2", "/orders t2"][..]),
        ("HEAD", "/list", &["/list t1", "/orders t1", "/list t2", "/orders t2"]),
        ("POST", "/orders", &["/orders t1", "/orders t2"]),
        // The fragment isn't sent.
        ("POST", "/orders?a=%22b%22#end", &["/orders t1", "/orders t2"]),
        ("POST", "/%7Bid%7D/a|b'c", &["/%7Bid%7D/a|b'c t1", "/%7Bid%7D/a|b'c t2"]),
    ] {
        arrived.0.lock().unwrap().clear();
        let orders = AttachTokenLayer::new(tokens(), [&url]).unwrap();
        let request = http.request(method.parse().unwrap(), format!("{url}{path}"));
        assert_eq!(orders.send(request).await.unwrap().status(), 200, "{method} {path}");
        let expected: Vec<String> = expected.iter().map(|it| format!("{method} {it}")).collect();
        assert_eq!(arrived.all(), expected);
    }
}

// DC13: the nonce is kept for the next request.
#[cfg(feature = "dpop")]
#[tokio::test]
async fn dc13_a_nonce_that_is_wanted_after_a_redirect_is_no_reason_to_repeat_a_post() {
    use tower_bearer::client::DpopKey;
    use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};

    let wanted = Arc::new(Mutex::new(0));
    let (url, arrived) = serve(move |what, _| {
        if what == "POST /orders" {
            return redirect(303, "/orders/7");
        }
        let mut count = wanted.lock().unwrap();
        *count += 1;
        if *count % 2 == 0 {
            return status(200);
        }
        let mut response = status(401);
        let challenge = "DPoP error=\"use_dpop_nonce\"";
        response.headers_mut().insert("www-authenticate", challenge.parse().unwrap());
        response.headers_mut().insert("dpop-nonce", format!("n{count}").parse().unwrap());
        response
    })
    .await;
    let transport = ScriptedTransport::from_fn(|_| {
        ScriptedAnswer::json(r#"{"access_token":"t1","token_type":"DPoP","expires_in":600}"#)
    });
    let grant = scripted_grant().dpop(DpopKey::generate().unwrap()).build().unwrap();
    let orders = AttachTokenLayer::new(client(&transport).source(&grant), [&url]).unwrap();
    let http = reqwest::Client::new();
    let post = |path: &str| http.post(format!("{url}{path}")).body("{}");
    assert_eq!(orders.send(post("/orders")).await.unwrap().status(), 401);
    assert_eq!((arrived.count("POST /orders "), arrived.all().len()), (1, 2));
    // The twins: without a redirect, and of a method that changes nothing.
    orders.send(post("/other")).await.unwrap();
    assert_eq!(orders.send(post("/other")).await.unwrap().status(), 200);
    assert_eq!(arrived.count("POST /other "), 3);
}
