//! Answers that no server should give: a typed error each, no hang, nothing secret in it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use http::StatusCode;
use tower_bearer::client::{
    AnswerFault, ClientAuth, Grant, TokenClient, TokenError, TokenErrorKind,
};
use tower_bearer::testing::{Endpoint, Fault, ScriptedAnswer, ScriptedTransport, TestIssuer};
use tower_bearer::transport::TransportErrorKind;

use crate::support::*;

/// Asks once, within two seconds, by the default transport.
async fn ask(grant: Grant) -> Result<String, TokenError> {
    let client = TokenClient::builder().timeout(2 * SECOND).build().unwrap();
    client.token(&grant).await.map(|token| token.expose_secret().to_owned())
}

async fn ask_issuer(issuer: &TestIssuer) -> TokenErrorKind {
    let error = ask(grant_of(issuer).build().unwrap()).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains(TestIssuer::CLIENT_SECRET));
    error.kind().clone()
}

// R13, R14
#[tokio::test]
async fn r13_r14_broken_answers_are_typed_errors() {
    let issuer = TestIssuer::start().await.unwrap();
    let not_json = TokenErrorKind::Answer(AnswerFault::NotJson);
    let broken = TokenErrorKind::Transport(TransportErrorKind::Other);
    for (fault, expected) in [
        (Fault::login_page(), not_json.clone()),
        (Fault::garbage(), not_json.clone()),
        (Fault::json("{\"access_token\":\"a\""), not_json),
        (Fault::truncated(), broken),
        (Fault::endless(), TokenErrorKind::Transport(TransportErrorKind::TooLarge)),
        (Fault::hang(), TokenErrorKind::TimedOut),
        (Fault::slow(Duration::from_millis(300)), TokenErrorKind::TimedOut),
        (Fault::redirect("https://evil.test/"), TokenErrorKind::Answer(AnswerFault::Redirect)),
        (Fault::status(StatusCode::FORBIDDEN), TokenErrorKind::Status(StatusCode::FORBIDDEN)),
    ] {
        let described = format!("{fault:?}");
        issuer.inject(Endpoint::Token, fault);
        let started = Instant::now();
        assert_eq!(ask_issuer(&issuer).await, expected, "{described}");
        assert!(started.elapsed() < 4 * SECOND, "{described}");
    }
    issuer.clear_faults();
    assert!(ask(grant_of(&issuer).build().unwrap()).await.is_ok());
}

// R13: not even to the same server.
#[tokio::test]
async fn r13_no_redirect_is_followed() {
    let issuer = TestIssuer::start().await.unwrap();
    let other = TestIssuer::start().await.unwrap();
    for target in [other.token_endpoint(), issuer.token_endpoint()] {
        for status in [StatusCode::FOUND, StatusCode::TEMPORARY_REDIRECT] {
            let mut answer = http::Response::new(bytes::Bytes::new());
            *answer.status_mut() = status;
            answer.headers_mut().insert("location", target.parse().unwrap());
            issuer.reset_counters();
            issuer.inject(Endpoint::Token, Fault::answer(answer));
            let expected = TokenErrorKind::Answer(AnswerFault::Redirect);
            assert_eq!(ask_issuer(&issuer).await, expected);
            // FC10: it may be a proxy's, and pass.
            assert_eq!(issuer.counters().requests(Endpoint::Token), 3);
            assert_eq!(other.counters().total(), 0);
        }
    }
}

// R4: CR and LF in a token don't become a header.
#[tokio::test]
async fn r4_control_characters_in_a_token_are_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    for token in [r"a\r\nX-Evil: 1", r"a\u0000", r"a b", r"\u00e4", r"a\tb", r"a\u007f"] {
        let answer = format!(r#"{{"access_token":"{token}","token_type":"Bearer"}}"#);
        issuer.inject(Endpoint::Token, Fault::json(answer));
        let expected = TokenErrorKind::Answer(AnswerFault::AccessTokenCharacters);
        assert_eq!(ask_issuer(&issuer).await, expected, "{token}");
    }
    issuer.inject(
        Endpoint::Token,
        Fault::json(r#"{"access_token":"a.b-c_d~e+f\/g==","token_type":"bearer"}"#),
    );
    assert_eq!(ask(grant_of(&issuer).build().unwrap()).await.unwrap(), "a.b-c_d~e+f/g==");
}

// R2, R10
#[tokio::test]
async fn r2_r10_another_type_and_an_error_in_a_200_are_errors() {
    let issuer = TestIssuer::start().await.unwrap();
    for token_type in ["DPoP", "mac", "N_A", ""] {
        let answer = format!(r#"{{"access_token":"a","token_type":"{token_type}"}}"#);
        issuer.inject(Endpoint::Token, Fault::json(answer));
        let expected = TokenErrorKind::Answer(AnswerFault::TokenType);
        assert_eq!(ask_issuer(&issuer).await, expected, "{token_type}");
    }
    let answer =
        r#"{"error":"incorrect_client_credentials","access_token":"a","token_type":"bearer"}"#;
    issuer.inject(Endpoint::Token, Fault::json(answer));
    match ask_issuer(&issuer).await {
        TokenErrorKind::Refused(code) => assert_eq!(code.as_str(), "incorrect_client_credentials"),
        other => panic!("{other:?}"),
    }
}

// R11: a server that repeats what it was sent.
#[tokio::test]
async fn r11_a_server_that_echoes_the_secret_is_not_quoted() {
    let issuer = TestIssuer::start().await.unwrap();
    let secret = TestIssuer::CLIENT_SECRET;
    for text in [secret.to_owned(), format!("no client with secret {secret} here")] {
        for body in [
            format!(r#"{{"error":"invalid_client","error_description":"{text}"}}"#),
            format!(r#"{{"error":"{text}"}}"#),
        ] {
            let mut answer = http::Response::new(bytes::Bytes::from(body));
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            issuer.inject(Endpoint::Token, Fault::answer(answer));
            // The check is in there.
            assert!(matches!(ask_issuer(&issuer).await, TokenErrorKind::Refused(_)));
        }
    }
}

// R11: it may repeat the request, in which the secret is encoded.
#[tokio::test(start_paused = true)]
async fn r11_an_encoded_secret_is_not_quoted_either() {
    let secret = "s3cret +/&%~";
    let (plus, percent) = ("s3cret+%2B%2F%26%25%7E", "s3cret%20%2B%2F%26%25%7e");
    let kept = "client_id=me&client_secret=?";
    for (text, quoted) in [(secret, false), (plus, false), (percent, false), (kept, true)] {
        let answer = serde_json::json!({
            "error": "invalid_request",
            "error_description": format!("can't make sense of {text}"),
        });
        for auth in [ClientAuth::basic("me", secret), ClientAuth::body("me", secret)] {
            let body = answer.to_string();
            let transport = ScriptedTransport::from_fn(move |_| ScriptedAnswer::json(body.clone()));
            let grant = Grant::endpoint("https://as.test/token", auth).build().unwrap();
            let error = client(&transport).token(&grant).await.unwrap_err();
            assert_eq!(error.description().is_some(), quoted, "{error}");
        }
    }
}

// However often and for whomever a server answers badly, no more is remembered than was agreed.
#[tokio::test(start_paused = true)]
async fn bad_answers_make_nothing_grow() {
    let transport = ScriptedTransport::from_fn(|_| ScriptedAnswer::json("<html>"));
    let builder = TokenClient::builder().transport(transport).capacity(20).per_tenant(5);
    let client = builder.build().unwrap();
    let ask = async |tenant: &str, scope: &str| {
        let grant = scripted_grant().tenant(tenant).scope(scope).build().unwrap();
        client.token(&grant).await.unwrap_err();
        client.cached_grants()
    };
    for n in 0..100 {
        assert!(ask("one", &format!("s{n}")).await <= 5);
    }
    for n in 0..100 {
        assert!(ask(&format!("tenant-{n}"), "s").await <= 20);
    }
    assert_eq!(client.cached_grants(), 20);
}

/// A server that says these bytes to whoever connects, and closes.
fn raw(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&answer);
        }
    });
    format!("http://{address}/token")
}

// R14: bytes that are hardly HTTP.
#[tokio::test]
async fn r14_whatever_the_bytes_there_is_an_error_and_no_hang() {
    let good = r#"{"access_token":"a","token_type":"Bearer"}"#;
    let answers: [(&str, Vec<u8>, bool); 9] = [
        ("nothing", vec![], false),
        ("noise", vec![0xff; 5_000], false),
        ("no head's end", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n".into(), false),
        (
            "too short",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{good}").into(),
            false,
        ),
        (
            "two lengths",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{good}")
                .into(),
            false,
        ),
        (
            "bad chunk",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{good}").into(),
            false,
        ),
        (
            "not gzip",
            format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n{good}",
                good.len()
            )
            .into(),
            false,
        ),
        ("half UTF-8", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{\xe4".into(), false),
        (
            "a good one",
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{good}", good.len()).into(),
            true,
        ),
    ];
    for (name, answer, expected) in answers {
        let auth = usual_auth();
        let grant = Grant::endpoint(&raw(answer), auth).allow_loopback_http().build().unwrap();
        let started = Instant::now();
        assert_eq!(ask(grant).await.is_ok(), expected, "{name}");
        assert!(started.elapsed() < 4 * SECOND, "{name}");
    }
}

// R13: a large body is refused before it is held.
#[tokio::test]
async fn r13_a_large_answer_is_refused_however_good() {
    let token = "a".repeat(70_000);
    let issuer = TestIssuer::start().await.unwrap();
    let answer = format!(r#"{{"access_token":"{token}","token_type":"Bearer"}}"#);
    issuer.inject(Endpoint::Token, Fault::json(answer));
    let expected = TokenErrorKind::Transport(TransportErrorKind::TooLarge);
    assert_eq!(ask_issuer(&issuer).await, expected);
    let token = "a".repeat(60_000);
    let answer = format!(r#"{{"access_token":"{token}","token_type":"Bearer"}}"#);
    issuer.inject(Endpoint::Token, Fault::json(answer));
    assert_eq!(ask(grant_of(&issuer).build().unwrap()).await.unwrap(), token);
}

// FB4: metadata and token alike.
#[tokio::test(start_paused = true)]
async fn fb4_what_is_no_content_coding_is_passed_over() {
    use tower_bearer::client::{ClientAuth, Grant, TokenErrorKind};
    use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};
    use tower_bearer::transport::TransportErrorKind;

    const METADATA: &str =
        r#"{"issuer":"https://as.test","token_endpoint":"https://as.test/token"}"#;
    for (coding, good) in [
        ("", true),
        ("identity", true),
        (", ,", true),
        ("aws-chunked", true),
        ("utf-8", true),
        ("br", false),
        ("gzip", false),
        ("identity, zstd", false),
    ] {
        for path in ["/token", "/.well-known/oauth-authorization-server"] {
            let transport = ScriptedTransport::from_fn(move |request| {
                let asked = request.uri().path();
                let answer = match asked {
                    "/token" => granted("t", 600),
                    "/.well-known/oauth-authorization-server" => ScriptedAnswer::json(METADATA),
                    _ => ScriptedAnswer::status(StatusCode::NOT_FOUND),
                };
                if asked == path { answer.header("content-encoding", coding) } else { answer }
            });
            let auth = ClientAuth::basic("me", "s");
            let grant = Grant::discover("https://as.test", auth).build().unwrap();
            let got = client(&transport).token(&grant).await;
            let got = got.map(drop).map_err(|error| error.kind().clone());
            let encoded = TokenErrorKind::Transport(TransportErrorKind::ContentEncoding);
            assert_eq!(got, if good { Ok(()) } else { Err(encoded) }, "{coding} {path}");
        }
    }
}
