//! Reads the bearer token from the `Authorization` field.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::refusal::RejectionKind;
use crate::syntax::is_tchar;

/// What the `Authorization` field holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Credentials<'a> {
    /// No such field, or one of another scheme.
    None,
    /// The text after the scheme. Whether it is a [`b64token`](crate::syntax::is_b64token) isn't checked yet.
    Token(&'a [u8]),
    /// What RFC 6750 §3.1 calls `invalid_request`.
    Refused(RejectionKind),
}

/// Reads the bearer token from the request's headers (RFC 6750 §2.1), without allocation, and marks
/// all credentials as sensitive: they aren't printed, nor put into a compression table.
#[inline]
pub(crate) fn credentials(headers: &mut HeaderMap) -> Credentials<'_> {
    if are_many(headers) {
        let fields = headers.iter_mut().filter(|(name, _)| **name == AUTHORIZATION);
        fields.for_each(|(_, field)| field.set_sensitive(true));
        // Neither the first nor the last of several may count: a proxy in front may have read the other
        // one.
        return Credentials::Refused(RejectionKind::MultipleCredentials);
    }
    match headers.get_mut(&AUTHORIZATION) {
        None => Credentials::None,
        Some(field) => {
            field.set_sensitive(true);
            parse(field.as_bytes())
        }
    }
}

/// Returns the bearer token of a request that has one, as [`credentials`] does.
#[cfg(feature = "mtls")]
pub(crate) fn token(headers: &HeaderMap) -> &[u8] {
    match headers.get(AUTHORIZATION).map(|field| parse(field.as_bytes())) {
        Some(Credentials::Token(token)) => token,
        _ => &[],
    }
}

/// Returns the token of a request that was authenticated: whatever the scheme, it has no space in it.
#[cfg(feature = "client")]
pub(crate) fn accepted(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(AUTHORIZATION)?.as_bytes().rsplit(|byte| *byte == b' ').next()
}

/// Returns `true` if there are several fields. If no name at all occurs twice, that is known at once.
#[inline]
fn are_many(headers: &HeaderMap) -> bool {
    headers.len() > headers.keys_len() && headers.get_all(AUTHORIZATION).iter().nth(1).is_some()
}

fn parse(field: &[u8]) -> Credentials<'_> {
    // The usual spelling.
    if let Some(token) = field.strip_prefix(b"Bearer ")
        && token.first() != Some(&b' ')
    {
        return Credentials::Token(token);
    }
    parse_scheme(field, b"bearer")
}

/// Reads credentials of a scheme, in any case.
pub(crate) fn parse_scheme<'a>(field: &'a [u8], expected: &[u8]) -> Credentials<'a> {
    let trimmed = field.trim_ascii_start();
    let Some((scheme, rest)) = trimmed.split_at_checked(expected.len()) else {
        return Credentials::None;
    };
    if !scheme.eq_ignore_ascii_case(expected) || rest.first().is_some_and(|next| is_tchar(*next)) {
        return Credentials::None;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let token = rest.get(spaces..).unwrap_or_default();
    if trimmed.len() == field.len() && spaces > 0 {
        Credentials::Token(token)
    } else {
        Credentials::Refused(RejectionKind::MalformedCredentials)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::PROXY_AUTHORIZATION;
    use proptest::prelude::*;

    use super::*;
    use crate::syntax::{is_b64, is_b64token};

    const MALFORMED: Credentials<'_> = Credentials::Refused(RejectionKind::MalformedCredentials);

    fn read(field: &[u8]) -> Credentials<'_> {
        match parse(field) {
            Credentials::Token(token) if !is_b64token(token) => MALFORMED,
            credentials => credentials,
        }
    }

    // X1, X2, X3: RFC 6750 §2.1, with the scheme of RFC 9110 §11.1.
    #[test]
    fn x1_x2_x3_bearer_in_any_case_after_one_or_more_spaces() {
        for field in [
            &b"Bearer abc.def-ghi"[..],
            b"bearer abc.def-ghi",
            b"BEARER abc.def-ghi",
            b"bEaReR   abc.def-ghi",
            b"Bearer  abc.def-ghi",
        ] {
            assert_eq!(read(field), Credentials::Token(b"abc.def-ghi"));
        }
        for field in [&b"Bearer\tabc"[..], b"Bearer \tabc", b"Bearer\t abc", b"Bearer\x0cabc"] {
            assert_eq!(read(field), MALFORMED);
        }
    }

    // X4: the whole charset, and `=` only at the end.
    #[test]
    fn x4_charset() {
        for byte in 0..=u8::MAX {
            let field = [b"Bearer a", &[byte][..], b"a"].concat();
            let legal = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(matches!(read(&field), Credentials::Token(_)), legal, "{byte:#x}");
        }
        for (token, legal) in [
            ("a=", true),
            ("a==", true),
            ("a====", true),
            ("=", false),
            ("a=a", false),
            ("=a", false),
        ] {
            let field = format!("Bearer {token}");
            assert_eq!(matches!(read(field.as_bytes()), Credentials::Token(_)), legal, "{token}");
        }
    }

    // X5: of the Bearer scheme, but not of its grammar.
    #[test]
    fn x5_malformed_bearer_fields() {
        for field in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer  ",
            b"Bearer/abc",
            b"Bearer=",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer a, Bearer b",
            b"Bearer \"x\"",
            b"Bearer caf\xc3\xa9",
            b"Bearer \xff",
            b"Bearer\xff",
            b"Bearer,a",
            b"Bearer=a",
            b"Bearer:a",
            b"Bearer token=a",
        ] {
            assert_eq!(read(field), MALFORMED, "{field:?}");
        }
        assert_eq!(read(b"Bearer x"), Credentials::Token(b"x"));
    }

    // X6: never the first, never the last.
    #[test]
    fn x6_a_second_field_is_refused() {
        for (one, two) in
            [("Bearer a", "Bearer a"), ("Bearer a", "Basic b"), ("Basic b", "Bearer a"), ("", "")]
        {
            let mut headers = HeaderMap::new();
            headers.append(AUTHORIZATION, one.parse().unwrap());
            headers.append(AUTHORIZATION, two.parse().unwrap());
            assert_eq!(
                credentials(&mut headers),
                Credentials::Refused(RejectionKind::MultipleCredentials)
            );
        }
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, "Bearer a".parse().unwrap());
        assert_eq!(credentials(&mut headers), Credentials::Token(b"a"));
        for other in ["b", "c"] {
            headers.append(PROXY_AUTHORIZATION, other.parse().unwrap());
        }
        assert_eq!(credentials(&mut headers), Credentials::Token(b"a"), "others may be many");
    }

    // X12, X13: another scheme is no bearer credential; and X16.
    #[test]
    fn x12_x13_x16_other_schemes_and_fields_are_no_credentials() {
        for field in [
            "Basic dXNlcjpwYXNz",
            "Negotiate abc",
            "DPoP abc",
            "Bearerx abc",
            "Bearer-Token abc",
            "Bear",
            "",
            "abc",
        ] {
            assert_eq!(read(field.as_bytes()), Credentials::None, "{field}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(PROXY_AUTHORIZATION, "Bearer abc".parse().unwrap());
        assert_eq!(credentials(&mut headers), Credentials::None);
    }

    // X17: a parser of HTTP/1.1 takes the whitespace around a field's value away, and HTTP/2 forbids
    // it: what is still there was meant.
    #[test]
    fn x17_whitespace_within_the_value_is_not_tolerated() {
        for field in [&b"Bearer abc "[..], b"Bearer abc\t", b" Bearer abc", b"\tBearer abc"] {
            assert_eq!(read(field), MALFORMED, "{field:?}");
        }
    }

    // X15: every value, not only the first.
    #[test]
    fn x15_all_credentials_become_sensitive() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, "Bearer a".parse().unwrap());
        headers.append(AUTHORIZATION, "Basic b".parse().unwrap());
        headers.insert("x-other", "c".parse().unwrap());
        credentials(&mut headers);
        assert!(headers.get_all(AUTHORIZATION).iter().all(HeaderValue::is_sensitive));
        assert!(!headers["x-other"].is_sensitive());
    }

    proptest! {
        #[test]
        fn whatever_bytes_arrive_a_token_is_a_b64token(field in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Credentials::Token(token) = read(&field) {
                prop_assert!(!token.is_empty());
                prop_assert!(token.iter().all(|byte| is_b64(*byte) || *byte == b'='));
            }
        }
    }
}
