//! Checks the status, size and coding of a response, before its body is read.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use serde::Deserialize;

use crate::clock::UnixTime;
use crate::introspection::error::Trouble;
use crate::introspection::error_kind::IntrospectionErrorKind;
use crate::json;
use crate::transport::{Coding, retry_after};

/// Accepts only a 200 of at most this many bytes and without a coding. The bounds are checked here as well,
/// because transports are replaceable.
pub(crate) fn check(
    response: &Response<Bytes>,
    max_bytes: usize,
    now: UnixTime,
) -> Result<(), Trouble> {
    let status = response.status();
    if status == StatusCode::OK {
        if response.body().len() > max_bytes {
            return Err(IntrospectionErrorKind::TooLarge.into());
        }
        // A transport has decoded the codings that it asked for itself.
        if Coding::of(response.headers()) != Coding::Identity {
            return Err(IntrospectionErrorKind::ContentEncoding.into());
        }
        return Ok(());
    }
    let error = match status {
        // A page for people is a filter's: of this token, it may be.
        StatusCode::FORBIDDEN if is_html(response) => {
            IntrospectionErrorKind::Status(status.as_u16())
        }
        // RFC 7662 §2.3: the credentials of this service, never the caller's.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            IntrospectionErrorKind::CredentialsRefused
        }
        StatusCode::BAD_REQUEST => bad_request(response.body()),
        _ if status.is_redirection() => IntrospectionErrorKind::Redirect,
        _ => IntrospectionErrorKind::Status(status.as_u16()),
    };
    let away = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let retry_after = away.then(|| retry_after(response.headers(), now)).flatten();
    Err(Trouble { error: error.into(), retry_after })
}

fn is_html(response: &Response<Bytes>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html"))
}

fn bad_request(body: &[u8]) -> IntrospectionErrorKind {
    #[derive(Deserialize)]
    struct Members {
        error: Option<String>,
    }
    let error = json::parse(body).ok().and_then(|Members { error }| error);
    match error.as_deref() {
        Some("unsupported_token_type") => IntrospectionErrorKind::UnsupportedTokenType,
        Some("invalid_client" | "unauthorized_client") => {
            IntrospectionErrorKind::CredentialsRefused
        }
        _ => IntrospectionErrorKind::Status(StatusCode::BAD_REQUEST.as_u16()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::{CONTENT_ENCODING, RETRY_AFTER};

    use super::*;

    fn told(status: u16, body: &'static str) -> Result<(), IntrospectionErrorKind> {
        let response = Response::builder().status(status).body(Bytes::from(body)).unwrap();
        check(&response, 64, UnixTime::from_secs(0)).map_err(|trouble| trouble.kind())
    }

    #[test]
    fn i7_i16_i17_every_status_but_200_is_trouble_of_its_own_kind() {
        assert_eq!(told(200, ""), Ok(()));
        for status in [201, 204, 206, 404, 429, 500, 503] {
            assert_eq!(told(status, "{}"), Err(IntrospectionErrorKind::Status(status)));
        }
        for status in [301, 302, 304, 307] {
            assert_eq!(told(status, ""), Err(IntrospectionErrorKind::Redirect));
        }
        for status in [401, 403] {
            assert_eq!(told(status, ""), Err(IntrospectionErrorKind::CredentialsRefused));
        }
        for (body, expected) in [
            (r#"{"error":"unsupported_token_type"}"#, IntrospectionErrorKind::UnsupportedTokenType),
            (r#"{"error":"invalid_client"}"#, IntrospectionErrorKind::CredentialsRefused),
            (r#"{"error":"invalid_request"}"#, IntrospectionErrorKind::Status(400)),
            (r#"{"error":7}"#, IntrospectionErrorKind::Status(400)),
            ("<html>", IntrospectionErrorKind::Status(400)),
        ] {
            assert_eq!(told(400, body), Err(expected), "{body}");
        }
    }

    #[test]
    fn i11_i16_bounds_codings_and_retry_after() {
        assert_eq!(told(200, &"x".repeat(65).leak()[..]), Err(IntrospectionErrorKind::TooLarge));
        let encoded = Response::builder().header(CONTENT_ENCODING, "gzip").body(Bytes::new());
        let encoded = check(&encoded.unwrap(), 64, UnixTime::from_secs(0)).unwrap_err();
        assert_eq!(encoded.kind(), IntrospectionErrorKind::ContentEncoding);
        for (status, obeyed) in [(429, true), (503, true), (500, false), (401, false)] {
            let response = Response::builder().status(status).header(RETRY_AFTER, "7");
            let trouble = check(&response.body(Bytes::new()).unwrap(), 64, UnixTime::from_secs(0));
            let expected = obeyed.then_some(Duration::from_secs(7));
            assert_eq!(trouble.unwrap_err().retry_after, expected, "{status}");
        }
    }

    #[test]
    fn no_status_of_metadata_is_about_a_token() {
        let of = |status| IntrospectionErrorKind::of(&crate::issuer::FaultKind::Status(status));
        assert_eq!(of(403), IntrospectionErrorKind::NoMetadata);
        assert_eq!(of(500), IntrospectionErrorKind::Status(500));
    }
}
