//! Nothing secret is printed, logged, counted or measured.

use tower_bearer::client::{ClientAuth, Grant, TokenClient};
use tower_bearer::testing::{Endpoint, Fault, TestClient, TestIssuer};

use crate::support::*;

const SECRET: &str = "canary-secret-canary";

/// What a run leaves behind: every way of authentication, success and failure.
async fn run(printed: &mut String) {
    use std::fmt::Write as _;
    let issuer =
        TestIssuer::builder().client(TestClient::secret("me", SECRET)).start().await.unwrap();
    let store = MemoryStore::default();
    let client = TokenClient::builder().shared(store.clone(), store_key()).build().unwrap();
    for auth in [ClientAuth::basic("me", SECRET), ClientAuth::body("me", SECRET)] {
        let builder =
            Grant::discover(issuer.issuer(), auth.clone()).allow_loopback_http().scope("a");
        let _ = write!(printed, "{auth:?} {builder:?}");
        let grant = builder.build().unwrap();
        let source = client.source(&grant);
        let token = source.token().await.unwrap();
        let layer = tower_bearer::client::AttachTokenLayer::new(source.clone(), [issuer.issuer()]);
        let layer = layer.unwrap();
        let _ = write!(printed, "{grant:?} {source:?} {client:?} {token:?} {layer:?}");
        let _ = write!(printed, "{:?}", token.header_value());
        // Sent with reqwest, refused, sent again.
        let http = reqwest::Client::new();
        let _ = layer.send(http.get(issuer.jwks_uri())).await.unwrap();
        let _ = source.renew(&token, issuer.issuer()).await;
        for fault in [
            Fault::login_page(),
            Fault::garbage(),
            Fault::json(format!(r#"{{"error":"invalid_request","error_description":"{SECRET}"}}"#)),
            Fault::json(format!(r#"{{"access_token":"{SECRET}\n","token_type":"Bearer"}}"#)),
            Fault::json(format!(r#"{{"access_token":"{SECRET}","token_type":"{SECRET}"}}"#)),
            Fault::json(format!(r#"{{"access_token":"a","expires_in":"{SECRET}"}}"#)),
            Fault::redirect(&format!("https://evil.test/?{SECRET}")),
            Fault::truncated(),
            Fault::endless(),
            Fault::status(http::StatusCode::UNAUTHORIZED),
        ] {
            issuer.inject(Endpoint::Token, fault);
            let other = TokenClient::builder().build().unwrap();
            let error = other.token(&grant).await.unwrap_err();
            let _ = write!(printed, "{error:?} {error}");
        }
        issuer.clear_faults();
    }
    for (key, (value, _)) in store.values() {
        let _ = write!(printed, "{key} {}", String::from_utf8_lossy(&value));
    }
}

// L1
#[tokio::test]
async fn l1_nothing_secret_is_printed() {
    let mut printed = String::new();
    run(&mut printed).await;
    assert!(printed.contains("invalid_request"), "it isn't empty");
    assert!(!printed.contains("canary"), "{printed}");
    // Tokens of the issuer are JWTs.
    assert!(!printed.contains("eyJ"), "{printed}");
}

// L2: everything that anybody logs, at the most verbose level, in the HTTP stack too.
#[cfg(feature = "tracing")]
#[tokio::test]
async fn l2_nothing_secret_is_logged() {
    let (log, guard) = Log::of_this_thread(LevelFilter::TRACE);
    run(&mut String::new()).await;
    drop(guard);
    let log = log.text();
    let failed = log.lines().find(|line| line.contains("client_retrieval_failed")).unwrap();
    for whose in ["host", "client_id"] {
        assert!(failed.contains(whose), "{failed}");
    }
    let encoded =
        base64::prelude::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("me:{SECRET}"));
    for secret in ["canary", "eyJ", &encoded] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

// L3
#[cfg(feature = "metrics")]
#[tokio::test]
async fn l3_the_metrics_have_their_names() {
    use std::collections::BTreeSet;

    use metrics_util::debugging::DebuggingRecorder;

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    run(&mut String::new()).await;
    let transport = counting(600);
    let source = source(&transport);
    let (a, b) = tokio::join!(source.token(), source.token());
    a.unwrap();
    b.unwrap();
    let layer =
        tower_bearer::client::AttachTokenLayer::new(source, ["https://orders.test"]).unwrap();
    let refusing =
        tower::service_fn(|_: http::Request<tower_bearer::client::ReplayBody<String>>| async {
            let mut response = http::Response::new(String::new());
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            Ok::<_, std::convert::Infallible>(response)
        });
    let service = tower::Layer::layer(&layer, refusing);
    let request = http::Request::get("https://orders.test/").body(String::new()).unwrap();
    tower::ServiceExt::oneshot(service, request).await.unwrap();
    // What a store that is away is counted by.
    let store = MemoryStore::default();
    store.set(Mode::Gone);
    token(&process(&transport, &store, &running_clock())).await;
    drop(guard);

    let mut names = BTreeSet::new();
    for (key, _, _, _) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().collect();
        for label in &labels {
            assert!(!format!("{label:?}").contains("canary"));
        }
        names.insert(key.key().name().to_owned());
    }
    for name in [
        "tower_bearer_client_cache_entries",
        "tower_bearer_client_cache_hits_total",
        "tower_bearer_client_fetch_duration_seconds",
        "tower_bearer_client_fetch_waits_total",
        "tower_bearer_client_fetches_total",
        "tower_bearer_client_retries_total",
        "tower_bearer_client_store_failures_total",
        "tower_bearer_client_token_age_seconds",
        "tower_bearer_client_tokens_refused_total",
    ] {
        assert!(names.contains(name), "{name} is missing from {names:?}");
    }
}
