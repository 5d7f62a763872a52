//! Reads the claims of a DPoP proof.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};

use crate::json::{Any, Budget, Names, Text, read_object};

const MAX_JTI_BYTES: usize = 256;
const MAX_HTU_BYTES: usize = 2 * 1_024;

/// The claims of a proof (RFC 9449 §4.2). Times are whole seconds, rounded down.
#[derive(Debug)]
pub(crate) struct ProofClaims<'a> {
    pub(crate) jti: Cow<'a, str>,
    pub(crate) htm: Cow<'a, str>,
    pub(crate) htu: Cow<'a, str>,
    /// Only proofs for a resource have it.
    pub(crate) ath: Option<Cow<'a, str>>,
    pub(crate) iat: i64,
    pub(crate) exp: Option<i64>,
    pub(crate) nbf: Option<i64>,
    pub(crate) nonce: Option<Cow<'a, str>>,
}

impl<'a> ProofClaims<'a> {
    /// Reads a decoded payload.
    ///
    /// # Errors
    ///
    /// If a claim that every proof has is absent, or one has the wrong type.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, &'static str> {
        let budget = Budget::new();
        let raw = read_object(json, ClaimsVisitor(&budget)).map_err(
            |_| "the claims aren't a JSON object, one occurs twice, or one has the wrong type",
        )?;
        let claims = Self {
            jti: raw.jti.ok_or("jti is absent")?,
            htm: raw.htm.ok_or("htm is absent")?,
            htu: raw.htu.ok_or("htu is absent")?,
            ath: raw.ath,
            iat: raw.iat.ok_or("iat is absent")?,
            exp: raw.exp,
            nbf: raw.nbf,
            nonce: raw.nonce,
        };
        if claims.jti.is_empty() || claims.jti.len() > MAX_JTI_BYTES {
            return Err("jti is empty or longer than 256 bytes");
        }
        if claims.htu.len() > MAX_HTU_BYTES {
            return Err("htu is longer than 2 KiB");
        }
        Ok(claims)
    }
}

#[derive(Default)]
struct RawClaims<'a> {
    jti: Option<Cow<'a, str>>,
    htm: Option<Cow<'a, str>>,
    htu: Option<Cow<'a, str>>,
    ath: Option<Cow<'a, str>>,
    iat: Option<i64>,
    exp: Option<i64>,
    nbf: Option<i64>,
    nonce: Option<Cow<'a, str>>,
}

struct ClaimsVisitor<'b>(&'b Budget);

impl<'de> Visitor<'de> for ClaimsVisitor<'_> {
    type Value = RawClaims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of a proof")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut claims = RawClaims::default();
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            match name.as_ref() {
                "jti" => claims.jti = Some(map.next_value_seed(Text)?),
                "htm" => claims.htm = Some(map.next_value_seed(Text)?),
                "htu" => claims.htu = Some(map.next_value_seed(Text)?),
                "ath" => claims.ath = Some(map.next_value_seed(Text)?),
                "nonce" => claims.nonce = Some(map.next_value_seed(Text)?),
                "iat" => claims.iat = Some(map.next_value_seed(WholeSeconds)?),
                "exp" => claims.exp = Some(map.next_value_seed(WholeSeconds)?),
                "nbf" => claims.nbf = Some(map.next_value_seed(WholeSeconds)?),
                _ => {
                    map.next_value_seed(Any::skip(self.0))?;
                }
            }
        }
        Ok(claims)
    }
}

/// Reads a `NumericDate` (RFC 7519 §2), rounded down to the second.
struct WholeSeconds;

impl<'de> DeserializeSeed<'de> for WholeSeconds {
    type Value = i64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<i64, D::Error> {
        deserializer.deserialize_f64(self)
    }
}

/// 2^53: up to here an `f64` holds every whole number.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

impl Visitor<'_> for WholeSeconds {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds")
    }

    fn visit_u64<E: de::Error>(self, secs: u64) -> Result<i64, E> {
        i64::try_from(secs).map_err(|_| E::custom("too large"))
    }

    fn visit_i64<E: de::Error>(self, secs: i64) -> Result<i64, E> {
        Ok(secs)
    }

    fn visit_f64<E: de::Error>(self, secs: f64) -> Result<i64, E> {
        if secs.is_finite() && secs.abs() <= MAX_EXACT {
            Ok(secs.floor() as i64)
        } else {
            Err(E::custom("too large"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) -> bool {
        let mut claims = serde_json::json!({
            "jti": "j", "htm": "GET", "htu": "https://h/", "iat": 1, "ath": "a",
        });
        change(claims.as_object_mut().unwrap());
        ProofClaims::parse(claims.to_string().as_bytes()).is_ok()
    }

    #[test]
    fn d35_every_claim_is_required() {
        assert!(parse(|_| ()));
        for name in ["jti", "htm", "htu", "iat"] {
            assert!(!parse(|claims| drop(claims.remove(name))), "{name}");
        }
        for name in ["exp", "nbf", "nonce"] {
            let value = if name == "nonce" { "n".into() } else { serde_json::json!(2) };
            assert!(parse(|claims| drop(claims.insert(name.into(), value))), "{name}");
        }
    }

    #[test]
    fn d36_claims_are_of_their_types() {
        for name in ["jti", "htm", "htu", "ath", "nonce"] {
            for value in ["1", "null", "true", "[]", "[\"j\"]", "{}"] {
                let value = serde_json::from_str(value).unwrap();
                assert!(!parse(|claims| drop(claims.insert(name.into(), value))), "{name}");
            }
        }
        for name in ["iat", "exp", "nbf"] {
            for value in ["\"1\"", "null", "true", "[1]", "{}", "1e300", "18446744073709551615"] {
                let value = serde_json::from_str(value).unwrap();
                assert!(!parse(|claims| drop(claims.insert(name.into(), value))), "{name}");
            }
        }
        let long = |len: usize| "j".repeat(len);
        for (name, len, good) in [
            ("jti", 0, false),
            ("jti", 1, true),
            ("jti", 256, true),
            ("jti", 257, false),
            ("htu", 2_048, true),
            ("htu", 2_049, false),
        ] {
            let value = long(len).into();
            assert_eq!(
                parse(|claims| drop(claims.insert(name.into(), value))),
                good,
                "{name} {len}"
            );
        }
    }

    #[test]
    fn d36_a_fraction_of_a_second_is_rounded_down() {
        let iat = |iat: &str| {
            let json = format!(r#"{{"jti":"j","htm":"GET","htu":"h","ath":"a","iat":{iat}}}"#);
            ProofClaims::parse(json.as_bytes()).ok().map(|claims| claims.iat)
        };
        assert_eq!(iat("1562262616.999"), Some(1_562_262_616));
        assert_eq!(iat("-0.5"), Some(-1));
        assert_eq!(iat("1.5e3"), Some(1_500));
        assert_eq!(iat("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(iat("1e999"), None);
    }

    #[test]
    fn d33_a_name_that_is_there_twice_is_refused() {
        let good = r#"{"jti":"j","htm":"GET","htu":"h","ath":"a","iat":1,"x":{"y":1}}"#;
        assert!(ProofClaims::parse(good.as_bytes()).is_ok());
        for json in [
            good.replace("\"x\"", "\"jti\""),
            good.replace("\"x\"", "\"iat\""),
            good.replace("\"x\"", "\"\\u006ati\""),
            good.replace("\"y\":1", "\"y\":1,\"y\":2"),
            format!("{good}{{}}"),
            format!("[{good}]"),
            String::new(),
        ] {
            assert!(ProofClaims::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
