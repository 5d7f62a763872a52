//! Reads a proxy's field with the client's certificate, and recognizes the formats of other proxies.

use crate::binding::mtls::certificate::Certificate;
use crate::binding::mtls::encoded::{base64_der, escaped_pem};
use crate::binding::mtls::envoy;
use crate::binding::mtls::header::Format;

/// A longer field isn't read. With the chain in it, Envoy's is the longest.
const MAX_FIELD_BYTES: usize = 64 * 1_024;

/// Reads a field; `None` if it says that there is no certificate.
///
/// # Errors
///
/// What is wrong with it, for the log, without its content.
pub(crate) fn read(format: Format, field: &[u8]) -> Result<Option<Certificate>, &'static str> {
    if field.is_empty() {
        return Ok(None);
    }
    if field.len() > MAX_FIELD_BYTES {
        return Err("the header is longer than 64 KiB");
    }
    let certificate = match format {
        Format::Rfc9440 => byte_sequence(field),
        Format::Envoy => envoy::read(field, false),
        Format::EnvoyAppended => envoy::read(field, true),
        Format::EscapedPem => escaped_pem(field),
        Format::Base64Der => base64_der(field),
    };
    certificate.map(Some).map_err(|note| hint(format, field).unwrap_or(note))
}

/// Reads a byte sequence of RFC 8941 §3.3.5, in the one way that RFC 9440 §2.1 writes it.
fn byte_sequence(field: &[u8]) -> Result<Certificate, &'static str> {
    let base64 = field.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":"));
    base64_der(base64.ok_or("it is no base64 between two colons (RFC 9440)")?)
}

/// Returns a hint if the field has the format of another proxy.
fn hint(format: Format, field: &[u8]) -> Option<&'static str> {
    let starts =
        |prefix: &[u8]| field.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
    let is_hex = |length| field.len() == length && field.iter().all(u8::is_ascii_hexdigit);
    let (of, note) = if starts(b"-----BEGIN%20")
        || starts(b"-----BEGIN+")
        || starts(b"%2D%2D%2D%2D%2DBEGIN")
    {
        (
            Format::EscapedPem,
            "it is percent-encoded PEM, as nginx and ALB send it: use ClientCertHeader::nginx or alb",
        )
    } else if starts(b"-----BEGIN ") {
        return Some(
            "it is PEM as it is, which isn't safe in a header: have the proxy percent-encode it, as \
                     nginx's $ssl_client_escaped_cert is, for ClientCertHeader::nginx",
        );
    } else if starts(b":MI") {
        (Format::Rfc9440, "it is of RFC 9440: use ClientCertHeader::rfc9440")
    } else if starts(b"By=") || starts(b"Hash=") {
        (Format::Envoy, "it is Envoy's: use ClientCertHeader::envoy")
    } else if starts(b"MI") {
        (
            Format::Base64Der,
            "it is base64 of the DER, as HAProxy, Caddy and Traefik send it: use ClientCertHeader::base64_der",
        )
    } else if is_hex(40) {
        return Some(
            "it is a SHA-1, such as nginx's $ssl_client_fingerprint, which is never enough: have \
                     the proxy send the certificate",
        );
    } else {
        return None;
    };
    let is_same = of == format || (of == Format::Envoy && format == Format::EnvoyAppended);
    (!is_same).then_some(note)
}
