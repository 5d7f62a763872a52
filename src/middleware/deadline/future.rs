//! The future that wraps a response's body with its deadline.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::clock::UnixTime;
use crate::middleware::deadline::body::{Deadline, DeadlineBody, Shared};

/// When the request's token expires, and the state of the bodies that end then.
type Term = Option<(UnixTime, Arc<Shared>)>;

pin_project! {
    /// The future of a [`StreamDeadline`](crate::middleware::StreamDeadline).
    pub struct DeadlineFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F> {
        Inner {
            #[pin]
            future: F,
            term: Term,
        },
        Refused {
            response: Option<Response<Bytes>>,
        },
    }
}

impl<F> DeadlineFuture<F> {
    pub(crate) const fn inner(future: F, term: Term) -> Self {
        Self { kind: Kind::Inner { future, term } }
    }

    pub(crate) const fn refused(response: Response<Bytes>) -> Self {
        Self { kind: Kind::Refused { response: Some(response) } }
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<DeadlineBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Inner { future, term } => {
                let response = ready!(future.poll(cx))?;
                let deadline = term.take().and_then(|(until, shared)| {
                    let is_sized = response.body().size_hint().exact().is_some();
                    let ending = shared.endings.of(response.headers(), is_sized)?;
                    Some(Deadline::new(until, ending, shared))
                });
                Poll::Ready(Ok(response.map(|body| DeadlineBody::new(body, deadline))))
            }
            KindProj::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response.map(DeadlineBody::refusal))),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for DeadlineFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadlineFuture").finish_non_exhaustive()
    }
}
