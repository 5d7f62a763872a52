//! The thumbprint of a client's certificate.

use std::fmt;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};

use crate::digest::{Digest, constant_time_eq, sha256};

/// A SHA-256 in base64url.
const LENGTH: usize = 43;

/// A client's certificate, by its thumbprint: the base64url of the SHA-256 of its DER, as `x5t#S256` has it
/// (RFC 8705 §3.1).
/// It only serves comparison; the certificate itself isn't kept.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Certificate([u8; LENGTH]);

impl Certificate {
    /// Takes the client's own certificate, the first of its chain, in DER.
    ///
    /// The certificate isn't validated: the TLS layer, from which it comes, has done that.
    pub fn from_der(der: &[u8]) -> Self {
        Self::from_sha256(&sha256([der]))
    }

    pub(crate) fn from_sha256(digest: &Digest) -> Self {
        let mut text = [0; LENGTH];
        // The length is that of 32 bytes, always.
        let _ = BASE64_URL_SAFE_NO_PAD.encode_slice(digest, &mut text);
        Self(text)
    }

    /// Returns the thumbprint, 43 characters.
    pub fn thumbprint(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Compares in time that doesn't depend on where they differ.
    pub(crate) fn is(&self, thumbprint: &str) -> bool {
        constant_time_eq(&self.0, thumbprint.as_bytes())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.thumbprint()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-4: SHA-256 of "abc".
    #[test]
    fn mt1_the_thumbprint_is_the_sha_256_in_base64url() {
        let certificate = Certificate::from_der(b"abc");
        assert_eq!(certificate.thumbprint(), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
        assert!(certificate.is("ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"));
        for other in [
            "",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa",
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa1",
        ] {
            assert!(!certificate.is(other), "{other}");
        }
    }
}
