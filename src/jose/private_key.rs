//! Reads private keys from PEM (RFC 7468) or JWK (RFC 7517) into one form of DER.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use zeroize::Zeroizing;

#[cfg(all(feature = "client", feature = "dpop"))]
use crate::digest::random;
use crate::jose::compact::decode_segment;
use crate::jose::der::{self, Reader, Wiped};
use crate::jose::key_type::KeyType;
use crate::jose::material::bit_length;
use crate::jose::pem::{self, Block};
use crate::json;

/// A private key of one type.
pub(crate) struct PrivateKey {
    /// RSA: PKCS #1 (RFC 8017 appendix A.1.2); others: PKCS #8 (RFC 5208).
    pub(crate) der: Wiped,
    /// The JWK's.
    pub(crate) kid: Option<Box<str>>,
}

/// Why a text can't be the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyFault {
    /// Neither PEM of a private key nor a JWK: what it is, or what is wrong with it.
    Unreadable(&'static str),
    Encrypted,
    /// Another type of key than the algorithm needs: this one.
    WrongType(&'static str),
    /// An RSA modulus below 2048 bits.
    Weak,
    /// A public key.
    Public(&'static str),
}

impl KeyFault {
    /// Returns what is wrong with a key for signing with this algorithm, without any part of the
    /// key.
    pub(crate) fn advice(self, algorithm: impl fmt::Display, needed: KeyType) -> String {
        match self {
            Self::Unreadable(what) => format!(
                "{what}; it must be PEM (\"PRIVATE KEY\", \"RSA PRIVATE KEY\" or \"EC PRIVATE KEY\") or \
                 a private JWK"
            ),
            Self::Encrypted => "it is encrypted: decrypt it first".into(),
            Self::WrongType(found) => {
                let needed = described(needed);
                format!("it is {found}, a key for another algorithm: {algorithm} needs {needed}")
            }
            Self::Weak => "its RSA modulus has less than 2048 bits".into(),
            Self::Public(what) => format!("it is {what}, not a private key"),
        }
    }
}

const fn described(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Rsa => "an RSA key",
        KeyType::P256 => "P-256",
        KeyType::P384 => "P-384",
        KeyType::P521 => "P-521",
        KeyType::Ed25519 => "an Ed25519 key",
        KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => "an ML-DSA key",
    }
}

impl PrivateKey {
    /// Reads a key that must be of this type.
    pub(crate) fn read(text: &[u8], wanted: KeyType) -> Result<Self, KeyFault> {
        let text = str::from_utf8(text).map_err(|_| match text {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => KeyFault::Unreadable("it is UTF-16"),
            [0x30, ..] => KeyFault::Unreadable("it is DER"),
            _ => KeyFault::Unreadable("it isn't text"),
        })?;
        let text = text.trim();
        let key = if text.starts_with('{') {
            read_jwk(text, wanted)?
        } else {
            Self { der: read_pem(text, wanted)?, kid: None }
        };
        if wanted == KeyType::Rsa && rsa_bits(&key.der).is_none_or(|bits| bits < 2048) {
            return Err(KeyFault::Weak);
        }
        Ok(key)
    }
}

#[cfg(all(feature = "client", feature = "dpop"))]
impl PrivateKey {
    /// Generates a new key of an elliptic curve. A number outside of the curve's group, which practically
    /// never occurs, is refused where it is used; `None` for RSA and ML-DSA, or without random numbers.
    pub(crate) fn generate(key_type: KeyType) -> Option<Self> {
        let number = Zeroizing::new(random::<66>().ok()?);
        let number = number.get(..key_type.coordinate_bytes()).filter(|it| !it.is_empty())?;
        let key = match key_type {
            KeyType::Rsa | KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => return None,
            // RFC 8410 §7
            KeyType::Ed25519 => der::write(der::OCTET_STRING, &[number]),
            KeyType::P256 | KeyType::P384 | KeyType::P521 => {
                // P-521 has one bit in the first of its 66 octets: the other 520 are random.
                let (first, rest) = number.split_at_checked(1)?;
                let first: &[u8] = if key_type == KeyType::P521 { &[0] } else { first };
                let number = der::write(der::OCTET_STRING, &[first, rest]);
                der::write(der::SEQUENCE, &[&der::write_integer(&[1]), &number])
            }
        };
        Some(Self { der: pkcs8(key_type, &key), kid: None })
    }
}

fn read_pem(text: &str, wanted: KeyType) -> Result<Wiped, KeyFault> {
    // `openssl ecparam -genkey` writes the curve before the key.
    let mut blocks = pem::blocks(text).filter(|block| block.label != "EC PARAMETERS");
    let none = KeyFault::Unreadable("it has neither a PEM block nor the JSON of a JWK");
    let Block { label, body } = blocks.next().ok_or(none)?;
    let body = body.ok_or(KeyFault::Unreadable("its PEM block has no end"))?;
    // "DEK-Info" is the header of the old encryption (RFC 1421 §4.6.1.3).
    if label == "ENCRYPTED PRIVATE KEY" || body.contains("DEK-Info") {
        return Err(KeyFault::Encrypted);
    }
    let der = pem::decode(body).ok_or(KeyFault::Unreadable("its PEM block isn't base64"))?;
    match label {
        "PRIVATE KEY" => from_pkcs8(&der, wanted),
        "RSA PRIVATE KEY" if wanted == KeyType::Rsa => Ok(der),
        "RSA PRIVATE KEY" => Err(KeyFault::WrongType("an RSA key")),
        "EC PRIVATE KEY" => match wanted {
            KeyType::P256 | KeyType::P384 | KeyType::P521 => Ok(pkcs8(wanted, &der)),
            KeyType::Rsa
            | KeyType::Ed25519
            | KeyType::MlDsa44
            | KeyType::MlDsa65
            | KeyType::MlDsa87 => Err(KeyFault::WrongType("a key of an elliptic curve")),
        },
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Err(KeyFault::Public("a public key")),
        "CERTIFICATE" => Err(KeyFault::Public("a certificate")),
        "CERTIFICATE REQUEST" => Err(KeyFault::Public("a certificate request")),
        "OPENSSH PRIVATE KEY" => Err(KeyFault::Unreadable("it is a key in OpenSSH's own format")),
        "DSA PRIVATE KEY" => Err(KeyFault::WrongType("a DSA key")),
        _ => Err(KeyFault::Unreadable("its PEM block has another label")),
    }
}

/// Checks the type of a PKCS #8 key, and unwraps RSA keys.
fn from_pkcs8(pkcs8: &[u8], wanted: KeyType) -> Result<Wiped, KeyFault> {
    let Pkcs8 { algorithm, parameters, key } = read_pkcs8(pkcs8)
        .ok_or(KeyFault::Unreadable("its PEM block isn't the DER of a private key (PKCS #8)"))?;
    match KeyType::of_oids(algorithm, parameters) {
        Some(KeyType::Rsa) if wanted == KeyType::Rsa => Ok(Zeroizing::new(key.to_vec())),
        Some(found) if found == wanted => Ok(Zeroizing::new(pkcs8.to_vec())),
        Some(found) => Err(KeyFault::WrongType(described(found))),
        None if algorithm == KeyType::P256.algorithm_oid() => {
            Err(KeyFault::WrongType("a key of another curve"))
        }
        None => Err(KeyFault::WrongType("a key of another kind")),
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

/// Wraps an `ECPrivateKey` (RFC 5915 §3) or a `CurvePrivateKey` (RFC 8410 §7).
fn pkcs8(key_type: KeyType, key: &[u8]) -> Wiped {
    let algorithm = der::write(der::OBJECT_IDENTIFIER, &[key_type.algorithm_oid()]);
    let curve = key_type.curve_oid().map(|oid| der::write(der::OBJECT_IDENTIFIER, &[oid]));
    let parameters = curve.as_ref().map_or(&[][..], |oid| oid);
    let identifier = der::write(der::SEQUENCE, &[&algorithm, parameters]);
    let version = der::write_integer(&[]);
    der::write(der::SEQUENCE, &[&version, &identifier, &der::write(der::OCTET_STRING, &[key])])
}

fn rsa_bits(pkcs1: &[u8]) -> Option<usize> {
    let mut fields = Reader::new(pkcs1).read_sequence()?;
    fields.read(der::INTEGER)?;
    let modulus = fields.read(der::INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    modulus.get(zeros..).map(bit_length)
}

/// A private JWK (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2). Everything is borrowed from a text that is wiped,
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

fn read_jwk(text: &str, wanted: KeyType) -> Result<PrivateKey, KeyFault> {
    let jwk: Jwk<'_> = json::parse(text.as_bytes())
        .map_err(|_| KeyFault::Unreadable("it isn't the JSON of one JWK with a \"kty\""))?;
    match KeyType::of_jwk(&jwk.kty, jwk.crv.as_deref(), None) {
        Some(found) if found == wanted => {}
        Some(found) => return Err(KeyFault::WrongType(described(found))),
        None if jwk.kty == "oct" => return Err(KeyFault::WrongType("a shared secret")),
        None => return Err(KeyFault::WrongType("a key of another kind")),
    }
    let der = match wanted {
        KeyType::Rsa => rsa_of_jwk(&jwk)?,
        KeyType::P256 | KeyType::P384 | KeyType::P521 => ec_of_jwk(&jwk, wanted)?,
        KeyType::Ed25519 => {
            let seed = private(jwk.d)?;
            if seed.len() != wanted.coordinate_bytes() {
                return Err(WIDTH);
            }
            pkcs8(wanted, &der::write(der::OCTET_STRING, &[&seed]))
        }
        KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => {
            return Err(KeyFault::WrongType(described(wanted)));
        }
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

fn ec_of_jwk(jwk: &Jwk<'_>, curve: KeyType) -> Result<Wiped, KeyFault> {
    let (x, y) = (decode(jwk.x.as_deref())?, decode(jwk.y.as_deref())?);
    let d = private(jwk.d)?;
    if [&d, &x, &y].iter().any(|number| number.len() != curve.coordinate_bytes()) {
        return Err(WIDTH);
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
    Ok(pkcs8(curve, &key))
}

const WIDTH: KeyFault = KeyFault::Unreadable("a number of the JWK is of the wrong length");

fn private(part: Option<&str>) -> Result<Wiped, KeyFault> {
    if part.is_none() { Err(KeyFault::Public("a public JWK")) } else { decode(part) }
}

fn decode(part: Option<&str>) -> Result<Wiped, KeyFault> {
    let part = part.ok_or(KeyFault::Unreadable("a member of the JWK is missing"))?;
    let decoded = decode_segment(part.as_bytes())
        .map_err(|_| KeyFault::Unreadable("a member of the JWK isn't base64url"))?;
    Ok(Zeroizing::new(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    const RSA_PEM: &[u8] = include_bytes!("../../fixtures/keys/rsa2048.pem");
    const P256_PEM: &[u8] = include_bytes!("../../fixtures/keys/p256.pem");
    const P256_JWK: &[u8] = include_bytes!("../../tests/client/keys/p256.jwk.json");

    fn fault(text: &[u8], wanted: KeyType) -> KeyFault {
        PrivateKey::read(text, wanted).err().unwrap()
    }

    #[test]
    fn every_form_of_an_rsa_key_is_the_same_key() {
        let read = |text: &[u8]| PrivateKey::read(text, KeyType::Rsa).unwrap();
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
        let family = KeyType::P256;
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
        let read = |text: &str| PrivateKey::read(text.as_bytes(), KeyType::P256);
        let both = read(&format!("{curve}{key}")).unwrap();
        assert_eq!(*both.der, *read(key).unwrap().der);
        assert!(matches!(read(curve).err(), Some(KeyFault::Unreadable(_))));
    }

    #[test]
    fn fa7_a_key_is_read_as_strictly_as_everything() {
        let jwk = str::from_utf8(P256_JWK).unwrap();
        let p256 = KeyType::P256;
        let with = |more: &str| jwk.replacen('{', &format!("{{{more},"), 1);
        assert!(PrivateKey::read(with(r#""x5c":[{"a":1}]"#).as_bytes(), p256).is_ok());
        for more in [
            r#""x5c":[{"a":1,"a":1}]"#,
            r#""x5c":[{"$serde_json::private::RawValue":"1"}]"#,
            r#""$serde_json::private::Number":"1""#,
        ] {
            let fault = fault(with(more).as_bytes(), p256);
            assert!(matches!(fault, KeyFault::Unreadable(_)), "{more}");
        }
    }

    // T16
    #[test]
    fn t16_weak_and_unfit_keys_are_refused() {
        let p256 = KeyType::P256;
        let weak = [
            &include_bytes!("../../fixtures/keys/rsa1024.pem")[..],
            include_bytes!("../../fixtures/keys/rsa2047.pem"),
        ];
        for weak in weak {
            assert_eq!(fault(weak, KeyType::Rsa), KeyFault::Weak);
        }
        let wrong_type: [(&[u8], KeyType); 8] = [
            (RSA_PEM, p256),
            (RSA_PEM, KeyType::Ed25519),
            (P256_PEM, KeyType::Rsa),
            (P256_PEM, KeyType::P384),
            (P256_JWK, KeyType::P384),
            (P256_JWK, KeyType::Rsa),
            (include_bytes!("../../tests/client/keys/rsa2048.traditional.pem"), p256),
            (include_bytes!("../../fixtures/keys/ed448.pem"), KeyType::Ed25519),
        ];
        for (text, family) in wrong_type {
            assert!(matches!(fault(text, family), KeyFault::WrongType(_)), "{family:?}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_told_apart() {
        let p256 = KeyType::P256;
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
            assert!(matches!(fault(public, p256), KeyFault::Public(_)));
        }
        let text = str::from_utf8(P256_PEM).unwrap();
        let cut = text.replace("MIGHAgEA", "MIGH");
        let unended = text.split("-----END").next().unwrap();
        for unreadable in
            ["", "{}", "{", "[]", "secret", "-----BEGIN PRIVATE KEY-----", unended, &cut]
        {
            let fault = fault(unreadable.as_bytes(), p256);
            assert!(matches!(fault, KeyFault::Unreadable(_)), "{unreadable}");
        }
        assert_eq!(fault(&[0xff, 0xfe], p256), KeyFault::Unreadable("it is UTF-16"));
        let narrow = str::from_utf8(P256_JWK).unwrap().replace("ra9qvHNW8mpOc7XlK3BPd", "ra9qv");
        assert_eq!(fault(narrow.as_bytes(), p256), WIDTH);
    }
    // FC8
    #[test]
    fn fc8_a_bad_key_says_why_and_repeats_nothing_of_it() {
        use Algorithm::{ES256, RS256};
        let pem =
            |label: &str| format!("-----BEGIN {label}-----\nY2FuYXJ5\n-----END {label}-----\n");
        let p384 = str::from_utf8(P256_JWK).unwrap().replace("\"P-256\"", "\"P-384\"");
        let p256 = str::from_utf8(P256_PEM).unwrap();
        let encrypted = include_str!("../../tests/client/keys/encrypted.pem");
        for (text, algorithm, why) in [
            (pem("CERTIFICATE"), ES256, "it is a certificate, not a private key"),
            (pem("PUBLIC KEY"), ES256, "it is a public key"),
            (pem("OPENSSH PRIVATE KEY"), ES256, "OpenSSH"),
            (pem("CANARY"), ES256, "another label"),
            (pem("PRIVATE KEY"), ES256, "PKCS #8"),
            (pem("RSA PRIVATE KEY"), ES256, "it is an RSA key"),
            (p384, ES256, "it is P-384, a key for another algorithm: ES256 needs P-256"),
            (
                p256.into(),
                RS256,
                "it is P-256, a key for another algorithm: RS256 needs an RSA key",
            ),
            (encrypted.into(), ES256, "encrypted"),
            (include_str!("../../fixtures/keys/rsa1024.pem").into(), RS256, "2048 bits"),
            ("canary".into(), ES256, "neither a PEM block nor"),
            ("{\"canary\":1}".into(), ES256, "kty"),
            (p256.replace("-----END", ""), ES256, "no end"),
        ] {
            let needed = KeyType::of(algorithm);
            let advice = fault(text.as_bytes(), needed).advice(algorithm, needed);
            assert!(advice.contains(why), "{advice}");
            assert!(!advice.to_lowercase().contains("canary"), "{advice}");
        }
    }
}
