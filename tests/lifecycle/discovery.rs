use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::json;
use tower_bearer::jwks::{FetchError, Jwks, Start, State};
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
    assert_eq!(site.discover().await.status().last_error, Some(FetchError::Status(404)));
    site.page(OPENID, || ScriptedAnswer::json("{}"));
    assert_eq!(site.discover().await.status().last_error, Some(FetchError::Status(404)));
    site.metadata(OPENID, ISSUER, "file:///etc/passwd");
    let unacceptable = Some(FetchError::UnacceptableJwksUri);
    assert_eq!(site.discover().await.status().last_error, unacceptable);
    site.metadata(INSERTED, "https://issuer.test/tenant/", &jwks_uri(KEYS));
    site.keys(KEYS, &key("a"));
    assert_eq!(site.discover().await.status().last_error, Some(FetchError::IssuerMismatch));
    assert!(!site.paths().contains(&KEYS.to_owned()), "no keys of another issuer");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cant_be_reached_is_asked_once() {
    let site = Site::new();
    site.page(INSERTED, || ScriptedAnswer::error(TransportErrorKind::Connect));
    assert_eq!(site.discover().await.status().last_error, Some(FetchError::Connect));
    assert_eq!(site.paths(), [INSERTED]);
    let busy = || ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS).header("retry-after", "60");
    site.page(INSERTED, busy);
    assert_eq!(site.discover().await.status().last_error, Some(FetchError::Status(429)));
    assert_eq!(site.paths().len(), 2);
    site.page(INSERTED, || ScriptedAnswer::status(StatusCode::BAD_GATEWAY));
    assert_eq!(site.discover().await.status().last_error, Some(FetchError::Status(502)));
    assert_eq!(site.paths().len(), 3);

    // A mere 500 may be all that it has for a path it doesn't know.
    site.page(INSERTED, || ScriptedAnswer::status(StatusCode::INTERNAL_SERVER_ERROR));
    site.metadata(OPENID, ISSUER, &jwks_uri(KEYS)).keys(KEYS, &key("a"));
    assert_eq!(site.discover().await.status().state, State::Fresh);
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
