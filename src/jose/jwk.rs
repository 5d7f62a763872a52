//! Reads a JWK set: the usable keys, and the ignored ones with their reasons.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::jose::alg::Algorithm;
use crate::jose::backend::choice::Backend;
use crate::jose::compact::decode_segment;
use crate::jose::header::MAX_KID_BYTES;
use crate::jose::ignored::IgnoredReason;
use crate::jose::key::VerificationKey;
use crate::jose::key_type::KeyType;
use crate::jose::material::Material;
use crate::jose::members::{Members, ReadMembers};
use crate::json::{Any, Budget, Names, Value, elements, read_document, read_object};
use crate::text::Excerpt;

/// A JWK longer than this is ignored.
const MAX_JWK_BYTES: usize = 16 * 1_024;

/// The result of reading a JWK set (RFC 7517 §5).
#[derive(Debug)]
pub(crate) struct ParsedKeySet {
    pub(crate) keys: Vec<VerificationKey>,
    pub(crate) ignored: Vec<IgnoredKey>,
}

/// A key of a set that isn't used. The others still are.
#[derive(Clone, Debug)]
pub(crate) struct IgnoredKey {
    pub(crate) kid: Option<Excerpt>,
    pub(crate) kty: Option<Excerpt>,
    pub(crate) reason: IgnoredReason,
}

/// Why a text isn't a JWK set at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum KeySetError {
    #[error("the key set isn't a JSON object, or has a member twice")]
    NotJson,
    #[error("the key set has no array \"keys\"")]
    NoKeysArray,
    #[error("the key set has more keys than allowed")]
    TooManyKeys,
}

/// What the keys of a set are used for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// Signatures: `use` is `sig` or absent (RFC 7517 §4.2).
    #[default]
    Signatures,
    /// JWT-SVIDs: `use` is `jwt-svid` (SPIFFE JWT-SVID §6.1).
    JwtSvids,
}

impl Purpose {
    fn allows(self, purpose: Option<&str>) -> bool {
        match self {
            Self::Signatures => purpose.is_none_or(|purpose| purpose == "sig"),
            Self::JwtSvids => purpose == Some("jwt-svid"),
        }
    }
}

/// Reads a JWK set for signatures; see [`parse_keys`].
pub(crate) fn parse_jwk_set(
    text: &[u8],
    max_keys: usize,
    backend: Backend,
) -> Result<ParsedKeySet, KeySetError> {
    parse_keys(text, max_keys, backend, Purpose::Signatures)
}

/// Reads a JWK set.
///
/// A key that can't be used never spoils the others (RFC 7517 §5): it is listed as ignored, with
/// the reason.
///
/// # Errors
///
/// If the text isn't a JWK set, or has more than `max_keys` keys.
pub(crate) fn parse_keys(
    text: &[u8],
    max_keys: usize,
    backend: Backend,
    purpose: Purpose,
) -> Result<ParsedKeySet, KeySetError> {
    let budget = Budget::new();
    let keys = match read_document(text, SetVisitor(&budget)).map_err(|_| KeySetError::NotJson)? {
        Some(Keys::Array(keys)) => keys,
        Some(Keys::Other) | None => return Err(KeySetError::NoKeysArray),
    };
    if keys.len() > max_keys {
        return Err(KeySetError::TooManyKeys);
    }
    let mut parsed = ParsedKeySet { keys: Vec::new(), ignored: Vec::new() };
    for key in keys {
        match parse_jwk(key.get(), backend, purpose) {
            Ok(key) => parsed.keys.push(key),
            Err(ignored) => parsed.ignored.push(ignored),
        }
    }
    Ok(parsed)
}

/// Reads one JWK (RFC 7517 §4) and makes it ready to verify.
#[allow(clippy::result_large_err, reason = "once a key and refresh")]
fn parse_jwk(
    text: &str,
    backend: Backend,
    purpose: Purpose,
) -> Result<VerificationKey, IgnoredKey> {
    let nameless = |reason| IgnoredKey { kid: None, kty: None, reason };
    if text.len() > MAX_JWK_BYTES {
        return Err(nameless(IgnoredReason::TooLarge));
    }
    let budget = Budget::new();
    // Servers write members that have no value as null.
    let reader = ReadMembers { budget: &budget, null_is_absent: true };
    let members =
        read_object(text.as_bytes(), reader).map_err(|_| nameless(IgnoredReason::Malformed))?;
    let excerpt = |value: &Option<Value<'_>>| match value {
        Some(Value::Text(text)) => Some(Excerpt::new(text)),
        _ => None,
    };
    let (kid, kty) = (excerpt(&members.kid), excerpt(&members.kty));
    members.into_key(backend, purpose).map_err(|reason| IgnoredKey { kid, kty, reason })
}

enum Keys<'de> {
    Array(Vec<&'de RawValue>),
    Other,
}

struct SetVisitor<'b>(&'b Budget);

impl<'de> Visitor<'de> for SetVisitor<'_> {
    type Value = Option<Keys<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JWK set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = None;
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            if name == "keys" {
                let raw: &RawValue = map.next_value()?;
                keys = Some(elements(raw).map_or(Keys::Other, Keys::Array));
            } else {
                map.next_value_seed(Any::skip(self.0))?;
            }
        }
        Ok(keys)
    }
}

type Text<'a> = Option<Cow<'a, str>>;

fn text(value: Option<Value<'_>>) -> Result<Text<'_>, IgnoredReason> {
    value.map(|value| value.into_text().ok_or(IgnoredReason::Malformed)).transpose()
}

impl Members<'_> {
    fn into_key(
        self,
        backend: Backend,
        purpose: Purpose,
    ) -> Result<VerificationKey, IgnoredReason> {
        let kid = text(self.kid)?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
            return Err(IgnoredReason::TooLarge);
        }
        let kty = text(self.kty)?.ok_or(IgnoredReason::Malformed)?;
        if kty == "oct" || self.symmetric {
            return Err(IgnoredReason::SymmetricKey);
        }
        let r#use = text(self.r#use)?;
        if !purpose.allows(r#use.as_deref()) {
            return Err(IgnoredReason::NotForSignatures);
        }
        if let Some(operations) = self.key_ops {
            check_key_ops(operations, r#use.is_some())?;
        }
        if self.private {
            return Err(IgnoredReason::PrivateKey);
        }
        let alg = text(self.alg)?;
        let material = match kty.as_ref() {
            "RSA" => Material::Rsa { n: number(self.n)?, e: number(self.e)? },
            "EC" | "OKP" => {
                let crv = text(self.crv)?.ok_or(IgnoredReason::Malformed)?;
                match KeyType::of_jwk(&kty, Some(&crv), None)
                    .ok_or(IgnoredReason::UnsupportedCurve)?
                {
                    KeyType::Ed25519 => Material::Ed25519 {
                        x: octets(self.x)?.try_into().map_err(|_| IgnoredReason::Malformed)?,
                    },
                    curve @ (KeyType::P256 | KeyType::P384 | KeyType::P521) => {
                        ec_point(curve, self.x, self.y)?
                    }
                    // Neither `kty` has these.
                    KeyType::Rsa | KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => {
                        return Err(IgnoredReason::UnsupportedKeyType);
                    }
                }
            }
            // RFC 9964: `alg` is required, and says which parameter set it is.
            "AKP" => {
                let alg = alg.as_deref().ok_or(IgnoredReason::Malformed)?;
                let set = KeyType::of_jwk(&kty, None, Some(alg));
                Material::MlDsa {
                    set: set.ok_or(IgnoredReason::UnsupportedAlgorithm)?,
                    public: octets(self.r#pub)?.into(),
                }
            }
            _ => return Err(IgnoredReason::UnsupportedKeyType),
        };
        let declared = alg
            .map(|alg| Algorithm::from_name(&alg).ok_or(IgnoredReason::UnsupportedAlgorithm))
            .transpose()?;
        // A member that isn't a string names no issuer, so that the key belongs to none.
        let issuer = self.issuer.map(|issuer| issuer.into_text().unwrap_or_default().into());
        let key = VerificationKey::new(kid.map(|kid| kid.into()), declared, material, backend)?;
        Ok(key.bound_to(issuer))
    }
}

/// RFC 7517 §4.3.
fn check_key_ops(operations: Value<'_>, for_signatures: bool) -> Result<(), IgnoredReason> {
    let Value::Array(Some(operations)) = operations else { return Err(IgnoredReason::Malformed) };
    let inconsistent = for_signatures
        && operations.iter().any(|operation| operation != "verify" && operation != "sign");
    if !all_differ(&operations)
        || inconsistent
        || !operations.iter().any(|operation| operation == "verify")
    {
        return Err(IgnoredReason::NotForVerification);
    }
    Ok(())
}

fn all_differ<T: Eq + Hash>(items: &[T]) -> bool {
    let mut seen = HashSet::with_capacity(items.len());
    items.iter().all(|item| seen.insert(item))
}

fn octets(value: Option<Value<'_>>) -> Result<Vec<u8>, IgnoredReason> {
    let encoded = text(value)?.ok_or(IgnoredReason::Malformed)?;
    decode_segment(encoded.as_bytes()).map_err(|_| {
        if encoded.ends_with('=') { IgnoredReason::Padded } else { IgnoredReason::Malformed }
    })
}

/// Reads a `Base64urlUInt` (RFC 7518 §2). Leading zeros are not allowed but don't change the
/// number, and some servers send them: they are removed.
fn number(value: Option<Value<'_>>) -> Result<Box<[u8]>, IgnoredReason> {
    let octets = octets(value)?;
    let zeros = octets.iter().take_while(|byte| **byte == 0).count();
    octets.get(zeros..).filter(|n| !n.is_empty()).map(Box::from).ok_or(IgnoredReason::InvalidKey)
}

fn ec_point(
    curve: KeyType,
    x: Option<Value<'_>>,
    y: Option<Value<'_>>,
) -> Result<Material, IgnoredReason> {
    let (x, y) = (octets(x)?, octets(y)?);
    // RFC 7518 §6.2.1.2: the full width of the field, leading zeros included.
    if x.len() != curve.coordinate_bytes() || y.len() != curve.coordinate_bytes() {
        return Err(IgnoredReason::Malformed);
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat().into();
    Ok(Material::Ec { curve, point })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hasher;

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const MARK: &str = "\u{feff}";

    fn parsed(set: &str) -> Result<ParsedKeySet, KeySetError> {
        parse_jwk_set(set.as_bytes(), 100, Backend::preferred().unwrap())
    }

    /// Reads the good key with these members added, or set if they are there; `None` if it is used.
    fn reason_with(members: &[(&str, &str)]) -> Option<IgnoredReason> {
        let mut key = vec![
            ("kty", "\"OKP\"".to_owned()),
            ("crv", "\"Ed25519\"".to_owned()),
            ("kid", "\"k\"".to_owned()),
            ("x", format!("\"{X}\"")),
        ];
        for (name, value) in members {
            key.retain(|(there, _)| there != name);
            key.push((name, (*value).to_owned()));
        }
        let key: Vec<_> = key.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let parsed = parsed(&format!("{{\"keys\":[{{{}}}]}}", key.join(","))).unwrap();
        assert_eq!(parsed.keys.len() + parsed.ignored.len(), 1);
        parsed.ignored.first().map(|key| key.reason)
    }

    #[test]
    fn fb7_members_that_are_null_are_absent() {
        let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv", "k"];
        let all: Vec<_> = private.iter().map(|name| (*name, "null")).collect();
        assert_eq!(reason_with(&all), None);
        let optional = ["alg", "use", "kid", "key_ops", "y", "n", "e", "x5c", "x5t", "ext", "iat"];
        for name in private.into_iter().chain(optional) {
            assert_eq!(reason_with(&[(name, "null")]), None, "{name}");
        }
        for name in ["kty", "crv", "x"] {
            assert_eq!(reason_with(&[(name, "null")]), Some(IgnoredReason::Malformed), "{name}");
        }
        for name in &private[..8] {
            for value in ["\"\"", "0", "false", "[]", "[null]", "{}"] {
                let reason = reason_with(&[(name, value)]);
                assert_eq!(reason, Some(IgnoredReason::PrivateKey), "{name} {value}");
            }
        }
        assert_eq!(reason_with(&[("k", "\"\"")]), Some(IgnoredReason::SymmetricKey));
        let twice =
            format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{X}","d":null,"d":""}}]}}"#);
        assert_eq!(parsed(&twice).unwrap().ignored[0].reason, IgnoredReason::Malformed);
    }

    // RFC 7517 §4.2, §4.3, §4.4: what is there has to be what it must be.
    #[test]
    fn fb7_empty_members_are_there() {
        assert_eq!(reason_with(&[("kid", "\"\"")]), None, "a name like any other");
        for (name, value, reason) in [
            ("use", "\"\"", IgnoredReason::NotForSignatures),
            ("alg", "\"\"", IgnoredReason::UnsupportedAlgorithm),
            ("key_ops", "[]", IgnoredReason::NotForVerification),
            ("kty", "\"\"", IgnoredReason::UnsupportedKeyType),
            ("crv", "\"\"", IgnoredReason::UnsupportedCurve),
            ("x", "\"\"", IgnoredReason::Malformed),
        ] {
            assert_eq!(reason_with(&[(name, value)]), Some(reason), "{name}");
        }
    }

    #[test]
    fn fb7_a_mark_may_begin_a_set() {
        let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"{X}"}}]}}"#);
        for text in [set.clone(), format!("{MARK}{set}"), format!("{MARK}\r\n{set}\r\n")] {
            assert_eq!(parsed(&text).unwrap().keys.len(), 1, "{text:?}");
        }
        for text in [format!("{MARK}{MARK}{set}"), format!("{set}{MARK}"), MARK.to_owned()] {
            assert_eq!(parsed(&text).unwrap_err(), KeySetError::NotJson, "{text:?}");
        }
    }

    #[test]
    fn fb7_padding_is_refused_and_named() {
        for x in [format!("\"{X}=\""), format!("\"{X}==\""), "\"=\"".to_owned()] {
            assert_eq!(reason_with(&[("x", &x)]), Some(IgnoredReason::Padded), "{x}");
        }
        let rsa = |n: &str, e: &str| {
            reason_with(&[
                ("kty", "\"RSA\""),
                ("n", &format!("\"{n}\"")),
                ("e", &format!("\"{e}\"")),
            ])
        };
        let n = serde_json::from_str::<serde_json::Value>(include_str!(
            "../../fixtures/jwks/public_rsa2048.json"
        ))
        .unwrap()["keys"][0]["n"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(rsa(&n, "AQAB"), None);
        assert_eq!(rsa(&format!("{n}=="), "AQAB"), Some(IgnoredReason::Padded));
        assert_eq!(rsa(&n, "AQAB="), Some(IgnoredReason::Padded));
        assert_eq!(rsa(&format!("{n} "), "AQAB"), Some(IgnoredReason::Malformed));
    }

    #[test]
    fn fa7_a_reserved_name_spoils_its_key_or_its_set() {
        let good = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"{X}"}}"#);
        for name in ["$serde_json::private::RawValue", "\\u0024serde_json::private::Number"] {
            let bad =
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}","a":[{{"{name}":"1"}}]}}"#);
            let set = parsed(&format!(r#"{{"keys":[{bad},{good}]}}"#)).unwrap();
            assert_eq!((set.keys.len(), set.ignored[0].reason), (1, IgnoredReason::Malformed));
            for text in [
                format!(r#"{{"{name}":"{{}}","keys":[{good}]}}"#),
                format!(r#"{{"keys":[{good}],"a":{{"{name}":"{{}}"}}}}"#),
                format!(r#"{{"{name}":"{{\"keys\":[]}}"}}"#),
            ] {
                assert_eq!(parsed(&text).unwrap_err(), KeySetError::NotJson, "{text}");
            }
        }
    }

    /// An operation that counts how often it is compared.
    struct Counted<'a>(u32, &'a Cell<u32>);

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.1.set(self.1.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted<'_> {}

    impl Hash for Counted<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    #[test]
    fn fa9_to_find_duplicates_takes_no_more_comparisons_than_there_are_items() {
        for (len, again) in [(3_200, false), (3_200, true), (1, false), (0, false)] {
            let comparisons = Cell::new(0);
            let last = again.then_some(0);
            let items: Vec<_> = (0..len).chain(last).map(|it| Counted(it, &comparisons)).collect();
            assert_eq!(all_differ(&items), !again, "{len}");
            assert!(comparisons.get() <= len, "{} comparisons of {len}", comparisons.get());
        }
    }

    #[test]
    fn fa9_many_operations_are_read_and_duplicates_refused() {
        let operations = |count: usize, last: &str| {
            let all: Vec<_> = (0..count).map(|it| format!("\"{it:x}\"")).collect();
            reason_with(&[("key_ops", &format!("[{},\"{last}\"]", all.join(",")))])
        };
        assert_eq!(operations(2_000, "verify"), None);
        assert_eq!(operations(2_000, "0"), Some(IgnoredReason::NotForVerification));
        assert_eq!(operations(2_000, "sign"), Some(IgnoredReason::NotForVerification));
    }
}
