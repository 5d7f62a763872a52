//! Reads metadata, and checks that it belongs to the expected issuer.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::issuer::fault::FaultKind;
use crate::json;

/// The reason why metadata of the right issuer can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// A member is of a wrong type.
    Unreadable,
    /// It names no usable address.
    Unacceptable,
}

impl From<Refused> for FaultKind {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unreadable => Self::Unreadable,
            Refused::Unacceptable => Self::Unacceptable,
        }
    }
}

/// Reads the members that `T` has.
pub(crate) fn read<T: DeserializeOwned>(document: &[u8]) -> Result<T, Refused> {
    json::parse(document).map_err(|_| Refused::Unreadable)
}

/// Checks that the metadata's issuer is the expected one, character by character (RFC 8414 §3.3).
pub(crate) fn check_issuer_of(document: &[u8], issuer: &str) -> Result<(), FaultKind> {
    #[derive(Deserialize)]
    struct Members {
        issuer: Option<String>,
    }
    if !is_object(document) {
        return Err(FaultKind::NotMetadata);
    }
    let Members { issuer: found } = read(document)?;
    let found = found.ok_or(FaultKind::Unreadable)?;
    if found == issuer { Ok(()) } else { Err(FaultKind::IssuerMismatch(found.into())) }
}

fn is_object(document: &[u8]) -> bool {
    without_mark(document).trim_ascii_start().starts_with(b"{")
}

/// Removes a byte order mark, which readers may ignore (RFC 8259 §8.1).
fn without_mark(document: &[u8]) -> &[u8] {
    document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://a.example/x";

    fn check(document: &str) -> Result<(), FaultKind> {
        check_issuer_of(document.as_bytes(), ISSUER)
    }

    #[test]
    fn the_issuer_must_be_identical() {
        let document = |issuer: &str| format!(r#"{{"issuer":"{issuer}","scopes":["a"]}}"#);
        assert_eq!(check(&document(ISSUER)), Ok(()));
        assert_eq!(check(&format!("\u{feff} {}", document(ISSUER))), Ok(()));
        for other in ["https://a.example/x/", "https://A.example/x", "https://a.example", ""] {
            let mismatch = FaultKind::IssuerMismatch(other.into());
            assert_eq!(check(&document(other)), Err(mismatch), "{other}");
        }
    }

    #[test]
    fn fb3_what_cant_be_read_is_told_from_what_is_no_metadata_at_all() {
        for page in ["", "<html>", "null", "\"a\"", "7", r#"["https://a.example/x"]"#] {
            assert_eq!(check(page), Err(FaultKind::NotMetadata), "{page}");
        }
        for document in [
            "{}",
            "{",
            r#"{"issuer":7}"#,
            r#"{"issuer":null}"#,
            r#"{"issuer":"https://a.example/x","issuer":"https://a.example/x"}"#,
            r#"{"issuer":"https://a.example/x"} x"#,
        ] {
            assert_eq!(check(document), Err(FaultKind::Unreadable), "{document}");
        }
    }
}
