//! The reasons why a key of a set isn't used.

use std::fmt;

/// Why a key of a set isn't used.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum IgnoredReason {
    /// It isn't a JSON object with each member once and of its type, or lacks one. A member that
    /// is null counts as absent.
    Malformed,
    /// A number or coordinate ends with `=`: base64url is written without padding here
    /// (RFC 7515 §2).
    Padded,
    /// It is longer than a JWK may be, or its `kid` is.
    TooLarge,
    /// `kty` is none of `RSA`, `EC`, `OKP` and `AKP`.
    UnsupportedKeyType,
    /// `crv` isn't a curve that signatures are checked on.
    UnsupportedCurve,
    /// `alg` is empty or an unknown signature algorithm, or the backend doesn't have it.
    UnsupportedAlgorithm,
    /// `alg` doesn't match `kty` and `crv`.
    AlgorithmMismatch,
    /// `use` is present and isn't `sig` (RFC 7517 §4.2); an empty string isn't `sig` either.
    NotForSignatures,
    /// `key_ops` is present and lacks `verify`, has duplicates, or contradicts `use` (RFC 7517 §4.3).
    NotForVerification,
    /// The set discloses the private key. Its owner should replace it.
    PrivateKey,
    /// A symmetric key: any reader of the set could sign with it.
    SymmetricKey,
    /// An RSA key of less than 2048 bits (RFC 7518 §3.3).
    WeakKey,
    /// An RSA key of more bits than the backend accepts: 8192, or 4096 with `rust-crypto`.
    OversizedKey,
    /// The numbers aren't a valid key: a point off its curve or of small order, an even modulus, an
    /// exponent that is even, below 3, or above 2^32 − 1, an ML-DSA key of another length.
    InvalidKey,
}

impl IgnoredReason {
    /// Returns a stable, machine-readable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Padded => "padded_base64url",
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
