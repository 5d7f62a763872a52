//! Textual encodings (RFC 7468): blocks of base64 between two lines.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use zeroize::Zeroizing;

/// A block of a PEM text.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    /// `PUBLIC KEY` and the like. The label of the block's end isn't compared (RFC 7468 §2).
    pub(crate) label: &'a str,
    /// The text between the two lines; `None` if the block has no end.
    pub(crate) body: Option<&'a str>,
}

/// Returns the blocks of a text. Text around them is ignored.
pub(crate) fn blocks(mut text: &str) -> impl Iterator<Item = Block<'_>> {
    std::iter::from_fn(move || {
        let (_, after) = text.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----").unwrap_or((after, ""));
        let (body, rest) = match after.split_once("-----END ") {
            Some((body, rest)) => (Some(body), rest),
            None => (None, after),
        };
        text = rest;
        Some(Block { label, body })
    })
}

/// Decodes the body of a block; `None` if it isn't base64.
pub(crate) fn decode(body: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    BASE64_STANDARD.decode(&*base64).ok().map(Zeroizing::new)
}

/// Writes a block, in lines of 64 characters.
#[cfg(feature = "test-util")]
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        BASE64_STANDARD.encode_string(line, &mut pem);
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&str, Option<&str>)> {
        blocks(text).map(|block| (block.label, block.body)).collect()
    }

    #[test]
    fn blocks_are_found_in_any_surroundings() {
        assert_eq!(found(""), []);
        assert_eq!(found("-----BEGN A-----\nQQ==\n-----END A-----"), []);
        let one = "subject=x\r\n-----BEGIN A-----\r\nQQ==\r\n-----END A-----\r\n";
        assert_eq!(found(one), [("A", Some("\r\nQQ==\r\n"))]);
        let two = format!("{one}{}", one.replace('A', "B C"));
        assert_eq!(found(&two).iter().map(|(label, _)| *label).collect::<Vec<_>>(), ["A", "B C"]);
        assert_eq!(found("-----BEGIN A-----\nQQ=="), [("A", None)]);
        assert_eq!(found("-----BEGIN A"), [("A", None)]);
        // A block without an end doesn't hide the next one.
        assert_eq!(found("-----BEGIN A-----\n-----BEGIN A-----\n").len(), 2);
    }

    #[test]
    fn bodies_are_base64_with_white_space() {
        assert_eq!(decode(" QU\r\nJD\t\n").unwrap().as_slice(), b"ABC");
        for body in ["QUJ", "QUJE!", "Proc-Type: 4\n\nQUJD", "QR=="] {
            assert!(decode(body).is_none(), "{body}");
        }
    }

    #[cfg(feature = "test-util")]
    #[test]
    fn what_is_encoded_is_found_and_decoded() {
        let der: Vec<u8> = (0..=255).collect();
        let text = encode("PUBLIC KEY", &der);
        let block = blocks(&text).next().unwrap();
        assert_eq!(block.label, "PUBLIC KEY");
        assert_eq!(*decode(block.body.unwrap()).unwrap(), der);
        assert_eq!(text.lines().nth(1).unwrap().len(), 64);
    }
}
