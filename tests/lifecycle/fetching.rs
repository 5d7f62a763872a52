use std::time::Duration;

use http::StatusCode;
use tower_bearer::jwks::{FetchError, FetchErrorKind, Jwks, JwksBuilder};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};

use crate::support::{ISSUER, Issuer, URL, key, pass, secs, set};

#[tokio::test(start_paused = true)]
async fn asks_for_keys_and_gives_nothing_away() {
    let issuer = Issuer::with(&[&key("a")]);
    let (_validator, _jwks) = issuer.ready(issuer.jwks()).await;
    let request = issuer.transport.requests().remove(0);
    assert_eq!((request.method().as_str(), request.uri().to_string()), ("GET", URL.to_owned()));
    let mut names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "user-agent"]);
    assert_eq!(request.headers()["accept"], "application/jwk-set+json, application/json");
    let agent = concat!("tower-bearer/", env!("CARGO_PKG_VERSION"));
    assert_eq!(request.headers()["user-agent"], agent);
    assert!(request.body().is_empty());
}

async fn outcome(answer: impl Fn(String) -> ScriptedAnswer) -> Result<(), FetchError> {
    outcome_with(|builder| builder, answer).await
}

/// Returns what becomes of an answer to a planned and to a forced request.
async fn outcome_with(
    settings: impl Fn(JwksBuilder) -> JwksBuilder,
    answer: impl Fn(String) -> ScriptedAnswer,
) -> Result<(), FetchError> {
    let transport = ScriptedTransport::new();
    for _ in 0..2 {
        transport.push(answer(set(&[&key("a")]).to_string()));
    }
    let builder = Jwks::url(ISSUER, URL).transport(transport.clone());
    let jwks = settings(builder).build().unwrap();
    transport.wait_for_requests(1).await;
    pass(0.01).await;
    let first = jwks.status().last_error.map_or(Ok(()), Err);
    assert_eq!(first.is_ok(), jwks.ready(Duration::ZERO).await.is_ok());
    assert_eq!(jwks.refresh().await, first);
    first
}

#[tokio::test(start_paused = true)]
async fn takes_exactly_200() {
    assert_eq!(outcome(ScriptedAnswer::json).await, Ok(()));
    for status in [201, 203, 204, 206, 304, 400, 404, 500, 503] {
        let with_body = |body: String| {
            let mut response = http::Response::new(body.into());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            ScriptedAnswer::new(response)
        };
        assert_eq!(outcome(with_body).await, Err(FetchErrorKind::Status(status).into()));
    }
}

#[tokio::test(start_paused = true)]
async fn reads_json_whatever_it_is_called() {
    for content_type in ["application/jwk-set+json", "text/plain; charset=utf-8", "text/html"] {
        let named = |body: String| {
            let response = http::Response::builder().header("content-type", content_type);
            ScriptedAnswer::new(response.body(body.into()).unwrap())
        };
        assert_eq!(outcome(named).await, Ok(()), "{content_type}");
    }
    let page = |_| ScriptedAnswer::json("<!doctype html><title>Log in</title>");
    assert_eq!(outcome(page).await, Err(FetchErrorKind::NotAKeySet.into()));
}

#[tokio::test(start_paused = true)]
async fn refuses_a_coding_that_nobody_undid() {
    let coded = |coding: &'static str| {
        move |body: String| ScriptedAnswer::json(body).header("content-encoding", coding)
    };
    // FB4
    for coding in ["identity", "", ",", "identity, ,", "aws-chunked", "UTF-8"] {
        assert_eq!(outcome(coded(coding)).await, Ok(()), "{coding}");
    }
    let twice = |body: String| {
        let answer = ScriptedAnswer::json(body).header("content-encoding", "");
        answer.header("content-encoding", "br")
    };
    assert_eq!(outcome(twice).await, Err(FetchErrorKind::ContentEncoding.into()));
    for coding in ["gzip", "br", "identity, gzip"] {
        assert_eq!(
            outcome(coded(coding)).await,
            Err(FetchErrorKind::ContentEncoding.into()),
            "{coding}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_what_is_too_large() {
    let length = set(&[&key("a")]).to_string().len();
    let at_most = |bytes| move |builder: JwksBuilder| builder.max_bytes(bytes);
    assert_eq!(outcome_with(at_most(length), ScriptedAnswer::json).await, Ok(()));
    let refused = outcome_with(at_most(length - 1), ScriptedAnswer::json).await;
    assert_eq!(refused, Err(FetchErrorKind::TooLarge.into()));

    let keys: Vec<TestKey> = (0..3).map(|n| key(&n.to_string())).collect();
    let three = |_| ScriptedAnswer::json(set(&keys.iter().collect::<Vec<_>>()).to_string());
    assert_eq!(outcome_with(|builder| builder.max_keys(3), three).await, Ok(()));
    let refused = outcome_with(|builder| builder.max_keys(2), three).await;
    assert_eq!(refused, Err(FetchErrorKind::TooManyKeys.into()));
}

#[tokio::test(start_paused = true)]
async fn follows_redirects_only_if_told_and_only_at_home() {
    let visit = async |redirects: u8, locations: &[&str]| {
        let transport = ScriptedTransport::new();
        for location in locations {
            let found = ScriptedAnswer::status(StatusCode::TEMPORARY_REDIRECT);
            transport.push(found.header("location", location));
        }
        transport.push(ScriptedAnswer::json(set(&[&key("a")]).to_string()));
        let builder = Jwks::url(ISSUER, URL).transport(transport.clone()).redirects(redirects);
        let jwks = builder.build().unwrap();
        transport.wait_for_requests(1).await;
        pass(0.01).await;
        (jwks.status().last_error, transport.request_count())
    };
    let home = "https://issuer.test/keys";
    assert_eq!(visit(0, &[home]).await, (Some(FetchErrorKind::Redirect.into()), 1));
    assert_eq!(visit(1, &[home]).await, (None, 2));
    assert_eq!(visit(1, &["/keys"]).await, (None, 2));
    assert_eq!(visit(1, &["https://ISSUER.test:443/keys"]).await, (None, 2));
    assert_eq!(visit(3, &[home, "/b", "/c"]).await, (None, 4));
    assert_eq!(
        visit(3, &[home, "/b", "/c", "/d"]).await,
        (Some(FetchErrorKind::Redirect.into()), 4)
    );
    for elsewhere in [
        "http://issuer.test/keys",
        "https://issuer.test:8443/keys",
        "https://evil.test/keys",
        "//evil.test/keys",
        "/\\evil.test/keys",
        "https://issuer.test@evil.test/keys",
        "https://issuer.test.evil.test/",
        "ftp://issuer.test/keys",
        "keys",
        "",
        "\u{e9}",
    ] {
        let refused = visit(3, &[elsewhere]).await;
        assert_eq!(refused, (Some(FetchErrorKind::Redirect.into()), 1), "{elsewhere}");
    }
}

#[tokio::test(start_paused = true)]
async fn obeys_retry_after_within_bounds() {
    for (asked, waits) in [("120", 120.0), ("86400", 300.0), ("0", 1.0)] {
        let issuer = Issuer::with(&[&key("a")]);
        issuer.fail(move || {
            ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", asked)
        });
        let (_validator, _jwks) = issuer.validator(issuer.jwks());
        pass(301.0).await;
        let first = issuer.gaps()[0];
        assert!((waits - 0.002..waits + 0.002).contains(&first), "{asked}: {first}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_ttl_takes_effect() {
    for (cache_control, from, to) in
        [(None, 1.4, 1.8), (Some("no-store"), 1.4, 1.8), (Some("max-age=10"), 7.1, 8.9)]
    {
        let issuer = Issuer::with(&[&key("a")]);
        if let Some(value) = cache_control {
            issuer.header("cache-control", value);
        }
        let (_validator, _jwks) = issuer.ready(issuer.jwks().ttl(secs(2))).await;
        pass(20.0).await;
        assert!(issuer.gaps().iter().all(|gap| (from..to).contains(gap)), "{:?}", issuer.gaps());
    }
}

#[tokio::test(start_paused = true)]
async fn every_setting_is_checked() {
    let base = || Jwks::url(ISSUER, URL).transport(ScriptedTransport::new());
    let (zero, day) = (Duration::ZERO, secs(86_400));
    for (name, good, bad) in [
        (
            "ttl",
            vec![base().ttl(secs(1)), base().ttl(day)],
            vec![base().ttl(zero), base().ttl(day * 2)],
        ),
        (
            "min_ttl",
            vec![base().min_ttl(secs(1)), base().min_ttl(day)],
            vec![base().min_ttl(zero), base().min_ttl(secs(9)).max_ttl(secs(8))],
        ),
        ("max_ttl", vec![base().max_ttl(secs(60))], vec![base().max_ttl(day * 2)]),
        (
            "ttl",
            vec![base().ttl(secs(5)).min_ttl(secs(5)), base().ttl(day).max_ttl(day)],
            vec![base().ttl(secs(4)).min_ttl(secs(5)), base().ttl(day).max_ttl(secs(600))],
        ),
        (
            "max_stale",
            vec![base().max_stale(zero), base().max_stale(day * 7)],
            vec![base().max_stale(day * 8)],
        ),
        (
            "timeout",
            vec![base().timeout(secs(1)), base().timeout(secs(30))],
            vec![base().timeout(zero), base().timeout(secs(31))],
        ),
        (
            "connect_timeout",
            vec![base().timeout(secs(1)).connect_timeout(secs(1))],
            vec![base().connect_timeout(zero), base().timeout(secs(1)).connect_timeout(secs(2))],
        ),
        (
            "request_wait",
            vec![base().request_wait(zero), base().request_wait(secs(5))],
            vec![base().request_wait(secs(6))],
        ),
        (
            "cooldown",
            vec![base().cooldown(secs(1))],
            vec![base().cooldown(zero), base().cooldown(day)],
        ),
        (
            "max_bytes",
            vec![base().max_bytes(1)],
            vec![base().max_bytes(0), base().max_bytes(1 << 30)],
        ),
        (
            "max_keys",
            vec![base().max_keys(1_000)],
            vec![base().max_keys(0), base().max_keys(1_001)],
        ),
        ("redirects", vec![base().redirects(3)], vec![base().redirects(4)]),
        (
            "dangerous_removed_key_grace",
            vec![base().dangerous_removed_key_grace(day)],
            vec![base().dangerous_removed_key_grace(day * 2)],
        ),
    ] {
        for builder in good {
            assert!(builder.build().is_ok(), "{name}");
        }
        for builder in bad {
            let error = builder.build().unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_address_is_checked() {
    let build = |builder: JwksBuilder| builder.transport(ScriptedTransport::new()).build();
    for good in [
        "https://a.example/k",
        "http://127.0.0.1:1/k",
        "http://localhost/k",
        "https://a.example/k?v=1",
    ] {
        assert!(build(Jwks::url("any issuer", good)).is_ok(), "{good}");
    }
    // Shown without what may be secret in them.
    for (bad, shown) in [
        ("", "\"\""),
        ("k", "\"k\""),
        ("http://a.example/k", "\"http://a.example/k\""),
        ("https://a.example:65536/k", "\"https://a.example:65536/k\""),
        ("https://u@a.example/k", "\"https://…@…\""),
        ("https://a.example/k#f", "\"https://a.example/k#…\""),
    ] {
        let error = build(Jwks::url(ISSUER, bad)).unwrap_err().to_string();
        assert!(error.contains(shown), "{error}");
    }
    assert!(build(Jwks::url(ISSUER, "http://a.example/k").dangerous_allow_http()).is_ok());
    assert!(build(Jwks::url("", URL)).is_err());

    for good in ["https://a.example", "https://a.example/t/", "http://[::1]:9"] {
        assert!(build(Jwks::discover(good)).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a.example",
        "http://a.example",
        "https://a.example?q=1",
        "https://a.example#f",
        "https://a.example/.well-known/openid-configuration",
    ] {
        assert!(build(Jwks::discover(bad)).is_err(), "{bad}");
    }
    assert!(build(Jwks::discover("http://127.0.0.1:9").public_addresses_only()).is_err());
}

// Others than 429 and 503 don't ask for rest, whatever else they send along.
#[tokio::test(start_paused = true)]
async fn retry_after_counts_with_the_statuses_that_it_belongs_to() {
    for (status, obeyed) in [(429, true), (503, true), (500, false), (404, false), (403, false)] {
        let issuer = Issuer::with(&[&key("a")]);
        let status = StatusCode::from_u16(status).unwrap();
        issuer.fail(move || ScriptedAnswer::status(status).header("retry-after", "120"));
        let (_validator, _jwks) = issuer.validator(issuer.jwks());
        pass(100.0).await;
        assert_eq!(issuer.requests() == 1, obeyed, "{status}");
    }
}
