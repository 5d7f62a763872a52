//! Reads the JOSE header of a token.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};

use crate::jose::error::JoseError;
use crate::json::{Any, Budget, Names, Value, read_object};

/// A `kid` longer than this is refused, in a token as in a key set.
pub(crate) const MAX_KID_BYTES: usize = 256;

/// The parameters of a JOSE header (RFC 7515 §4) that are used.
///
/// `jwk`, `jku`, `x5u`, `x5c` and `x5t` are never read: a token can't choose its own key.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    pub(crate) alg: Cow<'a, str>,
    pub(crate) kid: Option<Cow<'a, str>>,
    pub(crate) typ: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    /// Reads a decoded header.
    ///
    /// # Errors
    ///
    /// If it isn't one JSON object, a parameter has a wrong type, or the token is encrypted,
    /// nested, or has a critical extension: none is supported.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, JoseError> {
        let budget = Budget::new();
        let raw = read_object(json, HeaderVisitor(&budget)).map_err(|_| {
            JoseError::MalformedHeader("the header isn't a JSON object, or has a name twice")
        })?;
        if raw.enc.is_some() {
            return Err(JoseError::Encrypted);
        }
        if raw.crit.is_some() {
            return Err(JoseError::Critical("crit"));
        }
        // RFC 7797 §7: a JWT must not use an unencoded payload. `true` is the default, written out.
        if raw.b64.is_some_and(|b64| b64 != Value::Bool(true)) {
            return Err(JoseError::Critical("b64"));
        }
        let cty = text(raw.cty, "cty isn't a string")?;
        if cty.is_some_and(|cty| media_type(&cty).eq_ignore_ascii_case("jwt")) {
            return Err(JoseError::Nested);
        }
        let kid = text(raw.kid, "kid isn't a string")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(JoseError::MalformedHeader("kid is longer than 256 bytes"));
        }
        let alg = text(raw.alg, "alg isn't a string")?
            .ok_or(JoseError::MalformedHeader("alg is absent"))?;
        Ok(Self { alg, kid, typ: text(raw.typ, "typ isn't a string")? })
    }

    /// Returns `typ` without the prefix `application/`, which RFC 7515 §4.1.9 lets senders omit.
    pub(crate) fn media_type(&self) -> Option<&str> {
        self.typ.as_deref().map(media_type)
    }
}

/// Removes the prefix `application/` from a type, which RFC 7515 §4.1.9 lets senders omit.
pub(crate) fn media_type(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) && !rest.contains('/') => rest,
        _ => typ,
    }
}

fn text<'a>(
    value: Option<Value<'a>>,
    note: &'static str,
) -> Result<Option<Cow<'a, str>>, JoseError> {
    value.map(|value| value.into_text().ok_or(JoseError::MalformedHeader(note))).transpose()
}

#[derive(Default)]
struct RawHeader<'a> {
    alg: Option<Value<'a>>,
    kid: Option<Value<'a>>,
    typ: Option<Value<'a>>,
    cty: Option<Value<'a>>,
    enc: Option<Value<'a>>,
    crit: Option<Value<'a>>,
    b64: Option<Value<'a>>,
}

struct HeaderVisitor<'b>(&'b Budget);

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = RawHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut header = RawHeader::default();
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            let slot = match name.as_ref() {
                "alg" => &mut header.alg,
                "kid" => &mut header.kid,
                "typ" => &mut header.typ,
                "cty" => &mut header.cty,
                "enc" => &mut header.enc,
                "crit" => &mut header.crit,
                "b64" => &mut header.b64,
                _ => {
                    map.next_value_seed(Any::skip(self.0))?;
                    continue;
                }
            };
            *slot = Some(map.next_value_seed(Any::keep(self.0))?);
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> Option<JoseError> {
        Header::parse(json.as_bytes()).err()
    }

    fn malformed(error: Option<JoseError>) -> bool {
        matches!(error, Some(JoseError::MalformedHeader(_)))
    }

    #[test]
    fn reads_what_matters_and_ignores_the_rest() {
        let json = br#"{"alg":"ES256","kid":"k","typ":"application/at+jwt","jku":"https://x","zip":"DEF","b64":true}"#;
        let header = Header::parse(json).unwrap();
        assert_eq!((&*header.alg, header.kid.as_deref()), ("ES256", Some("k")));
        assert_eq!(header.media_type(), Some("at+jwt"));
    }

    #[test]
    fn typ_loses_only_the_prefix() {
        assert_eq!(media_type("APPLICATION/AT+JWT"), "AT+JWT");
        assert_eq!(media_type("application/a/b"), "application/a/b");
        assert_eq!(media_type("text/at+jwt"), "text/at+jwt");
        assert_eq!(media_type("JWT"), "JWT");
    }

    #[test]
    fn j4_j6_j9_malformed_headers() {
        for json in [
            "",
            "[]",
            "{}",
            "\"a\"",
            "{\"alg\":1}",
            "{\"alg\":null}",
            "{\"alg\":\"ES256\"}x",
            "{\"alg\":\"ES256\",\"alg\":\"ES256\"}",
            "{\"alg\":\"ES256\",\"kid\":7}",
            "{\"alg\":\"ES256\",\"kid\":null}",
            "{\"alg\":\"ES256\",\"typ\":[]}",
            "{\"alg\":\"ES256\",\"x\":1,\"x\":2}",
            "\u{feff}{\"alg\":\"ES256\"}",
            "{\"alg\":\"ES256\",\"x\":{\"$serde_json::private::RawValue\":\"1\"}}",
            "{\"$serde_json::private::RawValue\":\"{\\\"alg\\\":\\\"ES256\\\"}\"}",
        ] {
            assert!(malformed(refused(json)), "{json}");
        }
        assert!(Header::parse(b"{\"alg\":\"ES\xff\"}").is_err());
        assert_eq!(refused(r#"{"alg":"ES256"}"#), None);
    }

    #[test]
    fn j15_j16_j21_j22_what_is_not_a_plain_jws() {
        for (more, error) in [
            (r#""crit":["exp"]"#, JoseError::Critical("crit")),
            (r#""crit":[]"#, JoseError::Critical("crit")),
            (r#""crit":null"#, JoseError::Critical("crit")),
            (r#""b64":false"#, JoseError::Critical("b64")),
            (r#""b64":"true""#, JoseError::Critical("b64")),
            (r#""enc":"A256GCM""#, JoseError::Encrypted),
            (r#""cty":"JWT""#, JoseError::Nested),
            (r#""cty":"application/jwt""#, JoseError::Nested),
        ] {
            assert_eq!(refused(&format!("{{\"alg\":\"ES256\",{more}}}")), Some(error), "{more}");
        }
        assert_eq!(refused(r#"{"alg":"ES256","cty":"json"}"#), None);
    }

    #[test]
    fn j19_a_long_kid_is_refused() {
        let header = |len: usize| format!("{{\"alg\":\"ES256\",\"kid\":\"{}\"}}", "k".repeat(len));
        assert_eq!(refused(&header(256)), None);
        assert!(malformed(refused(&header(257))));
    }
}
