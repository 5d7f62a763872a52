//! The thumbprint of a certificate, in PEM or DER.

use crate::digest::sha256_base64url;
use crate::jose::{blocks, decode_pem, is_sequence};

/// Returns the thumbprint of a certificate, which is only checked to be DER.
pub(crate) fn thumbprint(certificate: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(certificate).unwrap_or_default();
    let pem = blocks(text).find(|block| block.label == "CERTIFICATE");
    let pem = pem.and_then(|block| decode_pem(block.body?));
    let der = pem.as_ref().map_or(certificate, |pem| pem.as_slice());
    is_sequence(der).then(|| sha256_base64url(der).into())
}
