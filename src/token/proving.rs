//! What a DPoP proof for a token is compared with: the token's hash, and the header of an earlier proof.

use std::sync::OnceLock;

use crate::digest::sha256_base64url;
use crate::jose::{Algorithm, VerificationKey};

/// The longest header that is remembered. With a P-256 key it has 270 bytes in base64url, with an RSA key of 2048
/// bits 580.
const MAX_HEADER_BYTES: usize = 640;

/// What proofs for a token that is bound to a key are compared with (RFC 9449 §4.3).
pub(crate) struct Proving {
    /// The hash of the token in base64url, which `ath` must be.
    pub(crate) ath: Box<str>,
    header: OnceLock<ProofHeader>,
}

/// The header of a proof that passed every check but that of the record. A client signs all proofs for a token with one key, so they
/// usually begin with the same bytes.
pub(crate) struct ProofHeader {
    encoded: Box<[u8]>,
    pub(crate) algorithm: Algorithm,
    /// The key that the token is bound to.
    pub(crate) key: VerificationKey,
}

impl Proving {
    /// The most bytes that one holds: the header, and an RSA key of 2048 bits in four forms.
    pub(crate) const MAX_BYTES: usize = 2 * 1_024;

    pub(crate) fn by(token: &[u8]) -> Self {
        Self { ath: sha256_base64url(token).into(), header: OnceLock::new() }
    }

    /// Returns the remembered header, if this one is the same.
    pub(crate) fn header(&self, encoded: &[u8]) -> Option<&ProofHeader> {
        self.header.get().filter(|known| *known.encoded == *encoded)
    }

    /// Remembers the header of a proof that passed every check but that of the record, unless there is one already.
    pub(crate) fn remember(&self, encoded: &[u8], algorithm: Algorithm, key: VerificationKey) {
        if encoded.len() <= MAX_HEADER_BYTES {
            self.header.get_or_init(|| ProofHeader { encoded: encoded.into(), algorithm, key });
        }
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "rust-crypto")))]
mod tests {
    use super::*;
    use crate::jose::{Backend, KeyedHeader};

    const ED: &str = r#"{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#;

    #[test]
    fn d53_one_header_is_remembered_and_none_that_is_long() {
        let key = || {
            let header = KeyedHeader::parse(ED.as_bytes(), "dpop+jwt").unwrap();
            header.jwk.key(Algorithm::EdDSA, Backend::preferred().unwrap()).unwrap()
        };
        let proving = Proving::by(b"token");
        let long = "a".repeat(MAX_HEADER_BYTES);
        for (header, expected) in [
            (format!("{long}a"), false),
            (long.clone(), true),
            ("b".to_owned(), false),
            (format!("{long}a"), false),
        ] {
            proving.remember(header.as_bytes(), Algorithm::EdDSA, key());
            assert_eq!(proving.header(header.as_bytes()).is_some(), expected, "{}", header.len());
        }
        assert!(proving.header(long.as_bytes()).is_some());
        assert!(proving.header(b"").is_none());
    }
}
