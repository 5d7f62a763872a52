//! The token endpoint's answer (RFC 6749 §5).

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::{Zeroize as _, Zeroizing};

use crate::client::error::{AnswerFault, ErrorCode, TokenError, TokenErrorKind, printable};
use crate::client::expiry;
use crate::clock::UnixTime;
use crate::scope::ScopeSet;
use crate::transport::retry_after;

/// What was granted.
pub(crate) struct Granted {
    pub(crate) access_token: Zeroizing<Vec<u8>>,
    pub(crate) lifetime: Lifetime,
    pub(crate) scopes: Option<ScopeSet>,
}

/// What `expires_in` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lifetime {
    /// So long, at most a year.
    Known(Duration),
    /// Nothing.
    Unsaid,
    /// Nothing that a token could be kept by: zero, negative, no number.
    None,
}

/// The members that matter; all others are ignored, a `refresh_token` among them (RFC 6749 §4.4.3).
#[derive(Deserialize)]
struct Answer<'a> {
    access_token: Option<Private>,
    token_type: Option<String>,
    #[serde(borrow)]
    expires_in: Option<&'a RawValue>,
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    error_description: Option<&'a RawValue>,
}

/// A text that is wiped when dropped.
struct Private(Zeroizing<String>);

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Reads the answer. `is_echo` tells whether a text repeats what only the server should know.
pub(crate) fn read(
    response: Response<Bytes>,
    now: UnixTime,
    is_echo: impl Fn(&str) -> bool,
) -> Result<Granted, TokenError> {
    let (head, body) = response.into_parts();
    let result = if head.status == StatusCode::OK {
        granted(&body, &is_echo)
    } else {
        Err(refused(head.status, &body, &is_echo, retry_after(&head.headers, now)))
    };
    // The last that is left of the token, unless the transport has kept a part of it.
    if let Ok(mut body) = body.try_into_mut() {
        body.as_mut().zeroize();
    }
    result
}

fn granted(body: &[u8], is_echo: &impl Fn(&str) -> bool) -> Result<Granted, TokenError> {
    let fault = |fault| TokenError::new(TokenErrorKind::Answer(fault));
    let answer: Answer<'_> =
        serde_json::from_slice(body).map_err(|_| fault(AnswerFault::NotJson))?;
    // Some servers report errors with status 200.
    if let Some(error) = error_of(&answer, is_echo, StatusCode::OK, None) {
        return Err(error);
    }
    let access_token = answer.access_token.filter(|token| !token.0.is_empty());
    let access_token = access_token.ok_or(fault(AnswerFault::NoAccessToken))?;
    let token_type = answer.token_type.ok_or(fault(AnswerFault::NoTokenType))?;
    if !token_type.eq_ignore_ascii_case("bearer") {
        return Err(fault(AnswerFault::TokenType));
    }
    Ok(Granted {
        access_token: Zeroizing::new(access_token.0.as_bytes().to_vec()),
        lifetime: answer.expires_in.map_or(Lifetime::Unsaid, |raw| lifetime(raw.get())),
        scopes: answer.scope.and_then(|raw| scopes(raw.get())),
    })
}

fn refused(
    status: StatusCode,
    body: &[u8],
    is_echo: &impl Fn(&str) -> bool,
    retry_after: Option<Duration>,
) -> TokenError {
    if status.is_redirection() {
        return TokenError::new(TokenErrorKind::Answer(AnswerFault::Redirect));
    }
    // What a server that is overloaded says about the client isn't meant.
    let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let answer = serde_json::from_slice::<Answer<'_>>(body).ok().filter(|_| !passing);
    answer
        .and_then(|answer| error_of(&answer, is_echo, status, retry_after))
        .unwrap_or_else(|| TokenError::with(TokenErrorKind::Status(status), None, retry_after))
}

/// Returns the error that an answer reports, if it does.
fn error_of(
    answer: &Answer<'_>,
    is_echo: &impl Fn(&str) -> bool,
    status: StatusCode,
    retry_after: Option<Duration>,
) -> Option<TokenError> {
    let text = |raw: Option<&RawValue>, longest| {
        let text: String = serde_json::from_str(raw?.get()).ok()?;
        (!is_echo(&text)).then(|| printable(&text, longest))
    };
    // An `error` that is null is none; one of another type is one that can't be named.
    answer.error.filter(|raw| raw.get() != "null")?;
    let code = text(answer.error, 64).unwrap_or_default();
    let description = text(answer.error_description, 256).filter(|text| !text.is_empty());
    Some(TokenError::refused(ErrorCode::from_text(&code), status, description, retry_after))
}

/// Reads a number, or a text that is one: some servers write it in quotes.
fn lifetime(json: &str) -> Lifetime {
    let text: Option<String> = serde_json::from_str(json).ok();
    let text = text.as_deref().unwrap_or(json).trim();
    // Neither `inf` nor `NaN` is one.
    let number = text.contains(|c: char| c.is_ascii_digit()).then(|| text.parse::<f64>().ok());
    let number = number.flatten();
    match number.map(f64::floor) {
        _ if json == "null" => Lifetime::Unsaid,
        Some(seconds) if seconds >= 1.0 => {
            let longest = expiry::LONGEST.as_secs_f64();
            Lifetime::Known(Duration::from_secs_f64(seconds.min(longest)))
        }
        _ => Lifetime::None,
    }
}

/// Reads a space-delimited text, or an array of texts.
fn scopes(json: &str) -> Option<ScopeSet> {
    if let Ok(list) = serde_json::from_str::<String>(json) {
        return Some(ScopeSet::parse(&list));
    }
    let list: Vec<String> = serde_json::from_str(json).ok()?;
    Some(ScopeSet::parse(&list.join(" ")))
}

/// Returns the `exp` of a token that is a JWT. Nothing is verified: it can only shorten a lifetime.
pub(crate) fn jwt_expiry(token: &[u8]) -> Option<UnixTime> {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let payload = parts.nth(1)?;
    let payload = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?);
    let claims: Claims = serde_json::from_slice(&payload).ok()?;
    UnixTime::from_secs_f64(claims.exp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Granted, TokenError> {
        answer_with(status, body, &[])
    }

    fn answer_with(
        status: u16,
        body: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Granted, TokenError> {
        let mut response = Response::new(Bytes::from(body.to_owned()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        read(response, UnixTime::from_secs(1_000_000_000), |text| text.contains("canary"))
    }

    fn kind(status: u16, body: &str) -> TokenErrorKind {
        answer(status, body).err().unwrap().kind().clone()
    }

    fn granted_with(member: &str) -> Granted {
        answer(200, &format!(r#"{{"access_token":"t","token_type":"Bearer",{member}}}"#)).unwrap()
    }

    // R1, R3, R8
    #[test]
    fn r1_r3_r8_a_token_is_read_and_the_rest_ignored() {
        let granted = answer(
            200,
            r#"{"access_token":"a\/b","token_type":"bEaReR","expires_in":600,"scope":"x y",
                "refresh_token":"r","expires_at":1.5,"deep":{"a":[{}]}}"#,
        )
        .unwrap();
        assert_eq!(*granted.access_token, b"a/b");
        assert_eq!(granted.lifetime, Lifetime::Known(Duration::from_secs(600)));
        assert_eq!(granted.scopes.unwrap().as_str(), "x y");
    }

    // R1, R2, R14
    #[test]
    fn r1_r2_r14_what_is_no_token_is_a_typed_error() {
        use AnswerFault as Fault;
        for (body, fault) in [
            ("", Fault::NotJson),
            ("<html><title>Log in</title></html>", Fault::NotJson),
            ("[]", Fault::NotJson),
            ("null", Fault::NotJson),
            ("\"token\"", Fault::NotJson),
            (r#"{"access_token":"t","token_type":"Bearer""#, Fault::NotJson),
            (r#"{"access_token":"t","access_token":"u","token_type":"Bearer"}"#, Fault::NotJson),
            (r#"{"access_token":1,"token_type":"Bearer"}"#, Fault::NotJson),
            (r#"{"access_token":"t","token_type":"Bearer"} x"#, Fault::NotJson),
            (r#"{"token_type":"Bearer"}"#, Fault::NoAccessToken),
            (r#"{"access_token":"","token_type":"Bearer"}"#, Fault::NoAccessToken),
            (r#"{"access_token":null,"token_type":"Bearer"}"#, Fault::NoAccessToken),
            (r#"{"access_token":"t"}"#, Fault::NoTokenType),
            (r#"{"access_token":"t","token_type":"DPoP"}"#, Fault::TokenType),
            (r#"{"access_token":"t","token_type":"mac"}"#, Fault::TokenType),
            (r#"{"access_token":"t","token_type":""}"#, Fault::TokenType),
        ] {
            assert_eq!(kind(200, body), TokenErrorKind::Answer(fault), "{body}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(kind(200, &deep), TokenErrorKind::Answer(Fault::NotJson));
    }

    // R5, R6
    #[test]
    fn r5_r6_expires_in_is_read_as_servers_write_it() {
        let seconds = |seconds| Lifetime::Known(Duration::from_secs(seconds));
        let year = seconds(365 * 24 * 60 * 60);
        for (json, expected) in [
            ("600", seconds(600)),
            ("\"600\"", seconds(600)),
            ("\" 600 \"", seconds(600)),
            ("600.9", seconds(600)),
            ("6e2", seconds(600)),
            ("1", seconds(1)),
            ("31536001", year),
            ("1e308", year),
            ("1e999", year),
            ("99999999999999999999999", year),
            ("null", Lifetime::Unsaid),
            ("0", Lifetime::None),
            ("0.9", Lifetime::None),
            ("-1", Lifetime::None),
            ("-1e999", Lifetime::None),
            ("\"NaN\"", Lifetime::None),
            ("\"inf\"", Lifetime::None),
            ("\"+Infinity\"", Lifetime::None),
            ("\"\"", Lifetime::None),
            ("\"soon\"", Lifetime::None),
            ("true", Lifetime::None),
            ("[600]", Lifetime::None),
            ("{}", Lifetime::None),
        ] {
            assert_eq!(
                granted_with(&format!(r#""expires_in":{json}"#)).lifetime,
                expected,
                "{json}"
            );
        }
        assert_eq!(granted_with(r#""a":1"#).lifetime, Lifetime::Unsaid);
    }

    // R7
    #[test]
    fn r7_granted_scopes_are_recorded_if_they_are_said() {
        let scopes = |member| granted_with(member).scopes.map(|scopes| scopes.to_string());
        assert_eq!(scopes(r#""scope":"b a""#), Some("b a".into()));
        assert_eq!(scopes(r#""scope":"""#), Some(String::new()));
        assert_eq!(scopes(r#""scope":["a","b"]"#), Some("a b".into()));
        assert_eq!(scopes(r#""scope":null"#), None);
        assert_eq!(scopes(r#""scope":7"#), None);
        assert_eq!(scopes(r#""a":7"#), None);
    }

    // R9, R10
    #[test]
    fn r9_r10_errors_are_typed_whatever_the_status() {
        let refused = |code: &str| TokenErrorKind::Refused(ErrorCode::from_text(code));
        for status in [200, 400, 401, 403] {
            for code in ["invalid_client", "invalid_scope", "invalid_target", "scope_invalid"] {
                let body = format!(r#"{{"error":"{code}","access_token":"t"}}"#);
                assert_eq!(kind(status, &body), refused(code), "{status}");
            }
            assert_eq!(kind(status, r#"{"error":{"code":1}}"#), refused(""), "{status}");
        }
        assert!(answer(200, r#"{"error":null,"access_token":"t","token_type":"Bearer"}"#).is_ok());
        let status = |status| TokenErrorKind::Status(StatusCode::from_u16(status).unwrap());
        assert_eq!(kind(403, ""), status(403));
        assert_eq!(kind(415, r#"{"message":"no"}"#), status(415));
        assert_eq!(kind(204, r#"{"access_token":"t","token_type":"Bearer"}"#), status(204));
        // A proxy's word about the client isn't believed while the server is down.
        assert_eq!(kind(503, r#"{"error":"invalid_client"}"#), status(503));
    }

    proptest::proptest! {
        // R14
        #[test]
        fn r14_any_answer_is_read_to_its_end(status in 200_u16..600, body: Vec<u8>, quoted: String) {
            for body in [body, format!(r#"{{"error":{quoted:?},"expires_in":{quoted:?}}}"#).into()] {
                let mut response = Response::new(Bytes::from(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                proptest::prop_assert!(read(response, UnixTime::from_secs(0), |_| false).is_err());
            }
        }
    }

    // R13
    #[test]
    fn r13_a_redirect_is_an_error() {
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(kind(status, ""), TokenErrorKind::Answer(AnswerFault::Redirect));
        }
    }

    // R11
    #[test]
    fn r11_descriptions_are_made_printable_and_echoes_dropped() {
        let body = |description: &str| {
            serde_json::json!({ "error": "invalid_client", "error_description": description })
                .to_string()
        };
        let description =
            |text: &str| answer(401, &body(text)).err().unwrap().description().map(str::to_owned);
        assert_eq!(description("no\r\nsuch \"client\""), Some("no??such ?client?".into()));
        assert_eq!(description(&"x".repeat(300)).unwrap().len(), 256);
        assert_eq!(description("the secret canary is wrong"), None);
        let error = answer(401, r#"{"error":"canary"}"#).err().unwrap();
        assert!(!format!("{error:?} {error}").contains("canary"));
        assert_eq!(
            answer(400, r#"{"error":"a","error_description":7}"#).err().unwrap().description(),
            None
        );
    }

    // R12
    #[test]
    fn r12_retry_after_is_read_as_seconds_or_date() {
        let wait =
            |value| answer_with(503, "", &[("retry-after", value)]).err().unwrap().retry_after();
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        // 1,000,000,000 seconds after the epoch was 01:46:40.
        assert_eq!(wait("Sun, 09 Sep 2001 01:47:00 GMT"), Some(Duration::from_secs(20)));
        assert_eq!(wait("Sun, 09 Sep 2001 01:46:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    // R5
    #[test]
    fn r5_a_jwt_tells_its_own_expiry() {
        use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
        let jwt = |claims: &str| format!("e30.{}.sig", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let expiry = |token: &str| jwt_expiry(token.as_bytes()).map(UnixTime::as_secs);
        assert_eq!(expiry(&jwt(r#"{"exp":12.5,"iss":"a"}"#)), Some(12));
        for opaque in ["opaque", "a.b.c", "", "..", &jwt("{}"), &jwt(r#"{"exp":"1"}"#)] {
            assert_eq!(expiry(opaque), None, "{opaque}");
        }
    }
}
