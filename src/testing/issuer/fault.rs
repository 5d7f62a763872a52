//! Faults that tests inject into endpoints of the embedded issuer.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::testing::issuer::endpoint::Endpoint;

/// A fault of an endpoint: what it does instead of answering correctly.
///
/// A fault is set with [`TestIssuer::inject`](crate::testing::TestIssuer::inject) and lasts until
/// [`TestIssuer::clear_faults`](crate::testing::TestIssuer::clear_faults), or for as many requests
/// as [`times`](Self::times) says.
///
/// ```
/// use std::time::Duration;
///
/// use http::StatusCode;
/// use tower_bearer::testing::Fault;
///
/// // Twice 503 after a tenth of a second, with a `Retry-After` of two seconds; then healthy.
/// let fault = Fault::status(StatusCode::SERVICE_UNAVAILABLE)
///     .retry_after(Duration::from_secs(2))
///     .after(Duration::from_millis(100))
///     .times(2);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    effect: Effect,
    delay: Duration,
    times: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// The regular answer.
    None,
    /// No answer while the fault lasts, then the regular one.
    Hang,
    /// Another answer, delivered completely.
    Answer(Response<Bytes>),
    /// The regular answer, with a faulty delivery.
    Deliver(Delivery),
    /// No answer: the connection is reset.
    Reset,
}

/// How an answer's body is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Delivery {
    Whole,
    /// Half of the body that `Content-Length` declares, then the connection ends.
    Truncated,
    /// The whole body, then spaces without end.
    Endless,
    /// Byte by byte, with a pause before each.
    Slow(Duration),
}

impl Fault {
    const fn new(effect: Effect) -> Self {
        Self { effect, delay: Duration::ZERO, times: None }
    }

    /// Delays the regular answer.
    pub const fn delay(delay: Duration) -> Self {
        Self::new(Effect::None).after(delay)
    }

    /// Doesn't answer. Once the fault is cleared, requests that still wait get the regular answer.
    pub const fn hang() -> Self {
        Self::new(Effect::Hang)
    }

    /// Answers with this status and no body.
    pub fn status(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self::answer(response)
    }

    /// Answers with this response.
    pub const fn answer(response: Response<Bytes>) -> Self {
        Self::new(Effect::Answer(response))
    }

    /// Answers 200 with `Content-Type: application/json` and this body, which need not be JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::typed(HeaderValue::from_static("application/json"), body.into())
    }

    /// Answers 200 with a body that is declared as JSON and isn't even text.
    pub fn garbage() -> Self {
        Self::json(Bytes::from_static(b"\x00\xff{\"keys\":[}\xfe"))
    }

    /// Answers 200 with an HTML login page, as a captive portal or a single sign-on proxy does.
    pub fn login_page() -> Self {
        let page = "<!DOCTYPE html><html><head><title>Log in</title></head><body><form \
                    method=\"post\"><input name=\"user\"></form></body></html>";
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        Self::typed(html, Bytes::from_static(page.as_bytes()))
    }

    /// Answers 200 with a key set that has no keys.
    pub fn empty_set() -> Self {
        Self::json(Bytes::from_static(b"{\"keys\":[]}"))
    }

    /// Answers 302 with this `Location`.
    ///
    /// Characters that a header can't have are left out.
    pub fn redirect(location: &str) -> Self {
        Self::status(StatusCode::FOUND).header(LOCATION, HeaderValue::from_str(location).ok())
    }

    /// Sends the head of the regular answer and half of its body, then closes the connection.
    pub const fn truncated() -> Self {
        Self::new(Effect::Deliver(Delivery::Truncated))
    }

    /// Sends the regular answer without `Content-Length`, followed by spaces without end.
    ///
    /// A client that truncates the body at its limit, instead of refusing it, reads a valid answer.
    pub const fn endless() -> Self {
        Self::new(Effect::Deliver(Delivery::Endless))
    }

    /// Sends the body of the regular answer byte by byte, with a pause before each.
    pub const fn slow(pause: Duration) -> Self {
        Self::new(Effect::Deliver(Delivery::Slow(pause)))
    }

    /// Closes the connection with a reset (RST) and no answer.
    pub const fn reset() -> Self {
        Self::new(Effect::Reset)
    }

    /// Delays the fault.
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds `Retry-After`, in whole seconds, to the fault's own answer.
    pub fn retry_after(self, delay: Duration) -> Self {
        self.header(RETRY_AFTER, Some(HeaderValue::from(delay.as_secs())))
    }

    /// Ends the fault after this many requests.
    pub const fn times(mut self, requests: u32) -> Self {
        self.times = Some(requests);
        self
    }

    fn typed(media_type: HeaderValue, body: Bytes) -> Self {
        Self::answer(Response::new(body)).header(CONTENT_TYPE, Some(media_type))
    }

    fn header(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        if let (Effect::Answer(response), Some(value)) = (&mut self.effect, value) {
            response.headers_mut().insert(name, value);
        }
        self
    }

    pub(crate) fn into_parts(self) -> (Duration, Effect) {
        (self.delay, self.effect)
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(HashMap<Endpoint, Fault>);

impl Faults {
    pub(crate) fn set(&mut self, endpoint: Endpoint, fault: Fault) {
        self.0.insert(endpoint, fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the fault for the next request, and counts it down.
    pub(crate) fn take(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let fault = self.0.get_mut(&endpoint)?;
        match &mut fault.times {
            None => {}
            Some(0) => return None,
            Some(left) => *left = left.saturating_sub(1),
        }
        Some(fault.clone())
    }

    pub(crate) fn hangs(&self, endpoint: Endpoint) -> bool {
        self.0.get(&endpoint).is_some_and(|fault| matches!(fault.effect, Effect::Hang))
    }
}
