//! A result that is known now, or after one wait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::refusal::Refusal;

/// A result that is known now, or comes later. What is known is returned without a wait.
#[derive(Debug)]
pub(crate) enum Progress<T, R = Result<T, Refusal>> {
    Ready(R),
    Pending(Pending<T>),
}

/// A wait and what follows it. It owns all that it needs, and no second wait follows.
pub(crate) struct Pending<T>(Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>);

impl<T: 'static> Progress<T> {
    /// Continues with the result, now or after the wait.
    #[inline]
    pub(crate) fn map<U>(self, next: impl FnOnce(T) -> U + Send + 'static) -> Progress<U> {
        match self {
            Self::Ready(ready) => Progress::Ready(ready.map(next)),
            Self::Pending(pending) => {
                Progress::Pending(Pending::new(async move { pending.await.map(next) }))
            }
        }
    }
}

impl<T> Progress<T> {
    /// Returns the result, after the wait if there is one.
    pub(crate) async fn settled(self) -> Result<T, Refusal> {
        match self {
            Self::Ready(ready) => ready,
            Self::Pending(pending) => pending.await,
        }
    }
}

impl<T> Pending<T> {
    pub(crate) fn new(future: impl Future<Output = Result<T, Refusal>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Refusal>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}
