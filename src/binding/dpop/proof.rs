use crate::binding::dpop::claims::ProofClaims;
use crate::jose::{Compact, KeyedHeader, decode_into};

/// A proof longer than this is refused before anything is decoded. Those of RSA keys have 2 KiB.
const MAX_PROOF_BYTES: usize = 8 * 1_024;

/// A proof (RFC 9449 §4.2) that was read, and of which nothing was held against anything.
pub(crate) struct Proof<'a> {
    pub(crate) header: KeyedHeader<'a>,
    pub(crate) claims: ProofClaims<'a>,
    pub(crate) signing_input: &'a [u8],
    /// Decoded.
    pub(crate) signature: &'a [u8],
}

impl<'a> Proof<'a> {
    /// Returns `true` if the text isn't too long to be read.
    pub(crate) const fn fits(text: &[u8]) -> bool {
        text.len() <= MAX_PROOF_BYTES
    }

    /// Reads a proof. `room` is as long as it.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub(crate) fn parse(text: &'a [u8], room: &'a mut [u8]) -> Result<Self, &'static str> {
        const NO_JWT: &str = "it isn't three parts of base64url";
        if !Self::fits(text) {
            return Err("it is longer than 8 KiB");
        }
        let compact = Compact::split(text).map_err(|_| NO_JWT)?;
        let (header, room) = decode_into(compact.header, room).map_err(|_| NO_JWT)?;
        let header = KeyedHeader::parse(header, "dpop+jwt")?;
        let (claims, room) = decode_into(compact.payload, room).map_err(|_| NO_JWT)?;
        let claims = ProofClaims::parse(claims)?;
        let (signature, _) = decode_into(compact.signature, room).map_err(|_| NO_JWT)?;
        Ok(Self { header, claims, signing_input: compact.signing_input, signature })
    }
}
