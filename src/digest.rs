//! SHA-256 and HMAC, names that can't collide, and random values.

#[cfg(any(feature = "client", feature = "dpop", feature = "introspection"))]
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub(crate) type Digest = [u8; 32];

/// Returns the SHA-256 of these bytes, one after the other.
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection", feature = "mtls"))]
pub(crate) fn sha256<const N: usize>(bytes: [&[u8]; N]) -> Digest {
    bytes.iter().fold(Sha256::new(), |hash, bytes| hash.chain_update(bytes)).finalize().into()
}

/// Returns the SHA-256 of these bytes in base64url.
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection"))]
pub(crate) fn sha256_base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(sha256([bytes]))
}

/// Returns `true` if both are the same, in time that depends on the lengths only.
#[cfg(any(feature = "dpop", feature = "mtls"))]
pub(crate) fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |differences, (a, b)| differences | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differences) == 0
}

/// Hashes parts, each with its length before it, so that `a b` and `c` differ from `a` and `b c`.
#[cfg(any(feature = "client", feature = "introspection", feature = "mcp"))]
#[derive(Clone)]
pub(crate) struct Parts(Sha256);

#[cfg(any(feature = "client", feature = "introspection", feature = "mcp"))]
impl Parts {
    /// Starts a digest that is used for one purpose only.
    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn new(purpose: &'static str) -> Self {
        Self(Sha256::new()).part(purpose)
    }

    pub(crate) fn part(mut self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.0.update(length.to_be_bytes());
        self.0.update(part);
        self
    }

    /// Adds a list as one part: how many there are, then each.
    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn list<T: AsRef<[u8]>>(self, list: impl ExactSizeIterator<Item = T>) -> Self {
        let count = u64::try_from(list.len()).unwrap_or(u64::MAX);
        list.fold(self.part(count.to_be_bytes()), Self::part)
    }

    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) fn finish(self) -> Digest {
        self.0.finalize().into()
    }
}

/// An HMAC-SHA-256 (RFC 2104) over parts, as [`Parts`] has them.
#[cfg(feature = "mcp")]
pub(crate) struct Hmac {
    inner: Sha256,
    outer: Sha256,
}

#[cfg(feature = "mcp")]
impl Hmac {
    pub(crate) fn new(key: &[u8]) -> Self {
        const BLOCK: usize = 64;
        let mut block = [0; BLOCK];
        if key.len() > BLOCK {
            block.iter_mut().zip(Sha256::digest(key)).for_each(|(to, from)| *to = from);
        } else {
            block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        }
        let padded = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    pub(crate) fn part(self, part: impl AsRef<[u8]>) -> Self {
        Self { inner: Parts(self.inner).part(part).0, ..self }
    }

    pub(crate) fn finish(self) -> Digest {
        self.outer.chain_update(self.inner.finalize()).finalize().into()
    }
}

/// Writes bytes as lower-case hexadecimal.
#[cfg(any(feature = "client", feature = "dpop"))]
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The operating system gave no random numbers.
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection", feature = "mcp"))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NoRandomness;

/// Fills an array with random bytes.
#[cfg(any(feature = "client", feature = "dpop", feature = "introspection", feature = "mcp"))]
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(parts: &[&str]) -> Digest {
        parts.iter().fold(Parts::new("test"), Parts::part).finish()
    }

    // E6
    #[test]
    fn e6_parts_do_not_run_into_each_other() {
        assert_eq!(digest(&["a b", "c"]), digest(&["a b", "c"]));
        assert_ne!(digest(&["a b", "c"]), digest(&["a", "b c"]));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["a", ""]), digest(&["a"]));
        assert_ne!(Parts::new("a").finish(), Parts::new("b").finish());
        let lists = |left: &[&str], right: &[&str]| {
            Parts::new("test").list(left.iter()).list(right.iter()).finish()
        };
        assert_ne!(lists(&["a", "b"], &[]), lists(&["a"], &["b"]));
        assert_ne!(lists(&["a", "b"], &["c"]), lists(&["a"], &["b", "c"]));
    }

    // E6: it is SHA-256 (FIPS 180-4) over lengths of eight bytes and parts.
    #[test]
    fn e6_the_digest_is_sha_256() {
        let mut written = Vec::new();
        for part in ["test", "abc"] {
            written.extend_from_slice(&(part.len() as u64).to_be_bytes());
            written.extend_from_slice(part.as_bytes());
        }
        assert_eq!(digest(&["abc"])[..], Sha256::digest(&written)[..]);
        assert_eq!(hex(&[0x00, 0x9f, 0xa0, 0xff]), "009fa0ff");
    }

    // RFC 4231 §4.2, §4.3, §4.7
    #[cfg(feature = "mcp")]
    #[test]
    fn the_vectors_of_the_rfc_hold() {
        for (key, message, expected) in [
            (
                &[0x0b; 20][..],
                "Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            let mut hmac = Hmac::new(key);
            hmac.inner.update(message);
            assert_eq!(hex(&hmac.finish()), expected);
        }
    }

    #[test]
    fn random_values_differ() {
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
