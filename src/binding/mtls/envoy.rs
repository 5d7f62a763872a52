//! Parses `X-Forwarded-Client-Cert`: elements separated by commas, each of pairs separated by semicolons, whose
//! values may be quoted.

use crate::binding::mtls::certificate::Certificate;
use crate::binding::mtls::encoded::escaped_pem;
use crate::digest::Digest;

/// Reads the certificate of the one element, or of the last.
pub(crate) fn read(field: &[u8], appended: bool) -> Result<Certificate, &'static str> {
    let mut elements = split(field, b',')?;
    let last = elements.pop().unwrap_or_default();
    if !elements.is_empty() && !appended {
        return Err(
            "there is more than one element: have Envoy replace what it gets (SANITIZE_SET), or \
                    use ClientCertHeader::envoy_appended",
        );
    }
    let (mut hash, mut cert) = (None, None);
    for pair in split(last, b';')? {
        let at = pair.iter().position(|byte| *byte == b'=').ok_or("a pair has no value")?;
        let (name, value) = pair.split_at_checked(at).unwrap_or_default();
        let value = value.get(1..).unwrap_or_default();
        let known = match name.trim_ascii() {
            b"Hash" => &mut hash,
            b"Cert" => &mut cert,
            _ => continue,
        };
        if known.replace(unquoted(value)?).is_some() {
            return Err("Hash or Cert occurs twice");
        }
    }
    let cert = cert.map(escaped_pem).transpose()?;
    let hash = hash.map(|hash| from_hex(hash).ok_or("Hash isn't a SHA-256 in hexadecimal"));
    let hash = hash.transpose()?.map(|digest| Certificate::from_sha256(&digest));
    match (hash, cert) {
        (Some(hash), Some(cert)) if hash != cert => Err("Hash and Cert are of two certificates"),
        (Some(certificate), _) | (None, Some(certificate)) => Ok(certificate),
        (None, None) => Err("there is neither Hash nor Cert in it"),
    }
}

/// Splits at a separator outside of quotes, within which a backslash escapes the next character.
fn split(text: &[u8], separator: u8) -> Result<Vec<&[u8]>, &'static str> {
    let (mut parts, mut start) = (Vec::new(), 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            other if *other == separator && !quoted => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at.saturating_add(1);
            }
            _ => {}
        }
    }
    if quoted {
        return Err("a quote isn't closed");
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

/// Returns a value without the quotes around it. Neither a hash nor percent-encoded PEM contains any.
fn unquoted(value: &[u8]) -> Result<&[u8], &'static str> {
    let value = value.trim_ascii();
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let inner = inner.unwrap_or(value);
    if inner.contains(&b'"') { Err("a value is quoted in part") } else { Ok(inner) }
}

fn from_hex(text: &[u8]) -> Option<Digest> {
    let mut digest = Digest::default();
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    if pairs.len() != digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from((high? << 4) | low?).ok()?;
    }
    Some(digest)
}
