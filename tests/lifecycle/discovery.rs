use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::json;
use tower_bearer::jwks::{FetchErrorKind, Jwks, Start, State};
use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport, TestKey};
use tower_bearer::transport::TransportErrorKind;

use crate::support::{key, pass, secs, set};

const ISSUER: &str = "https://issuer.test/tenant";
const INSERTED: &str = "/.well-known/oauth-authorization-server/tenant";
const OPENID: &str = "/tenant/.well-known/openid-configuration";
const APPENDED: &str = "/tenant/.well-known/oauth-authorization-server";
const KEYS: &str = "/tenant/keys";

/// What lies where; all else is 404.
#[derive(Clone)]
struct Site {
    pages: Arc<Mutex<HashMap<&'static str, Page>>>,
    transport: ScriptedTransport,
}

type Page = Box<dyn Fn() -> ScriptedAnswer + Send>;

impl Site {
    fn new() -> Self {
        let pages: Arc<Mutex<HashMap<_, Page>>> = Arc::default();
        let transport = ScriptedTransport::from_fn({
            let pages = Arc::clone(&pages);
            move |request| match pages.lock().unwrap().get(request.uri().path()) {
                Some(page) => page(),
                None => ScriptedAnswer::status(StatusCode::NOT_FOUND),
            }
        });
        Self { pages, transport }
    }

    fn page(
        &self,
        path: &'static str,
        page: impl Fn() -> ScriptedAnswer + Send + 'static,
    ) -> &Self {
        self.pages.lock().unwrap().insert(path, Box::new(page));
        self
    }

    fn metadata(&self, path: &'static str, issuer: &str, jwks_uri: &str) -> &Self {
        let metadata = json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string();
        self.page(path, move || ScriptedAnswer::json(metadata.clone()))
    }

    fn keys(&self, path: &'static str, key: &TestKey) -> &Self {
        let set = set(&[key]).to_string();
        self.page(path, move || ScriptedAnswer::json(set.clone()))
    }

    fn paths(&self) -> Vec<String> {
        self.transport.requests().iter().map(|request| request.uri().path().to_owned()).collect()
    }

    async fn discover(&self) -> Jwks {
        let jwks = Jwks::discover(ISSUER).transport(self.transport.clone()).build().unwrap();
        pass(0.01).await;
        jwks
    }
}

fn jwks_uri(path: &str) -> String {
    format!("https://issuer.test{path}")
}

#[tokio::test(start_paused = true)]
async fn rfc_8414_comes_first_then_openid_then_the_misplaced_one() {
    for (place, asked) in [(INSERTED, 1), (OPENID, 2), (APPENDED, 3)] {
        let site = Site::new();
        site.metadata(place, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
        let jwks = site.discover().await;
        assert_eq!(jwks.status().state, State::Fresh, "{place}");
        let expected = [INSERTED, OPENID, APPENDED];
        let paths = site.paths();
        assert_eq!(paths[..asked], expected[..asked]);
        assert_eq!(paths[asked..], [KEYS]);
        let accept = site.transport.requests()[0].headers()["accept"].clone();
        assert_eq!(accept, "application/json");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_isnt_this_issuers_metadata_is_passed_over() {
    let other = json!({"issuer": "https://issuer.test", "jwks_uri": jwks_uri("/other")});
    let insecure = json!({"issuer": ISSUER, "jwks_uri": "http://issuer.test/keys"});
    for page in [
        "<!doctype html><title>Log in</title>".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        json!({"issuer": ISSUER}).to_string(),
        insecure.to_string(),
        other.to_string(),
    ] {
        let site = Site::new();
        let answer = page.clone();
        site.page(INSERTED, move || ScriptedAnswer::json(answer.clone()))
            .metadata(OPENID, ISSUER, &jwks_uri(KEYS))
            .keys(KEYS, &key("a"));
        let jwks = site.discover().await;
        assert_eq!(jwks.status().state, State::Fresh, "{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_tells_most_of_what_was_found() {
    let site = Site::new();
    assert_eq!(site.discover().await.status().last_error, Some(FetchErrorKind::Status(404).into()));
    site.page(OPENID, || ScriptedAnswer::json("{}"));
    assert_eq!(site.discover().await.status().last_error, Some(FetchErrorKind::NoMetadata.into()));
    site.metadata(OPENID, ISSUER, "file:///etc/passwd");
    let unacceptable = Some(FetchErrorKind::UnacceptableJwksUri.into());
    assert_eq!(site.discover().await.status().last_error, unacceptable);
    site.metadata(INSERTED, "https://issuer.test/tenant/", &jwks_uri(KEYS));
    site.keys(KEYS, &key("a"));
    assert_eq!(
        site.discover().await.status().last_error,
        Some(FetchErrorKind::IssuerMismatch.into())
    );
    assert!(!site.paths().contains(&KEYS.to_owned()), "no keys of another issuer");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cant_be_reached_is_asked_once() {
    for (kind, error) in [
        (TransportErrorKind::UnknownHost, FetchErrorKind::UnknownHost.into()),
        (TransportErrorKind::Connect, FetchErrorKind::Connect.into()),
        (TransportErrorKind::Tls, FetchErrorKind::Tls.into()),
        (TransportErrorKind::BlockedAddress, FetchErrorKind::BlockedAddress.into()),
    ] {
        let site = Site::new();
        site.page(INSERTED, move || ScriptedAnswer::error(kind));
        site.metadata(OPENID, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
        assert_eq!(site.discover().await.status().last_error, Some(error));
        assert_eq!(site.paths(), [INSERTED]);
    }
}

/// What a proxy may answer for a path that isn't routed.
fn faults() -> Vec<fn() -> ScriptedAnswer> {
    vec![
        || ScriptedAnswer::status(StatusCode::BAD_GATEWAY),
        || ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", "60"),
        || ScriptedAnswer::status(StatusCode::GATEWAY_TIMEOUT),
        || ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "60"),
        || ScriptedAnswer::status(StatusCode::INTERNAL_SERVER_ERROR),
        || ScriptedAnswer::status(StatusCode::FORBIDDEN),
        || ScriptedAnswer::status(StatusCode::NO_CONTENT),
        || ScriptedAnswer::status(StatusCode::NOT_MODIFIED),
        || ScriptedAnswer::status(StatusCode::FOUND).header("location", "/login"),
        || ScriptedAnswer::error(TransportErrorKind::Other),
        || ScriptedAnswer::error(TransportErrorKind::TooLarge),
        || ScriptedAnswer::error(TransportErrorKind::ContentEncoding),
        || ScriptedAnswer::json("{}").header("content-encoding", "br"),
        ScriptedAnswer::never,
    ]
}

#[tokio::test(start_paused = true)]
async fn fb3_a_place_that_fails_says_nothing_of_the_next() {
    for (at, fault) in faults().into_iter().enumerate() {
        for place in [OPENID, APPENDED] {
            let site = Site::new();
            site.page(INSERTED, fault).metadata(place, ISSUER, &jwks_uri(KEYS));
            site.keys(KEYS, &key("a"));
            let jwks = site.discover().await;
            pass(4.0).await;
            assert_eq!(jwks.status().state, State::Fresh, "{at} {place}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn fb3_places_that_are_slow_are_waited_for_together() {
    // None of them would be found in a third of the time.
    for slow in [INSERTED, OPENID, APPENDED] {
        let site = Site::new();
        for silent in [INSERTED, OPENID, APPENDED] {
            site.page(silent, ScriptedAnswer::never);
        }
        let metadata = json!({"issuer": ISSUER, "jwks_uri": jwks_uri(KEYS)}).to_string();
        site.page(slow, move || ScriptedAnswer::json(metadata.clone()).delay(secs(2)));
        site.keys(KEYS, &key("a"));
        let jwks = site.discover().await;
        pass(4.9).await;
        assert_eq!(jwks.status().state, State::Fresh, "{slow}");
    }
    let site = Site::new();
    for silent in [INSERTED, OPENID, APPENDED] {
        site.page(silent, ScriptedAnswer::never);
    }
    let jwks = site.discover().await;
    pass(5.1).await;
    assert_eq!(jwks.status().last_error, Some(FetchErrorKind::Timeout.into()));
    assert_eq!(site.paths()[..3], [INSERTED, OPENID, APPENDED]);
}

#[tokio::test(start_paused = true)]
async fn fb3_what_the_operator_is_told_is_what_tells_most() {
    let page = |page: &'static str| move || ScriptedAnswer::json(page);
    let unreadable = r#"{"issuer":7}"#;
    for (first, second, told) in [
        (page(unreadable), page("<html>"), FetchErrorKind::NoMetadata.into()),
        (page("<html>"), page(unreadable), FetchErrorKind::NoMetadata.into()),
    ] {
        let site = Site::new();
        site.page(INSERTED, first);
        assert_eq!(
            site.discover().await.status().last_error,
            Some(FetchErrorKind::NoMetadata.into())
        );
        site.page(OPENID, second);
        assert_eq!(site.discover().await.status().last_error, Some(told));
        // A server that is down for now may have it.
        site.page(APPENDED, || ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(
            site.discover().await.status().last_error,
            Some(FetchErrorKind::Status(503).into())
        );
        site.metadata(OPENID, "https://other.test", &jwks_uri(KEYS));
        assert_eq!(
            site.discover().await.status().last_error,
            Some(FetchErrorKind::IssuerMismatch.into())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn fb3_a_place_that_is_empty_isnt_asked_each_time_the_other_fails() {
    let site = Site::new();
    site.page(OPENID, || ScriptedAnswer::status(StatusCode::BAD_GATEWAY));
    let jwks = site.discover().await;
    assert_eq!(site.paths(), [INSERTED, OPENID, APPENDED]);
    for _ in 0..20 {
        let _ = jwks.refresh().await;
    }
    let asked = |path: &str| site.paths().iter().filter(|asked| *asked == path).count();
    assert_eq!((asked(INSERTED), asked(APPENDED)), (1, 1));
    assert!(asked(OPENID) >= 20);
    // It may have come up since.
    site.metadata(INSERTED, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
    pass(130.0).await;
    assert_eq!(jwks.status().state, State::Fresh);
}

// A server that starts may have nothing for any path at first.
#[tokio::test(start_paused = true)]
async fn fb3_where_every_place_is_empty_every_place_is_asked() {
    for first in [StatusCode::NOT_FOUND, StatusCode::BAD_GATEWAY] {
        let site = Site::new();
        site.page(OPENID, move || ScriptedAnswer::status(first));
        let jwks = site.discover().await;
        site.page(OPENID, || ScriptedAnswer::status(StatusCode::NOT_FOUND));
        site.metadata(INSERTED, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
        assert_eq!(jwks.refresh().await, Ok(()), "{first}");
    }
}

// Metadata that hangs doesn't hold up the keys.
#[tokio::test(start_paused = true)]
async fn fc14_metadata_that_hangs_is_waited_for_once_an_hour() {
    let site = Site::new();
    site.metadata(OPENID, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
    let jwks = site.discover().await;
    for silent in [INSERTED, OPENID, APPENDED] {
        site.page(silent, ScriptedAnswer::never);
    }
    pass(86_400.0).await;
    let waited = |since: tokio::time::Instant| since.elapsed().as_secs_f64() > 1.0;
    let mut slow = 0;
    for _ in 0..12 {
        let before = tokio::time::Instant::now();
        assert_eq!(jwks.refresh().await, Ok(()));
        slow += u32::from(waited(before));
        pass(300.0).await;
    }
    assert!(slow <= 2, "{slow}");
    // It is found again.
    site.metadata(OPENID, ISSUER, &jwks_uri("/moved")).keys("/moved", &key("b"));
    pass(7_300.0).await;
    assert_eq!(jwks.snapshot().unwrap().url(), jwks_uri("/moved"));
}

#[tokio::test(start_paused = true)]
async fn metadata_is_kept_for_a_day_and_then_asked_for_where_it_was() {
    let site = Site::new();
    site.metadata(OPENID, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
    let _jwks = site.discover().await;
    pass(86_300.0).await;
    let paths = site.paths();
    assert!(paths.len() > 100 && paths[2..].iter().all(|path| path == KEYS), "{paths:?}");
    pass(700.0).await;
    let later = &site.paths()[paths.len()..];
    assert_eq!(later.iter().filter(|path| *path == OPENID).count(), 1, "{later:?}");
    assert!(!later.contains(&INSERTED.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_keys_may_move_and_the_old_ones_serve_until_the_new_are_there() {
    let site = Site::new();
    let gone = || ScriptedAnswer::status(StatusCode::GONE);
    let set = set(&[&key("a")]).to_string();
    site.metadata(INSERTED, ISSUER, &jwks_uri(KEYS))
        .page(KEYS, move || ScriptedAnswer::json(set.clone()).header("etag", "\"1\""));
    let jwks = site.discover().await;
    site.metadata(INSERTED, ISSUER, &jwks_uri("/moved")).page(KEYS, gone).page("/moved", gone);
    pass(650.0).await;
    let paths = site.paths();
    assert!(paths.contains(&"/moved".to_owned()), "found before the day is over: {paths:?}");
    let status = jwks.status();
    assert_eq!((status.state, status.generation), (State::Stale, 1));
    for request in &site.transport.requests()[2..] {
        let conditional = request.headers().contains_key("if-none-match");
        assert_eq!(conditional, request.uri().path() == KEYS, "an ETag is its own page's");
    }

    site.keys("/moved", &key("b"));
    pass(61.0).await;
    let status = jwks.status();
    assert_eq!((status.state, status.generation), (State::Fresh, 2));
    assert_eq!(jwks.snapshot().unwrap().url(), jwks_uri("/moved"));
}

#[tokio::test(start_paused = true)]
async fn metadata_that_went_bad_doesnt_take_the_keys_away() {
    let site = Site::new();
    site.metadata(INSERTED, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
    let jwks = site.discover().await;
    site.metadata(INSERTED, "https://evil.test", "https://evil.test/keys");
    pass(200_000.0).await;
    assert_eq!((jwks.status().state, jwks.status().generation), (State::Fresh, 1));
    assert!(!site.transport.requests().iter().any(|it| it.uri().host() == Some("evil.test")));
}

#[tokio::test(start_paused = true)]
async fn a_snapshots_address_is_looked_up_anew() {
    let site = Site::new();
    site.metadata(INSERTED, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
    let taken = site.discover().await.snapshot().unwrap();
    site.metadata(INSERTED, ISSUER, &jwks_uri("/moved")).keys("/moved", &key("b"));
    let asked = site.paths().len();
    let builder = Jwks::discover(ISSUER).transport(site.transport.clone());
    let jwks = builder.start(Start::Seeded(taken)).max_stale(secs(3_600)).build().unwrap();
    assert_eq!(jwks.status().state, State::Stale);
    pass(1.0).await;
    assert_eq!(jwks.status().state, State::Fresh);
    assert_eq!(site.paths()[asked..], [INSERTED, "/moved"]);
}

// What was said of a set at one address says nothing of a set at another: a 304 there, to the tag of
// here, would keep the keys from before.
#[tokio::test(start_paused = true)]
async fn a_set_that_has_moved_is_asked_for_unconditionally() {
    const MOVED: &str = "/tenant/moved";
    let site = Site::new();
    let set_of_a = set(&[&key("a")]).to_string();
    site.metadata(INSERTED, ISSUER, &jwks_uri(KEYS))
        .page(KEYS, move || ScriptedAnswer::json(set_of_a.clone()).header("etag", "\"1\""));
    let jwks = site.discover().await;
    assert_eq!(jwks.status().state, State::Fresh);
    let tag = |path: &str| {
        let requests = site.transport.requests();
        let last = requests.iter().rfind(|request| request.uri().path() == path).unwrap();
        last.headers().get("if-none-match").cloned()
    };
    jwks.refresh().await.unwrap();
    assert_eq!(tag(KEYS), Some("\"1\"".parse().unwrap()));

    site.page(KEYS, || ScriptedAnswer::status(StatusCode::NOT_FOUND));
    site.metadata(INSERTED, ISSUER, &jwks_uri(MOVED)).keys(MOVED, &key("b"));
    pass(700.0).await;
    assert_eq!(jwks.status().keys[0].kid.as_deref(), Some("b"));
    assert_eq!(tag(MOVED), None);
}
