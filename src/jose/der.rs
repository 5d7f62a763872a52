//! The subset of DER (ITU-T X.690) that keys need.

#[cfg(any(feature = "client", feature = "introspection"))]
use zeroize::Zeroizing;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// Bytes that are wiped when dropped.
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) type Wiped = Zeroizing<Vec<u8>>;

/// Reads one value after the other.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[cfg(any(feature = "client", feature = "introspection"))]
    pub(crate) const fn new(der: &'a [u8]) -> Self {
        Self(der)
    }

    /// Returns the content of the only value, which must have this tag.
    pub(crate) fn whole(der: &'a [u8], tag: u8) -> Option<Self> {
        Self(der).read_last(tag).map(Self)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Reads a value of this tag; `None` if the next one has another, or is broken.
    pub(crate) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [found, length, rest @ ..] = self.0 else { return None };
        if *found != tag {
            return None;
        }
        let (length, rest) = match *length {
            short @ 0..=0x7f => (usize::from(short), rest),
            // The definite long form, of up to two octets: no key is longer than 64 KiB.
            0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
            0x82 => {
                let (octets, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*octets)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    /// Reads a value of this tag that must be the last.
    pub(crate) fn read_last(&mut self, tag: u8) -> Option<&'a [u8]> {
        let value = self.read(tag)?;
        self.is_empty().then_some(value)
    }

    pub(crate) fn read_sequence(&mut self) -> Option<Self> {
        self.read(SEQUENCE).map(Self)
    }
}

/// Returns `true` if this is one SEQUENCE, as a certificate is.
#[cfg(any(feature = "client", feature = "introspection", feature = "mtls"))]
pub(crate) fn is_sequence(der: &[u8]) -> bool {
    Reader::whole(der, SEQUENCE).is_some_and(|fields| !fields.is_empty())
}

/// Writes a value that consists of these parts.
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) fn write(tag: u8, parts: &[&[u8]]) -> Wiped {
    let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    let mut der = Zeroizing::new(Vec::with_capacity(length.saturating_add(4)));
    der.push(tag);
    match (u8::try_from(length), u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()) {
        (Ok(short @ 0..=0x7f), _) => der.push(short),
        (Ok(long), _) => der.extend_from_slice(&[0x81, long]),
        (Err(_), [high, low]) => der.extend_from_slice(&[0x82, high, low]),
    }
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

/// Writes a non-negative number, given in big-endian bytes.
#[cfg(any(feature = "client", feature = "introspection"))]
pub(crate) fn write_integer(number: &[u8]) -> Wiped {
    let leading = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(leading..).unwrap_or_default();
    let sign: &[u8] = if number.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    write(INTEGER, &[sign, number])
}

#[cfg(all(test, any(feature = "client", feature = "introspection")))]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            let value = vec![7; length];
            let der = write(OCTET_STRING, &[&value]);
            assert_eq!(Reader::new(&der).read(OCTET_STRING), Some(&value[..]), "{length}");
            assert_eq!(Reader::new(&der).read(INTEGER), None);
            if length > 0 {
                assert_eq!(Reader::new(&der[..der.len() - 1]).read(OCTET_STRING), None);
            }
        }
    }

    #[test]
    fn numbers_are_minimal_and_not_negative() {
        assert_eq!(*write_integer(&[]), [2, 1, 0]);
        assert_eq!(*write_integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(*write_integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(*write_integer(&[0x7f, 0]), [2, 2, 0x7f, 0]);
    }

    #[test]
    fn broken_lengths_are_refused() {
        for der in
            [&[4][..], &[4, 0x80], &[4, 0x81], &[4, 0x82, 1], &[4, 0x83, 0, 0, 1, 9], &[4, 2, 1]]
        {
            assert_eq!(Reader::new(der).read(OCTET_STRING), None, "{der:?}");
        }
    }
}
