//! One request for the key set, conditional where an answer is known.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::clock::UnixTime;
use crate::issuer::{self, Network};
use crate::jwks::fetch::error::{FetchError, FetchErrorKind};
use crate::jwks::kept::store::KeySetAnswer;
use crate::telemetry::{event, in_span};

/// A request for the key set.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    pub(crate) uri: &'a Uri,
    /// Whether caches on the way must be bypassed.
    pub(crate) no_cache: bool,
    /// The answer that needn't be sent again if it is unchanged.
    pub(crate) unless: Option<&'a KeySetAnswer>,
}

/// A 200, or the 304 to a conditional request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) not_modified: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A failed fetch, and its `Retry-After`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) error: FetchError,
    pub(crate) retry_after: Option<Duration>,
}

impl<E: Into<FetchError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self { error: error.into(), retry_after: None }
    }
}

impl Fault {
    /// Translates a fault of the room `issuer`.
    pub(crate) fn of(fault: &issuer::Fault) -> Self {
        Self { error: FetchError::of(&fault.kind), retry_after: fault.retry_after }
    }
}

/// Requests the set.
pub(crate) async fn ask(
    network: &Network,
    question: Question<'_>,
    now: UnixTime,
) -> Result<Answer, Fault> {
    let asking = issuer::ask(network, question.uri, headers(&question), now);
    let host = question.uri.host().unwrap_or_default();
    let response =
        in_span!(asking, "jwks_fetch", host = host).await.map_err(|fault| Fault::of(&fault))?;
    let (parts, body) = response.into_parts();
    let not_modified = parts.status == StatusCode::NOT_MODIFIED;
    if not_modified && question.unless.is_none() {
        return Err(FetchErrorKind::Status(parts.status.as_u16()).into());
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

fn headers(question: &Question<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let accept = HeaderValue::from_static("application/jwk-set+json, application/json");
    headers.insert(ACCEPT, accept);
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
    headers
}

/// `application/json`, `application/jwk-set+json` and the like (RFC 6839 §3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || media_type.ends_with("+json")
}
