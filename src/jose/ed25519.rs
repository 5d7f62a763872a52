//! Refuses Ed25519 public keys that are not canonical or of small order.

/// Returns `true` if an encoded Edwards point is canonical and not of small order.
///
/// Neither backend refuses these itself. With a key of small order, one signature can be valid for
/// many messages, so strict verifiers refuse it ("Taming the many EdDSAs", Chalkias et al. 2020).
pub(crate) fn point_is_acceptable(encoded: &[u8; 32]) -> bool {
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
        assert!(point_is_acceptable(&base));
        for low in 0..=0xff_u8 {
            let mut y = [0xff; 32];
            y[0] = low;
            y[31] = 0x7f;
            // From p on it isn't canonical; p − 1 has order 2.
            assert_eq!(point_is_acceptable(&y), low < 0xec, "{low:x}");
            y[31] = 0xff;
            assert_eq!(point_is_acceptable(&y), low < 0xec, "{low:x} with a sign");
        }
        for low in 0..3 {
            let mut y = [0; 32];
            y[0] = low;
            assert_eq!(point_is_acceptable(&y), low > 1, "{low}");
        }
    }
}
