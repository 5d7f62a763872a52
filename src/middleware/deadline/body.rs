//! The body that ends when the token expires.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::answer::expired_trailers;
use crate::clock::UnixTime;
use crate::middleware::deadline::ending::{Ending, Endings};
use crate::middleware::deadline::wheel::{Entry, Wheel};
use crate::telemetry::count;

pin_project! {
    /// The body of a request or response that passed a
    /// [`StreamDeadlineLayer`](crate::middleware::StreamDeadlineLayer).
    #[derive(Debug)]
    pub struct DeadlineBody<B> {
        #[pin]
        kind: Kind<B>,
        deadline: Option<Box<Deadline>>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<B> {
        Inner {
            #[pin]
            body: B,
        },
        // Rare enough to be boxed: each stream has room for the larger.
        Refusal {
            bytes: Box<Bytes>,
        },
        Cut,
    }
}

/// When and how a body is cut.
#[derive(Debug)]
pub(crate) struct Deadline {
    until: UnixTime,
    ending: Ending,
    /// Whether the last frame of an event stream ended with an empty line.
    between_events: bool,
    place: Place,
    shared: Arc<Shared>,
}

/// What all bodies of a layer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) endings: Endings,
    pub(crate) wheel: Arc<Wheel>,
}

/// Where a body's deadline is kept: on the wheel from the second poll on, since most are complete by
/// then.
#[derive(Debug)]
enum Place {
    First,
    Second,
    On(Entry),
    /// There is no runtime: the clock is read before each frame.
    Off,
}

/// The error of a body: that of the inner body, or that the token has expired.
#[non_exhaustive]
pub enum DeadlineError<E> {
    /// The inner body failed.
    Inner(E),
    /// The access token expired before the body was complete.
    Expired,
}

impl Deadline {
    pub(crate) const fn new(until: UnixTime, ending: Ending, shared: Arc<Shared>) -> Self {
        Self { until, ending, between_events: true, place: Place::First, shared }
    }

    /// Returns `true` if the body ends before its next frame.
    fn is_due(&mut self) -> bool {
        match &self.place {
            Place::On(entry) => return entry.is_due(),
            Place::First => self.place = Place::Second,
            Place::Second => self.enter(),
            Place::Off => {}
        }
        self.shared.wheel.now() >= self.until
    }

    /// Wakes the task in time. Returns `true` if the time has come.
    fn wait(&mut self, cx: &Context<'_>) -> bool {
        if matches!(self.place, Place::First | Place::Second) {
            self.enter();
        }
        match &self.place {
            Place::On(entry) => entry.wait(cx),
            _ => false,
        }
    }

    fn enter(&mut self) {
        let entry = self.shared.wheel.enter(self.until);
        self.place = entry.map_or(Place::Off, Place::On);
    }

    fn look_at(&mut self, frame: &Frame<Bytes>) {
        if self.ending == Ending::EventStream
            && let Some(data) = frame.data_ref()
            && !data.is_empty()
        {
            let ends = [&b"\n\n"[..], b"\r\r", b"\n\r\n"];
            self.between_events = ends.iter().any(|end| data.ends_with(end));
        }
    }

    /// Returns the last frame, or error, if there is one.
    fn end<E>(&self) -> Option<Result<Frame<Bytes>, DeadlineError<E>>> {
        let kind = match self.ending {
            Ending::Grpc => "grpc",
            Ending::EventStream => "event_stream",
            Ending::Abort => "aborted",
        };
        count!("tower_bearer_streams_expired_total", "kind" => kind);
        match self.ending {
            Ending::Grpc => Some(Ok(Frame::trailers(expired_trailers()))),
            Ending::EventStream => {
                let last_event = self.shared.endings.last_event.clone();
                last_event.filter(|_| self.between_events).map(|event| Ok(Frame::data(event)))
            }
            Ending::Abort => Some(Err(DeadlineError::Expired)),
        }
    }
}

impl<B> DeadlineBody<B> {
    pub(crate) fn new(body: B, deadline: Option<Deadline>) -> Self {
        Self { kind: Kind::Inner { body }, deadline: deadline.map(Box::new) }
    }

    pub(crate) fn refusal(bytes: Bytes) -> Self {
        Self { kind: Kind::Refusal { bytes: Box::new(bytes) }, deadline: None }
    }
}

/// Layers such as CORS answer themselves, with an empty body of the inner type.
impl<B: Default> Default for DeadlineBody<B> {
    fn default() -> Self {
        Self::new(B::default(), None)
    }
}

impl<B: Body<Data = Bytes>> Body for DeadlineBody<B> {
    type Data = Bytes;
    type Error = DeadlineError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        let body = match this.kind.as_mut().project() {
            KindProj::Inner { body } => body,
            KindProj::Refusal { bytes } => {
                let bytes = std::mem::take(&mut **bytes);
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            KindProj::Cut => return Poll::Ready(None),
        };
        let Some(deadline) = this.deadline else {
            return body.poll_frame(cx).map_err(DeadlineError::Inner);
        };
        if !deadline.is_due() {
            match body.poll_frame(cx) {
                Poll::Pending if deadline.wait(cx) => {}
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) if !frame.is_trailers() => {
                    deadline.look_at(&frame);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(end) => {
                    *this.deadline = None;
                    return Poll::Ready(end.map(|end| end.map_err(DeadlineError::Inner)));
                }
            }
        }
        // What the handler holds for the stream is dropped now.
        this.kind.set(Kind::Cut);
        Poll::Ready(this.deadline.take().and_then(|deadline| deadline.end()))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Refusal { bytes } => bytes.is_empty(),
            Kind::Cut => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            // An aborted body is shorter than announced, as clients should notice.
            Kind::Inner { body }
                if self.deadline.as_ref().is_none_or(|cut| cut.ending == Ending::Abort) =>
            {
                body.size_hint()
            }
            Kind::Inner { .. } => SizeHint::default(),
            Kind::Refusal { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Cut => SizeHint::with_exact(0),
        }
    }
}

const EXPIRED: &str = "the access token expired before the body was complete";

impl<E: fmt::Display> fmt::Display for DeadlineError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => fmt::Display::fmt(error, f),
            Self::Expired => f.write_str(EXPIRED),
        }
    }
}

/// `main` prints the `Debug` of the error that it returns: that of the inner one is its own.
impl<E: fmt::Debug> fmt::Debug for DeadlineError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => fmt::Debug::fmt(error, f),
            Self::Expired => f.write_str(EXPIRED),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for DeadlineError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Inner(error) => error.source(),
            Self::Expired => None,
        }
    }
}
