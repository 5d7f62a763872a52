use crate::jose::alg::Algorithm;

/// The kinds of keys that can check a signature.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
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
#[derive(Clone, Eq, Hash, PartialEq)]
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
