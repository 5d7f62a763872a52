//! Trims and checks the text of a secret, in the same way for every source.

use crate::secret::Secret;

/// Removes what editors, consoles and `echo` add: a byte order mark, and one line end.
pub(crate) fn trim(secret: Secret) -> Secret {
    let whole = secret.expose();
    let text = whole.strip_prefix(b"\xef\xbb\xbf").unwrap_or(whole);
    let text = text.strip_suffix(b"\n").map_or(text, |it| it.strip_suffix(b"\r").unwrap_or(it));
    if text.len() == whole.len() { secret } else { Secret::new(text) }
}

/// Returns why a text isn't valid as a client's identifier or secret, if it isn't: they are `*VSCHAR`,
/// `%x20-7E` (RFC 6749 appendices A.1 and A.2).
pub(crate) fn fault(text: &[u8]) -> Option<&'static str> {
    let has = |wanted: fn(&u8) -> bool| text.iter().any(wanted);
    let ascii = |byte: &u8| matches!(byte, b' '..=b'~');
    // In UTF-16, each ASCII character has a zero byte.
    let is_utf16 = text.starts_with(b"\xff\xfe")
        || text.starts_with(b"\xfe\xff")
        || (has(|byte| *byte == 0)
            && text.iter().filter(|byte| **byte == 0).count() >= text.len() / 2);
    if text.iter().all(ascii) {
        None
    } else if is_utf16 {
        Some("it is UTF-16: write it as UTF-8")
    } else if has(|byte| matches!(byte, b'\r' | b'\n')) {
        Some("it has a line end in it, or more than one at its end")
    } else if has(|byte| !byte.is_ascii()) {
        Some("it has a character that isn't ASCII")
    } else {
        Some("it has a control character")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FC13
    #[test]
    fn fc13_one_line_end_and_a_byte_order_mark_are_cut() {
        let cases: [(&[u8], &[u8]); 14] = [
            (b"s3cret", b"s3cret"),
            (b"s3cret\n", b"s3cret"),
            (b"s3cret\r\n", b"s3cret"),
            (b"\xef\xbb\xbfs3cret\n", b"s3cret"),
            (b"\xef\xbb\xbfs3cret", b"s3cret"),
            (b"s3cret\n\n", b"s3cret\n"),
            (b"s3cret\r", b"s3cret\r"),
            (b"s3cret\n\r", b"s3cret\n\r"),
            (b"s3cret\r\r\n", b"s3cret\r"),
            (b" s3cret \t", b" s3cret \t"),
            (b"\xef\xbb\xbf\xef\xbb\xbfs", b"\xef\xbb\xbfs"),
            (b"\xef\xbb\xbf\r\n", b""),
            (b"\n", b""),
            (b"", b""),
        ];
        for (written, expected) in cases {
            assert_eq!(trim(Secret::new(written)).expose(), expected);
        }
    }

    // FC13
    #[test]
    fn fc13_what_cannot_be_sent_is_said_in_words() {
        for good in ["", "p%:+/ &=s", " !~", "a b"] {
            assert_eq!(fault(good.as_bytes()), None);
        }
        let utf16 =
            |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
        for utf16 in
            [utf16("\u{feff}s3cret\n"), utf16("s3cret"), big("\u{feff}s3cret"), big("s3cret\r\n")]
        {
            assert!(fault(&utf16).unwrap().contains("UTF-16"));
        }
        for (bad, why) in [
            (&b"s3cret\n"[..], "line end"),
            (b"s3\r\ncret", "line end"),
            (b"s3cret\0", "control"),
            (b"s3\tcret", "control"),
            (b"s3cret\x7f", "control"),
            ("s3cr\u{e9}t".as_bytes(), "ASCII"),
            (b"\xffs3cret", "ASCII"),
            ("s3\u{200b}cret".as_bytes(), "ASCII"),
        ] {
            assert!(fault(bad).unwrap().contains(why), "{bad:?}");
        }
    }
}
