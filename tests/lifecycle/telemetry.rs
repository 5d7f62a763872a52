#![cfg(all(feature = "metrics", feature = "tracing"))]

#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../support/log.rs"]
mod log;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use serde_json::json;
use tower_bearer::jose::Algorithm;
use tower_bearer::jwks::Jwks;
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::TransportErrorKind;

use self::log::Log;
use crate::support::{ISSUER, Issuer, URL, key, pass, secs};

/// Runs in paused time, on this thread, where the recorder and the subscriber are.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test);
}

/// Returns the counters and gauges, as `name{label=value} number`.
fn take(snapshotter: &Snapshotter) -> BTreeSet<String> {
    let metrics = snapshotter.snapshot().into_vec();
    let lines = metrics.into_iter().map(|(key, _, _, value)| {
        let labels: Vec<String> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(count) => count.to_string(),
            DebugValue::Gauge(value) => value.0.to_string(),
            DebugValue::Histogram(values) => format!("{} values", values.len()),
        };
        format!("{}{{{}}} {value}", key.key().name(), labels.join(","))
    });
    lines.collect()
}

#[test]
fn every_metric_tells_what_happened() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut others = Vec::new();
    metrics::with_local_recorder(&recorder, || {
        run(async {
            let (a, b) = (key("a"), key("b"));
            // Others in the same process, one of which never answers.
            let set = json!({ "keys": [a.public_jwk()] }).to_string();
            others.push(Jwks::static_set("https://fixed.test", &set).unwrap());
            let silent = ScriptedTransport::from_fn(|_| ScriptedAnswer::never());
            let down = Jwks::url("https://down.test", "https://down.test/jwks").transport(silent);
            others.push(down.build().unwrap());
            let issuer = Issuer::with(&[]);
            let unusable = json!({"kty": "NEW", "kid": "pq"});
            issuer.publish_json(json!({"keys": [a.public_jwk(), unusable]}));
            issuer.etag("\"1\"");
            let (validator, jwks) = issuer.ready(issuer.jwks().max_stale(secs(60))).await;
            jwks.refresh().await.unwrap();
            let check = async |kid: &str| drop(validator.validate(&issuer.token_of(&b, kid)).await);
            check("absent").await;
            check("absent").await;
            issuer.publish(&[&b]);
            issuer.etag("\"2\"");
            check("b").await;
            check("a").await;
            for n in 0..7 {
                check(&format!("limited-{n}")).await;
            }
            issuer.fail(|| ScriptedAnswer::status(StatusCode::BAD_GATEWAY));
            pass(31.0).await;
            check("failed").await;
            pass(580.0).await;
            assert!(validator.validate(&issuer.token(&b)).await.is_ok());
            pass(60.0).await;
        });
    });
    let metrics = take(&snapshotter);
    for expected in [
        "tower_bearer_jwks_fetches_total{issuer=ISSUER,result=ok} 8",
        "tower_bearer_jwks_fetches_total{issuer=ISSUER,result=not_modified} 2",
        "tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=absent} 7",
        "tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=negative_cached} 1",
        "tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=resolved} 1",
        "tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=tombstone} 1",
        "tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=rate_limited} 1",
        "tower_bearer_jwks_kid_misses_total{issuer=ISSUER,result=fetch_failed} 1",
        "tower_bearer_jwks_stale_served_total{issuer=ISSUER} 1",
        "tower_bearer_jwks_refresh_waiters{issuer=ISSUER} 0",
        "tower_bearer_jwks_keys{issuer=ISSUER,kind=usable} 1",
        "tower_bearer_jwks_keys{issuer=ISSUER,kind=ignored} 0",
        "tower_bearer_jwks_state{issuer=ISSUER,state=shut_down} 1",
        "tower_bearer_jwks_state{issuer=ISSUER,state=expired} 0",
        "tower_bearer_jwks_state{issuer=ISSUER,state=fresh} 0",
        "tower_bearer_jwks_state{issuer=https://fixed.test,state=static} 1",
        "tower_bearer_jwks_state{issuer=https://down.test,state=cold} 1",
        "tower_bearer_jwks_state{issuer=https://down.test,state=fresh} 0",
    ] {
        let expected = expected.replace("ISSUER", ISSUER);
        assert!(metrics.contains(&expected), "{expected}: {metrics:#?}");
    }
    for name in [
        "tower_bearer_jwks_fetches_total{issuer=ISSUER,result=http_error}",
        "tower_bearer_jwks_fetch_duration_seconds{issuer=ISSUER}",
        "tower_bearer_jwks_fetched_timestamp_seconds{issuer=ISSUER}",
    ] {
        let name = name.replace("ISSUER", ISSUER);
        assert!(metrics.iter().any(|line| line.starts_with(&name)), "{name}: {metrics:#?}");
    }
}

#[test]
fn every_event_is_told_and_nothing_that_was_received_but_kids() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::NEW)
        .with_writer(log.clone())
        .finish();
    let guard = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);
    run(async {
        let (old, new) = (key("default"), key("default"));
        // Two of one `kid`, but of two algorithms: no token could mean both.
        let issuer =
            Issuer::with(&[&old, &TestKey::generate(Algorithm::ES256).with_kid("default")]);
        let builder = Jwks::url(ISSUER, "https://issuer.test/jwks?key=sentinel");
        let (_validator, jwks) = issuer.ready(issuer.prepare(builder).max_stale(secs(60))).await;
        issuer.publish_json(json!({
            "keys": [new.public_jwk(), old.public_jwk(), {"kty": "sentinel", "x": "sentinel"}],
        }));
        jwks.refresh().await.unwrap();
        issuer.publish(&[&key("default")]);
        jwks.refresh().await.unwrap();
        issuer.publish_json(json!({
            "keys": [{"kty": "oct", "k": "sentinel", "kid": "shared"}, {"kty": "sentinel"}],
        }));
        jwks.refresh().await.unwrap_err();
        issuer.fail(|| {
            let html = http::Response::builder().header("content-type", "text/sentinel");
            ScriptedAnswer::new(html.body("<sentinel>".into()).unwrap())
        });
        pass(700.0).await;
        assert!(!format!("{:?} {:?}", jwks, jwks.status()).contains("sentinel"));
    });
    drop(guard);
    let log = log.text();
    for expected in [
        "INFO jwks_changed",
        "DEBUG jwks_fetched",
        "kid_reused",
        "kid_ambiguous",
        "jwks_key_ignored",
        "jwks_content_type",
        "WARN jwks_fetch_failed",
        "no_usable_key symmetric_key unsupported_key_type shared",
        "to=\"stale\"",
        "ERROR jwks_state",
        "jwks_fetch{host=\"issuer.test\"}",
    ] {
        let parts: Vec<&str> = expected.split(' ').collect();
        let told = log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(told, "{expected}:\n{log}");
    }
    assert_eq!(log.matches("kid_ambiguous").count(), 1, "{log}");
    // Of several issuers, one must be seen to be in trouble.
    let issuer = format!("issuer=\"{ISSUER}\"");
    for line in log.lines().filter(|line| line.contains(" tower_bearer: ")) {
        let named = line.contains(&issuer) || line.contains("host=\"issuer.test\"");
        assert!(named, "{line}");
    }
    assert!(!log.contains("sentinel"), "{log}");
}

/// Returns the value of each line's field `times`.
fn times(lines: &[String]) -> Vec<u64> {
    let of = |line: &String| line.split("times=").nth(1)?.split(' ').next()?.parse().ok();
    lines.iter().map(|line| of(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

#[test]
fn an_outage_from_the_start_is_told_ever_less_often_and_counted_whole() {
    let (log, _guard) = Log::of_this_thread(log::LevelFilter::WARN);
    let lines = |word: &str| -> Vec<String> {
        log.take().lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
    };
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let mut asked = 0;
    metrics::with_local_recorder(&recorder, || {
        run(async {
            let issuer = Issuer::with(&[&key("a")]);
            issuer.die();
            let (_validator, _jwks) = issuer.validator(issuer.jwks());
            pass(58.0).await;
            let told = lines("jwks_fetch_failed");
            assert_eq!(times(&told), [1, 1, 1], "{told:#?}");
            assert!(issuer.requests() >= 29, "{}", issuer.requests());

            // Another error is told at once, and so is the first again once there were keys.
            issuer.fail(|| ScriptedAnswer::error(TransportErrorKind::UnknownHost));
            pass(2.0).await;
            let others = times(&lines("code=\"dns\""));
            assert!([&[1][..], &[1, 1]].contains(&&*others), "{others:?}");
            issuer.die();
            pass(3_600.0).await;
            let told = times(&lines("jwks_fetch_failed"));
            assert!((20..=60).contains(&told.len()), "{told:?}");
            let came = issuer.requests() - 3 - others.len();
            let left_out = came - usize::try_from(told.iter().sum::<u64>()).unwrap();
            assert!(left_out <= 10, "{left_out} of the last minute: {told:?}");
            issuer.heal();
            pass(120.0).await;
            issuer.die();
            pass(600.0).await;
            assert_eq!(times(&lines("jwks_fetch_failed"))[..3], [1, 1, 1]);
            asked = issuer.requests();
        });
    });
    let fetches = "tower_bearer_jwks_fetches_total{";
    let metrics = take(&snapshotter);
    let counted = metrics.iter().filter(|line| line.starts_with(fetches));
    let counted = counted.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
    assert_eq!(counted.sum::<usize>(), asked, "{metrics:#?}");
}

#[test]
fn metadata_of_another_issuer_is_told_ever_less_often_and_names_it() {
    let (log, _guard) = Log::of_this_thread(log::LevelFilter::WARN);
    run(async {
        let metadata = |issuer: &str| json!({ "issuer": issuer, "jwks_uri": URL }).to_string();
        let other = metadata("https://issuer.test/");
        let transport = ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(other.clone()));
        let jwks = Jwks::discover(ISSUER).transport(transport).build().unwrap();
        pass(50.0).await;
        drop(jwks);
        let text = log.take();
        for event in ["jwks_issuer_mismatch", "jwks_fetch_failed"] {
            let lines: Vec<String> =
                text.lines().filter(|line| line.contains(event)).map(str::to_owned).collect();
            assert_eq!(times(&lines), [1, 1, 1], "{lines:#?}");
            let named = lines.iter().all(|line| line.contains("\"https://issuer.test/\""));
            assert!(named, "{lines:#?}");
        }

        let refused = json!({ "issuer": ISSUER, "jwks_uri": "http://issuer.test/jwks" });
        let refused = refused.to_string();
        let transport = ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(refused.clone()));
        let _jwks = Jwks::discover(ISSUER).transport(transport).build().unwrap();
        pass(50.0).await;
        let text = log.take();
        assert_eq!(text.matches("jwks_uri: the metadata's").count(), 3, "{text}");
    });
}

#[test]
fn a_failed_fetch_names_the_setting_that_its_address_is_of() {
    let (log, _guard) = Log::of_this_thread(log::LevelFilter::WARN);
    run(async {
        for (builder, url, remedy) in [
            (Jwks::url(ISSUER, URL), "https://issuer.test/…", "check the JWKS URL, path and all"),
            (
                Jwks::discover_at(ISSUER, "https://internal.test/metadata"),
                "https://internal.test/metadata",
                "check the metadata URL, path and all",
            ),
            (
                Jwks::discover(ISSUER),
                "https://issuer.test/.well-known/oauth-authorization-server",
                "check the issuer, path and all",
            ),
            (
                Jwks::discover_at(ISSUER, "https://internal.test/good"),
                "https://keys.test/…",
                "check the jwks_uri of the metadata, path and all",
            ),
        ] {
            let transport = ScriptedTransport::from_fn(|request| match request.uri().path() {
                "/good" => ScriptedAnswer::json(
                    json!({ "issuer": ISSUER, "jwks_uri": "https://keys.test/jwks" }).to_string(),
                ),
                _ => ScriptedAnswer::status(StatusCode::NOT_FOUND),
            });
            let _jwks = builder.transport(transport).build().unwrap();
            pass(1.0).await;
            let told = log.take();
            let url = format!("url=\"{url}\"");
            assert!(told.contains(&url) && told.contains(remedy), "{url}, {remedy}: {told}");
        }
    });
}

/// A subscriber that looks at the key source when it is told something, and one that waits for a
/// thread which does.
#[test]
fn a_subscriber_may_look_at_the_key_source_and_wait_for_others_who_do() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    struct Curious(Arc<Mutex<Option<Jwks>>>, Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> Layer<S> for Curious {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let jwks = self.0.lock().unwrap().clone();
            if event.metadata().target() == "tower_bearer"
                && let Some(jwks) = jwks
            {
                let status = jwks.status();
                let other = std::thread::spawn(move || jwks.health());
                assert_eq!(other.join().unwrap(), status.health);
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    let (seen, told) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
    let subscriber =
        tracing_subscriber::registry().with(Curious(Arc::clone(&seen), Arc::clone(&told)));
    let guard = tracing::subscriber::set_default(subscriber);
    // On another thread, since a deadlock would never end.
    let (done, ended) = std::sync::mpsc::channel();
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    let thread = std::thread::spawn(move || {
        let _guard = tracing::dispatcher::set_default(&subscriber);
        run(async {
            let (a, b) = (key("a"), key("b"));
            let issuer = Issuer::with(&[&a]);
            let (validator, jwks) = issuer.ready(issuer.jwks().max_stale(secs(60))).await;
            *seen.lock().unwrap() = Some(jwks.clone());
            issuer.publish_json(json!({"keys": [b.public_jwk(), {"kty": "NEW"}]}));
            assert!(validator.validate(&issuer.token(&b)).await.is_ok());
            issuer.die();
            pass(700.0).await;
            issuer.clock.advance(secs(7_200));
            jwks.health();
            jwks.shutdown().await;
            *seen.lock().unwrap() = None;
        });
        done.send(()).unwrap();
    });
    ended.recv_timeout(std::time::Duration::from_secs(60)).expect("a deadlock");
    thread.join().unwrap();
    drop(guard);
    assert!(told.load(Ordering::SeqCst) >= 8, "{told:?}");
}

// An operator who alerts on what is unavailable, but for what is rate-limited, isn't woken by strangers.
#[test]
fn fa5_made_up_kids_drive_no_alert_and_an_outage_does() {
    use http::{Request, Response};
    use tower::{Layer, ServiceExt, service_fn};
    use tower_bearer::BearerAuthLayer;

    for outage in [false, true] {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            run(async {
                let a = key("a");
                let issuer = Issuer::with(&[&a]);
                let (validator, _jwks) = issuer.ready(issuer.jwks()).await;
                let service =
                    BearerAuthLayer::new(validator).layer(service_fn(|_: Request<String>| async {
                        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
                    }));
                if outage {
                    issuer.die();
                    pass(5_000.0).await;
                }
                let mut limited = 0;
                for n in 0..200 {
                    let token = if outage {
                        issuer.token(&a)
                    } else {
                        issuer.token_of(&a, &format!("made-up-{n}"))
                    };
                    let request = Request::builder()
                        .header("authorization", format!("Bearer {token}"))
                        .body(String::new())
                        .unwrap();
                    let answer = service.clone().oneshot(request).await.unwrap();
                    limited += u32::from(answer.status() == StatusCode::SERVICE_UNAVAILABLE);
                    pass(0.1).await;
                }
                assert!(limited > 20, "{limited}");
            });
        });
        let metrics = take(&snapshotter);
        let unavailable = "tower_bearer_requests_total{result=unavailable,reason=";
        let reasons = metrics.iter().filter_map(|line| line.strip_prefix(unavailable));
        let (limited, others): (Vec<_>, Vec<_>) =
            reasons.partition(|reason| reason.starts_with("rate_limited}"));
        assert_eq!(!others.is_empty(), outage, "{metrics:#?}");
        assert_eq!(limited.is_empty(), outage, "{metrics:#?}");
    }
}
