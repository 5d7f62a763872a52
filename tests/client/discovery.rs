//! From an issuer to its token endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;
use tokio::time::advance;
use tower_bearer::client::{ClientAuth, DiscoveryFault, Grant, TokenErrorKind};
use tower_bearer::testing::{
    Discovery, Endpoint, Fault, ScriptedAnswer, ScriptedTransport, TestIssuer,
};
use tower_bearer::transport::TransportErrorKind;

use crate::support::*;

fn discover(issuer: &TestIssuer) -> Grant {
    Grant::discover(issuer.issuer(), usual_auth()).allow_loopback_http().build().unwrap()
}

async fn get(issuer: &TestIssuer) -> Result<(), TokenErrorKind> {
    let source = tower_bearer::client::TokenSource::new(discover(issuer)).unwrap();
    source.token().await.map(drop).map_err(|error| error.kind().clone())
}

// L4
#[tokio::test]
async fn l4_the_token_endpoint_is_found_wherever_servers_publish_it() {
    for path in ["", "/", "/realms/shop"] {
        for discovery in [Discovery::Both, Discovery::OAuth, Discovery::OpenId] {
            let issuer =
                TestIssuer::builder().issuer_path(path).discovery(discovery).start().await.unwrap();
            assert_eq!(get(&issuer).await, Ok(()), "{path} {discovery:?}");
        }
    }
    let issuer = TestIssuer::builder().discovery(Discovery::None).start().await.unwrap();
    let missing = TokenErrorKind::Discovery(DiscoveryFault::NoMetadata);
    assert_eq!(get(&issuer).await, Err(missing));
    assert_eq!(issuer.counters().requests(Endpoint::Token), 0);
}

// L4: some servers answer every path with 200 and a login page.
#[tokio::test]
async fn l4_a_login_page_is_no_metadata() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.inject(Endpoint::OAuthMetadata, Fault::login_page());
    assert_eq!(get(&issuer).await, Ok(()));
    issuer.inject(Endpoint::OpenIdMetadata, Fault::login_page());
    assert_eq!(get(&issuer).await, Err(TokenErrorKind::Discovery(DiscoveryFault::NoMetadata)));
}

/// What was found serves on when there is no newer, whatever stands in its place; but for another
/// issuer's metadata.
#[tokio::test(start_paused = true)]
async fn l4_an_endpoint_that_was_found_outlives_its_metadata() {
    let gone: [fn() -> ScriptedAnswer; 5] = [
        || ScriptedAnswer::status(StatusCode::NOT_FOUND),
        || ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE),
        || ScriptedAnswer::json("<html>"),
        || ScriptedAnswer::error(TransportErrorKind::Tls),
        || ScriptedAnswer::json(r#"{"issuer":"https://as.test"}"#),
    ];
    let others = || ScriptedAnswer::json(r#"{"issuer":"https://other.test","token_endpoint":"x"}"#);
    let mismatch = TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch);
    for (now, expected) in
        gone.map(|gone| (gone, Ok(()))).into_iter().chain([(others as _, Err(mismatch))])
    {
        let is_gone = Arc::new(AtomicBool::new(false));
        let metadata = Arc::clone(&is_gone);
        let transport = ScriptedTransport::from_fn(move |request| {
            if request.uri().path() == "/token" {
                return granted("t", 600);
            }
            if metadata.load(Ordering::Relaxed) {
                return now();
            }
            ScriptedAnswer::json(
                r#"{"issuer":"https://as.test","token_endpoint":"https://as.test/token"}"#,
            )
        });
        let grant = Grant::discover("https://as.test", ClientAuth::basic("me", "s3cret"));
        let source = client(&transport).source(&grant.build().unwrap());
        token(&source).await;
        is_gone.store(true, Ordering::Relaxed);
        advance(3_700 * SECOND).await;
        let got = source.token().await.map(drop).map_err(|error| error.kind().clone());
        assert_eq!(got, expected);
    }
}

// L4: also while what was found before would still be fresh.
#[tokio::test(start_paused = true)]
async fn l4_no_secret_is_sent_until_the_metadata_is_the_issuers_again() {
    let (is_others, fails) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let asked = Arc::new(AtomicUsize::new(0));
    let away = Arc::new(AtomicBool::new(false));
    let (others, failing, counted) = (is_others.clone(), fails.clone(), asked.clone());
    let gone = away.clone();
    let transport = ScriptedTransport::from_fn(move |request| {
        if request.uri().path() == "/token" {
            counted.fetch_add(1, Ordering::Relaxed);
            if failing.load(Ordering::Relaxed) {
                return ScriptedAnswer::status(StatusCode::NOT_FOUND);
            }
            return granted("t", 60);
        }
        if gone.load(Ordering::Relaxed) {
            return ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE);
        }
        let issuer = if others.load(Ordering::Relaxed) { "other" } else { "as" };
        ScriptedAnswer::json(format!(
            r#"{{"issuer":"https://{issuer}.test","token_endpoint":"https://as.test/token"}}"#
        ))
    });
    let grant = Grant::discover("https://as.test", ClientAuth::basic("me", "s3cret"));
    let source = client(&transport).source(&grant.build().unwrap());
    token(&source).await;
    fails.store(true, Ordering::Relaxed);
    advance(61 * SECOND).await;
    source.token().await.unwrap_err();
    fails.store(false, Ordering::Relaxed);
    is_others.store(true, Ordering::Relaxed);
    let before = asked.load(Ordering::Relaxed);
    for _ in 0..3 {
        advance(61 * SECOND).await;
        let error = source.token().await.unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch));
    }
    // A failure of another kind doesn't bring it back.
    away.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        advance(900 * SECOND).await;
        source.token().await.unwrap_err();
    }
    assert_eq!(asked.load(Ordering::Relaxed), before, "no secret was sent");
    away.store(false, Ordering::Relaxed);
    is_others.store(false, Ordering::Relaxed);
    advance(900 * SECOND).await;
    token(&source).await;
}

// L4
#[tokio::test]
async fn l4_metadata_of_another_issuer_is_refused() {
    let issuer =
        TestIssuer::builder().metadata("issuer", "http://127.0.0.1:1/other").start().await.unwrap();
    assert_eq!(get(&issuer).await, Err(TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch)));
    // A slash too many is another issuer.
    let issuer = TestIssuer::start().await.unwrap();
    let slashed = format!("{}/", issuer.issuer());
    let grant = Grant::discover(&slashed, usual_auth()).allow_loopback_http().source().unwrap();
    let error = grant.token().await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Discovery(DiscoveryFault::IssuerMismatch));
    assert!(error.is_permanent());
    assert_eq!(issuer.counters().requests(Endpoint::Token), 0, "no secret was sent");
}

// L4
#[tokio::test]
async fn l4_a_method_that_the_issuer_does_not_offer_is_not_tried() {
    let issuer = TestIssuer::start().await.unwrap();
    for (methods, offered) in [
        (serde_json::json!(["client_secret_post", "private_key_jwt"]), false),
        (serde_json::json!(["client_secret_basic"]), true),
        (serde_json::Value::Null, true),
    ] {
        issuer.set_metadata("token_endpoint_auth_methods_supported", methods);
        let expected = if offered {
            Ok(())
        } else {
            Err(TokenErrorKind::Discovery(DiscoveryFault::AuthMethod))
        };
        let before = issuer.counters().requests(Endpoint::Token);
        assert_eq!(get(&issuer).await, expected);
        assert_eq!(issuer.counters().requests(Endpoint::Token) - before, u64::from(offered));
    }
}

// L4, T3: metadata doesn't lead the secret anywhere.
#[tokio::test(start_paused = true)]
async fn l4_t3_a_token_endpoint_without_tls_is_refused() {
    for (endpoint, good) in [
        ("https://login.test/token", true),
        ("http://login.test/token", false),
        ("http://127.0.0.1:1/token", false),
        ("ftp://login.test/token", false),
        ("/token", false),
    ] {
        let transport = ScriptedTransport::from_fn(move |request| {
            if request.uri().path().starts_with("/.well-known/oauth-authorization-server") {
                ScriptedAnswer::json(format!(
                    r#"{{"issuer":"https://as.test/a","token_endpoint":"{endpoint}"}}"#
                ))
            } else if request.uri().path() == "/token" {
                granted("t", 600)
            } else {
                ScriptedAnswer::status(StatusCode::NOT_FOUND)
            }
        });
        let auth = ClientAuth::basic("me", "s");
        // Even where loopback is allowed: what was found over TLS doesn't lead away from it.
        let grant =
            Grant::discover("https://as.test/a", auth).allow_loopback_http().build().unwrap();
        let result = client(&transport).token(&grant).await;
        match result {
            Ok(_) => assert!(good, "{endpoint}"),
            Err(error) => {
                assert!(!good, "{endpoint}");
                let fault = TokenErrorKind::Discovery(DiscoveryFault::TokenEndpoint);
                assert_eq!(*error.kind(), fault);
            }
        }
    }
}

/// An issuer that answers `first` where RFC 8414 has the metadata, and has it where OpenID does.
fn issuer_with(first: fn() -> ScriptedAnswer) -> ScriptedTransport {
    ScriptedTransport::from_fn(move |request| match request.uri().path() {
        "/.well-known/oauth-authorization-server/a" => first(),
        "/a/.well-known/openid-configuration" => ScriptedAnswer::json(
            r#"{"issuer":"https://as.test/a","token_endpoint":"https://as.test/token"}"#,
        ),
        "/token" => granted("t", 600),
        _ => ScriptedAnswer::status(StatusCode::NOT_FOUND),
    })
}

// L4: what a place answers that has no metadata says nothing of the next.
#[tokio::test(start_paused = true)]
async fn l4_a_place_without_metadata_is_passed_over_whatever_it_answers() {
    let passed_over: [fn() -> ScriptedAnswer; 12] = [
        || ScriptedAnswer::json("<html>"),
        || ScriptedAnswer::json("{}"),
        || ScriptedAnswer::status(StatusCode::FORBIDDEN),
        || ScriptedAnswer::status(StatusCode::INTERNAL_SERVER_ERROR),
        || ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS),
        || ScriptedAnswer::status(StatusCode::BAD_GATEWAY),
        || ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE),
        || ScriptedAnswer::status(StatusCode::GATEWAY_TIMEOUT),
        || ScriptedAnswer::error(TransportErrorKind::TooLarge),
        || ScriptedAnswer::error(TransportErrorKind::ContentEncoding),
        || ScriptedAnswer::error(TransportErrorKind::Other),
        ScriptedAnswer::never,
    ];
    let ends_the_search: [fn() -> ScriptedAnswer; 3] = [
        || ScriptedAnswer::error(TransportErrorKind::UnknownHost),
        || ScriptedAnswer::error(TransportErrorKind::Connect),
        || ScriptedAnswer::error(TransportErrorKind::Tls),
    ];
    let get = async |transport: &ScriptedTransport| {
        let auth = ClientAuth::basic("me", "s");
        let grant = Grant::discover("https://as.test/a", auth).build().unwrap();
        client(transport).token(&grant).await
    };
    for first in passed_over {
        let transport = issuer_with(first);
        get(&transport).await.unwrap();
        assert_eq!(transport.request_count(), 3);
        let named = |request: &http::Request<_>| request.headers().contains_key("user-agent");
        assert!(transport.requests().iter().all(named), "firewalls ask for it");
    }
    for first in ends_the_search {
        let transport = issuer_with(first);
        assert!(!get(&transport).await.unwrap_err().is_permanent());
        assert_eq!(transport.request_count(), 3, "three attempts, each in one place");
    }
    // With metadata nowhere, an error that passes isn't one that stays.
    let failing = ScriptedTransport::from_fn(|request| {
        ScriptedAnswer::status(match request.uri().path() {
            "/.well-known/oauth-authorization-server/a" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::NOT_FOUND,
        })
    });
    let error = get(&failing).await.unwrap_err();
    assert_eq!(*error.kind(), TokenErrorKind::Status(StatusCode::INTERNAL_SERVER_ERROR));
    assert!(!error.is_permanent());
}

// L4: looked up once an hour, once for all grants, and an outage of the metadata alone is none.
#[tokio::test(start_paused = true)]
async fn l4_metadata_is_kept() {
    let issuer = TestIssuer::builder()
        .client(tower_bearer::testing::TestClient::secret("me", "s"))
        .start()
        .await
        .unwrap();
    let client =
        tower_bearer::client::TokenClient::builder().transport(issuer.transport()).build().unwrap();
    let get = async |scope: &str| {
        let auth = ClientAuth::basic("me", "s");
        let grant = Grant::discover(issuer.issuer(), auth).allow_loopback_http().scope(scope);
        client.token(&grant.build().unwrap()).await
    };
    let all = tokio::join!(get("a"), get("b"), get("c"));
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok());
    assert_eq!(issuer.counters().requests(Endpoint::OAuthMetadata), 1);
    advance(3_601 * SECOND).await;
    issuer.inject(Endpoint::OAuthMetadata, Fault::status(StatusCode::SERVICE_UNAVAILABLE));
    assert!(get("d").await.is_ok());
    assert_eq!(issuer.counters().requests(Endpoint::OAuthMetadata), 2);
    assert_eq!(issuer.counters().requests(Endpoint::Token), 4);
}

// L4: a token endpoint that moves is looked up again, not only after an hour.
#[tokio::test(start_paused = true)]
async fn l4_a_token_endpoint_that_has_moved_is_found() {
    let moved = Arc::new(AtomicBool::new(false));
    let transport = ScriptedTransport::from_fn({
        let moved = Arc::clone(&moved);
        move |request| {
            let path = if moved.load(Ordering::Relaxed) { "/new" } else { "/old" };
            match request.uri().path() {
                "/.well-known/oauth-authorization-server" => ScriptedAnswer::json(format!(
                    r#"{{"issuer":"https://as.test","token_endpoint":"https://as.test{path}"}}"#
                )),
                asked if asked == path => granted("t", 600),
                _ => ScriptedAnswer::status(StatusCode::NOT_FOUND),
            }
        }
    });
    let grant = Grant::discover("https://as.test", ClientAuth::basic("me", "s")).build().unwrap();
    let client = client(&transport);
    client.token(&grant).await.unwrap();
    moved.store(true, Ordering::Relaxed);
    advance(541 * SECOND).await;
    // Within one fetch: the first attempt finds the old place empty.
    let before = transport.request_count();
    client.token(&grant).await.unwrap();
    assert_eq!(transport.request_count() - before, 3);
}

// R12
#[tokio::test(start_paused = true)]
async fn r12_an_issuer_that_is_down_is_asked_a_bounded_number_of_times() {
    let transport =
        ScriptedTransport::from_fn(|_| ScriptedAnswer::status(StatusCode::SERVICE_UNAVAILABLE));
    let grant = Grant::discover("https://as.test/a", ClientAuth::basic("me", "s")).build().unwrap();
    let error = client(&transport).token(&grant).await.unwrap_err();
    assert!(!error.is_permanent());
    assert_eq!(transport.request_count(), 9, "three attempts, each in three places");
}

// FB3: neither are silent places waited for one after the other.
#[tokio::test(start_paused = true)]
async fn fb3_silent_places_leave_time_for_the_one_that_answers() {
    for good in ["/a/.well-known/openid-configuration", "/a/.well-known/oauth-authorization-server"]
    {
        let transport = ScriptedTransport::from_fn(move |request| match request.uri().path() {
            "/token" => granted("t", 600).delay(SECOND),
            path if path == good => ScriptedAnswer::json(
                r#"{"issuer":"https://as.test/a","token_endpoint":"https://as.test/token"}"#,
            )
            .delay(SECOND),
            _ => ScriptedAnswer::never(),
        });
        let auth = ClientAuth::basic("me", "s");
        let grant = Grant::discover("https://as.test/a", auth).build().unwrap();
        let began = tokio::time::Instant::now();
        client(&transport).token(&grant).await.unwrap();
        assert!(began.elapsed() < 5 * SECOND);
    }
}

// FB3
#[tokio::test(start_paused = true)]
async fn fb3_a_document_that_cant_be_read_is_told_from_none() {
    for (document, expected) in [
        ("<html>", DiscoveryFault::NoMetadata),
        ("[]", DiscoveryFault::NoMetadata),
        (r#"["https://as.test/a","https://as.test/token"]"#, DiscoveryFault::NoMetadata),
        ("{}", DiscoveryFault::Unreadable),
        (r#"{"issuer":"https://as.test/a""#, DiscoveryFault::Unreadable),
        (r#"{"issuer":"https://as.test/a","token_endpoint":[]}"#, DiscoveryFault::Unreadable),
        (r#"{"issuer":"https://as.test/a"}"#, DiscoveryFault::TokenEndpoint),
    ] {
        let transport = ScriptedTransport::from_fn(move |request| match request.uri().path() {
            "/a/.well-known/openid-configuration" => ScriptedAnswer::json(document),
            _ => ScriptedAnswer::status(StatusCode::NOT_FOUND),
        });
        let auth = ClientAuth::basic("me", "s");
        let grant = Grant::discover("https://as.test/a", auth).build().unwrap();
        let error = client(&transport).token(&grant).await.unwrap_err();
        assert_eq!(*error.kind(), TokenErrorKind::Discovery(expected), "{document}");
    }
}

// FC14
#[tokio::test(start_paused = true)]
async fn fc14_metadata_that_hangs_is_waited_for_once_an_hour() {
    let hangs = Arc::new(AtomicBool::new(false));
    let hanging = Arc::clone(&hangs);
    let transport = ScriptedTransport::from_fn(move |request| {
        if !request.uri().path().starts_with("/.well-known/") {
            return granted("t", 600);
        }
        if hanging.load(Ordering::Relaxed) {
            return ScriptedAnswer::never();
        }
        ScriptedAnswer::json(
            r#"{"issuer":"https://as.test","token_endpoint":"https://as.test/token"}"#,
        )
    });
    let client = client(&transport);
    let get = async |scope: u32| {
        let auth = ClientAuth::basic("me", "s3cret");
        let grant = Grant::discover("https://as.test", auth).scope(&format!("s{scope}"));
        let began = tokio::time::Instant::now();
        client.token(&grant.build().unwrap()).await.unwrap();
        began.elapsed() > SECOND
    };
    assert!(!get(0).await);
    advance(3_600 * SECOND).await;
    hangs.store(true, Ordering::Relaxed);
    assert!(get(1).await, "the first waits");
    for scope in 2..12 {
        assert!(!get(scope).await, "and no other");
        advance(300 * SECOND).await;
    }
    advance(601 * SECOND).await;
    assert!(get(12).await);
}

#[test]
fn fb9_an_issuer_that_no_server_has_is_refused_with_a_sentence() {
    let error = |issuer: &str| {
        let auth = || ClientAuth::basic("me", "s");
        let named = Grant::endpoint("https://as.test/token", auth()).issuer(issuer).build().err();
        let found = Grant::discover(issuer, auth()).build().err();
        [named, found].map(|error| error.map(|error| error.to_string()).unwrap_or_default())
    };
    for (issuer, why) in [
        (" https://as.test", "space"),
        ("https://as.test\n", "line end"),
        ("https://login.microsoftonline.com/common/v2.0", "tenant's id"),
        ("https://login.microsoftonline.com/{tenantid}/v2.0", "placeholder"),
        ("", "empty"),
    ] {
        for error in error(issuer) {
            assert!(error.contains(why), "{issuer:?}: {error}");
        }
    }
    assert_eq!(error("https://as.test/realms/shop"), ["", ""]);
}

// FC10: what lies in place of the metadata for a while.
#[tokio::test(start_paused = true)]
async fn fc10_a_page_in_place_of_the_metadata_passes() {
    for page in [r#"{"status":"maintenance"}"#, "<html>", "[]", r#"{"issuer":7}"#] {
        let transport = ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(page));
        let client = client(&transport);
        let grant = Grant::discover("https://as.test", usual_auth()).build().unwrap();
        let error = client.token(&grant).await.unwrap_err();
        assert!(!error.is_permanent(), "{page}: {error}");
    }
}

// FC8: why there was no connection, also where it was to the metadata.
#[tokio::test]
async fn fc8_an_error_of_the_metadatas_exchange_has_its_cause() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let discovered = Grant::discover(&address, usual_auth());
    let named = Grant::endpoint(&format!("{address}/token"), usual_auth());
    for grant in [discovered, named] {
        let grant = grant.allow_loopback_http().build().unwrap();
        let client = tower_bearer::client::TokenClient::builder().build().unwrap();
        let error = client.token(&grant).await.unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("refused") && !cause.contains("127.0.0.1"), "{cause}");
        assert!(format!("{error:?}").contains(&cause), "{error:?}");
    }
}

// FC7: RFC 8705 §5.
#[tokio::test(start_paused = true)]
async fn fc7_a_client_with_a_certificate_asks_at_the_alias() {
    const METADATA: &str = r#"{"issuer":"https://as.test","token_endpoint":"https://as.test/token",
        "token_endpoint_auth_methods_supported":["tls_client_auth","client_secret_basic"],
        "tls_client_certificate_bound_access_tokens":true,
        "mtls_endpoint_aliases":{"token_endpoint":"https://mtls.as.test/token"}}"#;
    let basic = || Grant::discover("https://as.test", ClientAuth::basic("me", "s"));
    for (grant, host) in [
        (Grant::discover("https://as.test", ClientAuth::tls("me")), "mtls.as.test"),
        (basic().certificate_bound(), "mtls.as.test"),
        (basic(), "as.test"),
    ] {
        let transport = ScriptedTransport::from_fn(|request| match request.uri().path() {
            "/token" => granted("t", 600),
            _ => ScriptedAnswer::json(METADATA),
        });
        client(&transport).token(&grant.build().unwrap()).await.unwrap();
        assert_eq!(transport.requests().last().unwrap().uri().host(), Some(host));
    }
}

// L4: metadata that doesn't come is waited for once by all, and the older one serves.
#[tokio::test(start_paused = true)]
async fn l4_grants_of_one_issuer_do_not_wait_for_its_metadata_one_after_the_other() {
    let hangs = Arc::new(AtomicBool::new(false));
    let hanging = Arc::clone(&hangs);
    let transport = ScriptedTransport::from_fn(move |request| {
        if !request.uri().path().starts_with("/.well-known/") {
            return granted("t", 600);
        }
        if hanging.load(Ordering::Relaxed) {
            return ScriptedAnswer::error(TransportErrorKind::Timeout).delay(5 * SECOND);
        }
        ScriptedAnswer::json(
            r#"{"issuer":"https://as.test","token_endpoint":"https://as.test/token"}"#,
        )
    });
    let client = client(&transport);
    let sources: Vec<_> = (0..20)
        .map(|n| {
            let auth = ClientAuth::basic("me", "s3cret");
            let grant = Grant::discover("https://as.test", auth).scope(&format!("s{n}"));
            client.source(&grant.build().unwrap())
        })
        .collect();
    for source in &sources {
        token(source).await;
    }
    // The metadata is an hour old, and there is no newer.
    advance(3_600 * SECOND).await;
    hangs.store(true, Ordering::Relaxed);
    let calls = sources.into_iter().map(|source| tokio::spawn(async move { token(&source).await }));
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), "t");
    }
    assert_eq!(transport.request_count(), 1 + 20 + 2 + 20, "in two places");
}

// L6: an issuer that stays wrong is asked for each grant, and isn't logged each time.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn l6_what_is_wrong_with_metadata_is_logged_three_times_and_then_once_a_minute() {
    for (issuer, document, events) in [
        (
            "https://one.test",
            r#"{"issuer":"https://other.test","token_endpoint":"https://as.test/token"}"#,
            &["client_issuer_mismatch", "client_metadata"][..],
        ),
        (
            "https://two.test",
            r#"{"issuer":"https://two.test","token_endpoint":"http://as.test/token"}"#,
            &["client_token_endpoint", "client_metadata"],
        ),
    ] {
        let transport = ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(document));
        let client = client(&transport);
        let get = async |scope: usize| {
            let grant = Grant::discover(issuer, ClientAuth::basic("me", "s3cret"));
            client.token(&grant.scope(&format!("s{scope}")).build().unwrap()).await.unwrap_err();
        };
        let (log, guard) = Log::of_this_thread(LevelFilter::WARN);
        for scope in 0..20 {
            get(scope).await;
            // A call that comes at the same time as another has the result of that.
            advance(SECOND / 1_000).await;
        }
        let at_once = log.take();
        advance(60 * SECOND).await;
        get(20).await;
        let later = log.take();
        drop(guard);
        for event in events {
            let lines = |log: &str| log.lines().filter(|line| line.contains(event)).count();
            assert_eq!((lines(&at_once), lines(&later)), (3, 1), "{event}: {later}");
            let line = later.lines().find(|line| line.contains(event)).unwrap();
            let times: u64 =
                line.split("times=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!(times >= 18, "{line}");
        }
    }
}
