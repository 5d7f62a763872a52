//! The body of a response: the inner service's, or a refusal's.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response: that of the inner service, or that of a refusal.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
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
        Refusal {
            body: RefusalBody,
        },
    }
}

/// The body of a refusal.
#[derive(Debug)]
pub(crate) struct RefusalBody {
    pub(crate) bytes: Bytes,
    /// Whether outer layers may know that it is empty before they poll it.
    pub(crate) is_sized: bool,
}

impl From<Bytes> for RefusalBody {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, is_sized: true }
    }
}

impl<B> ResponseBody<B> {
    pub(crate) const fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    pub(crate) const fn refusal(body: RefusalBody) -> Self {
        Self { kind: Kind::Refusal { body } }
    }
}

/// Layers such as CORS answer themselves, with an empty body of the inner type.
impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Refusal { body } => {
                let bytes = std::mem::take(&mut body.bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Refusal { body } => body.bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Refusal { body } if body.bytes.is_empty() && !body.is_sized => {
                SizeHint::default()
            }
            Kind::Refusal { body } => SizeHint::with_exact(body.bytes.len() as u64),
        }
    }
}
