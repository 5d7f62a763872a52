use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response};

use crate::refusal::table::Wire;
use crate::refusal::{Refusal, RefusalContext, Unavailable};

/// Renders a refusal with a JSON body and, if there is one, a challenge.
pub(crate) fn render(refusal: &Refusal, cx: &RefusalContext<'_>) -> Response<Bytes> {
    let mut headers = cx.fields();
    if let Refusal::Unavailable(unavailable) = refusal {
        headers.insert(RETRY_AFTER, whole_seconds(unavailable).into());
    }
    let mut response = Response::new(Bytes::from_static(cx.wire().body.as_bytes()));
    *response.status_mut() = cx.status();
    *response.headers_mut() = headers;
    response
}

/// Returns the header fields of an answer: those that are the same for every request.
pub(crate) fn fields(wire: &Wire, challenge: Option<HeaderValue>) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(4);
    if let Some(challenge) = challenge {
        fields.insert(WWW_AUTHENTICATE, challenge);
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Whoever sends the body would add this, too, and make it anew each time.
    fields.insert(CONTENT_LENGTH, wire.body.len().into());
    fields
}

/// Rounds up: who comes back too early is refused again.
fn whole_seconds(unavailable: &Unavailable) -> u64 {
    let after = unavailable.retry_after();
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}
