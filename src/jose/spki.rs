//! Reads public keys from PEM (`SubjectPublicKeyInfo`).

use crate::error::ConfigError;
use crate::jose::backend::choice::Backend;
use crate::jose::der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, Reader, SEQUENCE};
use crate::jose::header::MAX_KID_BYTES;
use crate::jose::key::VerificationKey;
use crate::jose::key_type::KeyType;
use crate::jose::material::Material;
use crate::jose::pem::{self, Block};

/// Reads a PEM file with one public key, an X.509 `SubjectPublicKeyInfo` (RFC 7468 §13).
///
/// # Errors
///
/// If it is something else, or a key that a key set isn't allowed to have either.
pub(crate) fn key_from_pem(
    pem: &str,
    kid: Option<&str>,
    backend: Backend,
) -> Result<VerificationKey, ConfigError> {
    if kid.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
        return Err(ConfigError::new("a kid may have at most 256 bytes: use a shorter one"));
    }
    let mut public = pem::blocks(pem).filter(|block| block.label == "PUBLIC KEY");
    let (Some(Block { body: Some(body), .. }), None) = (public.next(), public.next()) else {
        return Err(ConfigError::new(
            "the PEM text must have exactly one block \"PUBLIC KEY\": give one public key \
             (SubjectPublicKeyInfo) at a time, neither a certificate nor a private key",
        ));
    };
    let material =
        pem::decode(body).as_deref().and_then(|der| public_key(der)).ok_or(ConfigError::new(
            "the PEM block is not an RSA, P-256, P-384, P-521, Ed25519 or ML-DSA public key",
        ))?;
    VerificationKey::new(kid.map(Box::from), None, material, backend)
        .map_err(|reason| ConfigError::new(format!("the PEM key can't be used: {reason}")))
}

/// Reads a `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7; RFC 3279 §2.3.1, RFC 5480 §2, RFC 8410 §4,
/// RFC 9881 §4).
fn public_key(der: &[u8]) -> Option<Material> {
    let mut info = Reader::whole(der, SEQUENCE)?;
    let mut algorithm = info.read_sequence()?;
    let (&unused_bits, key) = info.read_last(BIT_STRING)?.split_first()?;
    if unused_bits != 0 {
        return None;
    }
    let oid = algorithm.read(OBJECT_IDENTIFIER)?;
    let mut parameters = algorithm;
    match KeyType::of_oids(oid, parameters.read_last(OBJECT_IDENTIFIER))? {
        KeyType::Rsa => {
            let mut key = Reader::whole(key, SEQUENCE)?;
            let (n, e) = (key.read(INTEGER)?, key.read_last(INTEGER)?);
            let positive = |number: &[u8]| {
                let number = number.strip_prefix(&[0]).unwrap_or(number);
                number.first().is_some_and(|first| *first != 0).then(|| Box::from(number))
            };
            Some(Material::Rsa { n: positive(n)?, e: positive(e)? })
        }
        KeyType::Ed25519 => {
            algorithm.is_empty().then_some(Material::Ed25519 { x: key.try_into().ok()? })
        }
        set @ (KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87) => (algorithm.is_empty()
            && key.len() == set.coordinate_bytes())
        .then(|| Material::MlDsa { set, public: key.into() }),
        curve @ (KeyType::P256 | KeyType::P384 | KeyType::P521) => {
            let length = curve.coordinate_bytes().checked_mul(2)?.checked_add(1)?;
            (key.len() == length && key.first() == Some(&4))
                .then(|| Material::Ec { curve, point: key.into() })
        }
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;
    use crate::jose::Algorithm;

    fn backend() -> Backend {
        Backend::preferred().unwrap()
    }

    macro_rules! fixture {
        ($name:literal) => {
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys/", $name))
        };
    }

    #[test]
    fn reads_every_kind_of_public_key() {
        for (pem, algorithm) in [
            (fixture!("rsa2048.pub.pem"), Algorithm::RS256),
            (fixture!("rsa4096.pub.pem"), Algorithm::PS512),
            (fixture!("p256.pub.pem"), Algorithm::ES256),
            (fixture!("p384.pub.pem"), Algorithm::ES384),
            (fixture!("ed25519.pub.pem"), Algorithm::EdDSA),
        ] {
            let key = key_from_pem(pem, Some("k"), backend()).unwrap();
            assert_eq!(key.kid(), Some("k"));
            assert!(key.fits(algorithm), "{algorithm}");
            let others = Algorithm::ALL.iter().copied().filter(|other| key.fits(*other)).count();
            assert_eq!(others, if key.kty() == "RSA" { 6 } else { 1 });
        }
    }

    #[test]
    fn a_pem_key_is_the_same_as_its_jwk() {
        let pem = key_from_pem(fixture!("p256.pub.pem"), None, backend()).unwrap();
        let set = format!("{{\"keys\":[{}]}}", fixture!("p256.jwk.json"));
        let public = |name: &str| {
            serde_json::from_str::<serde_json::Value>(&set).unwrap()["keys"][0][name].clone()
        };
        let jwk = serde_json::json!({"keys":[{
            "kty": "EC", "crv": public("crv"), "x": public("x"), "y": public("y"),
        }]});
        let set = crate::jose::parse_jwk_set(jwk.to_string().as_bytes(), 1, backend()).unwrap();
        assert!(set.keys[0].identity() == pem.identity());
    }

    #[test]
    fn anything_else_is_refused_with_a_sentence() {
        let good = fixture!("p256.pub.pem");
        let cut = good.replacen('E', "", 1);
        let twice = format!("{good}{good}");
        for (pem, word) in [
            ("", "exactly one block"),
            (fixture!("p256.pem"), "exactly one block"),
            (&twice, "exactly one block"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "is not an RSA"),
            ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "is not an RSA"),
            (&cut, "exactly one block"),
            (fixture!("rsa1024.pub.pem"), "weak_key"),
            (fixture!("ed448.pub.pem"), "is not an RSA"),
        ] {
            let error = key_from_pem(pem, None, backend()).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(key_from_pem(good, Some(&"k".repeat(257)), backend()).is_err());
        assert!(key_from_pem(good, Some(&"k".repeat(256)), backend()).is_ok());
    }

    #[test]
    fn der_that_ends_early_or_late_is_refused() {
        let block = pem::blocks(fixture!("rsa2048.pub.pem")).next().unwrap();
        let der = pem::decode(block.body.unwrap()).unwrap();
        assert!(public_key(&der).is_some());
        for len in 0..der.len() {
            assert!(public_key(&der[..len]).is_none(), "{len}");
        }
        assert!(public_key(&[&der[..], &[0]].concat()).is_none());
    }
}
