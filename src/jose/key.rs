use std::fmt;

use crate::jose::alg::{Algorithm, Backend};
#[cfg(feature = "aws-lc-rs")]
use crate::jose::backend_aws_lc::AwsLcVerifier;
#[cfg(feature = "rust-crypto")]
use crate::jose::backend_rust_crypto::RustCryptoVerifier;

/// The kinds of keys that can check a signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyType {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

impl KeyType {
    /// Returns the one kind of key that fits the algorithm (RFC 7518 §3, RFC 8037 §3.1).
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
        }
    }

    /// Returns the key's `kty` (RFC 7518 §6.1, RFC 8037 §2).
    pub(crate) const fn kty(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::P256 | Self::P384 | Self::P521 => "EC",
            Self::Ed25519 => "OKP",
        }
    }

    /// Returns how many bytes a coordinate of the curve has (RFC 7518 §6.2.1.2).
    pub(crate) const fn coordinate_bytes(self) -> usize {
        match self {
            Self::Rsa => 0,
            Self::P256 | Self::Ed25519 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A public key's numbers.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum Material {
    /// Big-endian, without leading zeros.
    Rsa {
        n: Box<[u8]>,
        e: Box<[u8]>,
    },
    /// An uncompressed point: 4, x, y.
    Ec {
        curve: KeyType,
        point: Box<[u8]>,
    },
    Ed25519 {
        x: [u8; 32],
    },
}

impl Material {
    pub(crate) const fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa { .. } => KeyType::Rsa,
            Self::Ec { curve, .. } => *curve,
            Self::Ed25519 { .. } => KeyType::Ed25519,
        }
    }
}

/// Why a key of a set isn't used.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum IgnoredReason {
    /// It isn't a JSON object with each member once and of its type, or lacks one.
    Malformed,
    /// It is longer than a JWK may be, or its `kid` is.
    TooLarge,
    /// `kty` is none of `RSA`, `EC` and `OKP`.
    UnsupportedKeyType,
    /// `crv` isn't a curve that signatures are checked on.
    UnsupportedCurve,
    /// `alg` isn't a signature algorithm that is known, or the backend hasn't got it.
    UnsupportedAlgorithm,
    /// `alg` doesn't fit `kty` and `crv`.
    AlgorithmMismatch,
    /// `use` isn't `sig` (RFC 7517 §4.2).
    NotForSignatures,
    /// `key_ops` lacks `verify`, has duplicates, or contradicts `use` (RFC 7517 §4.3).
    NotForVerification,
    /// The set gives the private key away. Its owner should replace it.
    PrivateKey,
    /// A symmetric key: everybody who can read the set could sign with it.
    SymmetricKey,
    /// An RSA key of less than 2048 bits (RFC 7518 §3.3).
    WeakKey,
    /// An RSA key of more bits than the backend takes: 8192, or 4096 with `rust-crypto`.
    OversizedKey,
    /// The numbers are no key: a point off its curve or of small order, an even modulus, an
    /// exponent that is even, below 3, or above 2^32 − 1.
    InvalidKey,
}

impl IgnoredReason {
    /// Returns a stable, machine-readable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UnsupportedKeyType => "unsupported_key_type",
            Self::UnsupportedCurve => "unsupported_curve",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::AlgorithmMismatch => "algorithm_mismatch",
            Self::NotForSignatures => "not_for_signatures",
            Self::NotForVerification => "not_for_verification",
            Self::PrivateKey => "private_key",
            Self::SymmetricKey => "symmetric_key",
            Self::WeakKey => "weak_key",
            Self::OversizedKey => "oversized_key",
            Self::InvalidKey => "invalid_key",
        }
    }
}

impl fmt::Display for IgnoredReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A public key, checked and ready to verify.
pub(crate) struct VerificationKey {
    kid: Option<Box<str>>,
    declared: Option<Algorithm>,
    material: Material,
    verifier: Verifier,
}

enum Verifier {
    #[cfg(feature = "aws-lc-rs")]
    AwsLc(AwsLcVerifier),
    #[cfg(feature = "rust-crypto")]
    RustCrypto(RustCryptoVerifier),
}

impl VerificationKey {
    /// Checks the key's numbers and makes it ready for `declared`, or for all that fits it.
    pub(crate) fn new(
        kid: Option<Box<str>>,
        declared: Option<Algorithm>,
        material: Material,
        backend: Backend,
    ) -> Result<Self, IgnoredReason> {
        let key_type = material.key_type();
        if declared.is_some_and(|algorithm| KeyType::of(algorithm) != key_type) {
            return Err(IgnoredReason::AlgorithmMismatch);
        }
        check_numbers(&material)?;
        let fitting = |algorithm: &Algorithm| {
            declared.map_or(KeyType::of(*algorithm) == key_type, |only| only == *algorithm)
        };
        let algorithms: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(fitting).collect();
        let verifier = match backend {
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => Verifier::AwsLc(AwsLcVerifier::new(&material, &algorithms)?),
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => Verifier::RustCrypto(RustCryptoVerifier::new(&material)?),
        };
        #[allow(unreachable_code, reason = "without a backend there is nothing to reach it with")]
        Ok(Self { kid, declared, material, verifier })
    }

    pub(crate) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns the key's `kty`.
    pub(crate) const fn kty(&self) -> &'static str {
        self.material.key_type().kty()
    }

    /// Returns the key's own `alg`, if it has one.
    pub(crate) const fn algorithm(&self) -> Option<Algorithm> {
        self.declared
    }

    /// Tells whether the key may be used with the algorithm (RFC 8725 §3.1: the key decides).
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.declared.map_or_else(
            || KeyType::of(algorithm) == self.material.key_type(),
            |declared| declared == algorithm,
        )
    }

    /// Tells whether two keys are the same, whatever they are called.
    pub(crate) fn same_material(&self, other: &Self) -> bool {
        self.material == other.material && self.declared == other.declared
    }

    /// Tells whether the signature holds.
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) || !signature_is_well_formed(algorithm, signature) {
            return false;
        }
        #[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
        let _ = message;
        match &self.verifier {
            #[cfg(feature = "aws-lc-rs")]
            Verifier::AwsLc(verifier) => verifier.verify(algorithm, message, signature),
            #[cfg(feature = "rust-crypto")]
            Verifier::RustCrypto(verifier) => verifier.verify(algorithm, message, signature),
            #[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
            _ => false,
        }
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationKey")
            .field("kid", &self.kid)
            .field("kty", &self.kty())
            .field("alg", &self.declared)
            .finish_non_exhaustive()
    }
}

/// The smallest RSA modulus (RFC 7518 §3.3), and the largest that isn't a way to keep us busy.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

fn check_numbers(material: &Material) -> Result<(), IgnoredReason> {
    match material {
        Material::Rsa { n, e } => {
            let bits = bit_length(n);
            if bits < *RSA_BITS.start() {
                return Err(IgnoredReason::WeakKey);
            }
            if bits > *RSA_BITS.end() {
                return Err(IgnoredReason::OversizedKey);
            }
            let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
            let small = e.len() <= 4 && **e != [1];
            if odd(n) && odd(e) && small { Ok(()) } else { Err(IgnoredReason::InvalidKey) }
        }
        // Whether the point is on its curve is for the backend to say.
        Material::Ec { .. } => Ok(()),
        Material::Ed25519 { x } => {
            if ed25519_point_is_acceptable(x) {
                Ok(())
            } else {
                Err(IgnoredReason::InvalidKey)
            }
        }
    }
}

/// Returns the number of bits of a big-endian number without leading zero bytes.
fn bit_length(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |byte| byte.leading_zeros());
    number.len().saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
}

/// RFC 7518 §3.4: an ECDSA signature is r and s at full width, never DER; RFC 8037 §3.1.
fn signature_is_well_formed(algorithm: Algorithm, signature: &[u8]) -> bool {
    let key_type = KeyType::of(algorithm);
    match key_type {
        // The backend compares with the modulus.
        KeyType::Rsa => true,
        KeyType::P256 | KeyType::P384 | KeyType::P521 => {
            signature.len() == key_type.coordinate_bytes().saturating_mul(2)
        }
        KeyType::Ed25519 => {
            signature.len() == 64
                && signature.first_chunk::<32>().is_some_and(|r| ed25519_point_is_acceptable(r))
        }
    }
}

/// Tells whether an encoded Edwards point is canonical and not of small order.
///
/// Neither backend refuses these of itself. For a key of small order, one signature can hold for
/// many messages, so strict verifiers refuse it ("Taming the many EdDSAs", Chalkias et al. 2020).
fn ed25519_point_is_acceptable(encoded: &[u8; 32]) -> bool {
    /// Below 2^255 − 19, these are the y coordinates of the points of order 1, 2, 4 and 8.
    const SMALL_ORDER: [[u8; 32]; 5] = [
        [0; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
        {
            let mut minus_one = [0xff; 32];
            minus_one[0] = 0xec;
            minus_one[31] = 0x7f;
            minus_one
        },
    ];
    let mut y = *encoded;
    if let Some(top) = y.last_mut() {
        *top &= 0x7f; // the sign of x
    }
    // p = 2^255 − 19, little-endian: 0xed, thirty times 0xff, 0x7f.
    let [low, middle @ .., top] = y;
    let canonical = low < 0xed || top != 0x7f || middle.iter().any(|byte| *byte != 0xff);
    canonical && !SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k9_small_and_non_canonical_edwards_points_are_refused() {
        // The base point of RFC 8032 §5.1: y = 4/5.
        let mut base = [0x66; 32];
        base[0] = 0x58;
        assert!(ed25519_point_is_acceptable(&base));
        for low in 0..=0xff_u8 {
            let mut y = [0xff; 32];
            y[0] = low;
            y[31] = 0x7f;
            // From p on it isn't canonical; p − 1 has order 2.
            assert_eq!(ed25519_point_is_acceptable(&y), low < 0xec, "{low:x}");
            y[31] = 0xff;
            assert_eq!(ed25519_point_is_acceptable(&y), low < 0xec, "{low:x} with a sign");
        }
        for low in 0..3 {
            let mut y = [0; 32];
            y[0] = low;
            assert_eq!(ed25519_point_is_acceptable(&y), low > 1, "{low}");
        }
    }

    #[test]
    fn k1_k2_bits_are_counted_right() {
        assert_eq!(bit_length(&[]), 0);
        assert_eq!(bit_length(&[1]), 1);
        assert_eq!(bit_length(&[0x7f, 0xff]), 15);
        assert_eq!(bit_length(&[0x80; 256]), 2_048);
    }

    #[test]
    fn k4_signatures_have_one_length() {
        for (algorithm, length) in
            [(Algorithm::ES256, 64), (Algorithm::ES384, 96), (Algorithm::ES512, 132)]
        {
            for len in 0..200 {
                let well = signature_is_well_formed(algorithm, &vec![1; len]);
                assert_eq!(well, len == length, "{algorithm} {len}");
            }
        }
        assert!(signature_is_well_formed(Algorithm::EdDSA, &[0x66; 64]));
        assert!(!signature_is_well_formed(Algorithm::EdDSA, &[0x66; 63]));
        assert!(!signature_is_well_formed(Algorithm::EdDSA, &[0x66; 65]));
    }
}
