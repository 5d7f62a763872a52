use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::refusal::RejectionKind;

/// The three segments of a compact JWS (RFC 7515 §7.1), still encoded.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) signature: &'a [u8],
    /// The header and the payload with the dot between them: what is signed, as it came.
    pub(crate) signing_input: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Splits a token at its dots, without looking any further.
    ///
    /// # Errors
    ///
    /// `EncryptedToken` for the five segments of a JWE, `MalformedToken` for any number other than
    /// three, and where one is empty: a detached payload (RFC 7515 appendix F) has nothing to say
    /// to us, and an empty signature is no signature.
    pub(crate) fn split(token: &'a [u8]) -> Result<Self, RejectionKind> {
        let mut dots =
            token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second)) = (dots.next(), dots.next()) else {
            return Err(RejectionKind::MalformedToken);
        };
        if dots.next().is_some() {
            let five = dots.next().is_some() && dots.next().is_none();
            return Err(if five {
                RejectionKind::EncryptedToken
            } else {
                RejectionKind::MalformedToken
            });
        }
        let parts = || {
            let compact = Self {
                header: token.get(..first)?,
                payload: token.get(first.checked_add(1)?..second)?,
                signature: token.get(second.checked_add(1)?..)?,
                signing_input: token.get(..second)?,
            };
            let full = |segment: &[u8]| !segment.is_empty();
            (full(compact.header) && full(compact.payload) && full(compact.signature))
                .then_some(compact)
        };
        parts().ok_or(RejectionKind::MalformedToken)
    }
}

/// Decodes base64url without padding (RFC 7515 §2), in its one spelling: no white space, no `+`
/// and `/`, and no stray bits at the end (RFC 4648 §3.5).
pub(crate) fn decode_segment(segment: &[u8]) -> Result<Vec<u8>, RejectionKind> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| RejectionKind::MalformedToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j1_exactly_three_segments() {
        let compact = Compact::split(b"a.bc.d").unwrap_or_else(|kind| panic!("{kind:?}"));
        assert_eq!(
            (compact.header, compact.payload, compact.signature, compact.signing_input),
            (&b"a"[..], &b"bc"[..], &b"d"[..], &b"a.bc"[..])
        );
        let dots = ".".repeat(100_000);
        for (token, kind) in [
            ("", RejectionKind::MalformedToken),
            ("a", RejectionKind::MalformedToken),
            ("a.b", RejectionKind::MalformedToken),
            ("..c", RejectionKind::MalformedToken),
            ("a..c", RejectionKind::MalformedToken), // J24
            ("a.b.", RejectionKind::MalformedToken),
            (".b.c", RejectionKind::MalformedToken),
            ("a.b.c.d", RejectionKind::MalformedToken),
            ("a.b.c.d.e", RejectionKind::EncryptedToken), // J21
            ("a.b.c.d.e.f", RejectionKind::MalformedToken),
            (dots.as_str(), RejectionKind::MalformedToken),
        ] {
            assert_eq!(Compact::split(token.as_bytes()).err(), Some(kind), "{token:.20}");
        }
    }

    #[test]
    fn j2_j3_base64url_has_one_spelling() {
        assert_eq!(decode_segment(b"-_8").unwrap(), [0xfb, 0xff]);
        assert_eq!(decode_segment(b"YQ").unwrap(), b"a");
        for other in ["YQ==", "YQ=", "YR", "+/8", "Y Q", "YQ\n", "Y", "Y\u{e9}", "YW.x"] {
            assert!(decode_segment(other.as_bytes()).is_err(), "{other:?}");
        }
    }
}
