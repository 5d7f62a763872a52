//! Connections that outlive a request, and end with its token: an event stream and a WebSocket.
//!
//! ```text
//! cargo run --example streams --features streams
//! ```
//!
//! It starts an issuer of its own, grants a token for `TOKEN_SECS` seconds (10 by default), and prints a
//! `curl` line that shows an event stream come to its end.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use futures_util::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::pin;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tower_bearer::middleware::StreamDeadlineLayer;
use tower_bearer::testing::TestIssuer;
use tower_bearer::{AccessToken, BearerAuthLayer, Validator};

/// What closes a WebSocket whose token has expired: 401, in the range for applications (RFC 6455
/// §7.4.2).
const TOKEN_EXPIRED: u16 = 4401;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let lasts = match std::env::var("TOKEN_SECS") {
        Ok(seconds) => Duration::from_secs(seconds.parse()?),
        Err(_) => Duration::from_secs(10),
    };
    let issuer = TestIssuer::start().await?;
    let validator =
        Validator::builder(issuer.issuer(), issuer.audience()).leeway(Duration::ZERO).build()?;

    let app = Router::new()
        .route("/events", get(events))
        .route_layer(StreamDeadlineLayer::new().last_event("token_expired")?)
        .route("/socket", any(socket))
        .layer(BearerAuthLayer::new(validator));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let token = issuer.token().subject("demo").expires_in(lasts).sign();
    println!("# An event every second, until the token has expired:");
    println!("curl -N -H 'Authorization: Bearer {token}' http://{address}/events");
    println!("# A WebSocket that echoes, at ws://{address}/socket, with the same field.");
    Ok(axum::serve(listener, app).await?)
}

/// Nothing about tokens here: the layer ends the stream.
async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = IntervalStream::new(interval(Duration::from_secs(1)));
    Sse::new(ticks.map(|_| Ok(Event::default().data("tick"))))
}

async fn socket(token: AccessToken, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| echo(socket, token))
}

async fn echo(mut socket: WebSocket, token: AccessToken) {
    let expired = token.expired();
    pin!(expired);
    loop {
        tokio::select! {
            () = &mut expired => {
                let reason = "the access token has expired".into();
                let close = CloseFrame { code: TOKEN_EXPIRED, reason };
                let _gone = socket.send(Message::Close(Some(close))).await;
                return;
            }
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}
