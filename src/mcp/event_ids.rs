//! Binds the ids of events in a response to the principal that it is for.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::mcp::session::Sessions;
use crate::middleware::ResponseBody as Inner;
use crate::token::ErasedToken;

pin_project! {
    /// The body of a response: that of a refusal, or that of the inner service, in which the ids of events are
    /// bound to the caller.
    pub struct ResponseBody<B> {
        #[pin]
        body: Inner<B>,
        tagger: Option<Box<Tagger>>,
    }
}

/// Appends a tag to each event id of a stream (`text/event-stream`), whatever the chunks it comes in.
struct Tagger {
    sessions: Sessions,
    token: Option<ErasedToken>,
    line: Line,
    /// How many bytes of a byte order mark were read, of those that may begin the stream.
    mark: usize,
}

/// What was read of a line.
enum Line {
    /// So many bytes of the name `id`, and nothing else.
    Name(usize),
    /// The name `id` and its colon, and this value.
    Id(Vec<u8>),
    Other,
}

const NAME: [u8; 2] = *b"id";

/// The longest id, in bytes, that can resume a stream.
const MAX_ID: usize = 4_096;

const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

impl<B> ResponseBody<B> {
    pub(crate) const fn refusal(body: Inner<B>) -> Self {
        Self { body, tagger: None }
    }
}

/// Returns the response for the caller, with its event ids bound.
pub(crate) fn bound<B>(
    response: Response<B>,
    sessions: Option<&Sessions>,
    token: Option<&ErasedToken>,
) -> Response<ResponseBody<B>> {
    let (mut parts, body) = response.into_parts();
    let sessions = sessions.filter(|_| is_event_stream(&parts.headers));
    let tagger = sessions.map(|sessions| {
        parts.headers.remove(CONTENT_LENGTH);
        let (sessions, token) = (sessions.clone(), token.cloned());
        Box::new(Tagger { sessions, token, line: Line::Name(0), mark: 0 })
    });
    Response::from_parts(parts, ResponseBody { body: Inner::inner(body), tagger })
}

/// A stream with a content coding can't be read: its ids stay without a tag, and resume nothing.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let is_type = |value: &[u8]| {
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    headers.get(CONTENT_TYPE).is_some_and(|value| is_type(value.as_bytes()))
        && headers.get_all(CONTENT_ENCODING).iter().all(|value| value == "identity")
}

impl Tagger {
    fn read(&mut self, chunk: &Bytes) -> Bytes {
        let mut written = Vec::with_capacity(chunk.len());
        for byte in chunk {
            if BYTE_ORDER_MARK.get(self.mark) == Some(byte) {
                self.mark = self.mark.saturating_add(1);
            } else {
                self.mark = BYTE_ORDER_MARK.len();
                self.step(*byte, &mut written);
            }
            written.push(*byte);
        }
        written.into()
    }

    /// Reads a byte, and writes what belongs before it.
    fn step(&mut self, byte: u8, written: &mut Vec<u8>) {
        let is_name = |at: &usize| NAME.get(*at) == Some(&byte);
        self.line = match std::mem::replace(&mut self.line, Line::Other) {
            line if matches!(byte, b'\n' | b'\r') => {
                // An empty id resets the client's last one.
                if let Line::Id(value) = line
                    && let value = value.strip_prefix(b" ").unwrap_or(&value)
                    && !value.is_empty()
                {
                    let principal = self.token.as_ref().map(ErasedToken::claims);
                    written.extend(self.sessions.event_tag(value, principal).bytes());
                }
                Line::Name(0)
            }
            Line::Name(at) if is_name(&at) => Line::Name(at.saturating_add(1)),
            Line::Name(at) if at == NAME.len() && byte == b':' => Line::Id(Vec::new()),
            // No header field is that long.
            Line::Id(value) if value.len() > MAX_ID => Line::Other,
            Line::Id(mut value) => {
                value.push(byte);
                Line::Id(value)
            }
            Line::Name(_) | Line::Other => Line::Other,
        };
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        Poll::Ready(match (frame, this.tagger) {
            (Some(Ok(frame)), Some(tagger)) => {
                Some(Ok(frame.map_data(|chunk| tagger.read(&chunk))))
            }
            (frame, _) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        if self.tagger.is_some() && !self.is_end_stream() {
            let lower = hint.lower();
            hint = SizeHint::new();
            hint.set_lower(lower);
        }
        hint
    }
}

/// Layers such as CORS answer themselves, with an empty body of the inner type.
impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self { body: Inner::default(), tagger: None }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    /// Returns the stream as the client gets it if it comes in chunks of this size, with `+` for each tag.
    fn read(stream: &[u8], size: usize) -> String {
        let sessions = Sessions::new(Secret::new([7; 32])).unwrap();
        let mut tagger =
            Tagger { sessions: sessions.clone(), token: None, line: Line::Name(0), mark: 0 };
        let mut read = Vec::new();
        for chunk in stream.chunks(size) {
            read.extend(tagger.read(&Bytes::copy_from_slice(chunk)));
        }
        let read = String::from_utf8_lossy(&read).into_owned();
        ["1", "2", "a b", " 1", "\u{e9}"]
            .iter()
            .fold(read, |read, id| read.replace(&sessions.event_tag(id.as_bytes(), None), "+"))
    }

    #[test]
    fn mc16_each_id_of_a_stream_gets_a_tag_and_nothing_else_changes() {
        for (stream, expected) in [
            ("id: 1\ndata: id: 2\n\n", "id: 1+\ndata: id: 2\n\n"),
            ("id:1\r\ndata: x\r\nid: 2\r\n\r\n", "id:1+\r\ndata: x\r\nid: 2+\r\n\r\n"),
            ("data: x\rid: a b\r\r", "data: x\rid: a b+\r\r"),
            ("id:  1\n\n", "id:  1+\n\n"),
            ("\u{feff}id: 1\n\n", "\u{feff}id: 1+\n\n"),
            ("id: \u{e9}\n\n", "id: \u{e9}+\n\n"),
            // An empty id, other fields, comments, a second mark, a line that isn't complete.
            ("id\nid:\nid: \n\n", "id\nid:\nid: \n\n"),
            ("Id: 1\n id: 1\nidx: 1\ni: 1\n:id: 1\n\n", "Id: 1\n id: 1\nidx: 1\ni: 1\n:id: 1\n\n"),
            ("\u{feff}\u{feff}id: 1\n\n", "\u{feff}\u{feff}id: 1\n\n"),
            ("data: x\n\u{feff}id: 1\n\n", "data: x\n\u{feff}id: 1\n\n"),
            ("data: x\n\nid: 1", "data: x\n\nid: 1"),
        ] {
            for size in [1, 2, 3, 5, 1_000] {
                assert_eq!(read(stream.as_bytes(), size), expected, "{stream:?} {size}");
            }
        }
    }

    #[test]
    fn mc16_an_id_that_fits_no_header_is_not_kept() {
        let stream = format!("id: {}\n\nid: 1\n\n", "x".repeat(2 * MAX_ID));
        assert_eq!(read(stream.as_bytes(), 1_000), stream.replace("id: 1\n", "id: 1+\n"));
    }

    #[test]
    fn mc16_only_event_streams_are_read() {
        for (fields, expected) in [
            (&[("content-type", "text/event-stream")][..], true),
            (&[("content-type", "Text/Event-Stream; charset=utf-8")], true),
            (&[("content-type", "application/json")], false),
            (&[("content-type", "text/event-streams")], false),
            (&[("content-type", "text/event-stream"), ("content-encoding", "gzip")], false),
            (&[("content-type", "text/event-stream"), ("content-encoding", "identity")], true),
            (&[], false),
        ] {
            let mut response = Response::new(());
            for (name, value) in fields {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            assert_eq!(is_event_stream(response.headers()), expected, "{fields:?}");
        }
    }
}
