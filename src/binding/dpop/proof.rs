//! Splits a DPoP proof into its parts and decodes them.

use crate::binding::dpop::claims::ProofClaims;
use crate::jose::{Algorithm, Compact, KeyedHeader, decode_into};
use crate::token::{ProofHeader, Proving};

/// A proof longer than this is refused before anything is decoded. One with an RSA key has some 2 KiB, with
/// ML-DSA-44 some 6 KiB.
const MAX_PROOF_BYTES: usize = 8 * 1_024;

/// Returns `true` if proofs of this algorithm, which hold its public key and its signature, are short enough.
pub(crate) const fn are_short(algorithm: Algorithm) -> bool {
    !matches!(algorithm, Algorithm::MlDsa65 | Algorithm::MlDsa87)
}

/// Returns every algorithm whose proofs are.
#[cfg(feature = "test-util")]
pub(crate) fn every_short() -> impl Iterator<Item = Algorithm> {
    Algorithm::ALL.iter().copied().filter(|algorithm| are_short(*algorithm))
}

/// A proof (RFC 9449 §4.2) that was parsed, but not checked yet.
pub(crate) struct Proof<'a, 'b> {
    pub(crate) head: Head<'a, 'b>,
    pub(crate) encoded_header: &'a [u8],
    pub(crate) claims: ProofClaims<'a>,
    pub(crate) signing_input: &'a [u8],
    /// Decoded.
    pub(crate) signature: &'a [u8],
}

/// The header of a proof.
pub(crate) enum Head<'a, 'b> {
    /// The one that is remembered beside the token: its key is the one that the token is bound to.
    Known(&'b ProofHeader, Bound<'b>),
    New(KeyedHeader<'a>),
}

/// What a token is bound to, and what a proof is held against.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    /// The thumbprint of the client's key, as the token says it.
    pub(crate) jkt: &'a str,
    pub(crate) proving: &'a Proving,
}

const NO_JWT: &str = "it isn't three parts of base64url";

impl Head<'_, '_> {
    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Known(known, _) => known.algorithm,
            Self::New(new) => new.algorithm,
        }
    }
}

impl<'a, 'b> Proof<'a, 'b> {
    /// Returns `true` if the text isn't too long to be read.
    pub(crate) const fn fits(text: &[u8]) -> bool {
        text.len() <= MAX_PROOF_BYTES
    }

    /// Reads a proof for a token that is bound to a key, or for none. `room` must be as long as the proof.
    ///
    /// # Errors
    ///
    /// The rule that the proof breaks.
    pub(crate) fn parse(
        text: &'a [u8],
        bound: Option<Bound<'b>>,
        room: &'a mut [u8],
    ) -> Result<Self, &'static str> {
        if !Self::fits(text) {
            return Err("it is longer than 8 KiB");
        }
        let compact = Compact::split(text).map_err(|_| NO_JWT)?;
        let known = |bound: Bound<'b>| Some((bound.proving.header(compact.header)?, bound));
        let (head, room) = match bound.and_then(known) {
            Some((known, bound)) => (Head::Known(known, bound), room),
            None => {
                let (json, room) = decode_into(compact.header, room).map_err(|_| NO_JWT)?;
                (Head::New(KeyedHeader::parse(json, "dpop+jwt")?), room)
            }
        };
        let (claims, room) = decode_into(compact.payload, room).map_err(|_| NO_JWT)?;
        let claims = ProofClaims::parse(claims)?;
        let (signature, _) = decode_into(compact.signature, room).map_err(|_| NO_JWT)?;
        let Compact { header: encoded_header, signing_input, .. } = compact;
        Ok(Self { head, encoded_header, claims, signing_input, signature })
    }

    /// Reads the claims of a proof that was accepted.
    pub(crate) fn claims(text: &'a [u8], room: &'a mut [u8]) -> Option<ProofClaims<'a>> {
        let compact = Compact::split(text).ok()?;
        let (claims, _) = decode_into(compact.payload, room).ok()?;
        ProofClaims::parse(claims).ok()
    }
}
