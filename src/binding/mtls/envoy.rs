//! Parses `X-Forwarded-Client-Cert`: elements separated by commas, each of pairs separated by semicolons, whose
//! values may be quoted.

use crate::binding::mtls::certificate::Certificate;
use crate::binding::mtls::encoded::escaped_pem;
use crate::digest::Digest;

/// Reads the certificate of the one element, or of the last.
pub(crate) fn read(field: &[u8], appended: bool) -> Result<Certificate, &'static str> {
    let (mut rest, mut elements) = (Some(field), 0_usize);
    let (mut hash, mut cert) = (None, None);
    while let Some(text) = rest {
        let pair = Pair::read(text)?;
        let known = match pair.name.trim_ascii() {
            b"Hash" => Some(&mut hash),
            b"Cert" => Some(&mut cert),
            _ => None,
        };
        if known.is_some_and(|known| known.replace(pair.value).is_some()) {
            return Err("Hash or Cert occurs twice");
        }
        rest = pair.rest;
        if pair.ends_element && rest.is_some() {
            elements = elements.saturating_add(1);
            (hash, cert) = (None, None);
        }
    }
    if elements > 0 && !appended {
        return Err(
            "there is more than one element: have Envoy replace what it gets (SANITIZE_SET), or \
                    use ClientCertHeader::envoy_appended",
        );
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

/// A name and its value, without the quotes around it.
struct Pair<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// Whether the pair is the last of its element.
    ends_element: bool,
    rest: Option<&'a [u8]>,
}

impl<'a> Pair<'a> {
    /// Reads the first pair. A quote is allowed only around a whole value: one that an earlier element, which the
    /// client may have written, leaves open would otherwise end at the first quote of the proxy's own element,
    /// and what the proxy quotes would count as unquoted.
    fn read(text: &'a [u8]) -> Result<Self, &'static str> {
        let at = text.iter().position(|byte| matches!(byte, b'=' | b';' | b','));
        let (name, value) = at.and_then(|at| text.split_at_checked(at)).unwrap_or_default();
        let value = value.strip_prefix(b"=").ok_or("a pair has no value")?;
        let (value, rest) = match value.strip_prefix(b"\"") {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = value.iter().position(|byte| is_separator(*byte));
                let (value, rest) = value.split_at(end.unwrap_or(value.len()));
                if value.contains(&b'"') {
                    return Err("a value is quoted in part");
                }
                (value.trim_ascii(), rest)
            }
        };
        let (separator, rest) = rest.split_first().map(|(first, rest)| (*first, rest)).unzip();
        if !separator.is_none_or(is_separator) {
            return Err("a value is quoted in part");
        }
        Ok(Self { name, value, ends_element: separator != Some(b';'), rest })
    }
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b';' | b',')
}

/// Returns what is before the closing quote, and what comes after it. A backslash escapes the next character.
fn unquote(text: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    let (value, rest) =
        end.and_then(|end| text.split_at_checked(end)).ok_or("a quote isn't closed")?;
    Ok((value, rest.get(1..).unwrap_or_default()))
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
