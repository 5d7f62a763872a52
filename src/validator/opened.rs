//! Splits a token and decodes each of its segments once, for the issuer's choice and for the check.

use crate::jose::{Compact, JoseError, Scratch, decode_into};
use crate::refusal::Rejection;

/// A token's segments, and room to decode them in, each once.
pub(crate) struct Opened<'a> {
    pub(crate) compact: Compact<'a>,
    /// The claims' JSON, if it was decoded.
    json: Option<&'a [u8]>,
    /// Whether the claims were read as the issuer reads them.
    pub(crate) claims_were_read: bool,
    room: &'a mut [u8],
}

impl<'a> Opened<'a> {
    /// Opens a token for which there is room in `scratch`. Nothing is decoded yet.
    #[inline]
    pub(crate) fn new(token: &'a [u8], scratch: &'a mut Scratch) -> Result<Self, Rejection> {
        Ok(Self {
            compact: Compact::split(token)?,
            json: None,
            claims_were_read: false,
            room: scratch.room(),
        })
    }

    /// Returns the header's JSON. To be called once: there is room for one.
    #[inline]
    pub(crate) fn header(&mut self) -> Result<&'a [u8], JoseError> {
        self.decode(self.compact.header)
    }

    /// Returns the claims' JSON, which is decoded once: to select the issuer, or to check them.
    #[inline]
    pub(crate) fn claims(&mut self) -> Result<&'a [u8], JoseError> {
        match self.json {
            Some(json) => Ok(json),
            None => {
                let json = self.decode(self.compact.payload)?;
                self.json = Some(json);
                Ok(json)
            }
        }
    }

    /// Returns the signature's bytes. To be called once: there is room for one.
    #[inline]
    pub(crate) fn signature(&mut self) -> Result<&'a [u8], JoseError> {
        self.decode(self.compact.signature)
    }

    #[inline]
    fn decode(&mut self, segment: &[u8]) -> Result<&'a [u8], JoseError> {
        let (decoded, room) = decode_into(segment, std::mem::take(&mut self.room))?;
        self.room = room;
        Ok(decoded)
    }
}
