//! The table of signature algorithms and their names; what is listed here is accepted unless it is opt-in.

use std::fmt;

use crate::jose::every::every_variant;

/// The signature algorithms that are accepted, by their names in the JOSE registry.
///
/// This is the one table of them; `none` is not in it, and HMAC is [apart](HmacAlgorithm).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, a salt of 32 bytes (RFC 7518 §3.5).
    PS256,
    /// RSASSA-PSS with SHA-384, a salt of 48 bytes.
    PS384,
    /// RSASSA-PSS with SHA-512, a salt of 64 bytes.
    PS512,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512. The backend `rust-crypto` doesn't have it.
    ES512,
    /// Ed25519, under either of its names: `EdDSA` (RFC 8037 §3.1) and `Ed25519` (RFC 9864 §2.2).
    EdDSA,
    /// ML-DSA-44 (FIPS 204, RFC 9964). As with the other two, signatures are large: a token is longer
    /// than 3 KiB by its signature alone. The backend `rust-crypto` has none of them.
    MlDsa44,
    /// ML-DSA-65: a token is longer than 4 KiB by its signature alone.
    MlDsa65,
    /// ML-DSA-87: a token is longer than 6 KiB by its signature alone.
    MlDsa87,
}

impl Algorithm {
    every_variant! {
        /// All of them.
        // A validator accepts by default what is added here, unless `is_opt_in` excludes it or its
        // backend doesn't have it.
        pub const ALL = [
            RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, MlDsa44, MlDsa65,
            MlDsa87,
        ]
    }

    /// Returns the algorithm of this name, which is compared with regard to case.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            ED25519 => Some(Self::EdDSA),
            _ => Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name),
        }
    }

    /// Returns the name in the JOSE registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// Returns `true` if the algorithm is accepted only where the operator names it: it isn't common
    /// enough yet for every service to accept it.
    pub(crate) const fn is_opt_in(self) -> bool {
        match self {
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => true,
            Self::RS256
            | Self::RS384
            | Self::RS512
            | Self::PS256
            | Self::PS384
            | Self::PS512
            | Self::ES256
            | Self::ES384
            | Self::ES512
            | Self::EdDSA => false,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The fully-specified name of Ed25519 (RFC 9864 §2.2), beside `EdDSA`.
pub(crate) const ED25519: &str = "Ed25519";

/// A set of algorithms: one bit for each. Three bits are left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Algorithms(u16);

const _: () =
    assert!(Algorithm::ALL.len() <= u16::BITS as usize, "Algorithms needs a wider integer");

impl Algorithms {
    pub(crate) const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & Self::bit(algorithm) != 0
    }

    const fn bit(algorithm: Algorithm) -> u16 {
        1 << algorithm as u16
    }
}

impl FromIterator<Algorithm> for Algorithms {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        Self(algorithms.into_iter().fold(0, |bits, algorithm| bits | Self::bit(algorithm)))
    }
}

/// The HMAC algorithms (RFC 7518 §3.2), for a secret that is shared with the issuer.
///
/// They are kept apart from [`Algorithm`]: a party that can check such a token can also make one, and a
/// key set never contains such a key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256: a secret of at least 32 bytes.
    HS256,
    /// HMAC with SHA-384: a secret of at least 48 bytes.
    HS384,
    /// HMAC with SHA-512: a secret of at least 64 bytes.
    HS512,
}

impl HmacAlgorithm {
    /// Returns the name in the JOSE registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// Returns the length of the hash, and so the least length of a secret (RFC 7518 §3.2).
    pub(crate) const fn hash_bytes(self) -> usize {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            Self::HS512 => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // J9: compared with regard to case; J10: `none` isn't in the table.
    #[test]
    fn j9_j10_names_are_exact() {
        for algorithm in Algorithm::ALL.iter().copied() {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDSA));
        for name in
            ["", "none", "None", "NONE", "nOnE", "rs256", "RS256 ", "HS256", "ES256K", "ML-DSA"]
        {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }
}
