//! A public key that was checked, and verifies signatures.

use std::fmt;

use crate::jose::alg::Algorithm;
#[cfg(feature = "aws-lc-rs")]
use crate::jose::backend::aws_lc::AwsLcVerifier;
use crate::jose::backend::choice::Backend;
#[cfg(feature = "rust-crypto")]
use crate::jose::backend::rust_crypto::RustCryptoVerifier;
use crate::jose::ed25519;
use crate::jose::ignored::IgnoredReason;
use crate::jose::key_type::KeyType;
use crate::jose::material::{Material, bit_length};

/// A public key, checked and ready to verify.
pub(crate) struct VerificationKey {
    kid: Option<Box<str>>,
    issuer: Option<Box<str>>,
    declared: Option<Algorithm>,
    material: Material,
    verifier: Verifier,
}

/// The parts by which two keys are the same.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct Identity<'a> {
    kid: Option<&'a str>,
    issuer: Option<&'a str>,
    material: &'a Material,
    declared: Option<Algorithm>,
}

#[cfg(test)]
thread_local! {
    /// How many signatures this thread has checked.
    pub(crate) static VERIFIED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

enum Verifier {
    #[cfg(feature = "aws-lc-rs")]
    AwsLc(AwsLcVerifier),
    #[cfg(feature = "rust-crypto")]
    RustCrypto(RustCryptoVerifier),
}

impl VerificationKey {
    /// Checks the key's numbers and makes it ready for `declared`, or for every algorithm that it supports.
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
        let verifier = match backend {
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => {
                let fits = |algorithm: &Algorithm| {
                    declared.map_or(KeyType::of(*algorithm) == key_type, |only| only == *algorithm)
                };
                let algorithms: Vec<Algorithm> =
                    Algorithm::ALL.iter().copied().filter(fits).collect();
                Verifier::AwsLc(AwsLcVerifier::new(&material, &algorithms)?)
            }
            #[cfg(feature = "rust-crypto")]
            Backend::RustCrypto => Verifier::RustCrypto(RustCryptoVerifier::new(&material)?),
        };
        Ok(Self { kid, issuer: None, declared, material, verifier })
    }

    /// Binds the key to the issuer that its member `issuer` names.
    pub(crate) fn bound_to(self, issuer: Option<Box<str>>) -> Self {
        Self { issuer, ..self }
    }

    /// Returns the key's member `issuer`, which Microsoft Entra's have.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
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

    /// Returns `true` if the key may be used with the algorithm (RFC 8725 §3.1: the key decides).
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.declared.map_or_else(
            || KeyType::of(algorithm) == self.material.key_type(),
            |declared| declared == algorithm,
        )
    }

    /// Returns the parts by which two keys are the same.
    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            kid: self.kid(),
            issuer: self.issuer(),
            material: &self.material,
            declared: self.declared,
        }
    }

    /// Returns `true` if the signature is valid.
    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) || !signature_is_well_formed(algorithm, signature) {
            return false;
        }
        #[cfg(test)]
        VERIFIED.with(|count| count.set(count.get() + 1));
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

/// The smallest RSA modulus (RFC 7518 §3.3), and the largest that doesn't allow denial of service.
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
        // The backend checks that the point is on its curve.
        Material::Ec { .. } => Ok(()),
        Material::Ed25519 { x } => {
            if ed25519::point_is_acceptable(x) {
                Ok(())
            } else {
                Err(IgnoredReason::InvalidKey)
            }
        }
        // FIPS 204 §3.6.2: any text of the right length is a key.
        Material::MlDsa { set, public } => {
            if public.len() == set.coordinate_bytes() {
                Ok(())
            } else {
                Err(IgnoredReason::InvalidKey)
            }
        }
    }
}

/// RFC 7518 §3.4: an ECDSA signature is r and s at full width, never DER; RFC 8037 §3.1; FIPS 204 §4.
fn signature_is_well_formed(algorithm: Algorithm, signature: &[u8]) -> bool {
    let key_type = KeyType::of(algorithm);
    // The backend compares the length of an RSA signature with the modulus.
    let has_length = key_type.signature_bytes().is_none_or(|length| signature.len() == length);
    has_length
        && match key_type {
            KeyType::Ed25519 => {
                signature.first_chunk::<32>().is_some_and(ed25519::point_is_acceptable)
            }
            KeyType::Rsa
            | KeyType::P256
            | KeyType::P384
            | KeyType::P521
            | KeyType::MlDsa44
            | KeyType::MlDsa65
            | KeyType::MlDsa87 => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // K9: R of small order.
        assert!(!signature_is_well_formed(Algorithm::EdDSA, &[0; 64]));
    }
}
