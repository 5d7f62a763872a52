//! Tokens bound to the TLS certificate of the transport: dropped when that is replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::json;
use tokio::time::advance;
use tower_bearer::client::{ClientAuth, Grant, GrantBuilder, TokenClient, TokenSource};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};
use tower_bearer::transport::{Limits, Transport, TransportFuture, VersionFuture};

use crate::support::*;

/// A transport whose certificate is replaced.
#[derive(Clone)]
struct Presenting {
    transport: ScriptedTransport,
    version: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    /// The files are on a disk that doesn't answer.
    hangs: Arc<AtomicBool>,
}

impl Presenting {
    fn new(version: u64) -> Self {
        let version = Arc::new(AtomicU64::new(version));
        Self { transport: counting(600), version, asked: Arc::default(), hangs: Arc::default() }
    }

    fn source(&self, grant: GrantBuilder) -> TokenSource {
        let client = TokenClient::builder().transport(self.clone()).build().unwrap();
        client.source(&grant.build().unwrap())
    }
}

impl Transport for Presenting {
    fn send(&self, request: Request<Bytes>, limits: Limits) -> TransportFuture {
        self.transport.send(request, limits)
    }

    fn client_certificate_version(&self) -> VersionFuture<'_> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.version.load(Ordering::Relaxed)
        })
    }
}

fn by_certificate() -> GrantBuilder {
    Grant::endpoint("https://as.test/token", ClientAuth::tls("me"))
}

#[tokio::test(start_paused = true)]
async fn mt32_another_certificate_ends_the_tokens_of_the_one_before() {
    for grant in [by_certificate(), scripted_grant().certificate_bound()] {
        let presenting = Presenting::new(1);
        let tokens = presenting.source(grant);
        // It is looked at again and again, and costs nothing as long as it is the same.
        for _ in 0..5 {
            assert_eq!(token(&tokens).await, "t1");
            settle().await;
            advance(Duration::from_secs(5)).await;
        }
        assert_eq!(presenting.transport.request_count(), 1);
        presenting.version.store(2, Ordering::Relaxed);
        assert_eq!(token(&tokens).await, "t1", "until the new one is there");
        settle().await;
        assert_eq!(token(&tokens).await, "t2");
        assert_eq!(presenting.transport.request_count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn mt32_a_look_that_takes_too_long_is_not_the_last_one() {
    let presenting = Presenting::new(1);
    let tokens = presenting.source(by_certificate());
    assert_eq!(token(&tokens).await, "t1");
    presenting.hangs.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        advance(Duration::from_secs(5)).await;
        assert_eq!(token(&tokens).await, "t1");
        settle().await;
        advance(Duration::from_secs(5)).await;
        settle().await;
        assert!(tokens.health().last_error().is_none());
    }
    assert_eq!(token(&tokens).await, "t1");
    assert_eq!(presenting.transport.request_count(), 1, "it is taken for the same");
    presenting.hangs.store(false, Ordering::Relaxed);
    presenting.version.store(2, Ordering::Relaxed);
    for _ in 0..2 {
        advance(Duration::from_secs(5)).await;
        token(&tokens).await;
        settle().await;
    }
    assert_eq!(token(&tokens).await, "t2");
    assert_eq!(presenting.transport.request_count(), 2);
}

// What a token was got with isn't known then: it serves, and is replaced once that is.
#[tokio::test(start_paused = true)]
async fn mt32_a_token_is_got_while_the_certificate_cannot_be_looked_at() {
    let presenting = Presenting::new(1);
    presenting.hangs.store(true, Ordering::Relaxed);
    let tokens = presenting.source(by_certificate());
    assert_eq!(token(&tokens).await, "t1");
    presenting.hangs.store(false, Ordering::Relaxed);
    for expected in ["t1", "t2", "t2", "t2"] {
        advance(Duration::from_secs(5)).await;
        assert_eq!(token(&tokens).await, expected);
        settle().await;
    }
    assert_eq!(presenting.transport.request_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn mt32_what_is_not_bound_to_the_certificate_or_never_changes_is_left_alone() {
    let presenting = Presenting::new(1);
    let tokens = presenting.source(scripted_grant());
    for version in 1..5 {
        presenting.version.store(version, Ordering::Relaxed);
        assert_eq!(token(&tokens).await, "t1");
        advance(Duration::from_secs(60)).await;
        settle().await;
    }
    assert_eq!(presenting.asked.load(Ordering::Relaxed), 0);
    // A transport that always presents the same one is asked when a token is fetched, and not again.
    let presenting = Presenting::new(0);
    let tokens = presenting.source(by_certificate());
    for _ in 0..5 {
        assert_eq!(token(&tokens).await, "t1");
        advance(Duration::from_secs(60)).await;
        settle().await;
    }
    assert_eq!(presenting.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn mt30_the_root_endpoint_can_be_used_in_spite_of_an_alias() {
    let transport = ScriptedTransport::from_fn(|request| match *request.method() {
        Method::POST => granted("t", 600),
        _ => ScriptedAnswer::json(
            json!({
                "issuer": "https://as.test",
                "token_endpoint": "https://as.test/token",
                "mtls_endpoint_aliases": { "token_endpoint": "https://mtls.as.test/token" },
            })
            .to_string(),
        ),
    });
    let discover = || Grant::discover("https://as.test", ClientAuth::tls("me"));
    let client = client(&transport);
    for (grant, expected) in [
        (discover(), "https://mtls.as.test/token"),
        (discover().root_endpoint(), "https://as.test/token"),
    ] {
        client.token(&grant.build().unwrap()).await.unwrap();
        assert_eq!(transport.requests().pop().unwrap().uri(), expected);
    }
}
