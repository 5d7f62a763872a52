//! What a token says about its issuer before anything of it was verified: it only selects among the
//! configured ones.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};

use crate::jose::{Compact, Scratch, decode_into};
use crate::json::{Any, Budget, Value, next_name, read_object};
use crate::refusal::{Detail, Excerpt, Rejection, RejectionKind};

/// The longest `iss` that is looked up, in bytes.
const MAX_ISS: usize = 2_048;

/// Returns a claim of a token that must be a text.
///
/// # Errors
///
/// If it is absent, or of another type.
pub(crate) fn text_of<'a>(claims: &'a [u8], name: &'static str) -> Result<Cow<'a, str>, Rejection> {
    match first(claims, name)? {
        Value::Text(text) => Ok(text),
        _ => Err(Rejection::with(RejectionKind::MalformedClaim, Detail::Claim(name))),
    }
}

/// Calls `select` with the `iss` of a token whose signature has not been checked.
///
/// Only the first `iss` is looked at: a second one is refused when all claims are read.
///
/// # Errors
///
/// If the token has none, or one that no issuer can have.
pub(crate) fn with_unverified_iss<T>(
    token: &[u8],
    select: impl FnOnce(&str) -> Result<T, Rejection>,
) -> Result<T, Rejection> {
    let payload = Compact::split(token)?.payload;
    let mut scratch = Scratch::take(payload.len());
    let (claims, _) = decode_into(payload, scratch.room())?;
    match first(claims, "iss")? {
        Value::Text(iss) if iss.len() <= MAX_ISS => select(&iss),
        Value::Text(_) => Err(malformed("longer than 2048 bytes")),
        _ => Err(malformed("not a string")),
    }
}

fn malformed(how: &'static str) -> Rejection {
    let presented = Excerpt::new(how);
    Rejection::with(RejectionKind::MalformedClaim, Detail::Value { claim: "iss", presented })
}

fn first<'a>(claims: &'a [u8], name: &'static str) -> Result<Value<'a>, Rejection> {
    let (budget, mut found) = (Budget::new(), None);
    let read = read_object(claims, First { name, budget: &budget, found: &mut found });
    match (found, read) {
        (Some(iss), _) => Ok(iss),
        (None, Ok(())) => Err(Rejection::with(RejectionKind::MissingClaim, Detail::Claim(name))),
        (None, Err(_)) => Err(RejectionKind::MalformedToken.into()),
    }
}

struct First<'a, 'de> {
    name: &'static str,
    budget: &'a Budget,
    found: &'a mut Option<Value<'de>>,
}

impl<'de> Visitor<'de> for First<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claims object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = next_name(&mut map, self.budget)? {
            if name == self.name {
                *self.found = Some(map.next_value_seed(Any::keep(self.budget))?);
                // The rest is read once it is known by whose rules.
                return Err(de::Error::custom(""));
            }
            map.next_value_seed(Any::skip(self.budget))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    fn iss(claims: &str) -> Result<String, RejectionKind> {
        let token = format!("e30.{}.AA", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let selected = with_unverified_iss(token.as_bytes(), |iss| Ok(iss.to_owned()));
        selected.map_err(|rejection| rejection.kind())
    }

    #[test]
    fn n4_iss_is_a_text_of_at_most_2_kib_or_selects_nothing() {
        let long = |len: usize| format!(r#"{{"iss":"{}"}}"#, "a".repeat(len));
        assert_eq!(
            iss(r#"{"sub":"s","iss":"https://a.example","aud":[]}"#),
            Ok("https://a.example".into())
        );
        assert_eq!(iss(r#"{"iss":"a\u0000b"}"#), Ok("a\0b".into()), "which no issuer is called");
        assert_eq!(iss(&long(2_048)), Ok("a".repeat(2_048)));
        assert_eq!(iss(&long(2_049)), Err(RejectionKind::MalformedClaim));
        for other in ["1", "null", "true", "[\"https://a.example\"]", "{\"a\":1}", "[]"] {
            let claims = format!(r#"{{"iss":{other}}}"#);
            assert_eq!(iss(&claims), Err(RejectionKind::MalformedClaim), "{other}");
        }
        for (claims, kind) in [
            ("{}", RejectionKind::MissingClaim),
            (r#"{"ISS":"a","sub":"iss"}"#, RejectionKind::MissingClaim),
            (r#"{"a":{"iss":"a"}}"#, RejectionKind::MissingClaim),
            ("", RejectionKind::MalformedToken),
            ("[]", RejectionKind::MalformedToken),
            (r#""iss""#, RejectionKind::MalformedToken),
            (r#"{"iss":"#, RejectionKind::MalformedToken),
            (r#"{"a":1"#, RejectionKind::MalformedToken),
        ] {
            assert_eq!(iss(claims), Err(kind), "{claims}");
        }
    }

    #[test]
    fn n4_what_isnt_a_signed_token_selects_nothing() {
        let select = |token: &str| {
            let never = |_: &str| -> Result<(), Rejection> { panic!("{token} selects") };
            with_unverified_iss(token.as_bytes(), never).unwrap_err().kind()
        };
        for token in ["", "a", "a.b", "..", "e30.!.AA", "e30.e30.AA.AA", "e30..AA"] {
            assert_eq!(select(token), RejectionKind::MalformedToken, "{token}");
        }
        assert_eq!(select("a.b.c.d.e"), RejectionKind::EncryptedToken);
    }
}
