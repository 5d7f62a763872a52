//! What a server says about a token that it refuses (RFC 6750 §3, RFC 9110 §11.6.1).

use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

use crate::syntax::is_tchar;

/// What an answer says about the token of its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Objection {
    /// The answer names no fault that a retry could fix.
    Nothing,
    /// The token is refused; another one may be accepted.
    TokenRefused,
    /// The proof needs a nonce (RFC 9449 §9).
    NonceWanted,
    /// The proof is refused.
    ProofRefused,
}

/// Reads the challenges of an answer to a request with a token, which may be bound to a key.
///
/// A token is refused by a 401, or gRPC's `UNAUTHENTICATED` in the head of an answer, which names the
/// error `invalid_token`, has no challenge, or challenges Bearer without an error: some servers,
/// such as Microsoft Graph, do so for expired tokens. Other errors and other schemes don't concern the
/// token. For a bound token, DPoP counts besides Bearer, wherever it stands among the challenges.
pub(crate) fn read(status: StatusCode, headers: &HeaderMap, is_bound: bool) -> Objection {
    if status != StatusCode::UNAUTHORIZED && !is_grpc_unauthenticated(status, headers) {
        return Objection::Nothing;
    }
    let mut challenges = headers.get_all(WWW_AUTHENTICATE).iter().peekable();
    if challenges.peek().is_none() {
        return Objection::TokenRefused;
    }
    let (mut any_own_scheme, mut invalid_token, mut invalid_proof, mut other_error) =
        (false, false, false, false);
    for field in challenges {
        let mut reader = Reader::new(field.as_bytes(), is_bound);
        while let Some(error) = reader.next_error() {
            match error {
                b"use_dpop_nonce" if is_bound => return Objection::NonceWanted,
                b"invalid_token" => invalid_token = true,
                b"invalid_dpop_proof" if is_bound => invalid_proof = true,
                b"" => {}
                _ => other_error = true,
            }
        }
        any_own_scheme |= reader.any_own_scheme;
    }
    if invalid_token || (any_own_scheme && !other_error && !invalid_proof) {
        Objection::TokenRefused
    } else if invalid_proof {
        Objection::ProofRefused
    } else {
        Objection::Nothing
    }
}

fn is_grpc_unauthenticated(status: StatusCode, headers: &HeaderMap) -> bool {
    let grpc = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    status == StatusCode::OK
        && headers.get(CONTENT_TYPE).is_some_and(grpc)
        && headers.get("grpc-status").is_some_and(|value| value == "16")
}

struct Reader<'a> {
    rest: &'a [u8],
    /// Whether DPoP is one of the token's schemes, besides Bearer.
    is_bound: bool,
    /// Whether the scheme read last is one of them.
    own_scheme: bool,
    /// Whether any scheme read so far is one of them.
    any_own_scheme: bool,
}

struct Parameter<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Reader<'a> {
    const fn new(field: &'a [u8], is_bound: bool) -> Self {
        Self { rest: field, is_bound, own_scheme: false, any_own_scheme: false }
    }

    /// Returns the next `error` of a challenge for one of the token's schemes, without quotes.
    fn next_error(&mut self) -> Option<&'a [u8]> {
        while let Some(parameter) = self.next() {
            if self.own_scheme && parameter.name.eq_ignore_ascii_case(b"error") {
                return Some(parameter.value);
            }
        }
        None
    }

    /// Returns the next parameter, and records the schemes before it. Anything else is skipped.
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
                self.own_scheme = word.eq_ignore_ascii_case(b"bearer")
                    || (self.is_bound && word.eq_ignore_ascii_case(b"dpop"));
                self.any_own_scheme |= self.own_scheme;
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

    fn take(&mut self, accepts: fn(&u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !accepts(byte)).unwrap_or(self.rest.len());
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
        read(StatusCode::from_u16(status).unwrap(), &headers, false) == Objection::TokenRefused
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
            read(StatusCode::OK, &headers, false) == Objection::TokenRefused
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

    // A DPoP challenge is found wherever it stands, and counts for bound tokens only.
    #[test]
    fn dc13_the_dpop_challenge_is_found_among_others() {
        let said = |challenges: &[&str], is_bound| {
            let mut headers = HeaderMap::new();
            for challenge in challenges {
                headers.append(WWW_AUTHENTICATE, challenge.parse().unwrap());
            }
            read(StatusCode::UNAUTHORIZED, &headers, is_bound)
        };
        let nonce = r#"DPoP algs="ES256", error="use_dpop_nonce""#;
        for challenges in [
            &[nonce][..],
            &[r#"dpop Error=use_dpop_nonce"#],
            &[r#"Bearer realm="a""#, nonce],
            &[r#"Bearer realm="a", DPoP error="use_dpop_nonce", algs="ES256""#],
            &[r#"Basic realm="x, DPoP", Bearer, DPoP error="use_dpop_nonce""#],
            &["Negotiate", r#"Bearer realm="a""#, "Basic realm=\"b\"", nonce],
            &[r#"Bearer error="invalid_token""#, nonce],
        ] {
            assert_eq!(said(challenges, true), Objection::NonceWanted, "{challenges:?}");
            assert_ne!(said(challenges, false), Objection::NonceWanted, "{challenges:?}");
        }
        for (challenges, expected) in [
            (&["Bearer", r#"DPoP error="invalid_token""#][..], Objection::TokenRefused),
            (&[r#"DPoP algs="ES256""#], Objection::TokenRefused),
            (&[r#"Bearer error="invalid_token""#, "DPoP algs=\"ES256\""], Objection::TokenRefused),
            (&[], Objection::TokenRefused),
            (&["Bearer", r#"DPoP error="invalid_dpop_proof""#], Objection::ProofRefused),
            (&["Bearer", r#"DPoP error="insufficient_scope""#], Objection::Nothing),
            (&[r#"Basic realm="DPoP error=use_dpop_nonce""#], Objection::Nothing),
            (&[r#"Basic realm="a\" DPoP error=use_dpop_nonce""#], Objection::Nothing),
            (
                &[r#"Bearer realm="a", error_description="DPoP error=use_dpop_nonce""#],
                Objection::TokenRefused,
            ),
        ] {
            assert_eq!(said(challenges, true), expected, "{challenges:?}");
        }
        for status in [200, 400, 403, 503] {
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, nonce.parse().unwrap())]);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(read(status, &headers, true), Objection::Nothing, "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_field_is_read_to_its_end(field: Vec<u8>) {
            let mut reader = Reader::new(&field, true);
            let errors = std::iter::from_fn(|| reader.next_error()).count();
            prop_assert!(errors <= field.len());
        }
    }
}
