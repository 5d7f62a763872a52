//! Reads the content coding of a response (RFC 9110 §8.4).

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::telemetry::event;

/// The coding of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Coding {
    /// The body isn't encoded.
    Identity,
    /// The body was compressed by gzip, once.
    Gzip,
    /// The body has another coding, which isn't supported.
    Other,
}

impl Coding {
    /// Reads all `Content-Encoding` fields as one list, in which empty members and `identity` are
    /// ignored.
    ///
    /// Some servers list words that are no content coding and leave the bytes as they are: those are
    /// skipped, with a warning.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::Identity;
        let mut warned = false;
        for field in headers.get_all(CONTENT_ENCODING) {
            for member in field.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let name = member.to_ascii_lowercase();
                found = match (found, &*name) {
                    (_, b"" | b"identity") => found,
                    (Self::Identity, b"gzip" | b"x-gzip") => Self::Gzip,
                    // Unknown names aren't logged, since they may be any text.
                    (_, name) if changes_nothing(name) => {
                        // Logged once, since a field has room for thousands.
                        if !std::mem::replace(&mut warned, true) {
                            event!(
                                WARN,
                                "content_encoding: the answer's Content-Encoding names what is no \
                                 content coding, such as aws-chunked or a charset; it is ignored"
                            );
                        }
                        found
                    }
                    _ => {
                        event!(
                            WARN,
                            "content_encoding: the answer has a content coding that wasn't asked \
                             for"
                        );
                        return Self::Other;
                    }
                };
            }
        }
        found
    }
}

/// Returns `true` for framings of AWS, charsets, and other words that name no content coding.
fn changes_nothing(name: &[u8]) -> bool {
    const CHARSETS: [&[u8]; 7] =
        [b"utf", b"iso-8859-", b"iso8859-", b"us-ascii", b"ascii", b"windows-125", b"latin"];
    const WORDS: [&[u8]; 14] = [
        b"7bit",
        b"8bit",
        b"amz-1.0",
        b"application/json",
        b"aws-chunked",
        b"binary",
        b"chunked",
        b"json",
        b"none",
        b"null",
        b"plain",
        b"raw",
        b"text",
        b"undefined",
    ];
    WORDS.contains(&name) || CHARSETS.iter().any(|charset| name.starts_with(charset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[&str]) -> Coding {
        let fields = fields.iter().map(|field| (CONTENT_ENCODING, field.parse().unwrap()));
        Coding::of(&fields.collect())
    }

    #[test]
    fn fb4_a_list_is_read_as_rfc_9110_has_it() {
        for fields in [
            &[][..],
            &[""],
            &["identity"],
            &["Identity"],
            &[" , ,"],
            &["identity,"],
            &["", "identity", ", identity"],
            &["aws-chunked"],
            &["aws-chunked, identity,"],
            &["UTF-8"],
            &["utf8", "iso-8859-1"],
            &["none"],
        ] {
            assert_eq!(of(fields), Coding::Identity, "{fields:?}");
        }
        for fields in [
            &["gzip"][..],
            &["x-gzip"],
            &["GZIP"],
            &["gzip,"],
            &[", gzip"],
            &["identity, gzip"],
            &["aws-chunked,gzip"],
            &["gzip, aws-chunked"],
            &["", "gzip"],
            &["gzip", ""],
            &["identity", "gzip", "utf-8"],
        ] {
            assert_eq!(of(fields), Coding::Gzip, "{fields:?}");
        }
        for fields in [
            &["br"][..],
            &["zstd"],
            &["deflate"],
            &["compress"],
            &["aes128gcm"],
            &["x"],
            &["gzip, gzip"],
            &["gzip", "x-gzip"],
            &["gzip, br"],
            &["br", "gzip"],
            &["identity, br"],
            &["aws-chunked, zstd"],
            &["gzip;q=1"],
        ] {
            assert_eq!(of(fields), Coding::Other, "{fields:?}");
        }
    }
}
