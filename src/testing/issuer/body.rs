//! A response body that can be truncated, endless or slow.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::testing::issuer::fault::Delivery;

/// The pause before a truncated body ends the connection, so that its first half is sent.
const BEFORE_THE_END: Duration = Duration::from_millis(20);

static SPACES: [u8; 8_192] = [b' '; 8_192];

/// A response body with the delivery that a fault sets.
pub(crate) struct AnswerBody {
    length: u64,
    rest: Bytes,
    delivery: Delivery,
    pause: Option<Pin<Box<Sleep>>>,
}

impl AnswerBody {
    pub(crate) fn new(mut bytes: Bytes, delivery: Delivery) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if delivery == Delivery::Truncated {
            bytes.truncate(bytes.len() / 2);
        }
        Self { length, rest: bytes, delivery, pause: None }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>, duration: Duration) -> Poll<()> {
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(duration)));
        ready!(pause.as_mut().poll(cx));
        self.pause = None;
        Poll::Ready(())
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let frame = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match this.delivery {
            Delivery::Slow(pause) if !this.rest.is_empty() => {
                ready!(this.poll_pause(cx, pause));
                frame(this.rest.split_to(1))
            }
            _ if !this.rest.is_empty() => frame(std::mem::take(&mut this.rest)),
            Delivery::Endless => frame(Bytes::from_static(&SPACES)),
            Delivery::Truncated => {
                ready!(this.poll_pause(cx, BEFORE_THE_END));
                Poll::Ready(None)
            }
            Delivery::Whole | Delivery::Slow(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && matches!(self.delivery, Delivery::Whole | Delivery::Slow(_))
    }

    fn size_hint(&self) -> SizeHint {
        match self.delivery {
            Delivery::Endless => SizeHint::new(),
            _ => SizeHint::with_exact(self.length),
        }
    }
}
