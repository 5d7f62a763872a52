//! What an operator sees at `info`: what is in force, and what becomes of requests, in a line a minute.
#![cfg(all(feature = "test-util", feature = "tracing", feature = "aws-lc-rs"))]

mod world;

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tower::Layer as _;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::{Jwks, JwksBuilder};
use tower_bearer::testing::{ManualClock, ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::{
    Limits, Transport, TransportError, TransportErrorKind, TransportFuture,
};
use tower_bearer::{
    Access, BearerAuthLayer, Clock as _, Requirement, RouteTable, ScopeGuardLayer, UnixTime,
    Validator,
};
use world::log::{LevelFilter, Log};
use world::{AUDIENCE, ISSUER, Inner, Issuer, bearer, get, send};

/// The lines of `tower_bearer` at `info` and above, on this thread.
struct Lines {
    log: Log,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Lines {
    fn at_info() -> Self {
        let (log, guard) = Log::of_this_thread(LevelFilter::INFO);
        Self { log, _guard: guard }
    }

    /// Returns the lines with this word since the last call, and forgets all.
    fn take(&self, word: &str) -> Vec<String> {
        self.log.take().lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
    }

    fn summaries(&self) -> Vec<String> {
        self.take("auth_summary")
    }

    #[track_caller]
    fn one(&self, word: &str) -> String {
        let lines = self.take(word);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines.into_iter().next().unwrap()
    }
}

#[track_caller]
fn assert_says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} isn't in {line}");
    }
}

async fn pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_refusal_is_told_at_once_with_its_cause_and_the_setting_and_then_no_more() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let service = issuer.layer().layer(Inner::default());
    let wrong = bearer(&issuer.token_with(json!({ "aud": "https://api.example/" })));
    let wrong = || get("/", &[("authorization", &wrong)]);

    assert_eq!(send(&service, wrong()).await.status(), 401);
    let line = lines.one("auth_summary");
    assert_says(
        &line,
        &[
            "WARN",
            "1 of 1 requests",
            "none was accepted so far",
            "1 × wrong_audience",
            "expected \"https://api.example\", presented \"https://api.example/\"",
            "also_audience",
        ],
    );

    for _ in 0..1_000 {
        send(&service, wrong()).await;
    }
    pass(59).await;
    send(&service, wrong()).await;
    assert_eq!(lines.summaries(), Vec::<String>::new(), "nothing within a minute");

    pass(1).await;
    for _ in 0..8 {
        send(&service, wrong()).await;
    }
    let line = lines.one("auth_summary");
    assert_says(&line, &["WARN", "in the last 60 s", "none was accepted", "× wrong_audience"]);
    // Of a thousand, only every eighth looks at the clock.
    let refused = line.split("refused=").nth(1).unwrap().split(' ').next().unwrap();
    assert!((1_002..=1_009).contains(&refused.parse::<u32>().unwrap()), "{line}");
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_is_counted_and_then_it_is_no_warning() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let service = issuer.layer().layer(Inner::default());
    let good = bearer(&issuer.token(""));
    for _ in 0..41 {
        assert_eq!(send(&service, get("/", &[("authorization", &good)])).await.status(), 200);
    }
    assert_eq!(lines.summaries(), Vec::<String>::new(), "nothing was refused");
    send(&service, get("/", &[])).await;
    let line = lines.one("auth_summary");
    assert_says(&line, &["INFO", "1 of 42 requests", "1 × no_credentials", "Authorization"]);
    assert!(!line.contains("none was accepted"), "{line}");

    // Without tokens, no client is locked out: that is anybody's to cause.
    pass(60).await;
    send(&service, get("/", &[])).await;
    let line = lines.one("auth_summary");
    assert_says(&line, &["INFO", "1 of 1 requests in the last 60 s", "none was accepted;"]);
}

#[tokio::test(start_paused = true)]
async fn the_commonest_reasons_come_first_and_each_with_its_setting() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let service = issuer.layer().layer(Inner::default());
    let now = world::now();
    send(&service, get("/", &[])).await;
    lines.summaries();
    let token = |changes| bearer(&issuer.token_with(changes));
    let other = TestKey::generate(Algorithm::EdDSA).with_kid("other");
    for (times, value) in [
        (6, token(json!({ "iss": "https://staging.example" }))),
        (1, bearer("garbage")),
        (5, token(json!({ "exp": now - 3_000 }))),
        (4, bearer(&world::sign(&other, json!({})))),
        (1, "Basic \r".trim().to_owned()),
    ] {
        for _ in 0..times {
            send(&service, get("/", &[("authorization", &value)])).await;
        }
    }
    pass(60).await;
    send(&service, get("/", &[])).await;
    let line = lines.one("auth_summary");
    let places = ["6 × wrong_issuer", "5 × expired", "4 × unknown_key", "malformed_token"];
    let places: Vec<usize> =
        places.iter().map(|it| line.find(it).unwrap_or_else(|| panic!("{it}: {line}"))).collect();
    assert!(places.is_sorted(), "{line}");
    assert_says(
        &line,
        &[
            "expected \"https://issuer.example\", presented \"https://staging.example\"",
            "also_issuer",
            "50 min ago, leeway 60 s",
            "kid \"other\" with alg EdDSA, known keys: \"test-key\" EdDSA",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn what_callers_send_is_cut_and_can_forge_no_line() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let service = issuer.layer().layer(Inner::default());
    let aud = format!("x\r\n2026 WARN tower_bearer: \u{1b}[31mforged {}", "y".repeat(9_000));
    let token = bearer(&issuer.token_with(json!({ "aud": aud })));
    send(&service, get("/", &[("authorization", &token)])).await;
    let line = lines.one("auth_summary");
    assert!(line.len() < 1_000 && !line.contains('\u{1b}'), "{line}");
    assert_says(&line, &["x??2026 WARN", "…"]);
    assert!(!line.contains(&token[7..60]), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_guards_refusal_is_counted_once_and_names_the_scope() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let guard = ScopeGuardLayer::new(Requirement::scope("orders:read").unwrap());
    let service = issuer.layer().layer(guard.layer(Inner::default()));
    let token = bearer(&issuer.token("orders:write"));
    assert_eq!(send(&service, get("/", &[("authorization", &token)])).await.status(), 403);
    let line = lines.one("auth_summary");
    assert_says(
        &line,
        &[
            "WARN",
            "1 of 1 requests",
            "insufficient_scope",
            "needs \"orders:read\", has \"orders:write\"",
            "scope_source",
        ],
    );
}

struct Untrusted;

impl Transport for Untrusted {
    fn send(&self, _: http::Request<bytes::Bytes>, _: Limits) -> TransportFuture {
        let error = TransportError::new(TransportErrorKind::Tls);
        let error = error.with_source("invalid peer certificate: UnknownIssuer\r\n");
        Box::pin(std::future::ready(Err(error)))
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_one_line_a_minute_with_address_and_cause() {
    let lines = Lines::at_info();
    let validator = Validator::builder(ISSUER, AUDIENCE)
        .keys(Jwks::url(ISSUER, "https://issuer.example/jwks?key=secret").transport(Untrusted))
        .build()
        .unwrap();
    let service = BearerAuthLayer::new(validator.clone()).layer(Inner::default());
    let token = bearer(&Issuer::new().token(""));
    for _ in 0..50 {
        let answer = send(&service, get("/", &[("authorization", &token)])).await;
        assert_eq!(answer.status(), 503);
    }
    let text = lines.take("");
    let told: Vec<&String> = text.iter().filter(|line| line.contains("auth_summary")).collect();
    assert_eq!(told.len(), 1, "{text:#?}");
    let parts = [
        "WARN",
        "keys_not_loaded",
        "from https://issuer.example/…",
        "UnknownIssuer",
        "jwks_fetch_failed",
        "make the issuer's keys reachable",
        // What the first words say isn't said again.
        "has been loaded yet; issuer \"https://issuer.example\": from",
    ];
    assert_says(told[0], &parts);
    assert_eq!(told[0].matches("no key of the issuer").count(), 1, "{}", told[0]);
    let failed: Vec<&String> = text.iter().filter(|line| line.contains("fetch_failed:")).collect();
    let parts = ["WARN", "url=\"https://issuer.example/…\"", "UnknownIssuer", "certificate"];
    assert_says(failed[0], &parts);
    assert_eq!(text.len(), told.len() + failed.len() + 1, "and the line at the start: {text:#?}");
    assert!(!text.concat().contains("secret"), "{text:#?}");

    let error = validator.ready(Duration::from_secs(1)).await.unwrap_err();
    let error = format!("{error:?}");
    let parts = ["\"https://issuer.example\"", "https://issuer.example/jwks?…", "UnknownIssuer"];
    assert_says(&error, &parts);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_comes_with_what_is_known_of_the_clocks() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let old = issuer.token_with(json!({ "exp": world::now() - 3_000 }));
    // It is refused before any answer of the issuer has come.
    let keys = Jwks::url(ISSUER, "https://issuer.example/jwks").transport(Untrusted);
    let validator = Validator::builder(ISSUER, AUDIENCE).keys(keys).build().unwrap();
    assert!(validator.validate(&old).await.is_err());
    let unknown = "the clock of \"https://issuer.example\" shows isn't known yet";
    assert_says(&lines.one("auth_summary"), &["1 × expired", unknown]);

    // Keys that are part of the configuration come from no clock.
    assert!(issuer.validator().validate(&old).await.is_err());
    let line = lines.one("auth_summary");
    assert_says(&line, &["1 × expired"]);
    assert!(!line.contains("the clock of"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn it_is_said_once_that_requests_are_accepted_after_none_was() {
    const AGAIN: &str = "requests are accepted now";
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let guard = ScopeGuardLayer::new(Requirement::scope("orders:read").unwrap());
    let service = issuer.layer().layer(guard.layer(Inner::default()));
    let request = |token: String| get("/", &[("authorization", &bearer(&token))]);
    let good = || request(issuer.token("orders:read"));
    let wrong = || request(issuer.token_with(json!({ "aud": "other" })));

    assert_eq!(send(&service, good()).await.status(), 200);
    pass(60).await;
    assert_eq!(send(&service, good()).await.status(), 200);
    assert_eq!(lines.summaries(), Vec::<String>::new(), "there was no alarm");
    send(&service, wrong()).await;
    assert_says(&lines.one("auth_summary"), &["INFO", "1 of 3 requests"]);
    pass(60).await;
    send(&service, wrong()).await;
    assert_says(&lines.one("auth_summary"), &["WARN", "1 of 1", "none was accepted;"]);

    // What a guard refuses isn't accepted.
    for _ in 0..3 {
        pass(60).await;
        assert_eq!(send(&service, request(issuer.token("orders:write"))).await.status(), 403);
        assert_says(&lines.one("auth_summary"), &["WARN", "insufficient_scope"]);
    }
    for _ in 0..100 {
        pass(1).await;
        assert_eq!(send(&service, good()).await.status(), 200);
    }
    let line = lines.one("auth_summary");
    assert_says(&line, &["INFO", "0 of 59 requests in the last 60 s were refused", AGAIN]);

    // With refusals between, and no more than that: a caller can't fill the log.
    pass(60).await;
    send(&service, wrong()).await;
    assert_says(&lines.one("auth_summary"), &["INFO", "1 of 42 requests"]);
    for _ in 0..600 {
        pass(1).await;
        send(&service, wrong()).await;
        send(&service, wrong()).await;
        if lines.log.text().contains("WARN") {
            break;
        }
    }
    lines.summaries();
    for _ in 0..1_000 {
        send(&service, good()).await;
        send(&service, wrong()).await;
    }
    assert_eq!(lines.summaries(), Vec::<String>::new());
    pass(60).await;
    send(&service, good()).await;
    let line = lines.one("auth_summary");
    assert_says(&line, &["INFO", AGAIN, "× wrong_audience"]);
}

fn answering(key: &TestKey, headers: &'static [(&'static str, &'static str)]) -> ScriptedTransport {
    let set = json!({ "keys": [key.public_jwk()] }).to_string();
    ScriptedTransport::from_fn(move |_| {
        let answer = ScriptedAnswer::json(set.clone());
        headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value))
    })
}

fn fetched(transport: ScriptedTransport, clock: &ManualClock) -> JwksBuilder {
    Jwks::url(ISSUER, "https://issuer.example/jwks").transport(transport).clock(clock.clone())
}

#[tokio::test(start_paused = true)]
async fn without_another_request_the_key_sources_task_tells_the_rest() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let clock = ManualClock::running(UnixTime::from_secs(world::now().try_into().unwrap()));
    let keys = fetched(answering(&issuer.key, &[]), &clock).build().unwrap();
    let validator =
        Validator::builder(ISSUER, AUDIENCE).keys(keys).clock(clock.clone()).build().unwrap();
    validator.ready(Duration::from_secs(1)).await.unwrap();
    assert!(validator.validate("garbage").await.is_err());
    assert_says(&lines.one("auth_summary"), &["malformed_token"]);
    let wrong = issuer.token_with(json!({ "aud": "other" }));
    for _ in 0..3 {
        assert!(validator.validate(&wrong).await.is_err());
    }
    pass(91).await;
    assert_says(&lines.one("auth_summary"), &["3 of 3 requests", "wrong_audience"]);
    pass(600).await;
    assert_eq!(lines.summaries(), Vec::<String>::new(), "there was nothing more");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_off_is_told_from_a_token_that_is_old() {
    // Sun, 06 Nov 1994 08:49:37 GMT
    const THEIRS: i64 = 784_111_777;
    let headers: &[_] = &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")];
    for (ours, offset, direction) in [
        (THEIRS + 3_600, -3_600, "60 min behind this one"),
        (THEIRS - 3_600, 3_600, "60 min ahead of"),
    ] {
        let lines = Lines::at_info();
        let issuer = Issuer::new();
        let clock = ManualClock::new(UnixTime::from_secs(ours));
        let jwks = fetched(answering(&issuer.key, headers), &clock).build().unwrap();
        let validator = Validator::builder(ISSUER, AUDIENCE)
            .keys(jwks.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        validator.ready(Duration::from_secs(1)).await.unwrap();
        let told = jwks.status().clock_offset.unwrap();
        assert!((told - offset).abs() <= 1, "{told}");
        let line = lines.one("jwks_clock");
        assert_says(&line, &["WARN", ISSUER, &format!("ahead_s={told}"), "leeway_s=60"]);
        // Once, as long as it stays the same.
        jwks.refresh().await.unwrap();
        assert_eq!(lines.take("jwks_clock"), Vec::<String>::new());

        let token = json!({ "exp": THEIRS + 300, "iat": THEIRS, "nbf": THEIRS });
        assert!(validator.validate(&issuer.token_with(token)).await.is_err());
        assert_says(&lines.one("auth_summary"), &[direction, "60 min", "synchronize"]);
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_agree_within_the_leeway_are_no_warning_and_say_that_the_token_is_old() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let clock = ManualClock::new(UnixTime::from_secs(784_111_777));
    let transport = answering(&issuer.key, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
    let jwks = fetched(transport, &clock).build().unwrap();
    let validator =
        Validator::builder(ISSUER, AUDIENCE).keys(jwks).clock(clock.clone()).build().unwrap();
    validator.ready(Duration::from_secs(1)).await.unwrap();
    assert_eq!(lines.take("jwks_clock"), Vec::<String>::new());
    let old = json!({ "exp": clock.now().as_secs() - 7_300 });
    assert!(validator.validate(&issuer.token_with(old)).await.is_err());
    assert_says(&lines.one("auth_summary"), &["2 h ago", "agrees with this one"]);
}

#[tokio::test]
async fn one_line_at_the_start_says_what_is_in_force() {
    let lines = Lines::at_info();
    let issuer = Issuer::new();
    let layer = issuer.layer();
    assert_eq!(lines.take(""), Vec::<String>::new(), "it may still be changed");
    let (one, _two) = (layer.layer(Inner::default()), layer.layer(Inner::default()));
    let line = lines.one("auth_in_force");
    assert_says(
        &line,
        &["INFO", "https://issuer.example", "https://api.example", "RS256, ", "a valid token"],
    );
    assert_says(&line, &["part of the configuration", "leeway_s=60", "routes=0"]);
    send(&one, get("/", &[])).await;
    assert_eq!(lines.take("auth_in_force"), Vec::<String>::new());

    let routes = RouteTable::builder().route(Method::GET, "/a", Access::public()).build().unwrap();
    let validator = Validator::builder(ISSUER, AUDIENCE)
        .algorithms([Algorithm::ES256])
        .also_audience("orders")
        .build()
        .unwrap();
    let layer = BearerAuthLayer::new(validator).routes(routes).fallback(Access::denied()).unwrap();
    let _service = layer.layer(Inner::default());
    let line = lines.one("auth_in_force");
    assert_says(
        &line,
        &["algorithms=\"ES256\"", "https://api.example, orders", "routes=1", "denied"],
    );
    assert_says(&line, &["by discovery from https://issuer.example/.well-known/"]);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn as_a_layer_of_an_axum_router_it_is_said_before_the_first_request() {
    let lines = Lines::at_info();
    let app: axum::Router = axum::Router::new()
        .route("/", axum::routing::get(async || "hello"))
        .layer(Issuer::new().layer());
    lines.one("auth_in_force");
    let answer = send(&app.into_service::<axum::body::Body>(), {
        http::Request::get("/").body(axum::body::Body::empty()).unwrap()
    })
    .await;
    assert_eq!(answer.response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(lines.take("auth_in_force"), Vec::<String>::new());
}
