//! The same attacks as requests: what comes back on the wire.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt, service_fn};
use tower_bearer::jose::Backend;
use tower_bearer::jwks::Jwks;
use tower_bearer::{Access, BearerAuthLayer, Refusal, Validator};

use crate::corpus::{FieldsRow, Row, read, rows};
use crate::{AUDIENCE, FixedClock, ISSUER, TOKEN_GROUPS, expected, requirement, validator};

async fn inner<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("through")))
}

/// What came back, and everything of it as one text.
struct Answer {
    status: StatusCode,
    challenge: Option<String>,
    code: &'static str,
    text: String,
}

async fn ask<C>(layer: &BearerAuthLayer<C>, fields: Vec<(HeaderName, HeaderValue)>) -> Answer
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let mut request = Request::new(Empty::<Bytes>::new());
    for (name, value) in fields {
        request.headers_mut().append(name, value);
    }
    let response = layer.layer(service_fn(inner)).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        challenge: parts
            .headers
            .get(WWW_AUTHENTICATE)
            .map(|challenge| challenge.to_str().unwrap().to_owned()),
        code: parts.extensions.get::<Refusal>().map_or("accepted", Refusal::code),
        text: format!("{:?} {}", parts.headers, String::from_utf8_lossy(&body)),
    }
}

/// Status and RFC 6750 error that belong to a code: `Some(None)` is a challenge without error.
fn wire(code: &str) -> (StatusCode, Option<Option<&'static str>>) {
    match code {
        "accepted" => (StatusCode::OK, None),
        "no_credentials" => (StatusCode::UNAUTHORIZED, Some(None)),
        "malformed_credentials" | "multiple_credentials" => {
            (StatusCode::BAD_REQUEST, Some(Some("invalid_request")))
        }
        "insufficient_scope" => (StatusCode::FORBIDDEN, Some(Some("insufficient_scope"))),
        // C19: whatever is wrong with the token.
        _ => (StatusCode::UNAUTHORIZED, Some(Some("invalid_token"))),
    }
}

fn check(what: &str, answer: &Answer, code: &str) {
    assert_eq!(answer.code, code, "{what}");
    let (status, error) = wire(code);
    assert_eq!(answer.status, status, "{what}");
    let challenge = answer.challenge.as_deref();
    match error {
        None => assert_eq!(challenge, None, "{what}"),
        Some(None) => {
            let challenge = challenge.unwrap();
            assert!(challenge.starts_with("Bearer realm="), "{what}: {challenge}");
            assert!(!challenge.contains("error"), "{what}: {challenge}");
        }
        Some(Some(error)) => {
            let challenge = challenge.unwrap();
            assert!(challenge.contains(&format!("error=\"{error}\"")), "{what}: {challenge}");
        }
    }
}

fn plain_validator() -> Validator {
    let jwks = Jwks::static_set(ISSUER, &read("jwks/good.json")).unwrap();
    Validator::builder(ISSUER, AUDIENCE).clock(FixedClock).keys(jwks).build().unwrap()
}

// X1 to X6, X12 to X14, X16, X17
#[tokio::test]
async fn x_credentials_are_read_strictly() {
    let layer = BearerAuthLayer::new(plain_validator());
    for row in rows::<FieldsRow>("x_credentials") {
        let what = format!("{} {}", row.id, row.name);
        if row.over.as_deref() == Some("http1") {
            assert_eq!(over_http1(&layer, &row).await, wire(&row.expect).0, "{what}");
            continue;
        }
        let fields = row
            .fields()
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_bytes(&value).unwrap()));
        check(&what, &ask(&layer, fields.collect()).await, &row.expect);
    }
}

/// Sends the fields as they are through an HTTP parser, and returns the status.
async fn over_http1(layer: &BearerAuthLayer, row: &FieldsRow) -> StatusCode {
    let (mut client, server) = tokio::io::duplex(64 * 1_024);
    let service = TowerToHyperService::new(layer.layer(service_fn(inner)));
    let builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    let serving = builder.serve_connection(TokioIo::new(server), service);
    let talking = async move {
        let mut request = b"GET / HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n".to_vec();
        for (name, value) in row.fields() {
            request.extend_from_slice(&[name.as_bytes(), b":", &value, b"\r\n"].concat());
        }
        request.extend_from_slice(b"\r\n");
        client.write_all(&request).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (served, answer) = tokio::join!(serving, talking);
    served.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// `b64token` of RFC 6750 section 2.1.
fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

// C19: every attack on a token is a 401 `invalid_token`, and nothing of it comes back.
#[tokio::test]
async fn c19_every_attack_is_answered_as_rfc_6750_says_and_echoes_nothing() {
    let backend = Backend::preferred().unwrap();
    for row in TOKEN_GROUPS.into_iter().flat_map(rows::<Row>) {
        let what = format!("{} {}", row.id, row.name);
        let token = row.token.write_out();
        // In a field, a space before the token is one of those that may separate it (X3), and
        // control characters never get as far as this.
        let field = HeaderValue::from_bytes(format!("Bearer {token}").as_bytes());
        let Some(value) = field.ok().filter(|_| !token.starts_with(' ')) else { continue };
        let Ok(validator) = validator(&row, backend) else { continue };
        let layer = BearerAuthLayer::new(validator);
        let layer = layer.fallback(Access::requires(requirement(&row))).unwrap();
        let answer = ask(&layer, vec![(AUTHORIZATION, value)]).await;
        let code =
            if is_b64token(&token) { expected(&row, backend) } else { "malformed_credentials" };
        check(&what, &answer, code);
        for segment in token.split('.').filter(|segment| segment.len() >= 16) {
            assert!(!answer.text.contains(&segment[..16]), "{what}: {}", answer.text);
        }
    }
}
