use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::jose::alg::{Algorithm, Backend};
use crate::jose::compact::decode_segment;
use crate::jose::header::MAX_KID_BYTES;
use crate::jose::ignored::IgnoredReason;
use crate::jose::json::{Any, Budget, Names, Value, read_object};
use crate::jose::key::{KeyType, Material, VerificationKey};
use crate::refusal::Excerpt;

/// A JWK longer than this is ignored.
const MAX_JWK_BYTES: usize = 16 * 1_024;

/// What a JWK set (RFC 7517 §5) came to.
#[derive(Debug)]
pub(crate) struct ParsedKeySet {
    pub(crate) keys: Vec<VerificationKey>,
    pub(crate) ignored: Vec<IgnoredKey>,
}

/// A key of a set that isn't used. The others are.
#[derive(Clone, Debug)]
pub(crate) struct IgnoredKey {
    pub(crate) kid: Option<Excerpt>,
    pub(crate) kty: Option<Excerpt>,
    pub(crate) reason: IgnoredReason,
}

/// Why a text is no JWK set at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum KeySetError {
    #[error("the key set isn't a JSON object, or has a member twice")]
    NotJson,
    #[error("the key set has no array \"keys\"")]
    NoKeysArray,
    #[error("the key set has more keys than allowed")]
    TooManyKeys,
}

/// What keys of a set may be for.
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
    let keys = match read_object(text, SetVisitor(&budget)).map_err(|_| KeySetError::NotJson)? {
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
    let raw = read_object(text.as_bytes(), JwkVisitor(&budget))
        .map_err(|_| nameless(IgnoredReason::Malformed))?;
    let excerpt = |value: &Option<Value<'_>>| match value {
        Some(Value::Text(text)) => Some(Excerpt::new(text)),
        _ => None,
    };
    let (kid, kty) = (excerpt(&raw.kid), excerpt(&raw.kty));
    raw.into_key(backend, purpose).map_err(|reason| IgnoredKey { kid, kty, reason })
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
                keys = Some(if raw.get().starts_with('[') {
                    Keys::Array(serde_json::from_str(raw.get()).map_err(de::Error::custom)?)
                } else {
                    Keys::Other
                });
            } else {
                map.next_value_seed(Any::skip(self.0))?;
            }
        }
        Ok(keys)
    }
}

#[derive(Default)]
struct RawJwk<'a> {
    kty: Option<Value<'a>>,
    kid: Option<Value<'a>>,
    r#use: Option<Value<'a>>,
    key_ops: Option<Value<'a>>,
    alg: Option<Value<'a>>,
    crv: Option<Value<'a>>,
    x: Option<Value<'a>>,
    y: Option<Value<'a>>,
    n: Option<Value<'a>>,
    e: Option<Value<'a>>,
    private: bool,
    symmetric: bool,
}

struct JwkVisitor<'b>(&'b Budget);

impl<'de> Visitor<'de> for JwkVisitor<'_> {
    type Value = RawJwk<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JWK")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut jwk = RawJwk::default();
        let mut names = Names::new();
        while let Some(name) = names.next(&mut map, self.0)? {
            let slot = match name.as_ref() {
                "kty" => &mut jwk.kty,
                "kid" => &mut jwk.kid,
                "use" => &mut jwk.r#use,
                "key_ops" => &mut jwk.key_ops,
                "alg" => &mut jwk.alg,
                "crv" => &mut jwk.crv,
                "x" => &mut jwk.x,
                "y" => &mut jwk.y,
                "n" => &mut jwk.n,
                "e" => &mut jwk.e,
                other => {
                    // RFC 7518 §6.2.2, §6.3.2, §6.4.1; `priv` is that of AKP keys.
                    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];
                    jwk.private |= private.contains(&other);
                    jwk.symmetric |= other == "k";
                    map.next_value_seed(Any::skip(self.0))?;
                    continue;
                }
            };
            *slot = Some(map.next_value_seed(Any::keep(self.0))?);
        }
        Ok(jwk)
    }
}

type Text<'a> = Option<Cow<'a, str>>;

fn text(value: Option<Value<'_>>) -> Result<Text<'_>, IgnoredReason> {
    value.map(|value| value.into_text().ok_or(IgnoredReason::Malformed)).transpose()
}

impl RawJwk<'_> {
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
        let material = match kty.as_ref() {
            "RSA" => Material::Rsa { n: number(self.n)?, e: number(self.e)? },
            "EC" => ec_point(&text(self.crv)?.ok_or(IgnoredReason::Malformed)?, self.x, self.y)?,
            "OKP" => match text(self.crv)?.ok_or(IgnoredReason::Malformed)?.as_ref() {
                "Ed25519" => {
                    let x = octets(self.x)?;
                    Material::Ed25519 { x: x.try_into().map_err(|_| IgnoredReason::Malformed)? }
                }
                _ => return Err(IgnoredReason::UnsupportedCurve),
            },
            _ => return Err(IgnoredReason::UnsupportedKeyType),
        };
        let declared = text(self.alg)?
            .map(|alg| Algorithm::from_name(&alg).ok_or(IgnoredReason::UnsupportedAlgorithm))
            .transpose()?;
        VerificationKey::new(kid.map(|kid| kid.into()), declared, material, backend)
    }
}

/// RFC 7517 §4.3.
fn check_key_ops(operations: Value<'_>, for_signatures: bool) -> Result<(), IgnoredReason> {
    let Value::Array(Some(operations)) = operations else { return Err(IgnoredReason::Malformed) };
    let duplicate = operations
        .iter()
        .enumerate()
        .any(|(at, operation)| operations.iter().take(at).any(|earlier| earlier == operation));
    let inconsistent = for_signatures
        && operations.iter().any(|operation| operation != "verify" && operation != "sign");
    if duplicate || inconsistent || !operations.iter().any(|operation| operation == "verify") {
        return Err(IgnoredReason::NotForVerification);
    }
    Ok(())
}

fn octets(value: Option<Value<'_>>) -> Result<Vec<u8>, IgnoredReason> {
    let encoded = text(value)?.ok_or(IgnoredReason::Malformed)?;
    decode_segment(encoded.as_bytes()).map_err(|_| IgnoredReason::Malformed)
}

/// Reads a `Base64urlUInt` (RFC 7518 §2). Leading zeros are against the text but don't change the
/// number, and some servers send them: they are taken off.
fn number(value: Option<Value<'_>>) -> Result<Box<[u8]>, IgnoredReason> {
    let octets = octets(value)?;
    let zeros = octets.iter().take_while(|byte| **byte == 0).count();
    octets.get(zeros..).filter(|n| !n.is_empty()).map(Box::from).ok_or(IgnoredReason::InvalidKey)
}

fn ec_point(
    curve: &str,
    x: Option<Value<'_>>,
    y: Option<Value<'_>>,
) -> Result<Material, IgnoredReason> {
    let curve = match curve {
        "P-256" => KeyType::P256,
        "P-384" => KeyType::P384,
        "P-521" => KeyType::P521,
        _ => return Err(IgnoredReason::UnsupportedCurve),
    };
    let (x, y) = (octets(x)?, octets(y)?);
    // RFC 7518 §6.2.1.2: the full width of the field, leading zeros included.
    if x.len() != curve.coordinate_bytes() || y.len() != curve.coordinate_bytes() {
        return Err(IgnoredReason::Malformed);
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat().into();
    Ok(Material::Ec { curve, point })
}
