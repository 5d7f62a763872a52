//! Decodes a certificate from base64 DER or from percent-encoded PEM.

use std::borrow::Cow;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use percent_encoding::percent_decode;

use crate::binding::mtls::certificate::Certificate;
use crate::jose::{decode_pem, is_sequence};

/// A longer certificate isn't accepted.
const MAX_DER_BYTES: usize = 8 * 1_024;

pub(crate) fn base64_der(base64: &[u8]) -> Result<Certificate, &'static str> {
    certificate(&BASE64_STANDARD.decode(base64).map_err(|_| "it isn't base64 with its padding")?)
}

/// Reads percent-encoded PEM of one certificate. A `+` stands for itself, whether the proxy encodes it or
/// not.
pub(crate) fn escaped_pem(field: &[u8]) -> Result<Certificate, &'static str> {
    const NO_PEM: &str = "it is no percent-encoded PEM of a certificate";
    // Unencoded PEM has spaces and line ends, which a proxy may have changed.
    if !field.iter().all(u8::is_ascii_graphic) {
        return Err(NO_PEM);
    }
    let decoded: Cow<'_, [u8]> = percent_decode(field).into();
    let pem = std::str::from_utf8(&decoded).map_err(|_| NO_PEM)?.trim_ascii();
    // Text around a block is ignored elsewhere; a proxy writes none.
    let body = pem.strip_prefix("-----BEGIN CERTIFICATE-----");
    let body =
        body.and_then(|rest| rest.strip_suffix("-----END CERTIFICATE-----")).ok_or(NO_PEM)?;
    if body.contains("-----BEGIN ") {
        return Err("there is more than one certificate in it");
    }
    certificate(&decode_pem(body).ok_or(NO_PEM)?)
}

/// Takes one certificate in DER. It isn't validated: the proxy has done that.
fn certificate(der: &[u8]) -> Result<Certificate, &'static str> {
    if der.len() > MAX_DER_BYTES {
        return Err("the certificate is longer than 8 KiB");
    }
    if !is_sequence(der) {
        return Err("it holds something else than the DER of one certificate");
    }
    Ok(Certificate::from_der(der))
}
