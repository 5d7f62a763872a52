//! Signing: the one place where the client names a crypto backend.
//!
//! `aws-lc-rs` if that feature is on, else RustCrypto through `jsonwebtoken`, whose provider is
//! named explicitly: the process-wide one panics if both of its features are on somewhere in the
//! tree.

use crate::credentials::algorithm::AssertionAlgorithm;
use crate::credentials::private_key::PrivateKey;

/// What an assertion is signed with.
pub(crate) enum Signer<'a> {
    /// A private key.
    Key(PrivateKey),
    /// The client's secret, for HMAC.
    Secret(&'a [u8]),
}

/// The key was refused, or signing failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SignError;

/// Returns `true` if the backend has the algorithm.
#[cfg(feature = "aws-lc-rs")]
pub(crate) const fn supports(_: AssertionAlgorithm) -> bool {
    true
}

#[cfg(feature = "aws-lc-rs")]
pub(crate) fn sign(
    algorithm: AssertionAlgorithm,
    signer: &Signer<'_>,
    message: &[u8],
) -> Result<Vec<u8>, SignError> {
    use AssertionAlgorithm as Alg;
    use aws_lc_rs::{hmac, rand::SystemRandom, signature};

    let random = SystemRandom::new();
    let tag = |hash, secret: &[u8]| {
        Ok(hmac::sign(&hmac::Key::new(hash, secret), message).as_ref().to_vec())
    };
    let rsa = |encoding: &'static dyn signature::RsaEncoding, key: &PrivateKey| {
        let pair = signature::RsaKeyPair::from_der(&key.der).map_err(|_| SignError)?;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &random, message, &mut signature).map_err(|_| SignError)?;
        Ok(signature)
    };
    let ecdsa = |curve: &'static signature::EcdsaSigningAlgorithm, key: &PrivateKey| {
        let pair = signature::EcdsaKeyPair::from_private_key_der(curve, &key.der)
            .map_err(|_| SignError)?;
        let signature = pair.sign(&random, message).map_err(|_| SignError)?;
        Ok(signature.as_ref().to_vec())
    };
    match (algorithm, signer) {
        (Alg::HS256, Signer::Secret(secret)) => tag(hmac::HMAC_SHA256, secret),
        (Alg::HS384, Signer::Secret(secret)) => tag(hmac::HMAC_SHA384, secret),
        (Alg::HS512, Signer::Secret(secret)) => tag(hmac::HMAC_SHA512, secret),
        (Alg::RS256, Signer::Key(key)) => rsa(&signature::RSA_PKCS1_SHA256, key),
        (Alg::RS384, Signer::Key(key)) => rsa(&signature::RSA_PKCS1_SHA384, key),
        (Alg::RS512, Signer::Key(key)) => rsa(&signature::RSA_PKCS1_SHA512, key),
        (Alg::PS256, Signer::Key(key)) => rsa(&signature::RSA_PSS_SHA256, key),
        (Alg::PS384, Signer::Key(key)) => rsa(&signature::RSA_PSS_SHA384, key),
        (Alg::PS512, Signer::Key(key)) => rsa(&signature::RSA_PSS_SHA512, key),
        (Alg::ES256, Signer::Key(key)) => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, key),
        (Alg::ES384, Signer::Key(key)) => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, key),
        (Alg::ES512, Signer::Key(key)) => ecdsa(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, key),
        (Alg::EdDSA | Alg::Ed25519, Signer::Key(key)) => {
            let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key.der)
                .map_err(|_| SignError)?;
            Ok(pair.try_sign(message).map_err(|_| SignError)?.as_ref().to_vec())
        }
        _ => Err(SignError),
    }
}

#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
pub(crate) const fn supports(algorithm: AssertionAlgorithm) -> bool {
    !matches!(algorithm, AssertionAlgorithm::ES512)
}

#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
pub(crate) fn sign(
    algorithm: AssertionAlgorithm,
    signer: &Signer<'_>,
    message: &[u8],
) -> Result<Vec<u8>, SignError> {
    use crate::credentials::algorithm::Family;
    use AssertionAlgorithm as Alg;
    use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
    use jsonwebtoken::{Algorithm, EncodingKey};

    let key = match (algorithm.family(), signer) {
        (Family::Hmac, Signer::Secret(secret)) => {
            EncodingKey::from_secret(secret).map_err(|_| SignError)?
        }
        (Family::Rsa, Signer::Key(key)) => EncodingKey::from_rsa_der(&key.der),
        (Family::Ec(_), Signer::Key(key)) => EncodingKey::from_ec_der(&key.der),
        (Family::Ed25519, Signer::Key(key)) => EncodingKey::from_ed_der(&key.der),
        _ => return Err(SignError),
    };
    let algorithm = match algorithm {
        Alg::RS256 => Algorithm::RS256,
        Alg::RS384 => Algorithm::RS384,
        Alg::RS512 => Algorithm::RS512,
        Alg::PS256 => Algorithm::PS256,
        Alg::PS384 => Algorithm::PS384,
        Alg::PS512 => Algorithm::PS512,
        Alg::ES256 => Algorithm::ES256,
        Alg::ES384 => Algorithm::ES384,
        Alg::ES512 => return Err(SignError),
        Alg::EdDSA | Alg::Ed25519 => Algorithm::EdDSA,
        Alg::HS256 => Algorithm::HS256,
        Alg::HS384 => Algorithm::HS384,
        Alg::HS512 => Algorithm::HS512,
    };
    let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &key).map_err(|_| SignError)?;
    signer.try_sign(message).map_err(|_| SignError)
}

#[cfg(not(any(feature = "rust-crypto", feature = "aws-lc-rs")))]
pub(crate) const fn supports(_: AssertionAlgorithm) -> bool {
    false
}

#[cfg(not(any(feature = "rust-crypto", feature = "aws-lc-rs")))]
pub(crate) fn sign(_: AssertionAlgorithm, _: &Signer<'_>, _: &[u8]) -> Result<Vec<u8>, SignError> {
    Err(SignError)
}
