//! Collects a response body up to a bound, and decompresses it if it is gzip.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

use crate::transport::contract::TransportErrorKind;

/// A body that is collected, and decompressed if need be, as it arrives.
pub(crate) enum Body {
    Plain(Capped),
    Gzip { decoder: Box<MultiGzDecoder<Capped>>, left: usize, any: bool },
}

/// A buffer that takes bytes up to a bound.
pub(crate) struct Capped {
    bytes: Vec<u8>,
    most: usize,
}

/// A compressed body may be a little longer than its content.
const OVERHEAD: usize = 64 * 1_024;

impl Body {
    pub(crate) fn new(is_gzip: bool, most: usize) -> Self {
        let capped = Capped { bytes: Vec::new(), most };
        if is_gzip {
            let decoder = Box::new(MultiGzDecoder::new(capped));
            Self::Gzip { decoder, left: most.saturating_add(OVERHEAD), any: false }
        } else {
            Self::Plain(capped)
        }
    }

    /// Adds a chunk.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), TransportErrorKind> {
        match self {
            Self::Plain(capped) => capped.write_all(chunk).map_err(|error| kind(&error)),
            Self::Gzip { decoder, left, any } => {
                *left = left.checked_sub(chunk.len()).ok_or(TransportErrorKind::TooLarge)?;
                *any |= !chunk.is_empty();
                decoder.write_all(chunk).map_err(|error| kind(&error))
            }
        }
    }

    /// Returns the whole body.
    pub(crate) fn finish(self) -> Result<Bytes, TransportErrorKind> {
        match self {
            Self::Plain(capped) => Ok(capped.bytes.into()),
            // A 304 has no body, whatever its coding.
            Self::Gzip { any: false, .. } => Ok(Bytes::new()),
            Self::Gzip { decoder, .. } => {
                decoder.finish().map(|capped| capped.bytes.into()).map_err(|error| kind(&error))
            }
        }
    }
}

/// Maps an error: `FileTooLarge` is that of `Capped`, and any other is one of decompression.
fn kind(error: &io::Error) -> TransportErrorKind {
    match error.kind() {
        io::ErrorKind::FileTooLarge => TransportErrorKind::TooLarge,
        _ => TransportErrorKind::Other,
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most.saturating_sub(self.bytes.len()) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn read(is_gzip: bool, most: usize, body: &[u8]) -> Result<Bytes, TransportErrorKind> {
        // Whatever the pieces.
        let pieces = [1, 7, body.len().max(1)].map(|size| {
            let mut read = Body::new(is_gzip, most);
            body.chunks(size).try_for_each(|chunk| read.push(chunk))?;
            read.finish()
        });
        let [first, second, third] = pieces;
        assert_eq!(first, second);
        assert_eq!(second, third);
        third
    }

    #[test]
    fn the_cap_is_exact_and_counts_what_comes_out() {
        let plain = [b'x'; 1_000];
        for (most, fits) in [(999, false), (1_000, true), (1_001, true)] {
            assert_eq!(read(false, most, &plain).is_ok(), fits, "{most}");
            assert_eq!(read(true, most, &gzip(&plain)).is_ok(), fits, "{most}");
        }
        let two = [gzip(&plain), gzip(&plain)].concat();
        assert_eq!(read(true, 2_000, &two).unwrap().len(), 2_000);
        assert_eq!(read(true, 1_999, &two), Err(TransportErrorKind::TooLarge));
    }

    #[test]
    fn what_is_no_gzip_is_refused_and_nothing_is_nothing() {
        let whole = gzip(b"{}");
        assert_eq!(read(true, 10, &whole).unwrap(), "{}");
        for length in 1..whole.len() {
            assert!(read(true, 10, &whole[..length]).is_err(), "{length}");
        }
        assert_eq!(read(true, 10, b"{\"keys\":[]}"), Err(TransportErrorKind::Other));
        assert_eq!(read(true, 10, b"").unwrap(), "");
    }

    #[test]
    fn a_body_that_only_takes_in_ends() {
        let mut read = Body::new(true, 10);
        let nothing = gzip(b"");
        let result = (0..10_000).try_for_each(|_| read.push(&nothing));
        assert_eq!(result, Err(TransportErrorKind::TooLarge));
    }
}
