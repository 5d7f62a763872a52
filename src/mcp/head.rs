//! Reads the operation from a request's header fields, for servers that compare them with the body.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};

use crate::mcp::call::{Call, Named};

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The first version whose servers compare the fields with the body.
const FIRST_CHECKED: &[u8] = b"2026-07-28";

const BAD_NAME: &str =
    "Mcp-Name isn't one field of printable ASCII without space around it, or well-formed base64";
const BAD_METHOD: &str = "Mcp-Method isn't one field of printable ASCII without space around it";
const NOT_JSON: &str = "the content type isn't application/json in UTF-8, or the content is coded";

/// Reads what a request asks for from its fields alone, if a server of the protocol version that it
/// names checks them against the body; `None` if the body must be read.
///
/// # Errors
///
/// If they are present and malformed.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Call<'_>>, &'static str> {
    if !is_checked_version(headers) {
        return Ok(None);
    }
    let Some(method) = single(headers, &METHOD).map_err(|()| BAD_METHOD)? else {
        return Ok(None);
    };
    let name = match single(headers, &NAME).map_err(|()| BAD_NAME)? {
        Some(name) => Some(decode(name).ok_or(BAD_NAME)?),
        None => None,
    };
    Ok(match (Named::by(method), name) {
        (Named::Tool, Some(name)) => Some(Call::Tool(name)),
        (Named::Prompt, Some(name)) => Some(Call::Prompt(name)),
        (Named::Resource, Some(uri)) if IS_CHECKED.contains(&method) => {
            Some(Call::Resource { method: method.into(), uri })
        }
        (Named::No, _) => Some(Call::Method(method.into())),
        (Named::Tool | Named::Prompt | Named::Resource, _) => None,
    })
}

/// The methods about resources for which the specification has servers check `Mcp-Name`.
const IS_CHECKED: [&str; 3] = ["resources/read", "resources/subscribe", "resources/unsubscribe"];

/// Returns `true` for exactly one version, as a date, from which servers compare the fields.
fn is_checked_version(headers: &HeaderMap) -> bool {
    let Ok(Some(version)) = single(headers, &PROTOCOL_VERSION) else { return false };
    let version = version.as_bytes();
    let is_date = version.len() == FIRST_CHECKED.len()
        && version.iter().zip(FIRST_CHECKED).all(|(byte, pattern)| match pattern {
            b'-' => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_date && version >= FIRST_CHECKED
}

/// Returns the one value of a field; an error if there are several, or other characters than printable
/// ASCII, or space around it: HTTP/2 allows that, and a server may ignore it when it compares.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let value = value.to_str().ok().filter(|value| value.trim() == *value);
            value.map(Some).ok_or(())
        }
        (Some(_), Some(_)) => Err(()),
    }
}

/// Decodes the form `=?base64?…?=` of a name. A name that begins like it but isn't valid is refused, in
/// any case: a server might decode it.
fn decode(name: &str) -> Option<Cow<'_, str>> {
    const OPEN: &str = "=?base64?";
    let is_coded = name.get(..OPEN.len()).is_some_and(|open| open.eq_ignore_ascii_case(OPEN));
    if !is_coded {
        return Some(name.into());
    }
    let coded = name.strip_prefix(OPEN)?.strip_suffix("?=")?;
    String::from_utf8(STANDARD.decode(coded).ok()?).ok().map(Cow::Owned)
}

/// Checks that a body is plain JSON: one with a content coding would hold another text.
pub(crate) fn check_content(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let is_plain = codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    match single(headers, &CONTENT_TYPE) {
        Ok(Some(media_type)) if is_plain && is_json(media_type) => Ok(()),
        _ => Err(NOT_JSON),
    }
}

fn is_json(media_type: &str) -> bool {
    let mut parts = media_type.split(';');
    let is_json = parts.next().is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                let value = value.trim().trim_matches('"');
                value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
            }
            Some(_) => true,
            None => parameter.trim().is_empty(),
        })
}

/// Returns the length that the `Content-Length` field announces, if it does.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH).map(HeaderValue::to_str)?.ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

    // MC21, MC23
    #[test]
    fn mc21_mc23_only_one_version_that_is_new_enough_lets_fields_decide() {
        let read_with = |versions: &[&str]| {
            let mut fields = vec![("mcp-method", "tools/call"), ("mcp-name", "add")];
            fields.extend(versions.iter().map(|version| ("mcp-protocol-version", *version)));
            let headers = headers(&fields);
            read(&headers).unwrap().map(|call| call == Call::Tool("add".into()))
        };
        for version in ["2026-07-28", "2026-07-29", "2027-01-01", "9999-12-31"] {
            assert_eq!(read_with(&[version]), Some(true), "{version}");
        }
        for versions in [
            &[][..],
            &["2025-11-25"],
            &["2026-07-27"],
            &["2026-07-28", "2025-11-25"],
            &["2026-07-28", "2026-07-28"],
            &["2026-07-28 "],
            &["2026-07-28-draft"],
            &["2026-07"],
            &["DRAFT-2026"],
            &["draft"],
            &["2026/07/28"],
            &["zzzz-zz-zz"],
            &[""],
            &["2026-07-28, 2025-11-25"],
            &["caf\u{e9}"],
        ] {
            assert_eq!(read_with(versions), None, "{versions:?}");
        }
    }

    // MC22, MC24
    #[test]
    fn mc22_mc24_fields_are_read_whole_or_not_at_all() {
        let read_with = |fields: &[(&str, &str)]| {
            let headers = headers(&[&[VERSION], fields].concat());
            read(&headers).map(|call| call.map(|call| format!("{call:?}")))
        };
        let tool = |name: &str| Ok(Some(format!("Tool({name:?})")));
        let call = ("mcp-method", "tools/call");
        assert_eq!(read_with(&[call, ("mcp-name", "add")]), tool("add"));
        assert_eq!(read_with(&[call, ("mcp-name", "=?base64?Y2Fmw6k=?=")]), tool("caf\u{e9}"));
        assert_eq!(read_with(&[call, ("mcp-name", "=?base64??=")]), tool(""));
        assert_eq!(read_with(&[call, ("mcp-name", "=?b?")]), tool("=?b?"));
        assert_eq!(read_with(&[call]), Ok(None));
        assert_eq!(read_with(&[("mcp-name", "add")]), Ok(None));
        assert_eq!(
            read_with(&[("mcp-method", "tools/list")]),
            Ok(Some("Method(\"tools/list\")".to_owned()))
        );
        let resource = |method| read_with(&[("mcp-method", method), ("mcp-name", "a:b")]);
        assert!(resource("resources/read").unwrap().unwrap().starts_with("Resource"));
        assert_eq!(resource("resources/directory/read"), Ok(None), "no server checks its name");
        for name in [
            "=?base64?Y2Fmw6k?=",
            "=?base64?Y2Fmw6k=",
            "=?base64?!!!?=",
            "=?base64?/w==?=",
            "=?base64?",
            "=?base64?=",
            "=?BASE64?YWRk?=",
            "=?Base64?YWRk?=",
            "=?base64? YWRk?=",
            "caf\u{e9}",
            " wipe",
            "wipe ",
            "wipe\t",
        ] {
            assert_eq!(read_with(&[call, ("mcp-name", name)]), Err(BAD_NAME), "{name}");
        }
        for method in ["tools/call ", " tools/call", "ping\t"] {
            let fields = [("mcp-method", method), ("mcp-name", "a")];
            assert_eq!(read_with(&fields), Err(BAD_METHOD), "{method:?}");
        }
        assert_eq!(read_with(&[call, ("mcp-name", "a"), ("mcp-name", "a")]), Err(BAD_NAME));
        assert_eq!(read_with(&[call, call, ("mcp-name", "a")]), Err(BAD_METHOD));
    }

    // MC25
    #[test]
    fn mc25_other_content_is_refused() {
        let check = |fields: &[(&str, &str)]| check_content(&headers(fields)).is_ok();
        let of = |media_type: &str| check(&[("content-type", media_type)]);
        for media_type in [
            "application/json",
            "Application/JSON",
            "application/json ; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; x=y;",
        ] {
            assert!(of(media_type), "{media_type}");
        }
        for media_type in [
            "text/plain",
            "application/jsonp",
            "application/json-rpc",
            "application/json; charset=utf-16",
            "application/json, text/plain",
            "application/json x",
            "application/json; charset",
            "",
        ] {
            assert!(!of(media_type), "{media_type}");
        }
        let json = ("content-type", "application/json");
        assert!(!check(&[]) && !check(&[json, json]));
        assert!(check(&[json, ("content-encoding", "identity")]));
        for coding in ["gzip", "br", "identity, br", ""] {
            assert!(!check(&[json, ("content-encoding", coding)]), "{coding}");
        }
    }
}
