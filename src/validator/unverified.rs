//! Reads the issuer that an unverified token names, which only selects among the configured ones.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};

use crate::json::{Any, Budget, Value, next_name, read_object};
use crate::refusal::{Detail, Excerpt, Rejection, RejectionKind};
use crate::token::RawClaims;

/// The longest `iss` that is looked up, in bytes.
const MAX_ISS: usize = 2_048;

/// Returns a claim of a token that must be a string.
///
/// # Errors
///
/// If it is absent, or has another type.
pub(crate) fn text_of<'a>(claims: &'a [u8], name: &'static str) -> Result<Cow<'a, str>, Rejection> {
    match first(claims, name)? {
        Value::Text(text) => Ok(text),
        _ => Err(Rejection::with(RejectionKind::MalformedClaim, Detail::Claim(name))),
    }
}

/// Returns the `iss` of claims whose signature has not been checked.
///
/// Only the first `iss` is read here: a second one is refused when all claims are read.
///
/// # Errors
///
/// If there is none, or one that no issuer can have.
pub(crate) fn unverified_iss(claims: &[u8]) -> Result<Cow<'_, str>, Rejection> {
    match first(claims, "iss")? {
        Value::Text(iss) if iss.len() <= MAX_ISS => Ok(iss),
        Value::Text(_) => Err(malformed("longer than 2048 bytes")),
        _ => Err(malformed("not a string")),
    }
}

/// Returns the same of claims that were read.
pub(crate) fn iss_of<'c>(claims: &'c RawClaims<'_>) -> Result<&'c str, Rejection> {
    match claims.iss.as_deref() {
        Some(iss) if iss.len() <= MAX_ISS => Ok(iss),
        Some(_) => Err(malformed("longer than 2048 bytes")),
        None => Err(Rejection::with(RejectionKind::MissingClaim, Detail::Claim("iss"))),
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
        // What comes after it is read once it is known by whose rules.
        (Some(value), _) => Ok(value),
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
                // The rest is read once the issuer is known.
                return Ok(());
            }
            map.next_value_seed(Any::skip(self.budget))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Scratch;
    use crate::validator::opened::Opened;

    fn iss(claims: &str) -> Result<String, RejectionKind> {
        let iss = unverified_iss(claims.as_bytes());
        iss.map(Cow::into_owned).map_err(|rejection| rejection.kind())
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
    fn n4_what_comes_after_iss_selects_nothing_else() {
        for rest in [
            "}",
            r#","iss":"b"}"#,
            r#","iss":1}"#,
            r#","aud":{"a":"#,
            ",",
            "",
            "}}",
            "}{}",
            " !",
            "\u{0}",
            r#","\uD800":0}"#,
        ] {
            assert_eq!(iss(&format!(r#"{{"exp":1,"iss":"a"{rest}"#)), Ok("a".into()), "{rest}");
        }
    }

    #[test]
    fn n4_what_isnt_a_signed_token_selects_nothing() {
        let select = |token: &str| {
            let mut scratch = Scratch::take(token.len());
            let opened = Opened::new(token.as_bytes(), &mut scratch);
            opened.and_then(|mut it| Ok(unverified_iss(it.claims()?)?.len())).unwrap_err().kind()
        };
        for token in ["", "a", "a.b", "..", "e30.!.AA", "e30.e30.AA.AA", "e30..AA"] {
            assert_eq!(select(token), RejectionKind::MalformedToken, "{token}");
        }
        assert_eq!(select("a.b.c.d.e"), RejectionKind::EncryptedToken);
    }
}
