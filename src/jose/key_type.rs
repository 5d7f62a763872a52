//! The types of keys, with their names in JWKs, their object identifiers and their lengths.

use crate::jose::alg::Algorithm;
use crate::jose::every::every_variant;

/// The kinds of keys that sign and verify, with their names in JWKs and in DER.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum KeyType {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

impl KeyType {
    every_variant! {
        const ALL = [Rsa, P256, P384, P521, Ed25519, MlDsa44, MlDsa65, MlDsa87]
    }

    /// Returns the one type of key that the algorithm uses (RFC 7518 §3, RFC 8037 §3.1, RFC 9964).
    pub(crate) const fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => Self::Rsa,
            Algorithm::ES256 => Self::P256,
            Algorithm::ES384 => Self::P384,
            Algorithm::ES512 => Self::P521,
            Algorithm::EdDSA => Self::Ed25519,
            Algorithm::MlDsa44 => Self::MlDsa44,
            Algorithm::MlDsa65 => Self::MlDsa65,
            Algorithm::MlDsa87 => Self::MlDsa87,
        }
    }

    /// Returns the type of a JWK with these members. `crv` matters to curves only, `alg`
    /// to `AKP` keys only: it is their parameter set.
    pub(crate) fn of_jwk(kty: &str, crv: Option<&str>, alg: Option<&str>) -> Option<Self> {
        let named = |it: &Self| {
            it.kty() == kty
                && (it.crv().is_none() || it.crv() == crv)
                && (it.parameter_set().is_none() || it.parameter_set() == alg)
        };
        Self::ALL.iter().copied().find(named)
    }

    /// Returns the kind of key that an X.509 `AlgorithmIdentifier` names. The parameters, if they are
    /// an object identifier, matter to elliptic curves only.
    pub(crate) fn of_oids(algorithm: &[u8], parameters: Option<&[u8]>) -> Option<Self> {
        let named = |it: &Self| {
            it.algorithm_oid() == algorithm
                && (it.curve_oid().is_none() || it.curve_oid() == parameters)
        };
        Self::ALL.iter().copied().find(named)
    }

    /// Returns the key's `kty` (RFC 7518 §6.1, RFC 8037 §2, RFC 9964).
    pub(crate) const fn kty(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::P256 | Self::P384 | Self::P521 => "EC",
            Self::Ed25519 => "OKP",
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => "AKP",
        }
    }

    /// Returns the key's `crv` (RFC 7518 §6.2.1.1, RFC 8037 §2).
    pub(crate) const fn crv(self) -> Option<&'static str> {
        match self {
            Self::Rsa | Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
            Self::P256 => Some("P-256"),
            Self::P384 => Some("P-384"),
            Self::P521 => Some("P-521"),
            Self::Ed25519 => Some("Ed25519"),
        }
    }

    /// Returns the `alg` that an `AKP` key must have (RFC 9964): the key supports no other.
    pub(crate) const fn parameter_set(self) -> Option<&'static str> {
        match self {
            Self::MlDsa44 => Some(Algorithm::MlDsa44.name()),
            Self::MlDsa65 => Some(Algorithm::MlDsa65.name()),
            Self::MlDsa87 => Some(Algorithm::MlDsa87.name()),
            Self::Rsa | Self::P256 | Self::P384 | Self::P521 | Self::Ed25519 => None,
        }
    }

    /// Returns how many bytes a coordinate of the curve has (RFC 7518 §6.2.1.2), or the public key
    /// of a parameter set of ML-DSA (FIPS 204 §4, table 2).
    pub(crate) const fn coordinate_bytes(self) -> usize {
        match self {
            Self::Rsa => 0,
            Self::MlDsa44 => 1_312,
            Self::MlDsa65 => 1_952,
            Self::MlDsa87 => 2_592,
            Self::P256 | Self::Ed25519 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Returns how many bytes a signature of a JWS has (RFC 7518 §3.4, RFC 8037 §3.1, FIPS 204 §4,
    /// table 2). An RSA signature has as many as the key's modulus.
    pub(crate) const fn signature_bytes(self) -> Option<usize> {
        match self {
            Self::Rsa => None,
            Self::P256 | Self::P384 | Self::P521 => Some(self.coordinate_bytes().saturating_mul(2)),
            Self::Ed25519 => Some(64),
            Self::MlDsa44 => Some(2_420),
            Self::MlDsa65 => Some(3_309),
            Self::MlDsa87 => Some(4_627),
        }
    }

    /// Returns the algorithm's object identifier (RFC 3279 §2.3.1, RFC 5480 §2.1.1, RFC 8410 §3,
    /// RFC 9881 §2).
    pub(crate) const fn algorithm_oid(self) -> &'static [u8] {
        match self {
            Self::Rsa => &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1],
            Self::P256 | Self::P384 | Self::P521 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1],
            Self::Ed25519 => &[0x2b, 0x65, 0x70],
            Self::MlDsa44 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 17],
            Self::MlDsa65 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 18],
            Self::MlDsa87 => &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 19],
        }
    }

    /// Returns the named curve's object identifier (RFC 5480 §2.1.1.1).
    pub(crate) const fn curve_oid(self) -> Option<&'static [u8]> {
        match self {
            Self::P256 => Some(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
            Self::P384 => Some(&[0x2b, 0x81, 4, 0, 0x22]),
            Self::P521 => Some(&[0x2b, 0x81, 4, 0, 0x23]),
            Self::Rsa | Self::Ed25519 | Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_names() {
        for kind in KeyType::ALL.iter().copied() {
            assert_eq!(KeyType::of_jwk(kind.kty(), kind.crv(), kind.parameter_set()), Some(kind));
            assert_eq!(KeyType::of_oids(kind.algorithm_oid(), kind.curve_oid()), Some(kind));
        }
        assert_eq!(KeyType::of_jwk("RSA", Some("P-256"), Some("ML-DSA-44")), Some(KeyType::Rsa));
        for (kty, crv) in [
            ("EC", None),
            ("EC", Some("Ed25519")),
            ("EC", Some("secp256k1")),
            ("OKP", None),
            ("OKP", Some("P-256")),
            ("OKP", Some("Ed448")),
            ("oct", None),
            ("ec", Some("P-256")),
            ("AKP", None),
            ("AKP", Some("ML-DSA-44")),
        ] {
            assert_eq!(KeyType::of_jwk(kty, crv, None), None, "{kty} {crv:?}");
        }
        assert_eq!(KeyType::of_jwk("AKP", None, Some("ML-DSA-128")), None);
        let ec = KeyType::P256.algorithm_oid();
        assert_eq!(KeyType::of_oids(ec, None), None);
        assert_eq!(KeyType::of_oids(ec, Some(&[0x2b, 0x81, 4, 0, 0x0a])), None);
        assert_eq!(KeyType::of_oids(&[0x2b, 0x65, 0x71], None), None);
    }
}
