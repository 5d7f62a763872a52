use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response};

use crate::refusal::{Refusal, RefusalContext, Unavailable};

/// Renders a refusal with a JSON body and, if there is one, a challenge.
pub(crate) fn render(refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
    let body = Bytes::from_static(cx.wire().body.as_bytes());
    let mut headers = HeaderMap::with_capacity(4);
    if let Some(challenge) = cx.challenge() {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(CONTENT_LENGTH, body.len().into());
    if let Refusal::Unavailable(unavailable) = refusal {
        headers.insert(RETRY_AFTER, whole_seconds(unavailable).into());
    }
    let mut response = Response::new(body);
    *response.status_mut() = cx.status();
    *response.headers_mut() = headers;
    response
}

/// Rounds up: who comes back too early is refused again.
fn whole_seconds(unavailable: &Unavailable) -> u64 {
    let after = unavailable.retry_after();
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}
