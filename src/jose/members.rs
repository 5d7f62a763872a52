//! Reads the members of a JWK as they are written.

use std::fmt;

#[cfg(feature = "dpop")]
use serde::de::{DeserializeSeed, Deserializer};
use serde::de::{MapAccess, Visitor};

use crate::json::{Any, Budget, Names, Value};

/// The members of a JWK (RFC 7517 §4), as they were written. Others are skipped.
#[derive(Default)]
pub(crate) struct Members<'a> {
    pub(crate) kty: Option<Value<'a>>,
    pub(crate) kid: Option<Value<'a>>,
    pub(crate) r#use: Option<Value<'a>>,
    pub(crate) key_ops: Option<Value<'a>>,
    pub(crate) alg: Option<Value<'a>>,
    pub(crate) issuer: Option<Value<'a>>,
    pub(crate) crv: Option<Value<'a>>,
    pub(crate) x: Option<Value<'a>>,
    pub(crate) y: Option<Value<'a>>,
    pub(crate) n: Option<Value<'a>>,
    pub(crate) e: Option<Value<'a>>,
    pub(crate) r#pub: Option<Value<'a>>,
    /// A member of a private key is present.
    pub(crate) private: bool,
    /// A shared secret is present.
    pub(crate) symmetric: bool,
}

/// Reads the members of a JWK.
pub(crate) struct ReadMembers<'b> {
    pub(crate) budget: &'b Budget,
    /// Treats a member that is `null` as absent.
    pub(crate) null_is_absent: bool,
}

#[cfg(feature = "dpop")]
impl<'de> DeserializeSeed<'de> for ReadMembers<'_> {
    type Value = Members<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Members<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadMembers<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JWK")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let is_there = |value: &Value<'_>| !self.null_is_absent || *value != Value::Null;
        let mut members = Members::default();
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.budget)? {
            let slot = match name.as_ref() {
                "kty" => &mut members.kty,
                "kid" => &mut members.kid,
                "use" => &mut members.r#use,
                "key_ops" => &mut members.key_ops,
                "alg" => &mut members.alg,
                "issuer" => &mut members.issuer,
                "crv" => &mut members.crv,
                "x" => &mut members.x,
                "y" => &mut members.y,
                "n" => &mut members.n,
                "e" => &mut members.e,
                "pub" => &mut members.r#pub,
                other => {
                    // RFC 7518 §6.2.2, §6.3.2, §6.4.1; `priv` is that of AKP keys.
                    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];
                    let (private, symmetric) = (private.contains(&other), other == "k");
                    let is_there = is_there(&map.next_value_seed(Any::skip(self.budget))?);
                    members.private |= private && is_there;
                    members.symmetric |= symmetric && is_there;
                    continue;
                }
            };
            *slot = Some(map.next_value_seed(Any::keep(self.budget))?).filter(is_there);
        }
        Ok(members)
    }
}
