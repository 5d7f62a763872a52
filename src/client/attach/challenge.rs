//! What a server says about a token that it refuses (RFC 6750 §3, RFC 9110 §11.6.1).

use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use crate::syntax::is_tchar;

/// Returns `true` if an answer to a request with a token says that the token is no good, so that
/// another could be.
///
/// That is a 401, or gRPC's `UNAUTHENTICATED` in the head of an answer, which names the error
/// `invalid_token`, challenges no scheme, or challenges Bearer without an error: some servers, such as
/// Microsoft Graph, do so for expired tokens. Other errors, and other schemes, are not the token's.
pub(crate) fn refuses_token(status: StatusCode, headers: &HeaderMap) -> bool {
    if status != StatusCode::UNAUTHORIZED && !is_grpc_unauthenticated(status, headers) {
        return false;
    }
    let mut challenges = headers.get_all(WWW_AUTHENTICATE).iter().peekable();
    if challenges.peek().is_none() {
        return true;
    }
    let (mut bearer, mut other_error) = (false, false);
    for field in challenges {
        let mut reader = Reader::new(field.as_bytes());
        while let Some(error) = reader.next_error() {
            match error {
                b"invalid_token" => return true,
                b"" => {}
                _ => other_error = true,
            }
        }
        bearer |= reader.met_bearer;
    }
    bearer && !other_error
}

fn is_grpc_unauthenticated(status: StatusCode, headers: &HeaderMap) -> bool {
    let grpc = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    status == StatusCode::OK
        && headers.get(CONTENT_TYPE).is_some_and(grpc)
        && headers.get("grpc-status").is_some_and(|value| value == "16")
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Whether the scheme read last is Bearer.
    bearer: bool,
    /// Whether any was.
    met_bearer: bool,
}

struct Parameter<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Reader<'a> {
    const fn new(field: &'a [u8]) -> Self {
        Self { rest: field, bearer: false, met_bearer: false }
    }

    /// Returns the `error` of the next Bearer challenge that has one, quotes taken away.
    fn next_error(&mut self) -> Option<&'a [u8]> {
        while let Some(parameter) = self.next() {
            if self.bearer && parameter.name.eq_ignore_ascii_case(b"error") {
                return Some(parameter.value);
            }
        }
        None
    }

    /// Returns the next parameter, and notes the schemes on the way. What is neither is skipped.
    fn next(&mut self) -> Option<Parameter<'a>> {
        while !self.rest.is_empty() {
            let word = self.take(|byte| is_tchar(*byte));
            if word.is_empty() {
                self.rest = self.rest.get(1..).unwrap_or_default();
                continue;
            }
            let after_word = self.rest;
            self.take(is_space);
            let Some(rest) = self.rest.strip_prefix(b"=") else {
                self.rest = after_word;
                self.bearer = word.eq_ignore_ascii_case(b"bearer");
                self.met_bearer |= self.bearer;
                continue;
            };
            self.rest = rest;
            self.take(is_space);
            return Some(Parameter { name: word, value: self.value() });
        }
        None
    }

    /// Reads a token or a quoted string; the values that matter have nothing to unescape.
    fn value(&mut self) -> &'a [u8] {
        let Some(quoted) = self.rest.strip_prefix(b"\"") else {
            return self.take(|byte| is_tchar(*byte));
        };
        let mut escaped = false;
        let end = quoted.iter().position(|byte| {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            ends
        });
        let end = end.unwrap_or(quoted.len());
        self.rest = quoted.get(end.saturating_add(1)..).unwrap_or_default();
        quoted.get(..end).unwrap_or_default()
    }

    fn take(&mut self, of: fn(&u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !of(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest;
        taken
    }
}

fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refuses(status: u16, challenges: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for challenge in challenges {
            headers.append(WWW_AUTHENTICATE, challenge.parse().unwrap());
        }
        refuses_token(StatusCode::from_u16(status).unwrap(), &headers)
    }

    // E10
    #[test]
    fn e10_a_401_without_challenge_or_with_invalid_token_is_about_the_token() {
        assert!(refuses(401, &[]));
        for challenge in [
            r#"Bearer error="invalid_token""#,
            r#"bearer realm="a, error=x", error="invalid_token", error_description="b\"c""#,
            r#"BEARER Error=invalid_token"#,
            r#"Bearer error = "invalid_token""#,
            r#"Basic realm="a", Bearer error="invalid_token""#,
            r#"Negotiate abc==, Bearer realm="x" , error="invalid_token""#,
            r#", Bearer scope="a b", error="invalid_token","#,
        ] {
            assert!(refuses(401, &[challenge]), "{challenge}");
        }
        assert!(refuses(401, &["Basic realm=\"a\"", "Bearer error=\"invalid_token\""]));
    }

    // E10, E12: a DPoP nonce that is asked for is another matter than a refused token.
    #[test]
    fn e10_e12_nothing_else_is() {
        for challenge in [
            r#"Bearer error="insufficient_scope", scope="a""#,
            r#"Bearer realm="a", Bearer error="insufficient_scope""#,
            r#"Bearer realm="", error="insufficient_claims", claims="eyJ9""#,
            r#"Bearer error="invalid_request""#,
            r#"Bearer error="insufficient_user_authentication", acr_values="x""#,
            r#"Basic realm="a\" Bearer error=invalid_token""#,
            r#"Basic realm="a\\", Basic realm="Bearer error=invalid_token""#,
            r#"Basic realm="a", error="invalid_token""#,
            r#"DPoP error="invalid_token""#,
            r#"DPoP error="use_dpop_nonce""#,
            "Negotiate",
            "",
        ] {
            assert!(!refuses(401, &[challenge]), "{challenge}");
        }
        for status in [200, 400, 403, 404, 407, 500, 503] {
            assert!(!refuses(status, &[]), "{status}");
            assert!(!refuses(status, &[r#"Bearer error="invalid_token""#]), "{status}");
        }
    }

    // E10: the token was sent, and the server says nothing of it.
    #[test]
    fn fc12_a_bearer_challenge_without_an_error_is_about_the_token() {
        let graph = "Bearer realm=\"\", \
             authorization_uri=\"https://login.microsoftonline.example/common/oauth2/authorize\", \
             client_id=\"00000003-0000-0000-c000-000000000000\"";
        for challenge in [
            graph,
            "Bearer",
            "bearer",
            r#"Bearer realm="api""#,
            r#"Bearer error="""#,
            r#"Bearer realm="error=\"insufficient_scope\"""#,
            r#"Bearer error_description="expired""#,
            r#"Basic realm="a", Bearer realm="b""#,
            r#"Bearer, DPoP algs="ES256""#,
        ] {
            assert!(refuses(401, &[challenge]), "{challenge}");
        }
        assert!(refuses(401, &["Negotiate", graph]));
        assert!(!refuses(401, &[graph, r#"Bearer error="insufficient_scope""#]));
        assert!(!refuses(403, &[graph]));
    }

    // E10: gRPC's own way to say 401.
    #[test]
    fn e10_grpc_says_unauthenticated() {
        let answer = |status: &str, media_type: &str, challenge: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", status.parse().unwrap());
            headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
            if let Some(challenge) = challenge {
                headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
            }
            refuses_token(StatusCode::OK, &headers)
        };
        let invalid = r#"Bearer error="invalid_token""#;
        assert!(answer("16", "application/grpc", None));
        assert!(answer("16", "application/grpc+proto", Some(invalid)));
        assert!(answer("16", "application/grpc", Some("Bearer realm=\"a\"")));
        assert!(!answer("16", "application/grpc", Some("Basic realm=\"a\"")));
        assert!(!answer("7", "application/grpc", Some(invalid)));
        assert!(!answer("0", "application/grpc", None));
        assert!(!answer("16", "text/plain", None));
    }

    proptest! {
        #[test]
        fn any_field_is_read_to_its_end(field: Vec<u8>) {
            let mut reader = Reader::new(&field);
            let errors = std::iter::from_fn(|| reader.next_error()).count();
            prop_assert!(errors <= field.len());
        }
    }
}
