//! Reads `cnf`: the key or the certificate that a token is bound to.

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
    /// A key or a certificate of the client, or both, and nothing else.
    Bound(Binding<'a>),
    /// Something that isn't supported, alone or beside the others.
    Other,
}

/// What a token is bound to: at least one of both, and each that is set must be shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Binding<'a> {
    /// The thumbprint of the client's key, `jkt` (RFC 9449 §6.1).
    pub(crate) key: Option<Cow<'a, str>>,
    /// The thumbprint of the client's certificate, `x5t#S256` (RFC 8705 §3.1).
    pub(crate) certificate: Option<Cow<'a, str>>,
}

/// Which bindings the service can check.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Provable {
    pub(crate) keys: bool,
    pub(crate) certificates: bool,
}

impl<'a> Confirmation<'a> {
    /// Reads a `cnf` that is present.
    pub(crate) fn read(cnf: &'a RawValue) -> Self {
        let budget = Budget::new();
        read_object(cnf.get().as_bytes(), CnfVisitor(&budget)).unwrap_or(Self::Other)
    }

    pub(crate) const fn binding(&self) -> Option<&Binding<'a>> {
        match self {
            Self::Bound(binding) => Some(binding),
            Self::None | Self::Other => None,
        }
    }
}

impl Provable {
    /// Returns `true` if all that the token is bound to can be shown.
    pub(crate) const fn covers(self, binding: &Binding<'_>) -> bool {
        (self.keys || binding.key.is_none()) && (self.certificates || binding.certificate.is_none())
    }
}

struct CnfVisitor<'b>(&'b Budget);

impl<'de> Visitor<'de> for CnfVisitor<'_> {
    type Value = Confirmation<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a confirmation")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut binding, mut others) = (Binding::default(), false);
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            let value = map.next_value_seed(Any::keep(self.0))?;
            match value {
                Value::Text(jkt) if name == "jkt" && is_thumbprint(&jkt) => binding.key = Some(jkt),
                Value::Text(x5t) if name == "x5t#S256" && is_thumbprint(&x5t) => {
                    binding.certificate = Some(x5t);
                }
                _ => others = true,
            }
        }
        let is_bound = binding.key.is_some() || binding.certificate.is_some();
        Ok(if is_bound && !others { Confirmation::Bound(binding) } else { Confirmation::Other })
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
    const X5T: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

    fn read(text: &str) -> Option<[Option<String>; 2]> {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        match Confirmation::read(&raw) {
            Confirmation::Bound(Binding { key, certificate }) => {
                Some([key, certificate].map(|it| it.map(Cow::into_owned)))
            }
            Confirmation::Other => None,
            Confirmation::None => panic!("{text}"),
        }
    }

    #[test]
    fn d50_d51_mt1_thumbprints_and_nothing_else() {
        let (jkt, x5t) = (|| Some(JKT.to_owned()), || Some(X5T.to_owned()));
        for (text, expected) in [
            (format!(r#"{{"jkt":"{JKT}"}}"#), [jkt(), None]),
            (format!(r#" {{ "\u006akt" : "{JKT}" }} "#), [jkt(), None]),
            (format!(r#"{{"x5t#S256":"{X5T}"}}"#), [None, x5t()]),
            (format!(r#"{{"x5t\u0023S256":"{X5T}"}}"#), [None, x5t()]),
            (format!(r#"{{"x5t#S256":"{X5T}","jkt":"{JKT}"}}"#), [jkt(), x5t()]),
        ] {
            assert_eq!(read(&text), Some(expected), "{text}");
        }
        for name in ["jkt", "x5t#S256"] {
            for value in [
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
                assert_eq!(read(&format!(r#"{{"{name}":{value}}}"#)), None, "{name} {value}");
            }
        }
        for more in [
            r#""x5t#s256":"bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2""#.to_owned(),
            r#""x5t":"bwcK0esc3ACC3DB2Y5_lESsXE8o""#.to_owned(),
            r#""jwk":{"kty":"EC"}"#.to_owned(),
            r#""kid":"k""#.to_owned(),
            r#""unknown":null"#.to_owned(),
            format!(r#""jkt":"{JKT}""#),
        ] {
            assert_eq!(read(&format!(r#"{{"jkt":"{JKT}",{more}}}"#)), None, "{more}");
            if !more.contains("jkt") {
                assert_eq!(read(&format!(r#"{{"x5t#S256":"{X5T}",{more}}}"#)), None, "{more}");
            }
        }
        for cnf in ["{}", "null", "[]", "\"jkt\"", "1", r#"{"kid":"k"}"#] {
            assert_eq!(read(cnf), None, "{cnf}");
        }
    }

    // Q6
    #[test]
    fn mt3_all_that_a_token_is_bound_to_must_be_provable() {
        let binding = |key: bool, certificate: bool| Binding {
            key: key.then_some(JKT.into()),
            certificate: certificate.then_some(X5T.into()),
        };
        for (keys, certificates) in [(false, false), (false, true), (true, false), (true, true)] {
            let provable = Provable { keys, certificates };
            assert_eq!(provable.covers(&binding(true, false)), keys);
            assert_eq!(provable.covers(&binding(false, true)), certificates);
            assert_eq!(provable.covers(&binding(true, true)), keys && certificates);
        }
    }
}
