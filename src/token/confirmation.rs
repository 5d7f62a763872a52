use std::borrow::Cow;
use std::fmt;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Any, Budget, Names, Value, read_object};

/// What a token says it is bound to (RFC 7800 §3.1).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Confirmation<'a> {
    /// Nothing: there is no `cnf`.
    #[default]
    None,
    /// A key of the client's, by its thumbprint, `jkt` (RFC 9449 §6.1), and nothing else.
    Key(Cow<'a, str>),
    /// Something that isn't understood, alone or beside a key.
    Other,
}

impl<'a> Confirmation<'a> {
    /// Reads a `cnf` that is there.
    pub(crate) fn read(cnf: &'a RawValue) -> Self {
        let budget = Budget::new();
        read_object(cnf.get().as_bytes(), CnfVisitor(&budget)).unwrap_or(Self::Other)
    }
}

struct CnfVisitor<'b>(&'b Budget);

impl<'de> Visitor<'de> for CnfVisitor<'_> {
    type Value = Confirmation<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a confirmation")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut key, mut others) = (None, false);
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            let value = map.next_value_seed(Any::keep(self.0))?;
            match value {
                Value::Text(jkt) if name == "jkt" && is_thumbprint(&jkt) => key = Some(jkt),
                _ => others = true,
            }
        }
        Ok(key.filter(|_| !others).map_or(Confirmation::Other, Confirmation::Key))
    }
}

/// Returns `true` for a SHA-256 in base64url, in its one spelling.
fn is_thumbprint(text: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    #[test]
    fn d50_d51_one_key_and_nothing_else() {
        let good = format!(r#"{{"jkt":"{JKT}"}}"#);
        let read = |text: &str| {
            let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
            let read = Confirmation::read(&raw) == Confirmation::Key(JKT.into());
            assert!(read || Confirmation::read(&raw) == Confirmation::Other, "{text}");
            read
        };
        assert!(read(&good));
        assert!(read(&format!(r#" {{ "\u006akt" : "{JKT}" }} "#)));
        for jkt in [
            "\"\"".to_owned(),
            format!("\"{JKT}=\""),
            format!("\"{}\"", &JKT[1..]),
            format!("\"{JKT}A\""),
            format!("\"{}J\"", &JKT[..42]),
            format!("\"{}+\"", &JKT[..42]),
            format!("[\"{JKT}\"]"),
            "null".to_owned(),
            "1".to_owned(),
            "{}".to_owned(),
        ] {
            assert!(!read(&format!(r#"{{"jkt":{jkt}}}"#)), "{jkt}");
        }
        for more in [
            r#""x5t#S256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2""#.to_owned(),
            r#""jwk":{"kty":"EC"}"#.to_owned(),
            r#""kid":"k""#.to_owned(),
            r#""unknown":null"#.to_owned(),
            format!(r#""jkt":"{JKT}""#),
        ] {
            assert!(!read(&format!(r#"{{"jkt":"{JKT}",{more}}}"#)), "{more}");
        }
        for cnf in ["{}", "null", "[]", "\"jkt\"", "1", r#"{"kid":"k"}"#] {
            assert!(!read(cnf), "{cnf}");
        }
    }
}
