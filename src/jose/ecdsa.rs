//! Converts an ECDSA signature between its two forms: DER, and r and s at full width.

use crate::jose::alg::Algorithm;
use crate::jose::der::{self, Reader};
use crate::jose::key_type::KeyType;

/// The lengths of an RSA signature: of a modulus of 2048 to 16384 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=2_048;

/// Returns a signature in the form of JWS (RFC 7518 §3.4): one of ECDSA may come in DER (RFC 3279 §2.2.3).
/// `None` if it can't be one of this algorithm.
pub(crate) fn jws_signature(algorithm: Algorithm, signature: Vec<u8>) -> Option<Vec<u8>> {
    let key_type = KeyType::of(algorithm);
    let is_whole = match key_type.signature_bytes() {
        Some(length) => signature.len() == length,
        None => RSA_BYTES.contains(&signature.len()),
    };
    if is_whole {
        return Some(signature);
    }
    let half = match key_type {
        KeyType::P256 | KeyType::P384 | KeyType::P521 => key_type.coordinate_bytes(),
        KeyType::Rsa
        | KeyType::Ed25519
        | KeyType::MlDsa44
        | KeyType::MlDsa65
        | KeyType::MlDsa87 => return None,
    };
    let mut numbers = Reader::whole(&signature, der::SEQUENCE)?;
    let (r, s) = (numbers.read(der::INTEGER)?, numbers.read_last(der::INTEGER)?);
    let mut raw = Vec::with_capacity(half.saturating_mul(2));
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = number.get(zeros..)?;
        raw.extend(std::iter::repeat_n(0, half.checked_sub(number.len())?));
        raw.extend_from_slice(number);
    }
    Some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_and_fixed_length_are_the_same_signature() {
        let (r, s) = ([&[0x80_u8][..], &[7; 31]].concat(), [9_u8; 30]);
        let raw = [&r[..], &[0, 0], &s].concat();
        let mut der = vec![0x30, 2 + 33 + 2 + 30, 0x02, 33, 0];
        der.extend_from_slice(&r);
        der.extend([0x02, 30]);
        der.extend_from_slice(&s);
        let read = |signature: &[u8]| jws_signature(Algorithm::ES256, signature.to_vec());
        assert_eq!(read(&raw).unwrap(), raw);
        assert_eq!(read(&der).unwrap(), raw);
        for length in 0..der.len() {
            assert_eq!(read(&der[..length]).filter(|it| it.len() != 64), None, "{length}");
        }
        der.push(0);
        assert_eq!(read(&der), None);
    }

    #[test]
    fn what_has_the_wrong_length_is_no_signature() {
        let takes = |algorithm, length| jws_signature(algorithm, vec![1; length]).is_some();
        assert!(takes(Algorithm::ES384, 96) && !takes(Algorithm::ES384, 64));
        assert!(takes(Algorithm::ES512, 132) && !takes(Algorithm::ES512, 128));
        assert!(takes(Algorithm::EdDSA, 64) && !takes(Algorithm::EdDSA, 63));
        assert!(takes(Algorithm::RS256, 256) && !takes(Algorithm::PS512, 64));
        assert!(!takes(Algorithm::RS256, 2_049));
        // Not by the rule for RSA, whose longest is longer than none of these.
        assert!(takes(Algorithm::MlDsa44, 2_420) && !takes(Algorithm::MlDsa44, 256));
    }
}
