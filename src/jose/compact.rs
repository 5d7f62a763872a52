//! Splits a compact JWS and decodes its segments into memory that is wiped.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::NO_PAD;
use memchr::memchr_iter;

use crate::jose::error::JoseError;

/// The three segments of a compact JWS (RFC 7515 §7.1), still encoded.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'a> {
    pub(crate) header: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) signature: &'a [u8],
    /// The header and the payload with the dot between them: the signed bytes, as received.
    pub(crate) signing_input: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Splits a token at its dots, without looking any further.
    ///
    /// # Errors
    ///
    /// `Encrypted` for the five segments of a JWE, `Malformed` for any number other than
    /// three, and where one is empty: a detached payload (RFC 7515 appendix F) isn't supported, and an
    /// empty signature is no signature.
    #[inline]
    pub(crate) fn split(token: &'a [u8]) -> Result<Self, JoseError> {
        let mut dots = memchr_iter(b'.', token);
        let (Some(first), Some(second)) = (dots.next(), dots.next()) else {
            return Err(JoseError::Malformed);
        };
        if dots.next().is_some() {
            let five = dots.next().is_some() && dots.next().is_none();
            return Err(if five { JoseError::Encrypted } else { JoseError::Malformed });
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
        parts().ok_or(JoseError::Malformed)
    }
}

/// Memory to decode a token in, which a thread reuses for the next one. It is wiped in between.
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    /// How much of it this token may have written to.
    used: usize,
}

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Scratch {
    /// Takes room for all segments of a token of this length.
    pub(crate) fn take(token_len: usize) -> Self {
        let mut bytes = SPARE.try_with(Cell::take).unwrap_or_default();
        if bytes.len() < token_len {
            bytes.resize(token_len, 0);
        }
        Self { bytes, used: token_len }
    }

    /// Returns room for as many bytes as the token has.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.used).unwrap_or_default()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.room().fill(0);
        // The compiler must not notice that nothing reads the zeros.
        let bytes = black_box(std::mem::take(&mut self.bytes));
        // While the thread ends, the memory can't be kept.
        let _ = SPARE.try_with(|spare| spare.set(bytes));
    }
}

/// Decodes base64url without padding (RFC 7515 §2), in its canonical form: no white space, no `+`
/// and `/`, and no stray bits at the end (RFC 4648 §3.5).
pub(crate) fn decode_segment(segment: &[u8]) -> Result<Vec<u8>, JoseError> {
    BASE64.decode(segment).map_err(|_| JoseError::Malformed)
}

/// Decodes into the beginning of `room`, and returns the rest of it too.
#[inline]
pub(crate) fn decode_into<'a>(
    segment: &[u8],
    room: &'a mut [u8],
) -> Result<(&'a [u8], &'a mut [u8]), JoseError> {
    let decoded = BASE64.decode_slice(segment, room).ok();
    let halves = decoded.and_then(|len| room.split_at_mut_checked(len));
    halves.map(|(decoded, left)| (&*decoded, left)).ok_or(JoseError::Malformed)
}

static BASE64: LazyLock<Base64> = LazyLock::new(base64url);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Base64 = base64::engine::Simd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Base64 = base64::engine::GeneralPurpose;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn base64url() -> Base64 {
    Base64::url_safe(NO_PAD)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn base64url() -> Base64 {
    Base64::new(&base64::alphabet::URL_SAFE, NO_PAD)
}

#[cfg(test)]
mod tests {
    use base64::engine::GeneralPurpose;
    use proptest::prelude::*;

    use super::*;

    /// The plain engine, one byte at a time: whatever is faster has to say the same.
    fn plainly(segment: &[u8]) -> Option<Vec<u8>> {
        GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD).decode(segment).ok()
    }

    /// Decodes with room for a token of this segment and two more, and with a stranger's bytes in it.
    fn in_room(segment: &[u8]) -> Option<Vec<u8>> {
        let mut room = vec![0xaa; segment.len() + 2];
        let (decoded, _) = decode_into(segment, &mut room).ok()?;
        let decoded = decoded.to_vec();
        assert!(room[decoded.len()..].iter().all(|byte| *byte == 0xaa), "beyond its end");
        Some(decoded)
    }

    fn check(segment: &[u8]) {
        let expected = plainly(segment);
        assert_eq!(decode_segment(segment).ok(), expected, "{segment:?}");
        assert_eq!(in_room(segment), expected, "{segment:?}");
    }

    #[test]
    fn j1_exactly_three_segments() {
        let compact = Compact::split(b"a.bc.d").unwrap_or_else(|kind| panic!("{kind:?}"));
        assert_eq!(
            (compact.header, compact.payload, compact.signature, compact.signing_input),
            (&b"a"[..], &b"bc"[..], &b"d"[..], &b"a.bc"[..])
        );
        let dots = ".".repeat(100_000);
        for (token, kind) in [
            ("", JoseError::Malformed),
            ("a", JoseError::Malformed),
            ("a.b", JoseError::Malformed),
            ("..c", JoseError::Malformed),
            ("a..c", JoseError::Malformed), // J24
            ("a.b.", JoseError::Malformed),
            (".b.c", JoseError::Malformed),
            ("a.b.c.d", JoseError::Malformed),
            ("a.b.c.d.e", JoseError::Encrypted), // J21
            ("a.b.c.d.e.f", JoseError::Malformed),
            (dots.as_str(), JoseError::Malformed),
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

    // J2, J3: at all lengths about the blocks that are decoded at once.
    #[test]
    fn j2_j3_every_byte_at_every_place_of_every_length() {
        let letters: Vec<u8> = (0..=u8::MAX).filter(|it| plainly(&[*it; 4]).is_some()).collect();
        assert_eq!(letters.len(), 64);
        for len in 0..200 {
            let mut segment: Vec<u8> = letters.iter().copied().cycle().take(len).collect();
            check(&segment);
            for at in [0, 1, 31, 32, 33, 63, 64, 95, 96, len.saturating_sub(2), len.wrapping_sub(1)]
            {
                let Some(before) = segment.get(at).copied() else { continue };
                for byte in 0..=u8::MAX {
                    segment[at] = byte;
                    check(&segment);
                }
                segment[at] = before;
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_bytes_arrive_they_are_decoded_as_the_plain_engine_does(
            segment in proptest::collection::vec(any::<u8>(), 0..300),
            letters in "[A-Za-z0-9_-]{0,600}[A-Za-z0-9_=+/ -]?",
        ) {
            check(&segment);
            check(letters.as_bytes());
        }
    }

    #[test]
    fn a_tokens_segments_fit_in_the_room_that_is_taken_for_it() {
        for (header, payload, signature) in
            (1..10).flat_map(|h| (1..10).flat_map(move |p| (1..10).map(move |s| (h, p, s))))
        {
            let segments = [header, payload, signature].map(|len| vec![b'A'; len]);
            let mut scratch = Scratch::take(segments.iter().map(Vec::len).sum::<usize>() + 2);
            let mut room = scratch.room();
            for segment in &segments {
                let Some(expected) = plainly(segment) else { break };
                let (decoded, left) = decode_into(segment, room).unwrap();
                assert_eq!(decoded, expected);
                room = left;
            }
        }
    }

    #[test]
    fn a_thread_uses_its_room_again_and_never_twice_at_once() {
        let mut one = Scratch::take(8);
        one.room().fill(1);
        let mut two = Scratch::take(4);
        two.room().fill(2);
        assert_eq!(one.room(), [1; 8], "room that is in use isn't given away");
        let at = one.room().as_ptr();
        drop(two);
        drop(one);
        let mut again = Scratch::take(5);
        assert_eq!((again.room().as_ptr(), again.room().len()), (at, 5));
    }

    #[test]
    fn fa13_nothing_of_a_token_stays_in_the_room() {
        let long = vec![b'Q'; 400];
        for (segment, good) in
            [(&b"QUFBQUFB"[..], true), (&long[..], true), (b"QUFBQUFBQUF=", false)]
        {
            let mut scratch = Scratch::take(2 * segment.len() + 2);
            let decoded = decode_into(segment, scratch.room());
            assert_eq!(decoded.is_ok(), good);
            if let Ok((_, room)) = decoded {
                assert!(decode_into(segment, room).is_ok());
                assert!(scratch.bytes.contains(&b'A'), "the test sees what is written");
            }
            drop(scratch);
            let spare = SPARE.take();
            assert!(spare.len() >= 2 * segment.len());
            assert!(spare.iter().all(|byte| *byte == 0), "{good}");
            SPARE.set(spare);
        }
        let unwound = std::panic::catch_unwind(|| {
            let mut scratch = Scratch::take(100);
            scratch.room().fill(7);
            panic!("as the application's claims may");
        });
        assert!(unwound.is_err() && SPARE.take().iter().all(|byte| *byte == 0));
    }
}
