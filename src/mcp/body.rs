//! The body of an MCP request: buffered to be read, then forwarded byte for byte.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

/// The body of a request that passed an [`McpGuard`](crate::mcp::McpGuard): the original body, byte for
/// byte, with its trailers.
pub struct RequestBody<B> {
    kind: Kind<B>,
}

enum Kind<B> {
    Untouched(B),
    Read(ReadBody),
}

/// A body that was read to its end.
#[derive(Default)]
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl<B> RequestBody<B> {
    pub(crate) const fn untouched(body: B) -> Self {
        Self { kind: Kind::Untouched(body) }
    }

    pub(crate) const fn read(body: ReadBody) -> Self {
        Self { kind: Kind::Read(body) }
    }
}

impl<B: Body + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.kind {
            Kind::Untouched(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(to_bytes))))
            }
            Kind::Read(body) => {
                let bytes = std::mem::take(&mut body.bytes);
                if !bytes.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Poll::Ready(body.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Untouched(body) => body.is_end_stream(),
            Kind::Read(body) => body.bytes.is_empty() && body.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Untouched(body) => body.size_hint(),
            Kind::Read(body) => SizeHint::with_exact(body.bytes.len() as u64),
        }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

/// Takes the data, without a copy if it is `Bytes` already.
fn to_bytes(mut data: impl bytes::Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// Why a body wasn't read to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotRead {
    TooLarge,
    /// The connection broke, or the peer broke its protocol.
    Broken,
}

/// Reads a body to its end, and no more of it than is allowed.
pub(crate) struct Reader<B> {
    body: B,
    max_bytes: usize,
    read: ReadBody,
    /// The data, if it came in more than one frame.
    joined: BytesMut,
}

/// After this many frames without a pause, the task yields. A peer may send empty frames.
const FRAMES_IN_A_ROW: u8 = 64;

impl<B: Body + Unpin> Reader<B> {
    pub(crate) fn new(body: B, max_bytes: usize) -> Self {
        Self { body, max_bytes, read: ReadBody::default(), joined: BytesMut::new() }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<ReadBody, NotRead>> {
        for _ in 0..FRAMES_IN_A_ROW {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(self.finish())),
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Poll::Ready(Err(NotRead::Broken)),
            };
            match frame.into_data() {
                Ok(data) => {
                    let so_far = self.read.bytes.len().saturating_add(self.joined.len());
                    if data.remaining() > self.max_bytes.saturating_sub(so_far) {
                        return Poll::Ready(Err(NotRead::TooLarge));
                    }
                    self.add(to_bytes(data));
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        match &mut self.read.trailers {
                            Some(known) => known.extend(trailers),
                            none => *none = Some(trailers),
                        }
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn add(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.joined.is_empty() && self.read.bytes.is_empty() {
            self.read.bytes = data;
            return;
        }
        if self.joined.is_empty() {
            let expected = usize::try_from(self.body.size_hint().lower()).unwrap_or(0);
            let so_far = self.read.bytes.len().saturating_add(data.len());
            self.joined.reserve(so_far.saturating_add(expected).min(self.max_bytes));
            self.joined.extend_from_slice(&std::mem::take(&mut self.read.bytes));
        }
        self.joined.extend_from_slice(&data);
    }

    fn finish(&mut self) -> ReadBody {
        let mut read = std::mem::take(&mut self.read);
        if !self.joined.is_empty() {
            read.bytes = std::mem::take(&mut self.joined).freeze();
        }
        read
    }
}
