//! Private keys as they are kept: PEM (RFC 7468) or JWK (RFC 7517), made into one form of DER.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::client::algorithm::{Curve, Family};
use crate::client::der::{self, Reader, Wiped};

/// A private key for one family of algorithms.
pub(crate) struct PrivateKey {
    /// RSA: PKCS #1 (RFC 8017 appendix A.1.2); others: PKCS #8 (RFC 5208).
    pub(crate) der: Wiped,
    /// The JWK's.
    pub(crate) kid: Option<Box<str>>,
}

/// Why a text can't be the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyFault {
    /// Neither PEM of a private key nor a JWK.
    Unreadable,
    Encrypted,
    /// Another kind of key than the algorithm needs.
    WrongType,
    /// An RSA modulus below 2048 bits.
    Weak,
    /// A JWK of a public key.
    Public,
}

impl KeyFault {
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::Unreadable => {
                "it must be PEM (\"PRIVATE KEY\", \"RSA PRIVATE KEY\" or \"EC PRIVATE KEY\") or a \
                 private JWK"
            }
            Self::Encrypted => "it is encrypted: decrypt it first",
            Self::WrongType => "it is a key for another algorithm",
            Self::Weak => "its RSA modulus has less than 2048 bits",
            Self::Public => "it is a public key",
        }
    }
}

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

impl Curve {
    const fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    const fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl PrivateKey {
    /// Reads a key that is to sign with an algorithm of this family.
    pub(crate) fn read(text: &[u8], family: Family) -> Result<Self, KeyFault> {
        let text = str::from_utf8(text).map_err(|_| KeyFault::Unreadable)?.trim();
        let key = if text.starts_with('{') {
            read_jwk(text, family)?
        } else {
            Self { der: read_pem(text, family)?, kid: None }
        };
        if family == Family::Rsa && rsa_bits(&key.der).is_none_or(|bits| bits < 2048) {
            return Err(KeyFault::Weak);
        }
        Ok(key)
    }
}

fn read_pem(text: &str, family: Family) -> Result<Wiped, KeyFault> {
    // `openssl ecparam -genkey` writes the curve before the key.
    let text = text.split_once("-----END EC PARAMETERS-----").map_or(text, |(_, rest)| rest);
    let (_, text) = text.split_once("-----BEGIN ").ok_or(KeyFault::Unreadable)?;
    let (label, text) = text.split_once("-----").ok_or(KeyFault::Unreadable)?;
    let (body, _) = text.split_once("-----END ").ok_or(KeyFault::Unreadable)?;
    // "DEK-Info" is the header of the old encryption (RFC 1421 §4.6.1.3).
    if label == "ENCRYPTED PRIVATE KEY" || body.contains("DEK-Info") {
        return Err(KeyFault::Encrypted);
    }
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let der = Zeroizing::new(BASE64_STANDARD.decode(&*base64).map_err(|_| KeyFault::Unreadable)?);
    match (label, family) {
        ("PRIVATE KEY", _) => from_pkcs8(&der, family),
        ("RSA PRIVATE KEY", Family::Rsa) => Ok(der),
        ("EC PRIVATE KEY", Family::Ec(curve)) => Ok(pkcs8_of_ec(&der, curve)),
        ("RSA PRIVATE KEY" | "EC PRIVATE KEY", _) => Err(KeyFault::WrongType),
        ("PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE", _) => Err(KeyFault::Public),
        _ => Err(KeyFault::Unreadable),
    }
}

/// Checks of which kind a PKCS #8 key is, and takes RSA keys out of it.
fn from_pkcs8(pkcs8: &[u8], family: Family) -> Result<Wiped, KeyFault> {
    let Pkcs8 { algorithm, parameters, key } = read_pkcs8(pkcs8).ok_or(KeyFault::Unreadable)?;
    let fits = match family {
        Family::Rsa => algorithm == RSA,
        Family::Ec(curve) => algorithm == EC && parameters == Some(curve.oid()),
        Family::Ed25519 => algorithm == ED25519,
        Family::Hmac => false,
    };
    match family {
        _ if !fits => Err(KeyFault::WrongType),
        Family::Rsa => Ok(Zeroizing::new(key.to_vec())),
        Family::Ec(_) | Family::Ed25519 | Family::Hmac => Ok(Zeroizing::new(pkcs8.to_vec())),
    }
}

struct Pkcs8<'a> {
    algorithm: &'a [u8],
    /// The algorithm's parameter, if it is an object identifier.
    parameters: Option<&'a [u8]>,
    key: &'a [u8],
}

fn read_pkcs8(pkcs8: &[u8]) -> Option<Pkcs8<'_>> {
    let mut fields = Reader::new(pkcs8).read_sequence()?;
    fields.read(der::INTEGER)?;
    let mut algorithm = fields.read_sequence()?;
    Some(Pkcs8 {
        algorithm: algorithm.read(der::OBJECT_IDENTIFIER)?,
        parameters: algorithm.read(der::OBJECT_IDENTIFIER),
        key: fields.read(der::OCTET_STRING)?,
    })
}

fn pkcs8(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Wiped {
    let algorithm = der::write(der::OBJECT_IDENTIFIER, &[algorithm]);
    let identifier = der::write(der::SEQUENCE, &[&algorithm, parameters]);
    let version = der::write_integer(&[]);
    der::write(der::SEQUENCE, &[&version, &identifier, &der::write(der::OCTET_STRING, &[key])])
}

/// Wraps an `ECPrivateKey` (RFC 5915 §3).
fn pkcs8_of_ec(key: &[u8], curve: Curve) -> Wiped {
    pkcs8(EC, &der::write(der::OBJECT_IDENTIFIER, &[curve.oid()]), key)
}

fn rsa_bits(pkcs1: &[u8]) -> Option<usize> {
    let mut fields = Reader::new(pkcs1).read_sequence()?;
    fields.read(der::INTEGER)?;
    let modulus = fields.read(der::INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let modulus = modulus.get(zeros..)?;
    let unused = modulus.first()?.leading_zeros();
    modulus.len().checked_mul(8)?.checked_sub(usize::try_from(unused).ok()?)
}

/// A private JWK (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2). All is borrowed from a text that is wiped,
/// unless it has escapes, which base64url never needs.
#[derive(Deserialize)]
struct Jwk<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow)]
    d: Option<&'a str>,
    #[serde(borrow)]
    p: Option<&'a str>,
    #[serde(borrow)]
    q: Option<&'a str>,
    #[serde(borrow)]
    dp: Option<&'a str>,
    #[serde(borrow)]
    dq: Option<&'a str>,
    #[serde(borrow)]
    qi: Option<&'a str>,
    #[serde(borrow)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow)]
    y: Option<Cow<'a, str>>,
}

fn read_jwk(text: &str, family: Family) -> Result<PrivateKey, KeyFault> {
    let jwk: Jwk<'_> = serde_json::from_str(text).map_err(|_| KeyFault::Unreadable)?;
    let der = match (&*jwk.kty, jwk.crv.as_deref(), family) {
        ("RSA", _, Family::Rsa) => rsa_of_jwk(&jwk)?,
        ("EC", Some(name), Family::Ec(curve)) if name == curve.name() => ec_of_jwk(&jwk, curve)?,
        ("OKP", Some("Ed25519"), Family::Ed25519) => {
            let seed = private(jwk.d)?;
            if seed.len() != 32 {
                return Err(KeyFault::Unreadable);
            }
            pkcs8(ED25519, &[], &der::write(der::OCTET_STRING, &[&seed]))
        }
        _ => return Err(KeyFault::WrongType),
    };
    Ok(PrivateKey { der, kid: jwk.kid.map(Into::into) })
}

fn rsa_of_jwk(jwk: &Jwk<'_>) -> Result<Wiped, KeyFault> {
    let mut fields = vec![der::write_integer(&[])];
    for public in [&jwk.n, &jwk.e] {
        fields.push(der::write_integer(&decode(public.as_deref())?));
    }
    for part in [jwk.d, jwk.p, jwk.q, jwk.dp, jwk.dq, jwk.qi] {
        fields.push(der::write_integer(&private(part)?));
    }
    let fields: Vec<&[u8]> = fields.iter().map(|field| &***field).collect();
    Ok(der::write(der::SEQUENCE, &fields))
}

fn ec_of_jwk(jwk: &Jwk<'_>, curve: Curve) -> Result<Wiped, KeyFault> {
    let (x, y) = (decode(jwk.x.as_deref())?, decode(jwk.y.as_deref())?);
    let d = private(jwk.d)?;
    if [&d, &x, &y].iter().any(|number| number.len() != curve.width()) {
        return Err(KeyFault::Unreadable);
    }
    // An uncompressed point, in a bit string without unused bits, tagged [1].
    let point = der::write(der::BIT_STRING, &[&[0, 4], &x, &y]);
    let key = der::write(
        der::SEQUENCE,
        &[
            &der::write_integer(&[1]),
            &der::write(der::OCTET_STRING, &[&d]),
            &der::write(0xa1, &[&point]),
        ],
    );
    Ok(pkcs8_of_ec(&key, curve))
}

fn private(part: Option<&str>) -> Result<Wiped, KeyFault> {
    if part.is_none() { Err(KeyFault::Public) } else { decode(part) }
}

fn decode(part: Option<&str>) -> Result<Wiped, KeyFault> {
    let part = part.ok_or(KeyFault::Unreadable)?;
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| KeyFault::Unreadable)?;
    Ok(Zeroizing::new(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA_PEM: &[u8] = include_bytes!("../../fixtures/keys/rsa2048.pem");
    const P256_PEM: &[u8] = include_bytes!("../../fixtures/keys/p256.pem");
    const P256_JWK: &[u8] = include_bytes!("../../tests/client/keys/p256.jwk.json");

    fn fault(text: &[u8], family: Family) -> KeyFault {
        PrivateKey::read(text, family).err().unwrap()
    }

    #[test]
    fn every_form_of_an_rsa_key_is_the_same_key() {
        let read = |text: &[u8]| PrivateKey::read(text, Family::Rsa).unwrap();
        let pkcs8 = read(RSA_PEM);
        let pkcs1 = read(include_bytes!("../../tests/client/keys/rsa2048.traditional.pem"));
        let jwk = read(include_bytes!("../../tests/client/keys/rsa2048.jwk.json"));
        assert_eq!(*pkcs8.der, *pkcs1.der);
        assert_eq!(*pkcs8.der, *jwk.der);
        assert_eq!((pkcs8.kid, jwk.kid.as_deref()), (None, Some("rsa2048")));
    }

    #[test]
    fn lines_may_end_as_they_like() {
        let text = str::from_utf8(P256_PEM).unwrap();
        let family = Family::Ec(Curve::P256);
        let expected = PrivateKey::read(P256_PEM, family).unwrap().der;
        for text in [text.replace('\n', "\r\n"), format!("a comment\n\n{text}\n\n")] {
            assert_eq!(*PrivateKey::read(text.as_bytes(), family).unwrap().der, *expected);
        }
    }

    #[test]
    fn a_key_as_openssl_writes_it_is_read() {
        let key = include_str!("../../tests/client/keys/p256.traditional.pem");
        let curve =
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        let read = |text: &str| PrivateKey::read(text.as_bytes(), Family::Ec(Curve::P256));
        let both = read(&format!("{curve}{key}")).unwrap();
        assert_eq!(*both.der, *read(key).unwrap().der);
        assert_eq!(read(curve).err(), Some(KeyFault::Unreadable));
    }

    // T16
    #[test]
    fn t16_weak_and_unfit_keys_are_refused() {
        let p256 = Family::Ec(Curve::P256);
        let weak = [
            &include_bytes!("../../fixtures/keys/rsa1024.pem")[..],
            include_bytes!("../../fixtures/keys/rsa2047.pem"),
        ];
        for weak in weak {
            assert_eq!(fault(weak, Family::Rsa), KeyFault::Weak);
        }
        let wrong_type: [(&[u8], Family); 9] = [
            (RSA_PEM, p256),
            (RSA_PEM, Family::Ed25519),
            (RSA_PEM, Family::Hmac),
            (P256_PEM, Family::Rsa),
            (P256_PEM, Family::Ec(Curve::P384)),
            (P256_JWK, Family::Ec(Curve::P384)),
            (P256_JWK, Family::Rsa),
            (include_bytes!("../../tests/client/keys/rsa2048.traditional.pem"), p256),
            (include_bytes!("../../fixtures/keys/ed448.pem"), Family::Ed25519),
        ];
        for (text, family) in wrong_type {
            assert_eq!(fault(text, family), KeyFault::WrongType, "{family:?}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_told_apart() {
        let p256 = Family::Ec(Curve::P256);
        let encrypted = [
            &include_bytes!("../../tests/client/keys/encrypted.pem")[..],
            include_bytes!("../../tests/client/keys/encrypted-traditional.pem"),
        ];
        for encrypted in encrypted {
            assert_eq!(fault(encrypted, p256), KeyFault::Encrypted);
        }
        for public in [
            &include_bytes!("../../fixtures/keys/p256.pub.pem")[..],
            include_bytes!("../../fixtures/keys/p256.jwk.json"),
        ] {
            assert_eq!(fault(public, p256), KeyFault::Public);
        }
        let text = str::from_utf8(P256_PEM).unwrap();
        let cut = text.replace("MIGHAgEA", "MIGH");
        let unended = text.split("-----END").next().unwrap();
        for unreadable in
            ["", "{}", "{", "[]", "secret", "-----BEGIN PRIVATE KEY-----", unended, &cut]
        {
            assert_eq!(fault(unreadable.as_bytes(), p256), KeyFault::Unreadable, "{unreadable}");
        }
        assert_eq!(fault(&[0xff, 0xfe], p256), KeyFault::Unreadable);
        let narrow = str::from_utf8(P256_JWK).unwrap().replace("ra9qvHNW8mpOc7XlK3BPd", "ra9q");
        assert_eq!(fault(narrow.as_bytes(), p256), KeyFault::Unreadable);
    }
}
