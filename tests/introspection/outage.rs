//! The issuer is down, slow, or overrun.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tower::Layer as _;
#[cfg(feature = "tracing")]
use tower_bearer::UnixTime;
use tower_bearer::client::ClientAuth;
use tower_bearer::introspection::{Introspection, IntrospectionErrorKind};
use tower_bearer::jwks::Health;
#[cfg(feature = "tracing")]
use tower_bearer::jwks::Jwks;
use tower_bearer::refusal::UnavailableReason;
use tower_bearer::testing::{Endpoint, Fault, ScriptedAnswer, TestIssuer};
#[cfg(feature = "tracing")]
use tower_bearer::testing::{ManualClock, ScriptedTransport};
use tower_bearer::transport::TransportErrorKind;
use tower_bearer::{BearerAuthLayer, Validator};

use crate::support::{World, answer, unavailable};
use crate::world::{ISSUER, Inner, bearer, get, send};

const SECOND: Duration = Duration::from_secs(1);

// I33
#[tokio::test(start_paused = true)]
async fn i33_five_failures_open_the_circuit_and_what_is_remembered_passes() {
    let world = World::new();
    let validator = world.validator();
    world.active("known", json!({}));
    assert!(validator.validate("known").await.is_ok());
    for token in 0..20 {
        let refused = || ScriptedAnswer::error(TransportErrorKind::Connect);
        world.answer(&format!("new{token}"), refused);
    }
    for token in 0..10 {
        unavailable(validator.validate(&format!("new{token}")).await);
        assert!(validator.validate("known").await.is_ok());
    }
    assert_eq!(world.calls(), 1 + 5, "the others were answered at once");
    assert_eq!(validator.health(), Health::Degraded);
    let status = validator.introspection_status(ISSUER).unwrap();
    assert!(status.circuit_open);
    assert_eq!(status.last_error, Some(IntrospectionErrorKind::Connect.into()));
    assert_eq!(status.consecutive_failures, 5);
    // One a second goes through.
    tokio::time::advance(SECOND + SECOND / 4).await;
    for token in 10..15 {
        unavailable(validator.validate(&format!("new{token}")).await);
    }
    assert_eq!(world.calls(), 1 + 5 + 1);
    // The first that is answered closes it.
    world.active("back", json!({}));
    tokio::time::advance(SECOND + SECOND / 4).await;
    assert!(validator.validate("back").await.is_ok());
    assert_eq!(validator.health(), Health::Ready);
    for token in 15..18 {
        unavailable(validator.validate(&format!("new{token}")).await);
    }
    assert_eq!(world.calls(), 1 + 5 + 1 + 1 + 3);
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn i33_an_outage_is_told_ever_less_often() {
    let refused: fn() -> ScriptedAnswer = || ScriptedAnswer::error(TransportErrorKind::Connect);
    let denied: fn() -> ScriptedAnswer = || ScriptedAnswer::status(StatusCode::UNAUTHORIZED);
    for (answer, event) in
        [(refused, "introspection_failed"), (denied, "introspection_credentials")]
    {
        let logs = crate::world::Logs::capture();
        let world = World::new();
        let validator = world.validator();
        for token in 0..150 {
            let token = format!("new{token}");
            world.answer(&token, answer);
            unavailable(validator.validate(&token).await);
            tokio::time::advance(2 * SECOND).await;
        }
        assert_eq!(world.calls(), 150);
        let told = logs.take();
        let told: Vec<&String> = told.iter().filter(|line| line.contains(event)).collect();
        assert!((6..=8).contains(&told.len()), "{told:#?}");
        assert!(told.iter().skip(3).all(|line| line.contains("times=30")), "{told:#?}");
    }
}

/// What operators read of a failure, at `info`: whose endpoint, where, why, and which setting would help.
#[cfg(feature = "tracing")]
mod at_info {
    use tower_bearer::transport::TransportError;

    use super::*;
    use crate::support::NOW;
    use crate::world::log::{LevelFilter, Log};
    use crate::world::{AUDIENCE, Issuer};

    type Answer = fn() -> ScriptedAnswer;

    /// The lines about introspection when `answer` comes for a token.
    async fn lines(introspection: Introspection, answers: &[Answer]) -> Vec<String> {
        let (log, _guard) = Log::of_this_thread(LevelFilter::INFO);
        let transport = ScriptedTransport::new();
        let set = Issuer::new().jwks_json();
        let validator = Validator::builder(ISSUER, AUDIENCE)
            .keys(Jwks::static_set(ISSUER, &set).unwrap())
            .introspection(introspection.transport(transport.clone()))
            .clock(ManualClock::running(UnixTime::from_secs(NOW)))
            .build()
            .unwrap();
        for answer in answers {
            transport.push(answer());
        }
        unavailable(validator.validate("opaque-token").await);
        let text = log.take();
        text.lines()
            .filter(|line| line.contains("bearer: introspection_"))
            .map(str::to_owned)
            .collect()
    }

    fn auth() -> ClientAuth {
        ClientAuth::basic("me", "s3cret")
    }

    const REFUSED: Answer = || {
        let cause = "connection refused (os error 111)";
        let error = TransportError::new(TransportErrorKind::Connect).with_source(cause);
        ScriptedAnswer::failure(error)
    };

    #[tokio::test(start_paused = true)]
    async fn a_configured_endpoint_is_named_with_the_cause_and_the_setting() {
        let endpoint = "https://issuer.example/introspect?key=s3cret";
        for (answer, parts) in [
            (
                REFUSED,
                [
                    "WARN",
                    "code=\"connect\"",
                    "no connection could be made: connection refused (os error 111)",
                    "check host and port of the URL given to Introspection::endpoint",
                ],
            ),
            (
                || ScriptedAnswer::status(StatusCode::BAD_GATEWAY),
                ["WARN", "code=\"http_error\"", "(502)", "check the URL given to"],
            ),
            (
                || ScriptedAnswer::json("<html>"),
                ["WARN", "code=\"parse\"", "one JSON object", "check the URL given to"],
            ),
            (
                || ScriptedAnswer::json(answer(json!({ "exp": "never" })).to_string()),
                ["WARN", "code=\"malformed_member\"", "wrong type: ", "exp"],
            ),
            (
                || ScriptedAnswer::status(StatusCode::UNAUTHORIZED),
                [
                    "ERROR",
                    "introspection_credentials",
                    "own credentials",
                    "let this client introspect",
                ],
            ),
        ] {
            let lines = lines(Introspection::endpoint(endpoint, auth()), &[answer]).await;
            let [line] = &*lines else { panic!("{lines:#?}") };
            for part in parts {
                assert!(line.contains(part), "{part}: {line}");
            }
            assert!(line.contains("issuer=\"https://issuer.example\""), "{line}");
            assert!(line.contains("url=\"https://issuer.example/introspect?…\""), "{line}");
            assert!(!line.contains("s3cret") && !line.contains("opaque-token"), "{line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn until_the_endpoint_is_known_it_is_where_the_metadata_is_looked_for() {
        let lines = lines(Introspection::discover(auth()), &[REFUSED]).await;
        let [line] = &*lines else { panic!("{lines:#?}") };
        for part in [
            "url=\"https://issuer.example/.well-known/oauth-authorization-server\"",
            "no connection could be made: connection refused (os error 111)",
            "check host and port of the issuer",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn then_it_is_the_metadatas() {
        const METADATA: Answer = || {
            let metadata = json!({
                "issuer": ISSUER, "introspection_endpoint": "https://issuer.example/found",
            });
            ScriptedAnswer::json(metadata.to_string())
        };
        let lines = lines(Introspection::discover(auth()), &[METADATA, REFUSED]).await;
        let [line] = &*lines else { panic!("{lines:#?}") };
        for part in [
            "url=\"https://issuer.example/found\"",
            "check host and port of the introspection_endpoint of the metadata",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_is_told_with_the_failure_that_opened_it_and_so_is_the_summary() {
        let (log, _guard) = Log::of_this_thread(LevelFilter::INFO);
        let world = World::new();
        let layer = BearerAuthLayer::new(world.validator()).realm("api").unwrap();
        let service = layer.layer(Inner::default());
        for token in 0..6 {
            let name = format!("new{token}");
            world.answer(&name, REFUSED);
            let sent = send(&service, get("/", &[("authorization", &bearer(&name))])).await;
            assert_eq!(sent.status(), 503);
        }
        let text = log.take();
        let line = |part: &str| {
            let found = text.lines().find(|line| line.contains(part));
            found.unwrap_or_else(|| panic!("{part}: {text}"))
        };
        let open = line("code=\"circuit_open\"");
        assert!(open.contains("repeatedly: no connection could be made: connection"), "{open}");
        assert!(open.contains("check host and port"), "{open}");
        let summary = line("auth_summary");
        assert!(summary.contains("connection refused (os error 111)"), "{summary}");
        let start = line("auth_in_force");
        let place = "introspection=\"at https://issuer.example/introspect\"";
        assert!(start.contains(place), "{start}");
    }

    #[tokio::test]
    async fn what_is_discovered_is_said_at_start_and_ready_sends_nothing() {
        let (log, _guard) = Log::of_this_thread(LevelFilter::INFO);
        let transport = ScriptedTransport::new();
        let introspection = Introspection::discover(auth()).transport(transport.clone());
        let validator = Validator::builder(ISSUER, AUDIENCE).keys(introspection).build().unwrap();
        assert!(validator.ready(SECOND).await.is_ok());
        let service = BearerAuthLayer::new(validator).layer(Inner::default());
        assert_eq!(send(&service, get("/", &[])).await.status(), 401);
        assert_eq!(transport.request_count(), 0);
        let start = "introspection=\"by discovery from https://issuer.example/.well-known/";
        assert!(log.text().contains(start), "{}", log.text());
    }
}

// I16
#[tokio::test(start_paused = true)]
async fn i16_retry_after_is_obeyed_and_passed_on() {
    let world = World::new();
    let validator = world.validator();
    world.answer("busy", || {
        ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "7")
    });
    unavailable(validator.validate("busy").await);
    world.active("t", json!({}));
    let service = BearerAuthLayer::new(validator.clone()).layer(Inner::default());
    let request = || get("/", &[("authorization", &bearer("t"))]);
    let answered = send(&service, request()).await;
    assert_eq!((answered.status(), answered.header("retry-after")), (503, Some("7")));
    assert_eq!(answered.header("www-authenticate"), None);
    assert_eq!(world.calls(), 1);
    tokio::time::advance(7 * SECOND).await;
    assert_eq!(send(&service, request()).await.status(), 200);
}

// A caller must not be able to open the circuit by the choice of its token.
#[tokio::test(start_paused = true)]
async fn i33_what_a_token_brings_about_opens_no_circuit() {
    let answers: [fn() -> ScriptedAnswer; 6] = [
        || ScriptedAnswer::json(answer(json!({ "exp": "never" })).to_string()),
        || ScriptedAnswer::json(answer(json!({ "active": "yes" })).to_string()),
        // Claims of the client's choice may be in the answer.
        || ScriptedAnswer::json(answer(json!({ "claims": "x".repeat(64 * 1_024) })).to_string()),
        || ScriptedAnswer::error(TransportErrorKind::TooLarge),
        || {
            let deep = format!(r#"{{"active":true,"a":{}{}}}"#, "[".repeat(50), "]".repeat(50));
            ScriptedAnswer::json(deep)
        },
        || ScriptedAnswer::json(r#"{"active":true,"a":1,"a":2}"#),
    ];
    for (kind, make) in answers.into_iter().enumerate() {
        let world = World::new();
        let validator = world.validator();
        for token in 0..20 {
            let name = format!("odd{token}");
            world.answer(&name, make);
            unavailable(validator.validate(&name).await);
        }
        assert_eq!(world.calls(), 20, "{kind}");
        assert!(!validator.introspection_status(ISSUER).unwrap().circuit_open, "{kind}");
        world.active("good", json!({}));
        assert!(validator.validate("good").await.is_ok(), "{kind}");
    }
    let world = World::new();
    let validator = world.validator();
    // A token that makes the request too long, or that a filter refuses, as well.
    for (kind, status) in [400, 406, 413, 414, 422, 431].into_iter().enumerate() {
        for token in 0..20 {
            let name = format!("odd{status}-{token}");
            world.status(&name, status, r#"{"error":"unsupported_token_type"}"#);
            unavailable(validator.validate(&name).await);
        }
        assert_eq!(world.calls(), 20 * (kind + 1), "{status}");
    }
    world.active("good", json!({}));
    assert!(validator.validate("good").await.is_ok());
    // So is the page of a filter; a 403 without one is about this service's credentials, as ever (I7).
    for (kind, expected) in [("text/html; charset=utf-8", 20), ("application/json", 5)] {
        let world = World::new();
        let validator = world.validator();
        for token in 0..20 {
            let name = format!("odd{token}");
            world.answer(&name, move || {
                let page = http::Response::builder().status(403).header("content-type", kind);
                ScriptedAnswer::new(page.body(bytes::Bytes::from_static(b"<html>")).unwrap())
            });
            unavailable(validator.validate(&name).await);
        }
        assert_eq!(world.calls(), expected, "{kind}");
    }
}

// I33: nor does a queue, which callers can fill: what it leaves too little time isn't the server's fault.
#[tokio::test(start_paused = true)]
async fn i33_a_queue_opens_no_circuit() {
    let world = World::new();
    let few = world.introspection().concurrent(5).waiting(100).timeout(5 * SECOND);
    let validator = world.builder(few).build().unwrap();
    let body = answer(json!({})).to_string();
    let mut asking = Vec::new();
    for token in 0..30 {
        let (name, body) = (format!("t{token}"), body.clone());
        world.answer(&name, move || ScriptedAnswer::json(body.clone()).delay(SECOND * 3 / 2));
        let validator = validator.clone();
        asking.push(tokio::spawn(async move { validator.validate(&name).await }));
    }
    let mut accepted = 0;
    for asking in asking {
        match asking.await.unwrap() {
            Ok(_) => accepted += 1,
            told => assert_eq!(unavailable(told), UnavailableReason::IntrospectionOverloaded),
        }
    }
    assert_eq!(accepted, 15);
    assert!(!validator.introspection_status(ISSUER).unwrap().circuit_open);
}

// I11: so many at once, so many wait, and the rest is turned away.
#[tokio::test(start_paused = true)]
async fn i11_questions_are_bounded_and_so_is_their_queue() {
    let world = World::new();
    let few = world.introspection().concurrent(2).waiting(3);
    let validator = world.builder(few).build().unwrap();
    let body = answer(json!({})).to_string();
    let mut asking = Vec::new();
    for token in 0..8 {
        let (name, body) = (format!("t{token}"), body.clone());
        world.answer(&name, move || ScriptedAnswer::json(body.clone()).delay(SECOND));
        let validator = validator.clone();
        asking.push(tokio::spawn(async move { validator.validate(&name).await }));
    }
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(world.calls(), 2);
    let mut accepted = 0;
    for asking in asking {
        match asking.await.unwrap() {
            Ok(_) => accepted += 1,
            told => assert_eq!(unavailable(told), UnavailableReason::IntrospectionOverloaded),
        }
    }
    assert_eq!((accepted, world.calls()), (5, 5));
}

// I11
#[tokio::test(start_paused = true)]
async fn i11_a_question_ends_within_the_timeout() {
    let world = World::new();
    let validator = world.builder(world.introspection().timeout(2 * SECOND)).build().unwrap();
    world.answer("t", ScriptedAnswer::never);
    let began = tokio::time::Instant::now();
    unavailable(validator.validate("t").await);
    assert_eq!(began.elapsed().as_secs(), 2);
    let long = "x".repeat(16 * 1_024 + 1);
    assert!(validator.validate(&long).await.is_err());
    assert_eq!(world.calls(), 1, "too long a token isn't sent");
}

// A connection that had been kept is closed by the server: it is asked once more.
#[tokio::test(start_paused = true)]
async fn i14_a_broken_connection_is_tried_once_more() {
    let world = World::new();
    let validator = world.validator();
    world.transport.push(ScriptedAnswer::error(TransportErrorKind::Other));
    world.active("t", json!({}));
    assert!(validator.validate("t").await.is_ok());
    assert_eq!(world.calls(), 2);
    for _ in 0..2 {
        world.transport.push(ScriptedAnswer::error(TransportErrorKind::Other));
    }
    unavailable(validator.validate("u").await);
    assert_eq!(world.calls(), 4, "and not for ever");
}

// I34: a real server is killed and comes back.
#[tokio::test]
async fn i34_the_issuer_goes_and_comes_back() {
    let issuer = TestIssuer::start().await.unwrap();
    let auth = ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET);
    let validator = Validator::builder(issuer.issuer(), issuer.audience())
        .introspection(Introspection::discover(auth))
        .build()
        .unwrap();
    let known = issuer.token().opaque();
    assert!(validator.validate(&known).await.is_ok());
    issuer.stop().await;
    for _ in 0..10 {
        unavailable(validator.validate(&issuer.token().opaque()).await);
        assert!(validator.validate(&known).await.is_ok());
    }
    issuer.restart().await.unwrap();
    let back = async {
        loop {
            match validator.validate(&issuer.token().opaque()).await {
                Ok(_) => break,
                // None is refused for what isn't its fault.
                refused => _ = unavailable(refused),
            }
            tokio::time::sleep(SECOND / 20).await;
        }
    };
    tokio::time::timeout(5 * SECOND, back).await.expect("it recovers within five seconds");
}

// The embedded issuer's faults, over a real connection.
#[tokio::test]
async fn i16_faults_of_a_real_server_are_503() {
    let issuer = TestIssuer::start().await.unwrap();
    for fault in [
        Fault::login_page(),
        Fault::garbage(),
        Fault::truncated(),
        Fault::endless(),
        Fault::reset(),
        Fault::slow(SECOND),
        Fault::hang(),
        Fault::status(StatusCode::NO_CONTENT),
        Fault::redirect(&issuer.introspection_endpoint()),
        Fault::json(r#"{"active":"true"}"#),
    ] {
        let auth = ClientAuth::basic(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET);
        let introspection = Introspection::endpoint(issuer.introspection_endpoint(), auth);
        let validator = Validator::builder(issuer.issuer(), issuer.audience())
            .introspection(introspection.timeout(SECOND))
            .build()
            .unwrap();
        let token = issuer.token().opaque();
        issuer.inject(Endpoint::Introspection, fault.clone());
        unavailable(validator.validate(&token).await);
        issuer.clear_faults();
        assert!(validator.validate(&token).await.is_ok(), "{fault:?}");
    }
}

// I37
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn i37_questions_and_what_is_remembered_are_counted_and_readiness_shows_the_circuit() {
    use metrics_util::debugging::DebuggingRecorder;

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let world = World::new();
    let validator = world.validator();
    world.active("good", json!({}));
    for _ in 0..3 {
        assert!(validator.validate("good").await.is_ok());
    }
    for _ in 0..2 {
        assert!(validator.validate("bad").await.is_err());
    }
    for token in 0..6 {
        let name = format!("new{token}");
        world.answer(&name, || ScriptedAnswer::error(TransportErrorKind::Connect));
        unavailable(validator.validate(&name).await);
    }
    let found = Recorded::by(&snapshotter);
    let expected = [
        ("cache_hits_total accepted", 2),
        ("cache_hits_total refused", 1),
        ("requests_total active", 1),
        ("requests_total circuit_open", 1),
        ("requests_total connect", 5),
        ("requests_total inactive", 1),
    ];
    assert_eq!(found.counters, expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert_eq!((found.open, found.waiters, found.answers), (Some(1.0), Some(0.0), 7));
    assert_eq!(validator.health(), Health::Degraded);
    let [status] = &*validator.issuer_status() else { panic!("one issuer") };
    assert!(status.introspection.as_ref().unwrap().circuit_open);
}

// I7, I32, I37
#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn i7_i32_i37_refused_credentials_stale_answers_and_who_waits_are_counted() {
    use metrics_util::debugging::DebuggingRecorder;

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let world = World::new();
    let introspection = world.introspection().max_stale(60 * SECOND);
    let validator = world.builder(introspection).build().unwrap();
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        world.answer("t", move || ScriptedAnswer::status(status));
        unavailable(validator.validate("t").await);
    }
    // Other failures don't count as that.
    world.status("other", 500, "");
    unavailable(validator.validate("other").await);
    // Used although it is stale.
    world.active("stale", json!({}));
    assert!(validator.validate("stale").await.is_ok());
    world.status("stale", 500, "");
    tokio::time::advance(31 * SECOND).await;
    assert!(validator.validate("stale").await.is_ok());
    let found = Recorded::by(&snapshotter);
    assert_eq!(found.counters["credentials_refused_total "], 2);
    assert_eq!(found.counters["cache_hits_total stale"], 1);
    assert_eq!(found.waiters, Some(0.0));
    // Each request that waits, though they wait for one answer.
    let body = answer(json!({})).to_string();
    world.answer("slow", move || ScriptedAnswer::json(body.clone()).delay(SECOND));
    let waiting = [(); 3].map(|()| {
        let validator = validator.clone();
        tokio::spawn(async move { validator.validate("slow").await })
    });
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(Recorded::by(&snapshotter).waiters, Some(3.0));
    for waiting in waiting {
        assert!(waiting.await.unwrap().is_ok());
    }
    // What has changed since the gauge was last read.
    assert_eq!(Recorded::by(&snapshotter).waiters, Some(-3.0));
}

/// What was recorded about introspection.
#[cfg(feature = "metrics")]
#[derive(Default)]
struct Recorded {
    /// By name and result.
    counters: std::collections::BTreeMap<String, u64>,
    open: Option<f64>,
    waiters: Option<f64>,
    answers: usize,
}

#[cfg(feature = "metrics")]
impl Recorded {
    fn by(snapshotter: &metrics_util::debugging::Snapshotter) -> Self {
        use metrics_util::debugging::DebugValue;

        let mut found = Self::default();
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            let key = key.key();
            let result = key.labels().find(|label| label.key() == "result").map(|it| it.value());
            match (key.name().strip_prefix("tower_bearer_introspection_"), value) {
                (Some("circuit_open"), DebugValue::Gauge(gauge)) => found.open = Some(*gauge),
                (Some("waiters"), DebugValue::Gauge(gauge)) => found.waiters = Some(*gauge),
                (Some("request_duration_seconds"), DebugValue::Histogram(all)) => {
                    found.answers += all.len();
                }
                (Some(name), DebugValue::Counter(count)) => {
                    let name = format!("{name} {}", result.unwrap_or_default());
                    found.counters.insert(name, count);
                }
                (None, _) => {}
                (Some(other), value) => panic!("{other}: {value:?}"),
            }
        }
        found
    }
}
