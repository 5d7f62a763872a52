//! A transport with queued answers, for tests without a network.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::testing::misuse::{lock, misuse};
use crate::transport::{Limits, Transport, TransportError, TransportErrorKind, TransportFuture};

/// A [`Transport`] without a network that returns the answers that a test has queued.
///
/// Clones share one state: pass one on and keep one. Answers come from a queue, in the
/// order of the requests; when it is empty, from the function that [`from_fn`](Self::from_fn) was
/// given; without one, requests fail as if no connection could be established.
///
/// The limits of a request are enforced, so that an answer that is too late or too long is refused
/// as by a real transport. All waiting uses tokio's clock: with
/// `#[tokio::test(start_paused = true)]`, hours take no time.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, StatusCode};
/// use tower_bearer::testing::{ScriptedAnswer, ScriptedTransport};
/// use tower_bearer::transport::{Limits, Transport, TransportErrorKind};
///
/// let transport = ScriptedTransport::new();
/// transport.push(ScriptedAnswer::json(r#"{"keys":[]}"#).header("cache-control", "max-age=60"));
/// transport.push(ScriptedAnswer::json("{}").delay(Duration::from_secs(6)));
///
/// let limits = Limits::new(1_024, Duration::from_secs(5));
/// let request = || Request::get("https://issuer.test/jwks").body(Bytes::new()).unwrap();
/// let answer = transport.send(request(), limits).await.unwrap();
/// assert_eq!(answer.status(), StatusCode::OK);
/// let late = transport.send(request(), limits).await.unwrap_err();
/// assert_eq!(late.kind(), TransportErrorKind::Timeout);
/// assert_eq!(transport.requests().len(), 2);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScriptedTransport {
    script: Arc<Script>,
}

type Fallback = dyn Fn(&Request<Bytes>) -> ScriptedAnswer + Send + Sync;

#[derive(Default)]
struct Script {
    queue: Mutex<VecDeque<ScriptedAnswer>>,
    fallback: Option<Box<Fallback>>,
    log: watch::Sender<Log>,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Request<Bytes>>,
    completed: usize,
    cancelled: usize,
}

impl ScriptedTransport {
    /// Creates a transport with an empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a transport that calls a function for the answer when the queue is empty.
    pub fn from_fn(
        answer: impl Fn(&Request<Bytes>) -> ScriptedAnswer + Send + Sync + 'static,
    ) -> Self {
        let script = Script { fallback: Some(Box::new(answer)), ..Script::default() };
        Self { script: Arc::new(script) }
    }

    /// Adds an answer to the queue's end.
    pub fn push(&self, answer: ScriptedAnswer) {
        lock(&self.script.queue).push_back(answer);
    }

    /// Returns how many answers are left in the queue.
    pub fn queued(&self) -> usize {
        lock(&self.script.queue).len()
    }

    /// Returns the requests so far. Each has its [`Limits`] among its extensions.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.script.log.borrow().requests.clone()
    }

    /// Returns the number of requests.
    pub fn request_count(&self) -> usize {
        self.script.log.borrow().requests.len()
    }

    /// Returns how many requests have been answered, or failed.
    pub fn completed(&self) -> usize {
        self.script.log.borrow().completed
    }

    /// Returns the number of requests that were dropped before they were answered.
    pub fn cancelled(&self) -> usize {
        self.script.log.borrow().cancelled
    }

    /// Waits until there have been this many requests.
    pub async fn wait_for_requests(&self, count: usize) {
        let mut log = self.script.log.subscribe();
        // It can't fail: the sender lives as long as `self` does.
        let _ = log.wait_for(|log| log.requests.len() >= count).await;
    }
}

impl Transport for ScriptedTransport {
    fn send(&self, mut request: Request<Bytes>, limits: Limits) -> TransportFuture {
        let queued = lock(&self.script.queue).pop_front();
        let fallback = || self.script.fallback.as_ref().map(|answer| answer(&request));
        let answer = queued.or_else(fallback);
        let answer = answer.unwrap_or_else(|| ScriptedAnswer::error(TransportErrorKind::Connect));
        request.extensions_mut().insert(limits);
        self.script.log.send_modify(|log| log.requests.push(request));
        let flight = Flight { script: Arc::clone(&self.script), done: false };
        Box::pin(async move {
            let timed_out = Err(TransportError::new(TransportErrorKind::Timeout));
            let result = timeout(limits.timeout, answer.play(limits)).await.unwrap_or(timed_out);
            flight.finish();
            result
        })
    }
}

/// Counts how a request ended.
struct Flight {
    script: Arc<Script>,
    done: bool,
}

impl Flight {
    fn finish(mut self) {
        self.done = true;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.script.log.send_modify(|log| {
            let count = if self.done { &mut log.completed } else { &mut log.cancelled };
            *count = count.saturating_add(1);
        });
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// One answer of a [`ScriptedTransport`].
#[derive(Debug)]
#[must_use = "an answer does nothing until it is put into a transport"]
pub struct ScriptedAnswer {
    result: Result<Response<Bytes>, TransportError>,
    delay: Duration,
    gate: Option<oneshot::Receiver<()>>,
}

impl ScriptedAnswer {
    /// Answers with this response.
    pub const fn new(response: Response<Bytes>) -> Self {
        Self { result: Ok(response), delay: Duration::ZERO, gate: None }
    }

    /// Answers with this status and no body.
    pub fn status(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self::new(response)
    }

    /// Answers 200 with `Content-Type: application/json` and this body, which need not be JSON.
    pub fn json(body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(body.into());
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Self::new(response)
    }

    /// Fails with an error of this kind.
    pub const fn error(kind: TransportErrorKind) -> Self {
        Self::failure(TransportError::new(kind))
    }

    /// Fails with this error, of which the cause can be given.
    pub const fn failure(error: TransportError) -> Self {
        Self { result: Err(error), delay: Duration::ZERO, gate: None }
    }

    /// Never answers, so that the request runs into its timeout.
    pub const fn never() -> Self {
        Self::error(TransportErrorKind::Timeout).delay(Duration::MAX)
    }

    /// Adds a header to the response.
    ///
    /// # Panics
    ///
    /// If the name or the value can't be in a header.
    #[track_caller]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value), &mut self.result) {
            (Ok(name), Ok(value), Ok(response)) => {
                response.headers_mut().append(name, value);
            }
            (_, _, Err(_)) => {}
            _ => misuse(&format!("{name:?}: {value:?} isn't a header")),
        }
        self
    }

    /// Delays the answer.
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Answers only after the gate is opened.
    pub fn gated(mut self) -> (Self, Gate) {
        let (open, gate) = oneshot::channel();
        self.gate = Some(gate);
        (self, Gate(open))
    }

    async fn play(self, limits: Limits) -> Result<Response<Bytes>, TransportError> {
        if let Some(gate) = self.gate {
            gate.await.map_err(|_| TransportError::new(TransportErrorKind::Other))?;
        }
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        match self.result {
            Ok(response) if response.body().len() > limits.max_bytes => {
                Err(TransportError::new(TransportErrorKind::TooLarge))
            }
            result => result,
        }
    }
}

/// A gate that holds a [`ScriptedAnswer`] back.
///
/// If it is dropped without being opened, the request fails as by a broken connection.
#[derive(Debug)]
#[must_use = "dropping a gate breaks the connection; keep it until it is opened"]
pub struct Gate(oneshot::Sender<()>);

impl Gate {
    /// Lets the answer through.
    pub fn open(self) {
        // An error means that the request was dropped.
        let _ = self.0.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(transport: &ScriptedTransport, path: &str) -> TransportFuture {
        let request = Request::get(format!("https://issuer.test{path}")).body(Bytes::new());
        transport.send(request.unwrap(), Limits::new(10, Duration::from_secs(5)))
    }

    fn kind(result: Result<Response<Bytes>, TransportError>) -> TransportErrorKind {
        result.unwrap_err().kind()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_in_order_then_by_function_then_not_at_all() {
        let transport = ScriptedTransport::from_fn(|request| {
            ScriptedAnswer::json(request.uri().path().to_owned())
        });
        transport.push(ScriptedAnswer::status(StatusCode::TOO_MANY_REQUESTS));
        transport.push(ScriptedAnswer::error(TransportErrorKind::BlockedAddress));
        assert_eq!(transport.queued(), 2);
        let first = send(&transport, "/a").await.unwrap();
        assert_eq!(first.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(kind(send(&transport, "/b").await), TransportErrorKind::BlockedAddress);
        assert_eq!(send(&transport, "/c").await.unwrap().body(), "/c");
        assert_eq!((transport.request_count(), transport.completed()), (3, 3));

        let empty = ScriptedTransport::new();
        assert_eq!(kind(send(&empty, "/").await), TransportErrorKind::Connect);
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_limits_it_is_given() {
        let transport = ScriptedTransport::new();
        transport.push(ScriptedAnswer::json("0123456789"));
        transport.push(ScriptedAnswer::json("0123456789a"));
        transport.push(ScriptedAnswer::json("1").delay(Duration::from_millis(4_999)));
        transport.push(ScriptedAnswer::json("1").delay(Duration::from_millis(5_001)));
        transport.push(ScriptedAnswer::never());
        assert_eq!(send(&transport, "/").await.unwrap().body(), "0123456789");
        assert_eq!(kind(send(&transport, "/").await), TransportErrorKind::TooLarge);
        assert_eq!(send(&transport, "/").await.unwrap().body(), "1");
        assert_eq!(kind(send(&transport, "/").await), TransportErrorKind::Timeout);
        assert_eq!(kind(send(&transport, "/").await), TransportErrorKind::Timeout);
        let limits = transport.requests()[0].extensions().get::<Limits>().copied();
        assert_eq!(limits, Some(Limits::new(10, Duration::from_secs(5))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_holds_an_answer_back() {
        let transport = ScriptedTransport::new();
        let (answer, gate) = ScriptedAnswer::json("1").gated();
        transport.push(answer);
        let (answer, other) = ScriptedAnswer::json("2").gated();
        transport.push(answer);
        let first = tokio::spawn(send(&transport, "/"));
        transport.wait_for_requests(1).await;
        assert_eq!((transport.request_count(), transport.completed()), (1, 0));
        gate.open();
        assert_eq!(first.await.unwrap().unwrap().body(), "1");
        drop(other);
        assert_eq!(kind(send(&transport, "/").await), TransportErrorKind::Other);
    }

    #[tokio::test(start_paused = true)]
    async fn counts_what_is_given_up() {
        let transport = ScriptedTransport::new();
        transport.push(ScriptedAnswer::never());
        transport.push(ScriptedAnswer::json("1"));
        drop(send(&transport, "/"));
        assert!(send(&transport, "/").await.is_ok());
        assert_eq!((transport.completed(), transport.cancelled()), (1, 1));
    }

    #[test]
    fn adds_headers() {
        let answer = ScriptedAnswer::json("1").header("etag", "\"a\"").header("vary", "*");
        let headers = answer.result.unwrap().headers().clone();
        assert_eq!(
            (&headers["etag"], &headers["vary"]),
            (&"\"a\"".parse().unwrap(), &"*".parse().unwrap())
        );
    }

    #[test]
    #[should_panic(expected = "isn't a header")]
    fn a_header_that_is_none_ends_the_test() {
        let _ = ScriptedAnswer::json("1").header("e tag", "a");
    }
}
