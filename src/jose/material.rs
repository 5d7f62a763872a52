//! The numbers of a public key, in the one form that both backends take.

use crate::jose::key_type::KeyType;

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
    MlDsa {
        set: KeyType,
        public: Box<[u8]>,
    },
}

impl Material {
    pub(crate) const fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa { .. } => KeyType::Rsa,
            Self::Ec { curve, .. } => *curve,
            Self::Ed25519 { .. } => KeyType::Ed25519,
            Self::MlDsa { set, .. } => *set,
        }
    }
}

/// Returns the number of bits of a big-endian number without leading zero bytes.
pub(crate) fn bit_length(number: &[u8]) -> usize {
    let zeros = number.first().map_or(0, |byte| byte.leading_zeros());
    number.len().saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k1_k2_bits_are_counted_right() {
        assert_eq!(bit_length(&[]), 0);
        assert_eq!(bit_length(&[1]), 1);
        assert_eq!(bit_length(&[0x7f, 0xff]), 15);
        assert_eq!(bit_length(&[0x80; 256]), 2_048);
    }
}
