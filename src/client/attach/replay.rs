//! A request's body that is copied while it is sent, so that it can be sent once more.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::{fmt, mem};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// A request's body that can be sent once more, if the server refuses the token or wants a nonce.
///
/// Frames are copied while they are sent, up to a limit and until the request is answered; a longer body is
/// sent as usual, but only once. If the refusal comes while the body is still being sent, the second request
/// repeats the copy and continues from there.
pub struct ReplayBody<B> {
    source: Option<Source<B>>,
}

struct Source<B> {
    state: Arc<Mutex<State<B>>>,
    turn: u8,
    /// What earlier bodies have read, and this one has to repeat.
    repeats: Kept,
}

struct State<B> {
    body: Pin<Box<B>>,
    kept: Kept,
    limit: usize,
    /// Which body may read the source: the newest one.
    turn: u8,
    /// The task that waits for the next frame.
    waiting: Option<Waker>,
    keeping: bool,
    ended: bool,
}

/// The copy of what was sent. Data is copied, since a frame may be a small part of a large buffer, which it
/// would keep alive.
#[derive(Clone, Default)]
struct Kept {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// A field of trailers takes about so much memory beside its name and value.
const FIELD: usize = 64;

/// Makes the next body. When it is dropped, nothing more is kept.
pub(crate) struct Replay<B>(Option<Arc<Mutex<State<B>>>>);

impl<B: Body> ReplayBody<B> {
    /// Wraps a body, of which `limit` bytes may be kept.
    pub(crate) fn new(body: B, limit: usize) -> (Self, Replay<B>) {
        if body.is_end_stream() {
            return (Self { source: None }, Replay(None));
        }
        // A body that declares more than the limit isn't copied at all.
        let fits = usize::try_from(body.size_hint().lower()).is_ok_and(|bytes| bytes <= limit);
        let state = Arc::new(Mutex::new(State {
            body: Box::pin(body),
            kept: Kept::default(),
            limit,
            turn: 0,
            waiting: None,
            keeping: limit > 0 && fits,
            ended: false,
        }));
        let source = Source { state: Arc::clone(&state), turn: 0, repeats: Kept::default() };
        (Self { source: Some(source) }, Replay(Some(state)))
    }
}

impl<B> Replay<B> {
    /// Returns `true` if all that was sent so far can be sent once more.
    pub(crate) fn is_possible(&self) -> bool {
        self.0.as_ref().is_none_or(|state| lock(state).keeping)
    }

    /// Returns the body from its beginning, for the last time, and ends the one before; `None` if too
    /// much was sent.
    pub(crate) fn again(self) -> Option<ReplayBody<B>> {
        self.once_more().map(|(body, _)| body)
    }

    /// Returns the body from its beginning, and what makes another, and ends the one before; `None` if
    /// too much was sent.
    pub(crate) fn once_more(mut self) -> Option<(ReplayBody<B>, Self)> {
        let Some(state) = self.0.take() else {
            return Some((ReplayBody { source: None }, Self(None)));
        };
        let mut locked = lock(&state);
        if !locked.keeping {
            return None;
        }
        locked.turn = locked.turn.saturating_add(1);
        let (turn, repeats, waiting) = (locked.turn, locked.kept.clone(), locked.waiting.take());
        drop(locked);
        // The source wakes only the body that polled it last.
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        let source = Source { state: Arc::clone(&state), turn, repeats };
        Some((ReplayBody { source: Some(source) }, Self(Some(state))))
    }
}

impl<B> Drop for Replay<B> {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            lock(state).stop_keeping();
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(source) = &mut self.source else { return Poll::Ready(None) };
        let mut state = lock(&source.state);
        if state.turn != source.turn {
            return Poll::Ready(Some(Err(Box::new(Superseded))));
        }
        if let Some(frame) = source.repeats.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        match state.body.as_mut().poll_frame(cx) {
            Poll::Pending => {
                state.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            Poll::Ready(None) => {
                state.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                // A body that failed can't be sent a second time.
                state.stop_keeping();
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = into_bytes(frame);
                state.keep(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let Some(source) = &self.source else { return true };
        let state = lock(&source.state);
        source.repeats.is_empty() && (state.ended || state.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(source) = &self.source else { return SizeHint::with_exact(0) };
        let state = lock(&source.state);
        let kept = u64::try_from(source.repeats.data.len()).unwrap_or(u64::MAX);
        let rest = if state.ended { SizeHint::with_exact(0) } else { state.body.size_hint() };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint.set_lower(rest.lower().saturating_add(kept));
        hint
    }
}

impl<B> State<B> {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.keeping {
            return;
        }
        let kept = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => self.kept.add(data, self.limit),
            (_, Some(trailers)) => self.kept.add_trailers(trailers, self.limit),
            // A frame of an unknown kind can't be copied.
            (None, None) => false,
        };
        if !kept {
            self.stop_keeping();
        }
    }

    fn stop_keeping(&mut self) {
        if self.keeping {
            self.keeping = false;
            self.kept = Kept::default();
        }
    }
}

impl Kept {
    /// Copies data; returns `false` if there is no room for it.
    fn add(&mut self, data: &[u8], limit: usize) -> bool {
        let needed = self.data.len().saturating_add(data.len());
        if needed > limit {
            return false;
        }
        if needed > self.data.capacity() {
            // Doubled, but never more than the limit.
            let capacity = needed.max(self.data.capacity().saturating_mul(2)).min(limit);
            self.data.reserve_exact(capacity.saturating_sub(self.data.len()));
        }
        self.data.extend_from_slice(data);
        true
    }

    fn add_trailers(&mut self, trailers: &HeaderMap, limit: usize) -> bool {
        let sizes = trailers.iter().map(|(name, value)| {
            FIELD.saturating_add(name.as_str().len()).saturating_add(value.len())
        });
        let size = sizes.fold(self.data.len(), usize::saturating_add);
        if size > limit || self.trailers.is_some() {
            return false;
        }
        self.trailers = Some(trailers.clone());
        true
    }

    /// Returns the next frame of the copy.
    fn take(&mut self) -> Option<Frame<Bytes>> {
        if !self.data.is_empty() {
            return Some(Frame::data(mem::take(&mut self.data).into()));
        }
        self.trailers.take().map(Frame::trailers)
    }

    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }
}

/// Copies the data of a frame into one contiguous buffer.
fn into_bytes<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

fn lock<B>(state: &Mutex<State<B>>) -> MutexGuard<'_, State<B>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a body whose request is being sent once more.
#[derive(Debug)]
struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is sent once more")
    }
}

impl Error for Superseded {}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("empty", &self.source.is_none()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
    use tokio_test::{assert_pending, task};

    use super::*;

    async fn bytes<B>(body: B) -> Bytes
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Debug,
    {
        body.collect().await.unwrap().to_bytes()
    }

    fn chunks(chunks: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
        let frames: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))))
            .collect();
        StreamBody::new(tokio_stream::iter(frames))
    }

    // E10
    #[tokio::test]
    async fn e10_a_body_is_sent_twice() {
        let (first, replay) = ReplayBody::new(chunks(&["ab", "", "cd"]), 64);
        assert_eq!(bytes(first).await, "abcd");
        assert_eq!(bytes(replay.again().unwrap()).await, "abcd");

        let (first, replay) = ReplayBody::new(Full::new(Bytes::from_static(b"abc")), 64);
        assert_eq!(first.size_hint().exact(), Some(3));
        assert_eq!(bytes(first).await, "abc");
        let second = replay.again().unwrap();
        assert_eq!(second.size_hint().exact(), Some(3));
        assert!(!second.is_end_stream());
        assert_eq!(bytes(second).await, "abc");
    }

    // E10
    #[tokio::test]
    async fn e10_an_empty_body_costs_nothing() {
        let (first, replay) = ReplayBody::new(Empty::<Bytes>::new(), 0);
        assert!(first.is_end_stream() && first.source.is_none());
        assert_eq!(first.size_hint().exact(), Some(0));
        assert_eq!(bytes(first).await, "");
        assert!(replay.again().unwrap().is_end_stream());
    }

    // E10: a reader of the first body is woken when there is a second, even if that is read as well.
    #[tokio::test]
    async fn e10_the_reader_of_the_first_body_is_woken_when_there_is_a_second() {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let (mut first, replay) = ReplayBody::new(StreamBody::new(stream), 64);
        let mut reader = task::spawn(first.frame());
        assert_pending!(reader.poll());
        let mut second = replay.again().unwrap();
        assert!(reader.is_woken());
        assert!(reader.poll().map(|frame| frame.unwrap().is_err()).is_ready());

        let mut reader = task::spawn(second.frame());
        assert_pending!(reader.poll());
        let frame = Frame::data(Bytes::from_static(b"a"));
        sender.send(Ok::<_, Infallible>(frame)).await.unwrap();
        assert!(reader.is_woken());
    }

    // E10: no growth.
    #[tokio::test]
    async fn e10_a_long_body_is_sent_once() {
        for (limit, replayable) in [(4, true), (3, false), (0, false)] {
            let (first, replay) = ReplayBody::new(chunks(&["ab", "cd"]), limit);
            assert_eq!(bytes(first).await, "abcd", "{limit}");
            assert_eq!(replay.again().is_some(), replayable, "{limit}");
        }
    }

    // E10: no growth by frames that are hardly any bytes.
    #[tokio::test]
    async fn e10_many_small_frames_are_kept_as_their_bytes() {
        for (frame, count, replayable, kept) in
            [("x", 4_096, true, 4_096), ("x", 4_097, false, 0), ("", 10_000, true, 0)]
        {
            let (first, replay) = ReplayBody::new(chunks(&vec![frame; count]), 4_096);
            assert_eq!(bytes(first).await.len(), frame.len() * count);
            assert_eq!(lock(replay.0.as_ref().unwrap()).kept.data.len(), kept);
            assert!(lock(replay.0.as_ref().unwrap()).kept.data.capacity() <= 4_096);
            assert_eq!(replay.is_possible(), replayable);
            assert_eq!(replay.again().is_some(), replayable);
        }
    }

    /// A buffer that says when it is given back.
    struct Buffer(Vec<u8>, Arc<std::sync::atomic::AtomicUsize>);

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Buffer {
        fn drop(&mut self) {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn fc14_what_is_kept_of_a_buffer_does_not_keep_the_buffer() {
        let given_back = Arc::default();
        let frames = (0..100).map(|n: u8| {
            let buffer = Bytes::from_owner(Buffer(vec![n; 1 << 16], Arc::clone(&given_back)));
            Ok::<_, Infallible>(Frame::data(buffer.slice(1..3)))
        });
        let body = StreamBody::new(tokio_stream::iter(frames.collect::<Vec<_>>()));
        let (first, replay) = ReplayBody::new(body, 64 * 1024);
        let sent = first.collect().await.unwrap().to_bytes();
        assert_eq!(given_back.load(std::sync::atomic::Ordering::Relaxed), 100);
        assert_eq!(replay.again().unwrap().collect().await.unwrap().to_bytes(), sent);
    }

    #[tokio::test]
    async fn fc14_trailers_count() {
        for (length, replayable) in [(900, true), (1_024, false)] {
            let value = "x".repeat(length).parse().unwrap();
            let trailers = HeaderMap::from_iter([("x-a".parse().unwrap(), value)]);
            let frames = [Ok::<Frame<Bytes>, Infallible>(Frame::trailers(trailers.clone()))];
            let body = StreamBody::new(tokio_stream::iter(frames));
            let (mut first, replay) = ReplayBody::new(body, 1_024);
            first.frame().await.unwrap().unwrap();
            let second = replay.again();
            assert_eq!(second.is_some(), replayable);
            if let Some(second) = second {
                assert_eq!(second.collect().await.unwrap().trailers(), Some(&trailers));
            }
        }
    }

    #[tokio::test]
    async fn fc14_nothing_is_copied_of_a_body_that_says_that_it_is_too_long() {
        let (mut first, replay) = ReplayBody::new(Full::new(Bytes::from_static(b"abcde")), 4);
        assert!(!replay.is_possible());
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "abcde");
        assert!(replay.again().is_none());
    }

    // E10: what could not be read can't be sent again, and must not look complete.
    #[tokio::test]
    async fn e10_a_body_that_fails_is_not_sent_again() {
        let data = |text: &'static str| Ok(Frame::data(Bytes::from_static(text.as_bytes())));
        let frames = [data("ab"), Err(std::io::Error::other("broken")), data("cd")];
        let (mut first, replay) = ReplayBody::new(StreamBody::new(tokio_stream::iter(frames)), 64);
        first.frame().await.unwrap().unwrap();
        assert!(replay.is_possible());
        assert_eq!(first.frame().await.unwrap().unwrap_err().to_string(), "broken");
        assert!(!replay.is_possible());
        assert!(replay.again().is_none());
    }

    // E10: the second body is the last, and keeps nothing.
    #[tokio::test]
    async fn e10_the_second_body_keeps_nothing_more() {
        let (mut first, replay) = ReplayBody::new(chunks(&["ab", "cd", "ef"]), 64);
        let state = Arc::clone(replay.0.as_ref().unwrap());
        first.frame().await.unwrap().unwrap();
        assert_eq!(bytes(replay.again().unwrap()).await, "abcdef");
        assert!(lock(&state).kept.is_empty());
    }

    // E10: a stream that continues after the answer is no longer copied.
    #[tokio::test]
    async fn e10_after_the_answer_nothing_is_kept() {
        let (mut first, replay) = ReplayBody::new(chunks(&["ab", "cd", "ef"]), 64);
        let state = Arc::clone(replay.0.as_ref().unwrap());
        let kept = || lock(&state).kept.data.len();
        first.frame().await.unwrap().unwrap();
        assert_eq!(kept(), 2);
        drop(replay);
        assert_eq!(kept(), 0);
        assert_eq!(bytes(first).await, "cdef");
        assert_eq!(kept(), 0);
    }

    // E10: a refusal that comes early.
    #[tokio::test]
    async fn e10_a_body_that_is_under_way_goes_on_in_the_second_request() {
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let (mut first, replay) = ReplayBody::new(StreamBody::new(stream), 64);
        let data = |text: &'static str| {
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(text.as_bytes())))
        };
        sender.send(data("ab")).await.unwrap();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert_pending!(task::spawn(first.frame()).poll());
        let second = replay.again().unwrap();
        sender.send(data("cd")).await.unwrap();
        let trailers = HeaderMap::from_iter([("x-a".parse().unwrap(), "b".parse().unwrap())]);
        sender.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
        drop(sender);
        let collected = second.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "abcd");
        assert!(first.frame().await.unwrap().is_err(), "the first must not look complete");
    }
}
