//! Reads form-encoded bodies of token requests.

/// Reads `application/x-www-form-urlencoded` (RFC 6749 appendix B).
///
/// Parameters without a value are ignored (RFC 6749 §3.2). Returns `None` if an escape is broken or the text
/// isn't UTF-8.
pub(crate) fn parse(body: &[u8]) -> Option<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(at)?;
        let value = value.strip_prefix(b"=").unwrap_or_default();
        if !value.is_empty() {
            parameters.push((decode(name)?, decode(value)?));
        }
    }
    Some(parameters)
}

/// Decodes one name or value.
pub(crate) fn decode(encoded: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [*rest.next()?, *rest.next()?];
                // `from_str_radix` would accept a sign.
                if !hex.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The vector of RFC 6749 appendix B: U+0020 U+0025 U+0026 U+002B U+00A3 U+20AC.
    #[test]
    fn decodes_the_vector_of_rfc_6749() {
        assert_eq!(decode(b"+%25%26%2B%C2%A3%E2%82%AC").unwrap(), " %&+\u{a3}\u{20ac}");
        for broken in ["%", "%2", "%+1", "%zz", "%ff"] {
            assert_eq!(decode(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn leaves_out_what_has_no_value() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parse(b"a=1&&b=&c&d=x=y").unwrap(), [pair("a", "1"), pair("d", "x=y")]);
        assert_eq!(parse(b"").unwrap(), []);
        assert_eq!(parse(b"a=%"), None);
    }
}
