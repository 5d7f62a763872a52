//! Reads the token endpoint's answer: a token, or an error (RFC 6749 §5).

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::{Zeroize as _, Zeroizing};

use crate::client::grant::echo::is_free_of;
use crate::client::grant::error::{AnswerFault, ErrorCode, TokenError, TokenErrorKind};
use crate::client::tokens::expiry;
use crate::clock::UnixTime;
use crate::json;
use crate::scope::ScopeSet;
use crate::text::plain;
use crate::transport::retry_after;

/// What was granted.
pub(crate) struct Granted {
    pub(crate) access_token: Zeroizing<Vec<u8>>,
    pub(crate) lifetime: Lifetime,
    pub(crate) scopes: Option<ScopeSet>,
    /// Whether the token is bound to the key of the proof.
    pub(crate) is_bound: bool,
    /// `issued_token_type`, of an exchange (RFC 8693 §2.2.1).
    pub(crate) issued: Option<String>,
}

/// What `expires_in` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Lifetime {
    /// This long, at most a year.
    Known(Duration),
    /// There is no `expires_in`.
    Unsaid,
    /// It is zero, negative or no number: the token can't be kept.
    None,
}

/// Which deviations from RFC 6749 §5.1 are accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnswerRules {
    /// Token types that are accepted besides `Bearer`.
    pub(crate) token_types: Vec<String>,
    pub(crate) no_token_type: bool,
    pub(crate) created: bool,
    pub(crate) comma_separated: bool,
    /// Whether the request has a DPoP proof.
    pub(crate) proved: bool,
    /// Whether a bearer token is accepted even so.
    pub(crate) bearer_for_proof: bool,
}

impl AnswerRules {
    /// Returns `true` for the type of a token that is bound to the proof's key, and `false` for that of
    /// a bearer token.
    fn accept(&self, token_type: Option<&str>) -> Result<bool, AnswerFault> {
        let Some(token_type) = token_type else {
            return if self.no_token_type { self.bearer() } else { Err(AnswerFault::NoTokenType) };
        };
        let is_it = |accepted: &str| token_type.eq_ignore_ascii_case(accepted);
        if self.proved && is_it("dpop") {
            return Ok(true);
        }
        if is_it("bearer") || self.token_types.iter().any(|accepted| is_it(accepted)) {
            return self.bearer();
        }
        Err(AnswerFault::TokenType)
    }

    const fn bearer(&self) -> Result<bool, AnswerFault> {
        if self.proved && !self.bearer_for_proof { Err(AnswerFault::Downgraded) } else { Ok(false) }
    }
}

/// The members that matter; all others are ignored, a `refresh_token` among them (RFC 6749 §4.4.3).
#[derive(Deserialize)]
struct Answer<'a> {
    access_token: Option<Private>,
    token_type: Option<String>,
    #[serde(borrow)]
    issued_token_type: Option<&'a RawValue>,
    #[serde(borrow)]
    expires_in: Option<&'a RawValue>,
    #[serde(borrow)]
    scope: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    error_description: Option<&'a RawValue>,
}

impl<'a> Answer<'a> {
    /// Reads an object. The derived `Deserialize` would accept an array, too.
    fn read(body: &'a [u8]) -> Option<Self> {
        // RFC 8259 §8.1 lets readers ignore a byte order mark.
        json::parse(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok()
    }

    /// Returns `true` if there is an access token.
    fn has_token(&self) -> bool {
        self.access_token.as_ref().is_some_and(|token| !token.0.is_empty())
    }

    /// Returns the error, if one is reported. An empty one or `null` isn't.
    fn error(&self) -> Option<&'a RawValue> {
        let bare = |raw: &RawValue| raw.get().split_ascii_whitespace().collect::<String>();
        self.error
            .filter(|raw| !matches!(&*bare(raw), "null" | "false" | "0" | "\"\"" | "[]" | "{}"))
    }
}

/// A text that is wiped when dropped.
struct Private(Zeroizing<String>);

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Reads the answer. Its text is shown only if none of `secrets` is in it.
pub(crate) fn read(
    response: Response<Bytes>,
    now: UnixTime,
    rules: &AnswerRules,
    secrets: &[&[u8]],
) -> Result<Granted, TokenError> {
    let (head, body) = response.into_parts();
    let status = head.status;
    let answer = Answer::read(&body);
    let result = match &answer {
        _ if status == StatusCode::OK => granted(answer.as_ref(), rules, secrets),
        Some(answer) if status == StatusCode::CREATED && answer.has_token() => {
            if rules.created {
                granted(Some(answer), rules, secrets)
            } else {
                Err(TokenError::new(TokenErrorKind::Answer(AnswerFault::Created)))
            }
        }
        _ => Err(refused(status, answer.as_ref(), secrets, retry_after(&head.headers, now))),
    };
    drop(answer);
    // This is the last copy of the token, unless the transport has kept a part of it.
    if let Ok(mut body) = body.try_into_mut() {
        body.as_mut().zeroize();
    }
    result
}

fn granted(
    answer: Option<&Answer<'_>>,
    rules: &AnswerRules,
    secrets: &[&[u8]],
) -> Result<Granted, TokenError> {
    let fault = |fault| TokenError::new(TokenErrorKind::Answer(fault));
    let answer = answer.ok_or(fault(AnswerFault::NotJson))?;
    // Some servers report errors with status 200.
    if let Some(error) = error_of(answer, secrets, StatusCode::OK, None) {
        return Err(error);
    }
    let access_token = answer.access_token.as_ref().filter(|token| !token.0.is_empty());
    let access_token = access_token.ok_or(fault(AnswerFault::NoAccessToken))?;
    let token_type = answer.token_type.as_deref();
    let is_bound = rules.accept(token_type).map_err(|fault| {
        let token_type = token_type.filter(|_| fault == AnswerFault::TokenType);
        let description = token_type.and_then(|it| shown(it, "", 64, answer, secrets));
        TokenError::with(TokenErrorKind::Answer(fault), description, None)
    })?;
    Ok(Granted {
        is_bound,
        access_token: Zeroizing::new(access_token.0.as_bytes().to_vec()),
        lifetime: answer.expires_in.map_or(Lifetime::Unsaid, |raw| lifetime(raw.get())),
        issued: answer.issued_token_type.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        scopes: answer.scope.and_then(|raw| scopes(raw.get(), rules.comma_separated)),
    })
}

fn refused(
    status: StatusCode,
    answer: Option<&Answer<'_>>,
    secrets: &[&[u8]],
    retry_after: Option<Duration>,
) -> TokenError {
    // An overloaded server's error about the client is not to be believed.
    let passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    answer
        .filter(|_| !passing)
        .and_then(|answer| error_of(answer, secrets, status, retry_after))
        .unwrap_or_else(|| {
            let redirect = TokenErrorKind::Answer(AnswerFault::Redirect);
            let kind =
                if status.is_redirection() { redirect } else { TokenErrorKind::Status(status) };
            TokenError::with(kind, None, retry_after)
        })
}

/// Returns the error that an answer reports, if it does.
fn error_of(
    answer: &Answer<'_>,
    secrets: &[&[u8]],
    status: StatusCode,
    retry_after: Option<Duration>,
) -> Option<TokenError> {
    let text = |raw: Option<&RawValue>| -> String {
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    };
    // An error that isn't a string has no name.
    let code = text(Some(answer.error()?));
    let description = text(answer.error_description);
    let known = ErrorCode::from_text(&code);
    let error = match known {
        ErrorCode::Other(_) => {
            ErrorCode::from_text(&shown(&code, "", 64, answer, secrets).unwrap_or_default())
        }
        known => known,
    };
    let description = shown(&description, &code, 256, answer, secrets);
    Some(TokenError::refused(error, status, description, retry_after))
}

/// Makes a text of the server fit to be shown, cut to size; `None` if it is empty, or if a secret may
/// be in it, also one that begins in the text `before` it.
fn shown(
    text: &str,
    before: &str,
    longest: usize,
    answer: &Answer<'_>,
    secrets: &[&[u8]],
) -> Option<Box<str>> {
    let cut = |text: &str| text.chars().take(longest).collect::<String>();
    if text.is_empty() {
        return None;
    }
    let all = Zeroizing::new(cut(before) + &cut(text));
    // A value as short as a word isn't a token: searching for it would only hide the text.
    let token = answer.access_token.iter().map(|token| token.0.as_bytes());
    let token = token.filter(|token| token.len() >= 8);
    let is_free = is_free_of(&all, secrets.iter().copied().chain(token));
    Some(plain(text, longest)).filter(|shown| is_free && !shown.is_empty())
}

/// Reads a number, or a text that is one: some servers write it in quotes.
fn lifetime(json: &str) -> Lifetime {
    let text: Option<String> = serde_json::from_str(json).ok();
    let text = text.as_deref().unwrap_or(json).trim();
    // `inf` and `NaN` parse, and are no lifetimes.
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

/// Reads a text delimited by spaces, or by commas where these are expected, or an array of texts.
fn scopes(json: &str, comma_separated: bool) -> Option<ScopeSet> {
    let mut list = match serde_json::from_str::<String>(json) {
        Ok(list) => list,
        Err(_) => serde_json::from_str::<Vec<String>>(json).ok()?.join(" "),
    };
    if comma_separated {
        list = list.replace(',', " ");
    }
    Some(ScopeSet::parse(&list))
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
        let now = UnixTime::from_secs(1_000_000_000);
        read(response, now, &AnswerRules::default(), &[b"canary"])
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
        let with = |name: &str| {
            format!(r#"{{"access_token":"t","token_type":"Bearer","a":[{{"{name}":"1"}}]}}"#)
        };
        let reserved = with("$serde_json::private::RawValue");
        assert!(answer(200, &with("$serde_json")).is_ok());
        for (body, fault) in [
            ("", Fault::NotJson),
            ("<html><title>Log in</title></html>", Fault::NotJson),
            ("[]", Fault::NotJson),
            ("null", Fault::NotJson),
            ("\"token\"", Fault::NotJson),
            (r#"{"access_token":"t","token_type":"Bearer""#, Fault::NotJson),
            (r#"{"access_token":"t","access_token":"u","token_type":"Bearer"}"#, Fault::NotJson),
            (r#"{"access_token":1,"token_type":"Bearer"}"#, Fault::NotJson),
            (r#"{"access_token":"t","token_type":"Bearer","a":{"b":1,"b":1}}"#, Fault::NotJson),
            (&reserved, Fault::NotJson),
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

    fn lenient(status: u16, body: &str, rules: &AnswerRules) -> Result<Granted, TokenError> {
        let mut response = Response::new(Bytes::from(body.to_owned()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        read(response, UnixTime::from_secs(0), rules, &[b"canary"])
    }

    // FC3
    #[test]
    fn fc3_other_token_types_are_accepted_when_they_are_named() {
        let body = |name: &str| format!(r#"{{"access_token":"v^1.1#i","token_type":"{name}"}}"#);
        let named = AnswerRules {
            token_types: vec!["bearertoken".into(), "application access token".into()],
            ..AnswerRules::default()
        };
        for name in ["BearerToken", "Application Access Token", "bearerTOKEN", "Bearer"] {
            assert_eq!(*lenient(200, &body(name), &named).unwrap().access_token, b"v^1.1#i");
        }
        let error = answer(200, &body("BearerToken")).err().unwrap();
        assert_eq!(*error.kind(), TokenErrorKind::Answer(AnswerFault::TokenType));
        let shown = error.to_string();
        assert!(shown.contains("BearerToken") && shown.contains("accept_token_type"), "{shown}");
        for name in ["DPoP", "", "Bearer ", "canary"] {
            let error = lenient(200, &body(name), &named).err().unwrap();
            assert_eq!(*error.kind(), TokenErrorKind::Answer(AnswerFault::TokenType), "{name}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    // FC15
    #[test]
    fn fc15_what_deviates_is_accepted_when_it_is_said_and_the_error_names_the_setting() {
        let (plain, body) = (AnswerRules::default, r#"{"access_token":"t","token_type":"Bearer"}"#);
        let created = AnswerRules { created: true, ..plain() };
        assert!(lenient(201, body, &created).is_ok() && lenient(200, body, &created).is_ok());
        let error = lenient(201, body, &plain()).err().unwrap();
        assert!(error.to_string().contains("accept_created"), "{error}");
        // Without a token it is a status like others.
        let status = TokenErrorKind::Status(StatusCode::CREATED);
        assert_eq!(*lenient(201, "{}", &plain()).err().unwrap().kind(), status);
        assert_eq!(*lenient(201, "{}", &created).err().unwrap().kind(), status);
        assert!(lenient(202, body, &created).is_err());

        let body = r#"{"access_token":"f8","scope":"write_orders,read_customers","expires_in":9}"#;
        let untyped = AnswerRules { no_token_type: true, ..plain() };
        assert_eq!(lenient(200, body, &untyped).unwrap().scopes.unwrap().iter().count(), 1);
        let error = lenient(200, body, &plain()).err().unwrap();
        assert!(error.to_string().contains("accept_missing_token_type"), "{error}");
        // A type that is present is still checked.
        assert!(lenient(200, r#"{"access_token":"t","token_type":"DPoP"}"#, &untyped).is_err());

        let commas = AnswerRules { comma_separated: true, ..untyped };
        let scopes = lenient(200, body, &commas).unwrap().scopes.unwrap();
        assert_eq!(scopes.as_str(), "write_orders read_customers");
    }

    // FC12
    #[test]
    fn fc12_an_error_that_says_nothing_is_none() {
        for nothing in ["\"\"", "\" \"", "false", "null", "0", "[]", "{}"] {
            let body = |token| format!(r#"{{{token}"token_type":"Bearer","error":{nothing}}}"#);
            assert!(answer(200, &body(r#""access_token":"abc","#)).is_ok(), "{nothing}");
            let none = TokenErrorKind::Answer(AnswerFault::NoAccessToken);
            assert_eq!(kind(200, &body("")), none, "{nothing}");
            assert_eq!(kind(400, &body("")), TokenErrorKind::Status(StatusCode::BAD_REQUEST));
        }
        for some in ["true", "1", "[1]", r#"{"code":1}"#, "\"a\""] {
            let body = format!(r#"{{"access_token":"t","token_type":"Bearer","error":{some}}}"#);
            let error = answer(200, &body).err().unwrap();
            assert!(matches!(error.kind(), TokenErrorKind::Refused(_)), "{some}");
            assert!(!error.to_string().ends_with(": "), "{error}");
        }
    }

    // FC12: the derived `Deserialize` would accept an array of the members.
    #[test]
    fn fc12_an_array_is_no_answer() {
        let members = r#"["t","Bearer",null,null,null,null]"#;
        assert_eq!(kind(200, members), TokenErrorKind::Answer(AnswerFault::NotJson));
        assert_eq!(
            kind(400, r#"[null,null,null,null,"invalid_client",null]"#),
            TokenErrorKind::Status(StatusCode::BAD_REQUEST)
        );
    }

    // FC4: the token itself is a secret, and so is what is split between two members.
    #[test]
    fn fc4_neither_the_token_nor_a_secret_in_two_parts_is_shown() {
        let shown = |body: &str| format!("{:?}", answer(200, body).err().unwrap());
        let body = r#"{"error":"x","error_description":"dG9rZW4tMTIzNDU2Nzg","access_token":"token-12345678"}"#;
        assert!(!shown(body).contains("dG9r"), "{}", shown(body));
        let body = r#"{"error":"it_is_can","error_description":"ary"}"#;
        assert!(!shown(body).contains("ary"), "{}", shown(body));
        let body = r#"{"error":"it_is","error_description":"harmless"}"#;
        assert!(shown(body).contains("harmless") && shown(body).contains("it_is"));
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
        // A proxy's error about the client isn't believed while the server is down.
        assert_eq!(kind(503, r#"{"error":"invalid_client"}"#), status(503));
    }

    proptest::proptest! {
        // R14
        #[test]
        fn r14_any_answer_is_read_to_its_end(status in 200_u16..600, body: Vec<u8>, quoted: String) {
            for body in [body, format!(r#"{{"error":{quoted:?},"expires_in":{quoted:?}}}"#).into()] {
                let mut response = Response::new(Bytes::from(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                proptest::prop_assert!(read(response, UnixTime::from_secs(0), &AnswerRules::default(), &[]).is_err());
            }
        }
    }

    // R13
    #[test]
    fn r13_a_redirect_is_an_error() {
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(kind(status, ""), TokenErrorKind::Answer(AnswerFault::Redirect));
            // FC10: an OAuth error says more than the status.
            let refused = TokenErrorKind::Refused(ErrorCode::from_text("invalid_client"));
            assert_eq!(kind(status, r#"{"error":"invalid_client"}"#), refused);
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
        let expiry =
            |token: &str| crate::credentials::jwt::expiry(token.as_bytes()).map(UnixTime::as_secs);
        assert_eq!(expiry(&jwt(r#"{"exp":12.5,"iss":"a"}"#)), Some(12));
        for opaque in ["opaque", "a.b.c", "", "..", &jwt("{}"), &jwt(r#"{"exp":"1"}"#)] {
            assert_eq!(expiry(opaque), None, "{opaque}");
        }
    }
}
