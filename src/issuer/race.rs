//! Several questions, each begun a little later than the one before.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::timeout_at;

use crate::clock::monotonic;

/// Runs futures until one succeeds. The next begins when one fails, or `apart` after the one before
/// has begun; those that have begun go on. `failed` takes each failure, and says whether that is the
/// end.
///
/// Returns `None` if none has succeeded.
pub(crate) async fn first_success<T, E, F: Future<Output = Result<T, E>>>(
    futures: impl IntoIterator<Item = F>,
    apart: Duration,
    mut failed: impl FnMut(E) -> bool,
) -> Option<T> {
    let mut to_begin = futures.into_iter().peekable();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    loop {
        running.extend(to_begin.next().map(Box::pin));
        if running.is_empty() {
            return None;
        }
        let turn = monotonic().checked_add(apart).filter(|_| to_begin.peek().is_some());
        let next = poll_fn(|cx| {
            for (at, future) in running.iter_mut().enumerate() {
                if let Poll::Ready(result) = future.as_mut().poll(cx) {
                    drop(running.swap_remove(at));
                    return Poll::Ready(result);
                }
            }
            Poll::Pending
        });
        let result = match turn {
            Some(turn) => timeout_at(turn, next).await.ok(),
            None => Some(next.await),
        };
        match result {
            Some(Ok(value)) => return Some(value),
            Some(Err(error)) => {
                if failed(error) {
                    return None;
                }
            }
            None => {}
        }
    }
}
