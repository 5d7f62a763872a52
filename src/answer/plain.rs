//! Renders refusals of plain HTTP requests: the status, the challenges and a JSON body.

use bytes::Bytes;
use http::Response;
use http::header::RETRY_AFTER;

use crate::answer::context::RefusalContext;
use crate::refusal::{Refusal, Unavailable};

/// Renders a refusal with a JSON body and its challenges.
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

/// Rounds up: a request that arrives too early is refused again.
pub(crate) fn whole_seconds(unavailable: &Unavailable) -> u64 {
    let after = unavailable.retry_after();
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}
