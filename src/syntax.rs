//! The grammar of tokens in header fields, which several fields share.

/// Returns `true` for a character of a `token` (RFC 9110 §5.6.2), such as a scheme's name.
pub(crate) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Returns `true` for what an access token in a header field must be (RFC 6750 §2.1):
/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
pub(crate) fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = token.get(..token.len().saturating_sub(padding)).unwrap_or_default();
    // No early exit within a chunk, so that it can be checked many bytes at a time.
    !body.is_empty()
        && body.chunks(64).all(|chunk| chunk.iter().fold(true, |ok, byte| ok & is_b64(*byte)))
}

pub(crate) const fn is_b64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_characters_are_those_of_the_rfc() {
        for byte in 0..=u8::MAX {
            let listed = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_tchar(byte), listed, "{byte}");
        }
    }
}
