//! Writes a JWS in its compact form.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use zeroize::Zeroizing;

/// The length of a signature by an RSA key of 16384 bits.
const LONGEST_SIGNATURE: usize = 2_048;

/// Returns the compact serialization (RFC 7515 §3.1) of these bytes, which need not be JSON.
pub(crate) fn serialize<E>(
    header: &[u8],
    payload: &[u8],
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Zeroizing<String>, E> {
    // Reserved in full: a text that grew would leave copies behind.
    let bytes = header.len().saturating_add(payload.len()).saturating_add(LONGEST_SIGNATURE);
    let mut jws = Zeroizing::new(String::with_capacity(bytes.saturating_mul(2)));
    write_signing_input(header, payload, &mut jws);
    let signature = Zeroizing::new(sign(jws.as_bytes())?);
    jws.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
    Ok(jws)
}

/// Writes the input of a JWS signature: `BASE64URL(header) "." BASE64URL(payload)`.
pub(crate) fn write_signing_input(header: &[u8], payload: &[u8], input: &mut String) {
    BASE64_URL_SAFE_NO_PAD.encode_string(header, input);
    input.push('.');
    BASE64_URL_SAFE_NO_PAD.encode_string(payload, input);
}
