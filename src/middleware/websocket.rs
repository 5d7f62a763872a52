//! The layer that takes a WebSocket's token from its subprotocols, for browsers.

use std::task::{Context, Poll};

use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request};
use tower_layer::Layer;
use tower_service::Service;

/// Takes the token of a WebSocket from its subprotocols, for browsers, whose scripts can set no other field.
///
/// It belongs around a [`BearerAuthLayer`](crate::BearerAuthLayer). The script offers the token as a
/// subprotocol, after one that the service actually speaks and selects:
///
/// ```text
/// new WebSocket("wss://api.example/live", ["chat.v1", "bearer." + token])
/// ```
///
/// The token is moved to the `Authorization` field of the request; the inner service sees only the other
/// subprotocols. A browser fails the connection unless the service selects one of them. A request that
/// has a token in both fields, or two of them, is refused with 400, as one with two `Authorization` fields is.
/// Requests other than those that open a WebSocket (HTTP/1.1, or HTTP/2 by extended CONNECT) are left alone.
///
/// Unlike a cookie, such a token can be sent only by pages that have it, so that it needs no check of
/// `Origin`.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn example(validator: tower_bearer::Validator) {
/// use axum::extract::WebSocketUpgrade;
/// use axum::response::Response;
/// use axum::{Router, routing::any};
/// use tower_bearer::middleware::WebSocketTokenLayer;
/// use tower_bearer::{AccessToken, BearerAuthLayer};
///
/// async fn live(_: AccessToken, upgrade: WebSocketUpgrade) -> Response {
///     upgrade.protocols(["chat.v1"]).on_upgrade(async |_socket| {})
/// }
///
/// let app: Router = Router::new()
///     .route("/live", any(live)) // HTTP/1.1 and HTTP/2
///     .layer(BearerAuthLayer::new(validator))
///     .layer(WebSocketTokenLayer::new()); // axum: the last is the outermost
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WebSocketTokenLayer;

impl WebSocketTokenLayer {
    /// Creates the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for WebSocketTokenLayer {
    type Service = WebSocketToken<S>;

    fn layer(&self, inner: S) -> WebSocketToken<S> {
        WebSocketToken { inner }
    }
}

/// The service that a [`WebSocketTokenLayer`] makes.
#[derive(Clone, Debug)]
pub struct WebSocketToken<S> {
    inner: S,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for WebSocketToken<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if opens_websocket(&request) {
            move_token(request.headers_mut());
        }
        self.inner.call(request)
    }
}

/// Returns `true` for the handshake of RFC 6455 §4.1, and that of RFC 8441 §5, whose protocol the HTTP
/// server checks.
fn opens_websocket<B>(request: &Request<B>) -> bool {
    let mut upgrades = request.headers().get_all(UPGRADE).iter();
    *request.method() == Method::CONNECT
        || (*request.method() == Method::GET
            && upgrades.any(|it| it.as_bytes().eq_ignore_ascii_case(b"websocket")))
}

fn move_token(headers: &mut HeaderMap) {
    const PREFIX: &[u8] = b"bearer.";
    let fields = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    let offered: Vec<Vec<u8>> = offered.map(|it| it.trim_ascii().to_vec()).collect();
    if !offered.iter().any(|protocol| protocol.starts_with(PREFIX)) {
        return;
    }
    headers.remove(SEC_WEBSOCKET_PROTOCOL);
    for protocol in offered {
        let (name, value) = match protocol.strip_prefix(PREFIX) {
            Some(token) => (AUTHORIZATION, [b"Bearer ", token].concat()),
            None => (SEC_WEBSOCKET_PROTOCOL, protocol),
        };
        // It was part of a field before.
        if let Ok(mut value) = HeaderValue::from_bytes(&value) {
            value.set_sensitive(name == AUTHORIZATION);
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(method: Method, fields: &[(&'static str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut request = Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        if opens_websocket(&request) {
            move_token(request.headers_mut());
        }
        let all = |name| {
            let fields = request.headers().get_all(name).iter();
            fields.map(|it| String::from_utf8(it.as_bytes().to_vec()).unwrap()).collect()
        };
        assert!(request.headers().get_all(AUTHORIZATION).iter().all(|it| {
            it.is_sensitive() || fields.iter().any(|(name, _)| *name == "authorization")
        }));
        (all(AUTHORIZATION), all(SEC_WEBSOCKET_PROTOCOL))
    }

    #[test]
    fn wb4_the_token_is_moved_from_the_subprotocols_of_a_handshake_only() {
        const UPGRADES: (&str, &str) = ("upgrade", "WebSocket");
        const NAME: &str = "sec-websocket-protocol";
        for (fields, tokens, protocols) in [
            (&[UPGRADES, (NAME, "chat, bearer.a.b.c")][..], &["Bearer a.b.c"][..], &["chat"][..]),
            (&[UPGRADES, (NAME, "bearer.t")], &["Bearer t"], &[]),
            (
                &[UPGRADES, (NAME, "bearer.t,chat"), (NAME, "more")],
                &["Bearer t"],
                &["chat", "more"],
            ),
            // Two tokens: the layer within refuses them.
            (&[UPGRADES, (NAME, "bearer.t,bearer.u")], &["Bearer t", "Bearer u"], &[]),
            (
                &[UPGRADES, ("authorization", "Bearer x"), (NAME, "bearer.t")],
                &["Bearer x", "Bearer t"],
                &[],
            ),
            (&[UPGRADES, (NAME, "chat, Bearer.t")], &[], &["chat, Bearer.t"]),
            (&[UPGRADES], &[], &[]),
            (&[(NAME, "bearer.t")], &[], &["bearer.t"]),
            (&[("upgrade", "h2c"), (NAME, "bearer.t")], &[], &["bearer.t"]),
        ] {
            let (found, left) = moved(Method::GET, fields);
            assert_eq!(
                (&*found, &*left),
                (
                    &*tokens.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    &*protocols.iter().map(ToString::to_string).collect::<Vec<_>>()
                ),
                "{fields:?}"
            );
        }
        let offered = [UPGRADES, (NAME, "bearer.t")];
        assert_eq!(moved(Method::POST, &offered).1, ["bearer.t"]);
        // Over HTTP/2, there is no Upgrade field.
        assert_eq!(moved(Method::CONNECT, &[(NAME, "a, bearer.t")]).0, ["Bearer t"]);
    }
}
