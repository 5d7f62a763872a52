//! Detects the protocol of a call from its method, content type and version field.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Uri};

use crate::syntax::is_tchar;

/// The protocol of a call, as its client says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// None of those below.
    Http,
    Grpc,
    /// gRPC-Web, binary or text: what a refusal says lies in header fields, so that both are answered alike.
    GrpcWeb,
    ConnectUnary,
    ConnectStreaming,
}

impl Protocol {
    /// Detects the protocol by the content type, or by the version of Connect that the request names.
    ///
    /// All but a side-effect-free call of Connect are a POST. A GET that claims to be another gets an HTTP
    /// status: a proxy that asks for authorization would take a refusal with 200 as a pass.
    pub(crate) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        if *method == Method::GET && uri.query().is_some_and(is_connect) {
            return Self::ConnectUnary;
        }
        if *method != Method::POST {
            return Self::Http;
        }
        match headers.get(CONTENT_TYPE) {
            Some(content_type) if is_of(content_type, b"application/grpc") => Self::Grpc,
            Some(content_type)
                if is_of(content_type, b"application/grpc-web")
                    || is_of(content_type, b"application/grpc-web-text") =>
            {
                Self::GrpcWeb
            }
            Some(content_type) if starts_with(content_type, b"application/connect+") => {
                Self::ConnectStreaming
            }
            _ if headers.contains_key("connect-protocol-version") => Self::ConnectUnary,
            _ => Self::Http,
        }
    }
}

/// Returns `true` if the content type is that of gRPC. `application/grpc-web` isn't.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|content_type| is_of(content_type, b"application/grpc"))
}

/// Returns `true` if a content type is this one, whatever the messages are encoded in.
fn is_of(content_type: &HeaderValue, expected: &[u8]) -> bool {
    let rest = content_type.as_bytes().get(expected.len()..);
    starts_with(content_type, expected)
        && matches!(rest.and_then(<[u8]>::first), None | Some(b'+' | b';'))
}

fn starts_with(content_type: &HeaderValue, expected: &[u8]) -> bool {
    let start = content_type.as_bytes().get(..expected.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(expected))
}

/// Returns the media type of a request without its parameters, for an answer that has the same.
pub(crate) fn echoed(headers: &HeaderMap) -> Option<HeaderValue> {
    let content_type = headers.get(CONTENT_TYPE)?.as_bytes();
    let media_type = content_type.split(|byte| *byte == b';').next()?.trim_ascii();
    let is_legal =
        media_type.len() <= 64 && media_type.iter().all(|byte| is_tchar(*byte) || *byte == b'/');
    HeaderValue::from_bytes(media_type).ok().filter(|_| is_legal)
}

fn is_connect(query: &str) -> bool {
    query.split('&').any(|pair| pair == "connect=v1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, path: &'static str, fields: &[(&'static str, &str)]) -> Protocol {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        Protocol::of(&method, &Uri::from_static(path), &headers)
    }

    #[test]
    fn wb1_wb3_each_protocol_is_told_by_what_its_clients_send() {
        use Protocol::{ConnectStreaming, ConnectUnary, Grpc, GrpcWeb, Http};
        for (content_type, expected) in [
            ("application/grpc", Grpc),
            ("application/grpc+proto", Grpc),
            ("application/grpc-web", GrpcWeb),
            ("application/grpc-web+proto", GrpcWeb),
            ("Application/gRPC-Web-Text", GrpcWeb),
            ("application/grpc-web-text+proto", GrpcWeb),
            ("application/grpc-web;charset=utf-8", GrpcWeb),
            ("application/grpc-webs", Http),
            ("application/grpc-web-texts", Http),
            ("application/connect+proto", ConnectStreaming),
            ("application/connect+json", ConnectStreaming),
            ("application/connect", Http),
            ("application/proto", Http),
            ("application/json", Http),
        ] {
            let fields = [("content-type", content_type)];
            assert_eq!(of(Method::POST, "/", &fields), expected, "{content_type}");
            assert_eq!(of(Method::GET, "/", &fields), Http, "{content_type}");
            let versioned = [fields[0], ("connect-protocol-version", "1")];
            let unary = if expected == Http { ConnectUnary } else { expected };
            assert_eq!(of(Method::POST, "/", &versioned), unary, "{content_type}");
            assert_eq!(of(Method::PUT, "/", &versioned), Http, "{content_type}");
        }
        assert_eq!(of(Method::GET, "/a?encoding=json&connect=v1&message=", &[]), ConnectUnary);
        assert_eq!(of(Method::GET, "/a?connect=v2", &[]), Http);
        assert_eq!(of(Method::POST, "/a?connect=v1", &[]), Http);
    }

    #[test]
    fn what_is_echoed_is_a_media_type_and_no_more() {
        for (content_type, expected) in [
            (
                "application/grpc-web-text+proto; charset=utf-8",
                Some("application/grpc-web-text+proto"),
            ),
            ("application/connect+<script>", None),
            ("application/connect+\"", None),
            (&format!("application/connect+{}", "a".repeat(64)), None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
            let found = echoed(&headers);
            assert_eq!(found.as_ref().map(|it| it.to_str().unwrap()), expected, "{content_type}");
        }
    }
}
