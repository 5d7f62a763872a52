//! Writes `application/x-www-form-urlencoded` bodies (RFC 6749 appendix B).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

/// How a space is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Space {
    Plus,
    Percent20,
}

/// Encodes parameters, in their order.
///
/// The longest possible result is allocated up front: growing would leave copies of a secret behind.
pub(crate) fn encode_pairs(pairs: &[(&str, &[u8])]) -> Zeroizing<Vec<u8>> {
    let longest = |text: &[u8]| text.len().saturating_mul(3).saturating_add(1);
    let capacity = pairs.iter().fold(0_usize, |sum, (name, value)| {
        sum.saturating_add(longest(name.as_bytes())).saturating_add(longest(value))
    });
    let mut form = Zeroizing::new(Vec::with_capacity(capacity));
    for (name, value) in pairs {
        if !form.is_empty() {
            form.push(b'&');
        }
        encode_into(&mut form, name.as_bytes(), Space::Plus);
        form.push(b'=');
        encode_into(&mut form, value, Space::Plus);
    }
    form
}

/// Encodes all but letters, digits and `*-._`, as the WHATWG does.
pub(crate) fn encode_into(out: &mut Vec<u8>, text: &[u8], space: Space) {
    const ESCAPED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');
    for piece in percent_encode(text, ESCAPED) {
        let piece = if piece == "%20" && space == Space::Plus { "+" } else { piece };
        out.extend_from_slice(piece.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &str, space: Space) -> String {
        let mut out = Vec::new();
        encode_into(&mut out, text.as_bytes(), space);
        String::from_utf8(out).unwrap()
    }

    /// The decoder of the WHATWG: what a server does.
    fn decode(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            rest = tail;
            out.push(match first {
                b'+' => b' ',
                b'%' => {
                    let hex = std::str::from_utf8(&tail[..2]).unwrap();
                    rest = &tail[2..];
                    u8::from_str_radix(hex, 16).unwrap()
                }
                other => *other,
            });
        }
        out
    }

    // T7: the vector of RFC 6749 appendix B.
    #[test]
    fn t7_rfc_6749_appendix_b() {
        let text = "\u{20}\u{25}\u{26}\u{2b}\u{a3}\u{20ac}";
        assert_eq!(encode(text, Space::Plus), "+%25%26%2B%C2%A3%E2%82%AC");
        assert_eq!(encode(text, Space::Percent20), "%20%25%26%2B%C2%A3%E2%82%AC");
    }

    // T8
    #[test]
    fn t8_only_letters_digits_and_four_marks_stay() {
        assert_eq!(encode("azAZ09*-._", Space::Plus), "azAZ09*-._");
        assert_eq!(encode("~!'()/:=", Space::Plus), "%7E%21%27%28%29%2F%3A%3D");
    }

    proptest! {
        // T8: whatever is encoded decodes to what it was.
        #[test]
        fn t8_decodes_to_what_it_was(text: String) {
            for space in [Space::Plus, Space::Percent20] {
                prop_assert_eq!(decode(&encode(&text, space)), text.as_bytes());
            }
        }

        #[test]
        fn a_form_never_grows(pairs in prop::collection::vec((".{0,9}", ".{0,30}"), 0..6)) {
            let pairs: Vec<(&str, &[u8])> =
                pairs.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let form = encode_pairs(&pairs);
            let longest = pairs.iter().map(|(n, v)| 3 * (n.len() + v.len()) + 2).sum::<usize>();
            prop_assert!(form.capacity() <= longest.max(8));
        }
    }

    #[test]
    fn pairs_are_joined() {
        let form = encode_pairs(&[("a", b"1 2"), ("b&", b"="), ("c", b"")]);
        assert_eq!(*form, b"a=1+2&b%26=%3D&c=");
    }
}
