//! Tells JWTs from opaque tokens by their shape.

use std::fmt;

use memchr::memchr_iter;
use serde::de::{MapAccess, Visitor};

use crate::jose::{Scratch, decode_into};
use crate::json::{Any, Budget, Value, next_name, read_object};

/// Returns `true` if a token has the form of a JWT: three segments, of which the first
/// decodes to a JSON object with a string `alg`. Whether it is valid isn't checked.
///
/// The number of dots alone says nothing: there are opaque tokens with any number of them.
pub(crate) fn is_jwt(token: &[u8]) -> bool {
    if !begins_as_jwt(token) {
        return false;
    }
    let mut dots = memchr_iter(b'.', token);
    let (Some(first), Some(_), None) = (dots.next(), dots.next(), dots.next()) else {
        return false;
    };
    let header = token.get(..first).unwrap_or_default();
    let mut scratch = Scratch::take(header.len());
    let Ok((json, _)) = decode_into(header, scratch.room()) else { return false };
    let (budget, mut found) = (Budget::new(), false);
    // A header with a duplicate name is a JWT's too, if an invalid one's.
    read_object(json, HasAlg { budget: &budget, found: &mut found }).is_ok() && found
}

struct HasAlg<'a> {
    budget: &'a Budget,
    found: &'a mut bool,
}

/// Returns `false` if a token can't be a JWT, not even a broken one. `{`, and the white space that JSON allows
/// before it, begin so in base64url: few opaque tokens do.
#[inline]
pub(crate) const fn begins_as_jwt(token: &[u8]) -> bool {
    matches!(token, [b'e' | b'C' | b'D' | b'I', ..])
}

impl<'de> Visitor<'de> for HasAlg<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = next_name(&mut map, self.budget)? {
            let value = map.next_value_seed(Any::keep(self.budget))?;
            *self.found |= name == "alg" && matches!(value, Value::Text(_));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

    use super::*;

    fn with_header(header: &str, rest: &str) -> bool {
        is_jwt(format!("{}{rest}", BASE64_URL_SAFE_NO_PAD.encode(header)).as_bytes())
    }

    #[test]
    fn i39_a_jwt_is_known_by_its_header_and_not_by_its_dots() {
        for header in [
            r#"{"alg":"RS256"}"#,
            r#"{"typ":"at+jwt","alg":"none","kid":"a"}"#,
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"dir","enc":"A128GCM"}"#,
            r#" {"alg":""} "#,
            "\t{\"alg\":\"\"}",
            "\n\r{\"alg\":\"\"}",
            "\r{\"alg\":\"\"}",
        ] {
            assert!(with_header(header, ".e30.AA"), "{header}");
            assert!(with_header(header, ".."), "broken, and a JWT: {header}");
            assert!(with_header(header, ".!.!"), "{header}");
        }
        for header in [
            "{}",
            r#"{"alg":1}"#,
            r#"{"alg":null}"#,
            r#"{"a":{"alg":"x"}}"#,
            r#"["alg"]"#,
            "",
            "alg",
        ] {
            assert!(!with_header(header, ".e30.AA"), "{header}");
        }
    }

    #[test]
    fn i39_i41_other_numbers_of_segments_are_opaque_whatever_their_header_says() {
        for rest in ["", ".e30", ".e30.AA.AA", ".e30.AA.AA.AA", ".e30.AA.AA.AA.AA"] {
            assert!(!with_header(r#"{"alg":"RS256"}"#, rest), "{rest}");
            assert!(!with_header(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, rest), "{rest}");
        }
        // ZITADEL's: 288 characters with four dots. Others': random with two.
        let zitadel = ["V2hhdGV2ZXI", &"x".repeat(100), "y", &"z".repeat(100), "w"].join(".");
        for token in
            [&*zitadel, "ory_at_abc.def.ghi", "a.b.c", "e30", "..", "", "7b.7d.7d", "é.é.é"]
        {
            assert!(!is_jwt(token.as_bytes()), "{token}");
        }
    }
}
