//! One question to the issuer, with all bounds on the answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};

use crate::clock::UnixTime;
use crate::jwks::fetch_error::FetchError;
use crate::jwks::store::Origin;
use crate::telemetry::{event, in_span};
use crate::transport::{Limits, PlainHttp, Transport, parse_url, port, retry_after, user_agent};

/// How the issuer is reached.
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) limits: Limits,
    pub(crate) redirects: u8,
    pub(crate) plain_http: PlainHttp,
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) uri: &'a Uri,
    pub(crate) accept: &'static str,
    /// Whether caches on the way are to be passed by.
    pub(crate) no_cache: bool,
    /// The answer that needn't be sent again if it is still the same.
    pub(crate) unless: Option<&'a Origin>,
}

/// A 200, or the 304 that was asked for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) not_modified: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A failed fetch, and how long the server asked us to stay away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) error: FetchError,
    pub(crate) retry_after: Option<Duration>,
}

impl<E: Into<FetchError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self { error: error.into(), retry_after: None }
    }
}

/// Asks, and follows as many redirects as are allowed.
///
/// The bounds are checked here though transports keep them too: transports are replaceable.
pub(crate) async fn ask(
    network: &Network,
    question: Question<'_>,
    now: UnixTime,
) -> Result<Answer, Fault> {
    let exchange = async {
        let mut uri = question.uri.clone();
        let mut redirects = network.redirects;
        loop {
            let request = request(&question, &uri);
            let response = network.transport.send(request, network.limits).await?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED
            {
                return Ok::<_, Fault>(response);
            }
            uri = redirects
                .checked_sub(1)
                .and_then(|left| {
                    redirects = left;
                    location(response.headers(), &uri, network.plain_http)
                })
                .ok_or(FetchError::Redirect)?;
        }
    };
    let host = question.uri.host().unwrap_or_default();
    let exchange = in_span!(exchange, "jwks_fetch", host = host);
    let response = tokio::time::timeout(network.limits.timeout, exchange)
        .await
        .unwrap_or_else(|_| Err(FetchError::Timeout.into()))?;
    check(response, &question, network.limits.max_bytes, now)
}

fn request(question: &Question<'_>, uri: &Uri) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static(question.accept));
    headers.insert(USER_AGENT, user_agent());
    if question.no_cache {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    if let Some(origin) = question.unless {
        if let Some(etag) = &origin.etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        if let Some(last_modified) = &origin.last_modified {
            headers.insert(IF_MODIFIED_SINCE, last_modified.clone());
        }
    }
    request
}

/// Returns where a redirect leads, if that is at the same scheme, host and port.
fn location(headers: &HeaderMap, from: &Uri, plain_http: PlainHttp) -> Option<Uri> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    let absolute = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with(['/', '\\']) => {
            format!("{}://{}{location}", from.scheme()?, from.authority()?)
        }
        _ => location.to_owned(),
    };
    let to = parse_url(&absolute, plain_http).ok()?;
    let origin = |uri: &Uri| {
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        (uri.scheme().cloned(), host, port(uri))
    };
    (origin(&to) == origin(from)).then_some(to)
}

fn check(
    response: Response<Bytes>,
    question: &Question<'_>,
    max_bytes: usize,
    now: UnixTime,
) -> Result<Answer, Fault> {
    let (parts, body) = response.into_parts();
    let not_modified = parts.status == StatusCode::NOT_MODIFIED && question.unless.is_some();
    if parts.status != StatusCode::OK && !not_modified {
        let away =
            matches!(parts.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        return Err(Fault {
            error: FetchError::Status(parts.status.as_u16()),
            retry_after: away.then(|| retry_after(&parts.headers, now)).flatten(),
        });
    }
    if body.len() > max_bytes {
        return Err(FetchError::TooLarge.into());
    }
    let mut codings = parts.headers.get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(FetchError::ContentEncoding.into());
    }
    if !not_modified && !is_json(&parts.headers) {
        event!(
            WARN,
            host = question.uri.host(),
            "jwks_content_type: the answer's Content-Type isn't JSON; it is read as JSON"
        );
    }
    Ok(Answer { not_modified, headers: parts.headers, body })
}

/// `application/json`, `application/jwk-set+json` and the like (RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || media_type.ends_with("+json")
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("limits", &self.limits)
            .field("redirects", &self.redirects)
            .field("plain_http", &self.plain_http)
            .finish_non_exhaustive()
    }
}
