//! Reads the fields in which a trusted proxy says where the client sent its request to.

use http::header::FORWARDED;
use http::{Extensions, HeaderMap, HeaderName};

use crate::binding::dpop::target::SentTo;
use crate::binding::peers::{Peer, Peers};
use crate::refusal::{Misconfigured, Refusal};

const HOST_OF: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO_OF: HeaderName = HeaderName::from_static("x-forwarded-proto");

const NO_PEER: &str = "the request has no extension that says which peer it came from, or the extension \
                       doesn't know: serve with what adds it, such as axum's \
                       into_make_service_with_connect_info, and name its type in Dpop::trusted_proxies";

/// The fields in which proxies say where a client sent its request to, for
/// [`Dpop::trusted_proxies`](crate::dpop::Dpop::trusted_proxies).
///
/// Exactly one kind is read, since a proxy that writes one may pass the other on as the client sent it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ForwardedFields {
    /// `Forwarded` (RFC 7239), of which `host` and `proto` of the last element count.
    Forwarded,
    /// `X-Forwarded-Host` and `X-Forwarded-Proto`, of each of which the last element counts.
    XForwarded,
}

/// Which peers are trusted, and in which fields.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    pub(crate) fields: ForwardedFields,
    pub(crate) peers: Peers,
}

impl Trusted {
    /// Returns what a request's peer says; all of it is absent if it isn't trusted, or says nothing.
    ///
    /// # Errors
    ///
    /// If the peer is unknown.
    pub(crate) fn place<'a>(
        &self,
        extensions: &Extensions,
        headers: &'a HeaderMap,
    ) -> Result<SentTo<'a>, Refusal> {
        match self.peers.judge(extensions) {
            Peer::Unknown => Err(Misconfigured::new(NO_PEER).into()),
            Peer::Other => Ok(SentTo::Unsaid),
            Peer::Trusted => Ok(self.read(headers).unwrap_or(SentTo::Unreadable)),
        }
    }

    fn read<'a>(&self, headers: &'a HeaderMap) -> Option<SentTo<'a>> {
        let (host, proto) = match self.fields {
            ForwardedFields::Forwarded => {
                let Some(field) = one(headers, &FORWARDED)? else { return Some(SentTo::Unsaid) };
                element(last(field, true)?)?
            }
            ForwardedFields::XForwarded => {
                let listed = |name| match one(headers, name)? {
                    Some(field) => last(field, false).filter(|it| !it.is_empty()).map(Some),
                    None => Some(None),
                };
                (listed(&HOST_OF)?, listed(&PROTO_OF)?)
            }
        };
        if (host, proto) == (None, None) {
            return Some(SentTo::Unsaid);
        }
        Some(SentTo::Said { host, proto })
    }
}

/// Returns the one value of a field, if it is present; `None` if it occurs twice, or isn't text.
#[allow(clippy::option_option, reason = "absent isn't malformed")]
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut fields = headers.get_all(name).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Some(None),
        (Some(field), None) => field.to_str().ok().map(Some),
        (Some(_), Some(_)) => None,
    }
}

/// Returns the last element of a list, which the nearest proxy has added. In quotes, a comma is no end.
fn last(field: &str, quotes: bool) -> Option<&str> {
    split(field, ',', quotes)?.pop().map(str::trim_ascii)
}

fn split(text: &str, separator: char, quotes: bool) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0_usize, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if quotes => quoted = !quoted,
            _ if char == separator && !quoted => {
                parts.push(text.get(start..at)?);
                start = at.saturating_add(1);
            }
            _ => {}
        }
    }
    parts.push(text.get(start..)?);
    (!quoted).then_some(parts)
}

type HostAndProto<'a> = (Option<&'a str>, Option<&'a str>);

/// Reads `host` and `proto` of an element (RFC 7239 §4).
fn element(text: &str) -> Option<HostAndProto<'_>> {
    let (mut host, mut proto) = (None, None);
    let pairs = split(text, ';', true)?;
    // Empty ones are allowed, an empty element isn't.
    let is_empty = |pair: &&str| pair.trim_ascii().is_empty();
    if pairs.iter().all(is_empty) {
        return None;
    }
    for pair in pairs.iter().filter(|pair| !is_empty(pair)) {
        let (name, value) = pair.split_once('=')?;
        let known = match name.trim_ascii() {
            it if it.eq_ignore_ascii_case("host") => &mut host,
            it if it.eq_ignore_ascii_case("proto") => &mut proto,
            _ => continue,
        };
        let value = value.trim_ascii();
        let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let value = inner.unwrap_or(value);
        // Neither a host nor a scheme contains a quote or a backslash.
        if value.is_empty() || value.contains(['"', '\\']) || known.replace(value).is_some() {
            return None;
        }
    }
    Some((host, proto))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: ForwardedFields, lines: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = Trusted { fields, peers: Peers::default() };
        trusted.read(&headers).map(|place| match place {
            SentTo::Said { host, proto } => [host, proto].map(|it| it.unwrap_or("-")).join(" "),
            SentTo::Unsaid => "unsaid".to_owned(),
            SentTo::Unreadable => "unreadable".to_owned(),
        })
    }

    #[test]
    fn d41_the_last_hop_counts() {
        use ForwardedFields::{Forwarded, XForwarded};
        for (fields, lines, expected) in [
            (Forwarded, &[][..], "unsaid"),
            (Forwarded, &[("forwarded", "for=1.2.3.4")], "unsaid"),
            (Forwarded, &[("forwarded", "host=a.example;proto=https")], "a.example https"),
            (
                Forwarded,
                &[("forwarded", "Host=\"a.example:8443\" ; PROTO=http")],
                "a.example:8443 http",
            ),
            (
                Forwarded,
                &[("forwarded", "host=evil.example, for=\"a,b;host=x\";host=a.example")],
                "a.example -",
            ),
            (Forwarded, &[("forwarded", "proto=https"), ("host", "h.example")], "- https"),
            // RFC 7239 §4 allows empty pairs.
            (Forwarded, &[("forwarded", ";host=a.example; ;proto=https;")], "a.example https"),
            (Forwarded, &[("x-forwarded-host", "evil.example")], "unsaid"),
            (XForwarded, &[], "unsaid"),
            (XForwarded, &[("x-forwarded-host", "evil.example, a.example")], "a.example -"),
            (
                XForwarded,
                &[
                    ("x-forwarded-host", "a"),
                    ("x-forwarded-proto", "http, https"),
                    // The path that a proxy removes is configured: gateways pass on what a client says about it.
                    ("x-forwarded-prefix", "/v1"),
                ],
                "a https",
            ),
            (XForwarded, &[("x-forwarded-prefix", "/v1")], "unsaid"),
            (XForwarded, &[("forwarded", "host=evil.example")], "unsaid"),
        ] {
            assert_eq!(read(fields, lines).as_deref(), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn d41_what_is_repeated_or_cannot_be_read_is_refused() {
        use ForwardedFields::{Forwarded, XForwarded};
        for (fields, lines) in [
            (Forwarded, &[("forwarded", "host=a"), ("forwarded", "host=a")][..]),
            (Forwarded, &[("forwarded", "host=a;host=b")]),
            (Forwarded, &[("forwarded", "host")]),
            (Forwarded, &[("forwarded", "host=")]),
            (Forwarded, &[("forwarded", "host=a,")]),
            (Forwarded, &[("forwarded", ";")]),
            (Forwarded, &[("forwarded", "host=a, ;")]),
            (Forwarded, &[("forwarded", "host=\"a")]),
            (Forwarded, &[("forwarded", "host=\"a\\\"b\"")]),
            (XForwarded, &[("x-forwarded-host", "a"), ("x-forwarded-host", "a")]),
            (XForwarded, &[("x-forwarded-host", "a,")]),
            (XForwarded, &[("x-forwarded-host", "")]),
            (XForwarded, &[("x-forwarded-host", "a\u{e4}")]),
        ] {
            assert_eq!(read(fields, lines), None, "{lines:?}");
        }
    }
}
